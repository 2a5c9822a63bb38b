package replicaset

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// p makes a pod that is assigned, running, ready for an hour and a day old, and then changes it.
func p(name string, change ...func(*ranked)) ranked {
	r := ranked{pod: &pod{}, together: 1}
	r.Metadata.Name, r.Metadata.UID = name, types.UID(name)
	r.Metadata.CreationTimestamp = stamp(now.Add(-24 * time.Hour))
	r.Spec.NodeName, r.Status.Phase = "node", corev1.PodRunning
	ready(time.Hour)(&r)
	for _, f := range change {
		f(&r)
	}
	return r
}

func stamp(t time.Time) timestamp { return timestamp(t.Format(time.RFC3339)) }

func ready(ago time.Duration) func(*ranked) {
	return func(r *ranked) {
		r.Status.Conditions = append(r.Status.Conditions[:0:0], struct {
			Type               corev1.PodConditionType `json:"type"`
			Status             corev1.ConditionStatus  `json:"status"`
			LastTransitionTime timestamp               `json:"lastTransitionTime"`
		}{corev1.PodReady, corev1.ConditionTrue, stamp(now.Add(-ago))})
	}
}

func notReady(r *ranked)   { r.Status.Conditions = nil }
func unassigned(r *ranked) { r.Spec.NodeName = "" }
func pending(r *ranked)    { r.Status.Phase = corev1.PodPending }
func cheap(r *ranked)      { r.Metadata.Annotations.DeletionCost = "-10" }
func costly(r *ranked)     { r.Metadata.Annotations.DeletionCost = "10" }
func doubled(r *ranked)    { r.together = 2 }
func restarted(n int32) func(*ranked) {
	return func(r *ranked) { r.Status.ContainerStatuses = []restarts{{"c", n}} }
}
func age(d time.Duration) func(*ranked) {
	return func(r *ranked) { r.Metadata.CreationTimestamp = stamp(now.Add(-d)) }
}

func TestVictims(t *testing.T) {
	// Each list is in the order in which its pods must be deleted, so any prefix of it must be what victims chooses
	// from it reversed.
	for _, order := range [][]ranked{
		{p("unassigned", unassigned), p("pending", pending), p("not-ready", notReady), p("cheap", cheap), p("doubled", doubled), p("young", ready(time.Minute)), p("plain"), p("costly", costly)},
		{p("cheap-but-not-ready", cheap, notReady), p("costly-but-not-ready", costly, notReady), p("cheap", cheap, ready(100*time.Hour))},
		{p("never-ready-restarted", notReady, restarted(3)), p("never-ready", notReady)},
		{p("young", notReady, age(time.Minute)), p("old", notReady)},
		{p("ready-for-a-minute", ready(time.Minute), costly), p("ready-for-an-hour", costly)},
		{p("a", ready(60*time.Minute)), p("b", ready(59*time.Minute))}, // about as old: by UID
		{p("unassigned-costly", unassigned, costly), p("doubled-cheap", doubled, cheap)},
	} {
		for n := 1; n < len(order); n++ {
			pods := slices.Clone(order)
			slices.Reverse(pods)
			for i, v := range victims(pods, n, now) {
				if v.Metadata.Name != order[i].Metadata.Name {
					t.Errorf("victim %d of %d is %s, want %s", i, n, v.Metadata.Name, order[i].Metadata.Name)
				}
			}
		}
	}
}

func TestStatus(t *testing.T) {
	two := int32(2)
	rs := &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Replicas: &two, MinReadySeconds: 120}}
	rs.Generation = 7
	labelled := func(r *ranked) { r.labelled = true }
	pods := counted{[]ranked{p("a", labelled), p("b", ready(time.Minute)), p("c", notReady, labelled)}, 4}
	s := status(rs, pods, nil, now)
	if s.Replicas != 3 || s.FullyLabeledReplicas != 2 || s.ReadyReplicas != 2 || s.AvailableReplicas != 1 || *s.TerminatingReplicas != 4 || s.ObservedGeneration != 7 || len(s.Conditions) != 0 {
		t.Errorf("status %+v", s)
	}
	if d := untilAvailable(pods.active, rs.Spec.MinReadySeconds, now); d != time.Minute {
		t.Errorf("next pod is available in %v, want 1m", d)
	}
	for _, tt := range []struct {
		pods   int
		reason string
	}{{1, "FailedCreate"}, {3, "FailedDelete"}} {
		s := status(rs, counted{active: pods.active[:tt.pods]}, fmt.Errorf("no quota"), now)
		if len(s.Conditions) != 1 || s.Conditions[0].Reason != tt.reason || s.Conditions[0].Message != "no quota" || s.Conditions[0].Status != corev1.ConditionTrue {
			t.Errorf("conditions %+v, want %s", s.Conditions, tt.reason)
		}
		failing := *rs
		failing.Status = *s
		if again := status(&failing, counted{active: pods.active[:tt.pods]}, fmt.Errorf("still no quota"), now); !equal(again, s) {
			t.Errorf("the condition changed while the failure lasts: %+v", again.Conditions)
		}
		if healed := status(&failing, counted{}, nil, now); len(healed.Conditions) != 0 {
			t.Errorf("the condition stays after the failure: %+v", healed.Conditions)
		}
	}
}

