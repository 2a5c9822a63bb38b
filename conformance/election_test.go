package conformance

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// TestLeaderElection lets one of two lead, and the other when the first has gone.
func TestLeaderElection(t *testing.T) {
	t.Parallel()
	c, ns := shared.clients(t), shared.namespace(t)
	leads := make(chan int, 2)
	var stop [2]context.CancelFunc
	for i := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		stop[i] = cancel
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "lead", Namespace: ns}, Client: c.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: fmt.Sprint("candidate-", i)}},
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 200 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) { leads <- i; <-ctx.Done() },
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		go elector.Run(ctx)
	}
	defer stop[0]()
	defer stop[1]()
	first := <-leads
	stop[first]()
	select {
	case second := <-leads:
		if second == first {
			t.Errorf("candidate %d leads again", first)
		}
	case <-time.After(patience):
		t.Fatal("nobody took over")
	}
	lease, err := c.CoordinationV1().Leases(ns).Get(t.Context(), "lead", metav1.GetOptions{})
	if err != nil || *lease.Spec.HolderIdentity != fmt.Sprint("candidate-", 1-first) {
		t.Errorf("the lease is %+v: %v", lease.Spec, err)
	}
}
