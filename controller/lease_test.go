package controller_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
