package hollow

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node/nodetest"
)

func testPod(name, nodeName string, command ...string) *corev1.Pod {
	grace := int64(30)
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Generation: 1},
		Spec: corev1.PodSpec{
			NodeName: nodeName, RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "c", Image: "app:1", Command: command,
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
}

// runFleet runs n hollow nodes over an empty API within a synctest bubble and ends them with the test.
func runFleet(t *testing.T, n int, test func(ctx context.Context, c *nodetest.Client)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := nodetest.New()
		f, err := New(Config{Client: c, ClientOf: func(string) client.Client { return c }, Nodes: n})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		<-f.Ready()
		synctest.Wait() // for the nodes' events
		test(ctx, c)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func getPod(t *testing.T, c *nodetest.Client, name string) *corev1.Pod {
	t.Helper()
	p, err := client.Pods.Get(t.Context(), c, api.Key{Namespace: "default", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPodRunsAndGoes(t *testing.T) {
	runFleet(t, 3, func(ctx context.Context, c *nodetest.Client) {
		if _, err := client.Pods.Create(ctx, c, testPod("a", "hollow-1")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p := getPod(t, c, "a")
		if p.Status.Phase != corev1.PodRunning || len(p.Status.ContainerStatuses) != 1 || !p.Status.ContainerStatuses[0].Ready {
			t.Fatalf("status %+v, want running and ready", p.Status)
		}
		if !strings.HasPrefix(p.Status.PodIP, "10.128.1.") || p.Status.HostIP != "172.16.0.2" {
			t.Errorf("addresses %s on %s", p.Status.PodIP, p.Status.HostIP)
		}
		var reasons []string
		evs, err := client.Events.List(ctx, c, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			if e.InvolvedObject.Kind == "Pod" {
				reasons = append(reasons, e.Reason+": "+e.Message)
			}
		}
		want := []string{`Pulled: Container image "app:1" already present on machine and can be accessed by the pod`, "Created: Container created", "Started: Container started"}
		if fmt.Sprint(reasons) != fmt.Sprint(want) {
			t.Errorf("events %q, want %q", reasons, want)
		}
		if _, err := client.Pods.Delete(ctx, c, client.KeyOf(p), nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := c.Get(ctx, api.Pods, client.KeyOf(p)); !api.IsNotFound(err) {
			t.Errorf("after deletion: %v, want not found", err)
		}
	})
}

func TestNodesTellThatTheyStart(t *testing.T) {
	status := func(node, reason string) string { return reason + ": Node " + node + " status is now: " + reason }
	for n, want := range map[int][]string{
		1: {"Starting: Starting kubelet.", status("hollow-0", "NodeHasSufficientMemory"), status("hollow-0", "NodeHasNoDiskPressure"), status("hollow-0", "NodeHasSufficientPID"),
			status("hollow-0", "NodeReady"), "NodeAllocatableEnforced: Updated Node Allocatable limit across pods"},
		talkative + 1: {"Starting: Starting kubelet.", status("hollow-0", "NodeReady")},
	} {
		runFleet(t, n, func(ctx context.Context, c *nodetest.Client) {
			evs, err := client.Events.List(ctx, c, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range evs {
				if o := e.InvolvedObject; o.Kind == "Node" && o.Name == "hollow-0" && o.UID == "hollow-0" && e.Namespace == "default" {
					got = append(got, e.Reason+": "+e.Message)
				}
			}
			if len(evs) != n*len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d nodes: %d events, of the first %q, want %q", n, len(evs), got, want)
			}
		})
	}
}

func TestStatusIsWrittenOnce(t *testing.T) {
	runFleet(t, 1, func(ctx context.Context, c *nodetest.Client) {
		before := c.Writes.Load()
		if _, err := client.Pods.Create(ctx, c, testPod("a", "hollow-0")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := c.Writes.Load() - before; n != 5 {
			t.Errorf("%d writes for a pod, want 5: create, status and three events", n)
		}
	})
}

func TestCommandsEndContainers(t *testing.T) {
	for _, tt := range []struct {
		command []string
		policy  corev1.RestartPolicy
		want    string
	}{
		{[]string{"true"}, corev1.RestartPolicyNever, "Succeeded 0"},
		{[]string{"sh", "-c", "exit 3"}, corev1.RestartPolicyNever, "Failed 3"},
		{[]string{"sleep", "5"}, corev1.RestartPolicyOnFailure, "Succeeded 0"},
		{[]string{"false"}, corev1.RestartPolicyAlways, "Running CrashLoopBackOff"},
		{[]string{"serve"}, corev1.RestartPolicyNever, "Running running"},
	} {
		t.Run(strings.Join(tt.command, " "), func(t *testing.T) {
			runFleet(t, 1, func(ctx context.Context, c *nodetest.Client) {
				p := testPod("a", "hollow-0", tt.command...)
				p.Spec.RestartPolicy = tt.policy
				if _, err := client.Pods.Create(ctx, c, p); err != nil {
					t.Fatal(err)
				}
				time.Sleep(6 * time.Second)
				synctest.Wait()
				s := getPod(t, c, "a").Status
				got := string(s.Phase) + " "
				switch st := s.ContainerStatuses[0].State; {
				case st.Terminated != nil:
					got += fmt.Sprint(st.Terminated.ExitCode)
				case st.Waiting != nil:
					got += st.Waiting.Reason
				case st.Running != nil:
					got += "running"
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestRefusesWhatDoesNotFit(t *testing.T) {
	runFleet(t, 1, func(ctx context.Context, c *nodetest.Client) {
		p := testPod("a", "hollow-0")
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: *quantity(t, "33")}
		q := testPod("b", "hollow-0")
		q.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		for _, p := range []*corev1.Pod{p, q} {
			if _, err := client.Pods.Create(ctx, c, p); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if s := getPod(t, c, "a").Status; s.Reason != "OutOfcpu" ||
			s.Message != "Pod was rejected: Node didn't have enough resource: cpu, requested: 33000, used: 0, capacity: 32000" {
			t.Errorf("a: %s %q", s.Reason, s.Message)
		}
		if s := getPod(t, c, "b").Status; s.Phase != corev1.PodFailed || s.Reason != "NodeAffinity" {
			t.Errorf("b: %s %s", s.Phase, s.Reason)
		}
	})
}

func TestHeartbeatsAreSpread(t *testing.T) {
	runFleet(t, 100, func(ctx context.Context, c *nodetest.Client) {
		before := c.Writes.Load()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if n := c.Writes.Load() - before; n < 980 || n > 1020 {
			t.Errorf("%d writes of 100 idle nodes in 100 s, want a lease each every 10 s", n)
		}
	})
}

// BenchmarkPods is the cost of a pod for hollow nodes alone: from bound to ready, events included, over an API that
// costs little.
func BenchmarkPods(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	c := nodetest.New()
	f, err := New(Config{Client: c, ClientOf: func(string) client.Client { return c }, Nodes: 100, Pods: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	<-f.Ready()
	b.ResetTimer()
	for i := range b.N {
		if _, err := client.Pods.Create(ctx, c, testPod(fmt.Sprint("p", i), fmt.Sprintf("hollow-%d", i%100))); err != nil {
			b.Fatal(err)
		}
	}
	for c.Writes.Load() < int64(5*b.N) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func quantity(t *testing.T, s string) *resource.Quantity {
	t.Helper()
	q, err := resource.ParseQuantity(s)
	if err != nil {
		t.Fatal(err)
	}
	return &q
}

// TestDeletedNodeComesBack deletes a node's object as an administrator does, and with it goes its lease: the next
// heartbeat makes both anew.
func TestDeletedNodeComesBack(t *testing.T) {
	runFleet(t, 1, func(ctx context.Context, c *nodetest.Client) {
		node, lease := api.Key{Name: "hollow-0"}, api.Key{Namespace: corev1.NamespaceNodeLease, Name: "hollow-0"}
		old, err := client.Nodes.Get(ctx, c, node)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Nodes.Delete(ctx, c, node, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Leases.Delete(ctx, c, lease, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(heartbeat + time.Second)
		fresh, err := client.Nodes.Get(ctx, c, node)
		if err != nil {
			t.Fatal(err)
		}
		l, err := client.Leases.Get(ctx, c, lease)
		if err != nil {
			t.Fatal(err)
		}
		if fresh.UID == old.UID || len(l.OwnerReferences) != 1 || l.OwnerReferences[0].UID != fresh.UID {
			t.Errorf("node %s (was %s), its lease belongs to %v; want a node of its own and a lease of that", fresh.UID, old.UID, l.OwnerReferences)
		}
	})
}
