package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node/nodetest"
)

// idle is a runtime without pods.
type idle struct{ Sandboxes }

func (idle) Observe(context.Context, types.UID) ([]PodState, error) { return nil, nil }

// A node that could not renew its lease for long has been given an unknown status: it says that it is there again.
func TestLateNodeReportsItsStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodetest.New()
		a, err := New(Config{Name: "n", Client: c, Instant: true, Quiet: true, Runtime: Runtime{Sandboxes: idle{}, Containers: struct{ Containers }{}, Images: struct{ Images }{}},
			Describe: func(_ context.Context, n *corev1.Node) { n.Status.Conditions = Healthy() }})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		beat := func(after time.Duration) *corev1.Node {
			t.Helper()
			time.Sleep(after)
			if err := a.Beat(t.Context()); err != nil {
				t.Fatal(err)
			}
			n, err := client.Nodes.Get(t.Context(), c, api.Key{Name: "n"})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		n := beat(0)
		lost := n.DeepCopy()
		conditionOf(lost.Status.Conditions, corev1.NodeReady).Status = corev1.ConditionUnknown
		lost.Status.Conditions = append(lost.Status.Conditions, corev1.NodeCondition{Type: "Theirs", Status: corev1.ConditionTrue})
		if _, err := client.Nodes.UpdateStatus(t.Context(), c, lost); err != nil {
			t.Fatal(err)
		}
		if n = beat(leasePeriod); conditionOf(n.Status.Conditions, corev1.NodeReady).Status != corev1.ConditionUnknown {
			t.Fatal("the status is written with every heartbeat")
		}
		n = beat(leaseSeconds * time.Second)
		ready := conditionOf(n.Status.Conditions, corev1.NodeReady)
		if ready.Status != corev1.ConditionTrue || time.Since(ready.LastTransitionTime.Time) > time.Second {
			t.Errorf("after %d s without a heartbeat: %+v", leaseSeconds, ready)
		}
		if conditionOf(n.Status.Conditions, "Theirs") == nil {
			t.Error("a condition of others is gone")
		}
		a.Wait()
		evs, err := client.Events.List(t.Context(), c, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(evs) != 2 || evs[1].Reason != "NodeReady" || evs[1].Count != 2 {
			t.Errorf("events %+v", evs)
		}
	})
}
