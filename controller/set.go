package controller

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Set is controllers that run together and share one event stream per resource.
type Set struct {
	client      client.Client
	controllers []*Controller
	newest      atomic.Uint64 // revision of the newest event delivered by any stream
}

// NewSet returns a Set whose event streams are c's. The controllers write with whatever clients they were made with.
func NewSet(c client.Client, cs ...*Controller) *Set {
	s := &Set{client: c, controllers: cs}
	for _, c := range cs {
		c.queue = NewQueue[Request](c.interval)
	}
	return s
}

// Run runs the controllers until ctx ends, and waits for them to stop.
func Run(ctx context.Context, c client.Client, cs []*Controller) error {
	return NewSet(c, cs...).Run(ctx)
}

// Run runs the set's controllers until ctx ends, and waits for them to stop. A Set runs once.
func (s *Set) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	handlers := map[api.Resource][]*handler{}
	for _, c := range s.controllers {
		known := &knownUIDs{keys: map[string]api.Key{}}
		for _, w := range c.watches {
			handlers[w.resource] = append(handlers[w.resource], &handler{watch: w, controller: c, known: known})
		}
		for range c.workers {
			wg.Go(func() { s.work(ctx, c) })
		}
		for _, f := range c.background {
			wg.Go(func() { c.persist(ctx, f) })
		}
	}
	resources := make([]api.Resource, 0, len(handlers))
	for r := range handlers {
		resources = append(resources, r)
	}
	slices.SortFunc(resources, api.Resource.Compare)
	for _, r := range resources {
		wg.Go(func() { s.stream(ctx, r, handlers[r]) })
	}
	<-ctx.Done()
	for _, c := range s.controllers {
		c.queue.Close()
	}
	wg.Wait()
	return nil
}

// stream feeds the handlers of one resource. A resource that is not served yet is waited for.
func (s *Set) stream(ctx context.Context, r api.Resource, hs []*handler) {
	lists := 0
	w := Watcher{
		Listed: func(v client.View) {
			raise(&s.newest, uint64(v.Revision()))
			lists++
			for _, h := range hs {
				h.contain(r, func() { h.list(v, lists > 1) })
			}
		},
		Event: func(e api.Event) {
			raise(&s.newest, uint64(e.Revision))
			for _, h := range hs {
				h.contain(r, func() { h.event(e) })
			}
		},
	}
	for {
		err := Follow(ctx, s.client, r, w)
		if ctx.Err() != nil {
			return
		}
		slog.Warn("resource is not served, waiting for it", "resource", r, "err", err)
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Set) work(ctx context.Context, c *Controller) {
	for {
		req, ok := c.queue.Get()
		if !ok {
			return
		}
		start := time.Now()
		res, err := c.reconcile(withSeen(ctx, api.Revision(s.newest.Load())), req)
		c.stats.observe(time.Since(start), res, err)
		c.queue.Rest(req, res.Rest)
		switch {
		case ctx.Err() != nil: // the end, not a failure
		case req.Namespace != "" && api.HasCause(err, corev1.NamespaceTerminatingCause):
			// Nothing can be made there any more, and the object itself is about to go: not even worth a line.
			c.queue.Forget(req)
		case err != nil:
			c.queue.Retry(req)
			c.report(req, err)
		case res.RequeueAfter > 0:
			c.queue.Forget(req)
			c.queue.AddAfter(req, res.RequeueAfter)
		case res.Requeue:
			c.queue.Retry(req)
		default:
			c.queue.Forget(req)
		}
		c.queue.Done(req)
	}
}

// report logs a failed reconcile. Lost races are everyday events of optimistic concurrency, not worth a warning.
func (c *Controller) report(req Request, err error) {
	level := slog.LevelWarn
	if api.IsConflict(err) || api.IsAlreadyExists(err) {
		level = slog.LevelDebug
	}
	slog.Log(context.Background(), level, "reconcile failed, will try again", "controller", c.name, "key", req.Key, "err", err)
}

func (c *Controller) reconcile(ctx context.Context, req Request) (res Result, err error) {
	defer c.recovered(&err)
	return c.reconciler.Reconcile(ctx, req)
}

func (c *Controller) recovered(err *error) {
	if p := recover(); p != nil {
		c.stats.panics.Add(1)
		*err = fmt.Errorf("panic: %v", p)
		slog.Error("controller panicked", "controller", c.name, "panic", p, "stack", string(debug.Stack()))
	}
}

// persist runs f until ctx ends.
func (c *Controller) persist(ctx context.Context, f func(context.Context) error) {
	for delay := time.Second; ; delay = min(maxBackoff, 2*delay) {
		err := func() (err error) {
			defer c.recovered(&err)
			return f(ctx)
		}()
		if ctx.Err() != nil {
			return
		}
		slog.Error("part of a controller ended, starting it again", "controller", c.name, "delay", delay, "err", err)
		if !sleep(ctx, delay) {
			return
		}
	}
}

// knownUIDs are the objects a controller reconciles, by UID, so that an owned object's event needs no decoding to find
// its owner. An owner that is not known yet is reconciled when it becomes known, so nothing is missed.
type knownUIDs struct {
	mu   sync.RWMutex
	keys map[string]api.Key
}

// handler feeds one watch of a controller.
type handler struct {
	watch
	controller *Controller
	known      *knownUIDs
}

// contain keeps a panic in a handler from ending the stream of all.
func (h *handler) contain(r api.Resource, f func()) {
	var err error
	func() {
		defer h.controller.recovered(&err)
		f()
	}()
	if err != nil {
		slog.Error("event handler failed", "controller", h.controller.name, "resource", r, "err", err)
	}
}

// list handles a snapshot. After a gap in the events anything may have happened to objects that are not in the
// snapshot any more, so every object that is reconciled is looked at again.
func (h *handler) list(v client.View, gap bool) {
	if gap {
		h.known.mu.RLock()
		for _, k := range h.known.keys {
			h.controller.queue.Add(Request{k})
		}
		h.known.mu.RUnlock()
	}
	if h.role == primary && gap {
		h.known.mu.Lock()
		clear(h.known.keys)
		h.known.mu.Unlock()
	}
	for rec := range v.All(h.resource, "") {
		h.event(api.Event{Revision: rec.Revision(), New: rec})
	}
}

func (h *handler) event(e api.Event) {
	rec := e.Record()
	if h.role == primary {
		h.known.mu.Lock()
		if e.New == nil {
			delete(h.known.keys, rec.UID())
		} else if _, ok := h.known.keys[rec.UID()]; !ok {
			h.known.keys[strings.Clone(rec.UID())] = clone(rec.Key())
		}
		h.known.mu.Unlock()
	}
	for _, p := range h.predicates {
		if !p(e) {
			return
		}
	}
	switch h.role {
	case primary:
		h.controller.queue.Add(Request{clone(rec.Key())})
	case owned:
		h.owners(e.New)
		h.owners(e.Old)
	case mapped:
		for _, req := range h.mapping(e) {
			h.controller.queue.Add(Request{clone(req.Key)})
		}
	}
}

// clone copies a key that may be part of a record: a string of it keeps the whole record in memory.
func clone(k api.Key) api.Key {
	return api.Key{Namespace: strings.Clone(k.Namespace), Name: strings.Clone(k.Name)}
}

func (h *handler) owners(rec *api.Record) {
	if rec == nil {
		return
	}
	for name, uid := range rec.Indexes() {
		if name != api.IndexOwner {
			continue
		}
		h.known.mu.RLock()
		k, ok := h.known.keys[uid]
		h.known.mu.RUnlock()
		if ok {
			h.controller.queue.Add(Request{k})
		}
	}
}