func replicaSet(name string, replicas int32) *appsv1.ReplicaSet {
	labels := map[string]string{"app": "x"}
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
			},
		},
	}
}

// world runs the controller over an API in memory.
type world struct {
	*testing.T
	*controllertest.API
	key api.Key
}

func run(t *testing.T, f func(w world)) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		rec := client.NewRecorder(c, "replicaset-controller", "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, rec)}) }()
		f(world{t, c, api.Key{Namespace: "ns", Name: "rs"}})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func (w world) settle() { time.Sleep(time.Second); synctest.Wait() }

func (w world) pods() []*corev1.Pod {
	w.Helper()
	w.settle()
	pods, err := client.Pods.List(w.Context(), w, client.Options{Namespace: "ns"})
	if err != nil {
		w.Fatal(err)
	}
	return pods
}

func (w world) status() appsv1.ReplicaSetStatus {
	w.Helper()
	w.settle()
	rs, err := client.ReplicaSets.Get(w.Context(), w, w.key)
	if err != nil {
		w.Fatal(err)
	}
	return rs.Status
}

func (w world) patch(r api.Resource, k api.Key, sub, patch string) {
	w.Helper()
	if _, err := w.Commit(w.Context(), client.Change{Verb: api.Patch, Resource: r, Key: k, Subresource: sub, Patch: []byte(patch), PatchType: types.MergePatchType}); err != nil {
		w.Fatal(err)
	}
}

func TestScaling(t *testing.T) {
	run(t, func(w world) {
		w.Create(replicaSet("rs", 1300))
		pods := w.pods()
		if len(pods) != 1300 {
			t.Fatalf("%d pods, want 1300", len(pods))
		}
		o := pods[0]
		ref := metav1.GetControllerOf(o)
		if o.GenerateName != "rs-" || !strings.HasPrefix(o.Name, "rs-") || o.Labels["app"] != "x" || ref == nil || ref.Kind != "ReplicaSet" || ref.APIVersion != "apps/v1" || !*ref.BlockOwnerDeletion {
			t.Errorf("pod %+v", o.ObjectMeta)
		}
		for i, p := range pods {
			if i < 3 {
				w.patch(api.Pods, client.KeyOf(p), "status", `{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"1999-01-01T00:00:00Z"}]}}`)
			}
		}
		if s := w.status(); s.Replicas != 1300 || s.ReadyReplicas != 3 || s.AvailableReplicas != 3 || s.FullyLabeledReplicas != 1300 || s.ObservedGeneration != 1 {
			t.Errorf("status %+v", s)
		}
		w.patch(api.ReplicaSets, w.key, "", `{"spec":{"replicas":2}}`)
		for _, p := range w.pods() {
			if len(p.Status.Conditions) == 0 {
				t.Errorf("pod %s that is not ready was kept", p.Name)
			}
		}
		if s := w.status(); s.Replicas != 2 || s.ObservedGeneration != 2 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestEventsAreUpstreams(t *testing.T) {
	run(t, func(w world) {
		w.Create(replicaSet("rs", 1))
		pod := w.pods()[0].Name
		w.patch(api.ReplicaSets, w.key, "", `{"spec":{"replicas":0}}`)
		w.settle()
		w.Before(func(c client.Change) error {
			if c.Verb == api.Create && c.Resource == api.Pods {
				return api.Forbidden(api.Pods, "", fmt.Errorf("exceeded quota"))
			}
			return nil
		})
		w.patch(api.ReplicaSets, w.key, "", `{"spec":{"replicas":3}}`)
		w.settle()
		if s := w.status(); len(s.Conditions) != 1 || s.Conditions[0].Reason != "FailedCreate" || s.Conditions[0].Message != `pods is forbidden: exceeded quota` {
			t.Errorf("conditions %+v", s.Conditions)
		}
		evs, err := client.Events.List(t.Context(), w, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range evs {
			got = append(got, fmt.Sprintf("%s %s %s %s", e.InvolvedObject.Kind, e.Type, e.Reason, e.Message))
		}
		want := []string{
			"ReplicaSet Normal SuccessfulCreate Created pod: " + pod,
			"ReplicaSet Normal SuccessfulDelete Deleted pod: " + pod,
			"ReplicaSet Warning FailedCreate Error creating: pods is forbidden: exceeded quota",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		w.Before(nil)
		time.Sleep(time.Minute)
		if s := w.status(); s.Replicas != 3 || len(s.Conditions) != 0 {
			t.Errorf("after the failure: status %+v", s)
		}
	})
}

func TestSlowStart(t *testing.T) {
	run(t, func(w world) {
		tried := 0
		w.Before(func(c client.Change) error {
			if c.Verb == api.Create && c.Resource == api.Pods {
				if tried++; tried > 5 {
					return api.Forbidden(api.Pods, "", fmt.Errorf("exceeded quota"))
				}
			}
			return nil
		})
		w.Create(replicaSet("rs", 100))
		synctest.Wait()
		if tried != 1+2+4 {
			t.Errorf("%d creates tried, want 7: batches of 1 and 2, and 4 of which 2 fail", tried)
		}
	})
}

func TestAdoptionAndRelease(t *testing.T) {
	run(t, func(w world) {
		w.Create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "orphan", Labels: map[string]string{"app": "x"}}})
		w.Create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "other", Labels: map[string]string{"app": "y"}}})
		w.Create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "orphan", Labels: map[string]string{"app": "x"}}})
		w.settle()
		w.Create(replicaSet("rs", 2))
		owned := func() (names []string) {
			for _, p := range w.pods() {
				if r := metav1.GetControllerOf(p); r != nil && r.Name == "rs" {
					names = append(names, p.Name)
				}
			}
			return names
		}
		got := owned()
		if len(got) != 2 || !slices.Contains(got, "orphan") || slices.Contains(got, "other") {
			t.Fatalf("owned %v, want orphan and one more", got)
		}
		w.patch(api.Pods, api.Key{Namespace: "ns", Name: "orphan"}, "", `{"metadata":{"labels":{"app":"z"}}}`)
		if got := owned(); len(got) != 2 || slices.Contains(got, "orphan") {
			t.Errorf("owned %v after the pod's label changed, want two others", got)
		}
		w.patch(api.Pods, api.Key{Namespace: "ns", Name: "other"}, "", `{"metadata":{"labels":{"app":"x"}}}`)
		if got := owned(); len(got) != 2 {
			t.Errorf("owned %v, want two, one too many having been deleted", got)
		}
		// One that is being deleted neither adopts nor creates.
		w.patch(api.ReplicaSets, w.key, "", `{"metadata":{"finalizers":["x/y"]}}`)
		if _, err := client.ReplicaSets.Delete(t.Context(), w, w.key, nil); err != nil {
			t.Fatal(err)
		}
		w.Create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "late", Labels: map[string]string{"app": "x"}}})
		if got := owned(); len(got) != 2 || slices.Contains(got, "late") {
			t.Errorf("owned %v by a ReplicaSet that is being deleted", got)
		}
	})
}

