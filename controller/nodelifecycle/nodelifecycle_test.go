package nodelifecycle

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

type world struct {
	*testing.T
	*controllertest.API
}

func run(t *testing.T, f func(w world)) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		rec := client.NewRecorder(c, "node-controller", "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, rec)}) }()
		f(world{t, c})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// node registers a node as a kubelet does, with the taint that admission adds.
func (w world) node(name string, ready corev1.ConditionStatus) {
	w.Create(&corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}, {Key: "mine", Effect: corev1.TaintEffectNoExecute}}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, LastHeartbeatTime: metav1.Now()}}},
	})
	w.Create(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name}})
}

// beat renews a node's Lease every ten seconds until stopped.
func (w world) beat(name string) (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	go func() {
		for i := 0; ; i++ {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
			p := client.Patch{Type: "application/merge-patch+json", Body: fmt.Appendf(nil, `{"spec":{"leaseTransitions":%d}}`, i)}
			if _, err := client.Leases.Patch(ctx, w, api.Key{Namespace: corev1.NamespaceNodeLease, Name: name}, p); err != nil {
				w.Error(err)
			}
		}
	}()
	return cancel
}

func (w world) ready(name string, ready corev1.ConditionStatus) {
	w.Helper()
	n := w.get(name)
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			c.Status, c.Reason, c.LastHeartbeatTime = ready, "KubeletReady", metav1.Now()
		}
	}
	if _, err := client.Nodes.UpdateStatus(w.Context(), w, n); err != nil {
		w.Fatal(err)
	}
}

func (w world) get(name string) *corev1.Node {
	w.Helper()
	synctest.Wait()
	n, err := client.Nodes.Get(w.Context(), w, api.Key{Name: name})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func (w world) check(what, name, want string) {
	w.Helper()
	n := w.get(name)
	var taints []string
	for _, t := range n.Spec.Taints {
		taints = append(taints, strings.TrimPrefix(t.Key, "node.kubernetes.io/")+":"+string(t.Effect))
	}
	slices.Sort(taints)
	c := condition(n, corev1.NodeReady)
	if got := string(c.Status) + " " + c.Reason + " " + strings.Join(taints, " "); got != want {
		w.Errorf("%s: %s is %q, want %q", what, name, got, want)
	}
}

func TestHeartbeats(t *testing.T) {
	run(t, func(w world) {
		w.node("other", corev1.ConditionTrue)
		defer w.beat("other")()
		w.node("n", corev1.ConditionTrue)
		w.Create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{NodeName: "n"},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}})
		w.check("at start", "n", "True  mine:NoExecute")
		stop := w.beat("n")
		time.Sleep(10*time.Minute + time.Second)
		w.check("while it beats", "n", "True  mine:NoExecute")
		stop()
		time.Sleep(39 * time.Second)
		w.check("39 s after the last beat", "n", "True  mine:NoExecute")
		time.Sleep(29 * time.Second) // taints that evict are given out one in ten seconds
		w.check("68 s after the last beat", "n", "Unknown NodeStatusUnknown mine:NoExecute unreachable:NoExecute unreachable:NoSchedule")
		p, err := client.Pods.Get(t.Context(), w, api.Key{Namespace: "ns", Name: "p"})
		if err != nil || p.Status.Conditions[0].Status != corev1.ConditionFalse {
			t.Errorf("pod of a silent node: %+v, err %v; want not ready", p.Status.Conditions, err)
		}
		w.check("the other, which beats", "other", "True  mine:NoExecute")
		w.ready("n", corev1.ConditionTrue)
		w.check("back", "n", "True KubeletReady mine:NoExecute")
		w.ready("n", corev1.ConditionFalse)
		w.check("not ready by itself", "n", "False KubeletReady mine:NoExecute not-ready:NoSchedule")
		time.Sleep(30 * time.Second)
		w.check("30 s later", "n", "False KubeletReady mine:NoExecute not-ready:NoExecute not-ready:NoSchedule")
		time.Sleep(time.Minute)
		w.check("silent, too", "n", "Unknown NodeStatusUnknown mine:NoExecute unreachable:NoExecute unreachable:NoSchedule")
		if _, err := client.Nodes.Delete(t.Context(), w, api.Key{Name: "n"}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var got []string
		evs, err := client.Events.List(t.Context(), w, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			if e.InvolvedObject.Name != "other" {
				got = append(got, fmt.Sprintf("%s %s %s", e.Type, e.Reason, e.Message))
			}
		}
		slices.Sort(got)
		want := []string{
			"Normal NodeNotReady Node n status is now: NodeNotReady",
			"Normal RegisteredNode Node n event: Registered Node n in Controller",
			"Normal RemovingNode Node n event: Removing Node n from Controller",
			"Warning NodeNotReady Node is not ready",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestNodeThatNeverReports(t *testing.T) {
	run(t, func(w world) {
		w.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}}}})
		time.Sleep(50 * time.Second)
		if n := w.get("n"); len(n.Status.Conditions) != 0 || len(n.Spec.Taints) != 1 {
			t.Errorf("before a minute: %+v %+v", n.Status.Conditions, n.Spec.Taints)
		}
		time.Sleep(20 * time.Second)
		w.check("after a minute", "n", "Unknown NodeStatusNeverUpdated unreachable:NoSchedule")
		if n := w.get("n"); len(n.Status.Conditions) != 4 {
			t.Errorf("%d conditions, want 4", len(n.Status.Conditions))
		}
	})
}

