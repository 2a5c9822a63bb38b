package controller_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

func TestElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		key := api.Key{Namespace: "kube-system", Name: "it"}
		var mu sync.Mutex // sleeping is no synchronization in the eyes of the race detector
		led := map[string]bool{}
		lead := func(id string, does bool) {
			mu.Lock()
			defer mu.Unlock()
			led[id] = does
		}
		leads := func(id string) bool {
			mu.Lock()
			defer mu.Unlock()
			return led[id]
		}
		candidate := func(ctx context.Context, c client.Client, id string) chan error {
			done := make(chan error, 1)
			go func() {
				done <- controller.Election{Client: c, Lease: key, Identity: id}.Run(ctx, func(ctx context.Context) error {
					lead(id, true)
					defer lead(id, false)
					<-ctx.Done()
					return nil
				})
			}()
			synctest.Wait()
			return done
		}
		ctxA, stopA := context.WithCancel(t.Context())
		a := candidate(ctxA, c, "a")
		if !leads("a") {
			t.Fatal("a alone does not lead at once")
		}
		ctxB, stopB := context.WithCancel(t.Context())
		var cut atomic.Bool
		b := candidate(ctxB, cutOff{c, &cut}, "b")
		time.Sleep(10 * time.Minute)
		if !leads("a") || leads("b") {
			t.Fatalf("while a leads: a leads %v, b leads %v", leads("a"), leads("b"))
		}
		stopA()
		if err := <-a; err != nil {
			t.Fatalf("a: %v", err)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if !leads("b") {
			t.Fatal("b does not take over a released lease within two periods")
		}
		lease, err := client.Leases.Get(t.Context(), c, key)
		if err != nil || *lease.Spec.HolderIdentity != "b" || *lease.Spec.LeaseTransitions != 1 {
			t.Fatalf("lease %+v, err %v", lease.Spec, err)
		}

		// b loses its connection: it must stop before another may start.
		ctxC, stopC := context.WithCancel(t.Context())
		cc := candidate(ctxC, c, "c")
		cut.Store(true)
		for range 40 {
			time.Sleep(time.Second)
			synctest.Wait()
			if leads("b") && leads("c") {
				t.Fatal("b and c both lead")
			}
		}
		if !leads("c") {
			t.Fatal("c did not take over")
		}
		if err := <-b; err == nil {
			t.Error("b lost its lease without an error")
		}
		stopB()
		stopC()
		if err := <-cc; err != nil {
			t.Errorf("c: %v", err)
		}
	})
}

// TestElectionTerms follows a candidate that is deposed, and one that comes back under the identity of a process that
// was killed.
func TestElectionTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		key := api.Key{Namespace: "kube-system", Name: "it"}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var terms atomic.Int32
		var leading atomic.Bool
		e := controller.Election{Client: c, Lease: key, Identity: "a"}
		done := make(chan error, 1)
		go func() {
			done <- e.Terms(ctx, func(ctx context.Context) error {
				terms.Add(1)
				leading.Store(true)
				<-ctx.Done()
				leading.Store(false)
				return nil
			})
		}()
		synctest.Wait()
		if terms.Load() != 1 || !leading.Load() {
			t.Fatalf("terms %d, leading %v", terms.Load(), leading.Load())
		}
		other, now := "b", metav1.NowMicro()
		l, err := client.Leases.Get(ctx, c, key)
		if err != nil {
			t.Fatal(err)
		}
		l.Spec.HolderIdentity, l.Spec.RenewTime = &other, &now
		if _, err := client.Leases.Update(ctx, c, l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if leading.Load() {
			t.Fatal("a leads although b holds the lease")
		}
		time.Sleep(20 * time.Second) // b does not renew
		synctest.Wait()
		if terms.Load() != 2 || !leading.Load() {
			t.Fatalf("after the lease of b ran out: terms %d, leading %v", terms.Load(), leading.Load())
		}

		// Another process of the same identity need not wait, though the lease is not released.
		again, end := context.WithCancel(t.Context())
		started := false
		over := make(chan error, 1)
		go func() {
			over <- e.Run(again, func(ctx context.Context) error { started = true; <-ctx.Done(); return nil })
		}()
		synctest.Wait()
		if !started {
			t.Error("a lease of the same identity was waited for")
		}
		end()
		if err := <-over; err != nil {
			t.Error(err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// cutOff is a client whose connection can be lost.
type cutOff struct {
	client.Client
	cut *atomic.Bool
}

func (c cutOff) Get(ctx context.Context, r api.Resource, k api.Key) (*api.Record, error) {
	if c.cut.Load() {
		return nil, errors.New("connection lost")
	}
	return c.Client.Get(ctx, r, k)
}
