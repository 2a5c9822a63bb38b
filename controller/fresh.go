package controller

import (
	"context"
	"sync/atomic"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Fresh returns c with a View(ctx, 0) that is at least as new as every write made through it and as every event
// delivered before the Reconcile that ctx belongs to (C2). Where the server lags behind its store this costs less than
// asking for the newest state of all, and a reconciler never acts on a state from before its own last action.
func Fresh(c client.Client) client.Client { return &fresh{Client: c} }

type fresh struct {
	client.Client
	floor atomic.Uint64
	// Deletions that answer with no object leave their revision unknown: then only the newest view will do.
	unknown, settled atomic.Uint64
}

func (f *fresh) View(ctx context.Context, atLeast api.Revision) (client.View, error) {
	unknown := f.unknown.Load()
	if atLeast == 0 && unknown == f.settled.Load() {
		atLeast = max(api.Revision(f.floor.Load()), seen(ctx))
	}
	v, err := f.Client.View(ctx, atLeast)
	if err != nil {
		return nil, err
	}
	if atLeast == 0 {
		raise(&f.floor, uint64(v.Revision()))
		raise(&f.settled, unknown)
	}
	return v, nil
}

func (f *fresh) Commit(ctx context.Context, ch client.Change) (*api.Record, error) {
	rec, err := f.Client.Commit(ctx, ch)
	switch {
	case err == nil && rec != nil && ch.Verb != api.Delete:
		raise(&f.floor, uint64(rec.Revision()))
	case err == nil:
		f.unknown.Add(1)
	}
	return rec, err
}

func raise(a *atomic.Uint64, to uint64) {
	for old := a.Load(); old < to && !a.CompareAndSwap(old, to); old = a.Load() {
	}
}

type seenKey struct{}

func withSeen(ctx context.Context, r api.Revision) context.Context {
	return context.WithValue(ctx, seenKey{}, r)
}

// seen is the newest revision delivered before the Reconcile that ctx belongs to; 0 outside of one.
func seen(ctx context.Context) api.Revision {
	r, _ := ctx.Value(seenKey{}).(api.Revision)
	return r
}