func TestAllNodesSilent(t *testing.T) {
	run(t, func(w world) {
		w.node("a", corev1.ConditionTrue)
		w.node("b", corev1.ConditionTrue)
		time.Sleep(10 * time.Minute)
		for _, n := range []string{"a", "b"} {
			w.check("all silent: none loses its pods", n, "Unknown NodeStatusUnknown mine:NoExecute unreachable:NoSchedule")
		}
	})
}

func TestSchedulingTaints(t *testing.T) {
	now := metav1.Now()
	n := &corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{
		{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule}, {Key: corev1.TaintNodeDiskPressure, Effect: corev1.TaintEffectNoSchedule},
		{Key: corev1.TaintNodeDiskPressure, Effect: corev1.TaintEffectPreferNoSchedule}, {Key: "user", Effect: corev1.TaintEffectNoSchedule},
	}}}
	n.Status.Conditions = []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, {Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}, {Type: corev1.NodePIDPressure, Status: corev1.ConditionTrue}, {Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue},
	}
	var got []string
	for _, t := range schedulingTaints(n, now) {
		got = append(got, t.Key+":"+string(t.Effect))
	}
	want := []string{
		"node.kubernetes.io/disk-pressure:NoSchedule", "node.kubernetes.io/disk-pressure:PreferNoSchedule", "user:NoSchedule",
		"node.kubernetes.io/network-unavailable:NoSchedule", "node.kubernetes.io/pid-pressure:NoSchedule", "node.kubernetes.io/unschedulable:NoSchedule",
	}
	if !slices.Equal(got, want) {
		t.Errorf("taints %v, want %v", got, want)
	}
}

func TestEvictionRates(t *testing.T) {
	for _, tt := range []struct {
		ready, notReady int
		want            float64
	}{{10, 1, rate}, {1, 2, rate}, {4, 5, 0}, {40, 60, secondaryRate}, {60, 40, rate}, {0, 10, rate}} {
		if got := evictionRate(tt.ready, tt.notReady); got != tt.want {
			t.Errorf("rate with %d ready and %d not is %v, want %v", tt.ready, tt.notReady, got, tt.want)
		}
	}
	l := &lifecycle{nodes: map[string]*health{}, zones: map[string]*zone{}}
	for i := range 10 {
		l.nodes[fmt.Sprintf("ready-%d", i)] = &health{ready: corev1.ConditionTrue}
	}
	for i := range 4 {
		l.nodes[fmt.Sprintf("down-%d", i)] = &health{ready: corev1.ConditionUnknown}
	}
	l.nodes["elsewhere"] = &health{ready: corev1.ConditionFalse, zone: "z"}
	var got []string
	now := time.Now()
	for i := range 9 {
		for _, n := range l.due(now.Add(time.Duration(i) * period)) {
			l.nodes[n].tainted = true
			got = append(got, fmt.Sprintf("%v %s", time.Duration(i)*period, n))
		}
	}
	want := []string{"0s down-0", "0s elsewhere", "10s down-1", "20s down-2", "30s down-3"}
	if !slices.Equal(got, want) {
		t.Errorf("due %v, want %v", got, want)
	}
}
