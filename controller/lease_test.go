package controller_test

import (
	"context"
	"errors"
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
		leading := map[string]bool{}
		candidate := func(ctx context.Context, c client.Client, id string) chan error {
			done := make(chan error, 1)
			go func() {
				done <- controller.Election{Client: c, Lease: key, Identity: id}.Run(ctx, func(ctx context.Context) error {
					leading[id] = true
					defer delete(leading, id)
					<-ctx.Done()
					return nil
				})
			}()
			synctest.Wait()
			return done
		}
		ctxA, stopA := context.WithCancel(t.Context())
		a := candidate(ctxA, c, "a")
		if !leading["a"] {
			t.Fatal("a alone does not lead at once")
		}
		ctxB, stopB := context.WithCancel(t.Context())
		cut := false
		b := candidate(ctxB, cutOff{c, &cut}, "b")
		time.Sleep(10 * time.Minute)
		if !leading["a"] || leading["b"] {
			t.Fatalf("while a leads: leading %v", leading)
		}
		stopA()
		if err := <-a; err != nil {
			t.Fatalf("a: %v", err)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if !leading["b"] {
			t.Fatal("b does not take over a released lease within two periods")
		}
		lease, err := client.Leases.Get(t.Context(), c, key)
		if err != nil || *lease.Spec.HolderIdentity != "b" || *lease.Spec.LeaseTransitions != 1 {
			t.Fatalf("lease %+v, err %v", lease.Spec, err)
		}

		// b loses its connection: it must stop before another may start.
		ctxC, stopC := context.WithCancel(t.Context())
		cc := candidate(ctxC, c, "c")
		cut = true
		for range 40 {
			time.Sleep(time.Second)
			synctest.Wait()
			if leading["b"] && leading["c"] {
				t.Fatal("b and c both lead")
			}
		}
		if !leading["c"] {
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
		terms, leading := 0, false
		e := controller.Election{Client: c, Lease: key, Identity: "a"}
		done := make(chan error, 1)
		go func() {
			done <- e.Terms(ctx, func(ctx context.Context) error {
				terms, leading = terms+1, true
				<-ctx.Done()
				leading = false
				return nil
			})
		}()
		synctest.Wait()
		if terms != 1 || !leading {
			t.Fatalf("terms %d, leading %v", terms, leading)
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
		if leading {
			t.Fatal("a leads although b holds the lease")
		}
		time.Sleep(20 * time.Second) // b does not renew
		synctest.Wait()
		if terms != 2 || !leading {
			t.Fatalf("after the lease of b ran out: terms %d, leading %v", terms, leading)
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
	cut *bool
}

func (c cutOff) Get(ctx context.Context, r api.Resource, k api.Key) (*api.Record, error) {
	if *c.cut {
		return nil, errors.New("connection lost")
	}
	return c.Client.Get(ctx, r, k)
}