func TestMinReadySeconds(t *testing.T) {
	run(t, func(w world) {
		rs := replicaSet("rs", 1)
		rs.Spec.MinReadySeconds = 30
		w.Create(rs)
		w.patch(api.Pods, client.KeyOf(w.pods()[0]), "status", fmt.Sprintf(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339)))
		if s := w.status(); s.ReadyReplicas != 1 || s.AvailableReplicas != 0 {
			t.Errorf("at once: status %+v", s)
		}
		time.Sleep(30 * time.Second)
		if s := w.status(); s.AvailableReplicas != 1 {
			t.Errorf("after minReadySeconds: status %+v", s)
		}
	})
}

func TestTerminating(t *testing.T) {
	run(t, func(w world) {
		w.Create(replicaSet("rs", 1))
		pod := w.pods()[0]
		w.patch(api.Pods, client.KeyOf(pod), "", `{"spec":{"nodeName":"n"}}`)
		if _, err := client.Pods.Delete(t.Context(), w, client.KeyOf(pod), nil); err != nil {
			t.Fatal(err)
		}
		if s := w.status(); s.Replicas != 1 || *s.TerminatingReplicas != 1 {
			t.Errorf("status %+v, want one replica and one terminating", s)
		}
		zero := int64(0)
		if _, err := client.Pods.Delete(t.Context(), w, client.KeyOf(pod), &metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		if s := w.status(); s.Replicas != 1 || *s.TerminatingReplicas != 0 {
			t.Errorf("status %+v, want one replica and none terminating", s)
		}
	})
}

func BenchmarkDecodePod(b *testing.B) {
	labels := map[string]string{"app": "x"}
	at := metav1.NewTime(now)
	o := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rs-abcde", UID: "0f8fad5b-d9cb-469f-a165-70867728950e", Labels: labels, CreationTimestamp: at},
		Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Image: "i", VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets"}}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Ready: true, ImageID: "i", ContainerID: "x"}}},
	}
	o.OwnerReferences = []metav1.OwnerReference{controller.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", Object: replicaSet("rs", 1)}.Reference()}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.PodReadyToStartContainers, corev1.ContainersReady, corev1.PodReady} {
		o.Status.Conditions = append(o.Status.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: at})
	}
	rec := controllertest.New().Create(o)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Decode[pod](rec); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTerminatingNamespace(t *testing.T) {
	run(t, func(w world) {
		tried := 0
		w.Before(func(c client.Change) error {
			if c.Verb == api.Create && c.Resource == api.Pods {
				tried++
				e := api.Forbidden(api.Pods, "", fmt.Errorf("unable to create new content in namespace ns because it is being terminated"))
				e.Status.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
				return e
			}
			return nil
		})
		w.Create(replicaSet("rs", 3))
		time.Sleep(time.Minute)
		// Once, and once more because its own status was written; a failure would be retried a dozen times.
		if s := w.status(); tried > 2 || len(s.Conditions) != 0 {
			t.Errorf("%d creates tried, conditions %+v; want two at most, and none", tried, s.Conditions)
		}
	})
}
