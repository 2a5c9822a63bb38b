// Package controller is the runtime of reconcilers, in the shape operator authors know: a Reconciler is asked to bring
// one object's world in line with its spec, whenever anything it depends on may have changed.
//
//	controller.New("replicaset", r).For(api.ReplicaSets).Owns(api.Pods).Workers(5)
//
// Data flows one way: an event stream per resource (shared by all controllers of a Set) -> handlers that map an event
// to Requests -> a deduplicating, rate-limited Queue per controller -> workers that call Reconcile, which reads a
// client.View and writes with client.Client. There is no cache of decoded objects: a View is the store's own snapshot,
// and what a hot controller counts it keeps in a Projection.
//
// It is not where a controller's rules live (each has a package of its own below this one), and it knows no kinds.
// Invariants:
//
//   - C1 One key is reconciled by at most one worker at a time; a Request that comes meanwhile is kept.
//   - C2 Reconcilers are level-triggered: events may be merged, repeated and, after a lost history, replaced by a
//     listing, but every change is followed by a Reconcile that can see it. A View taken through Fresh is at least as
//     new as every event delivered and every own write, so nobody keeps expectations of writes still to be seen.
//   - C3 A Reconciler that fails or panics is called again after a delay that doubles; it harms no other key.
//   - C4 Run returns only after everything it started has ended.
package controller

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
)

// Request names the object to reconcile.
type Request struct {
	api.Key
}

// Result says when to reconcile the object again without a further event. The zero Result: not at all.
type Result struct {
	Requeue      bool          // again, after the back-off delay
	RequeueAfter time.Duration // again after this time; takes precedence over Requeue
	// Rest makes the next Reconcile of the object start at least this long after this one did, where that is longer
	// than Coalesce says: for objects whose Reconcile costs as much as they have dependents.
	Rest time.Duration
}

// Reconciler brings one object's world in line with its spec. It is called again after an error. The object may be gone.
type Reconciler interface {
	Reconcile(ctx context.Context, req Request) (Result, error)
}

// Func is a Reconciler that is a function.
type Func func(ctx context.Context, req Request) (Result, error)

// Reconcile calls f.
func (f Func) Reconcile(ctx context.Context, req Request) (Result, error) { return f(ctx, req) }

// Predicate reports whether an event is of interest.
type Predicate func(api.Event) bool

// Controller is a Reconciler with what triggers it. Its methods build it up and return it; it does nothing until run
// as part of a Set.
type Controller struct {
	name       string
	reconciler Reconciler
	workers    int
	interval   time.Duration
	primary    api.Resource
	watches    []watch
	background []func(context.Context) error

	queue *Queue[Request]
	stats stats
}

// A watch maps the events of one resource to Requests.
type watch struct {
	resource   api.Resource
	role       role
	mapping    func(api.Event) []Request
	predicates []Predicate
}

type role uint8

const (
	primary role = iota // the objects are those reconciled
	owned               // the objects are owned by those reconciled
	mapped
)

// New returns a controller that calls r. The name labels its logs and metrics.
func New(name string, r Reconciler) *Controller {
	return &Controller{name: name, reconciler: r, workers: 1}
}

// Name is the controller's name.
func (c *Controller) Name() string { return c.name }

// For reconciles every object of the resource: at start and on each of its events.
func (c *Controller) For(r api.Resource, ps ...Predicate) *Controller {
	c.primary = r
	c.watches = append(c.watches, watch{resource: r, role: primary, predicates: ps})
	return c
}

// Owns reconciles the objects of For that an object of r names in its ownerReferences, on each event of that object.
func (c *Controller) Owns(r api.Resource, ps ...Predicate) *Controller {
	c.watches = append(c.watches, watch{resource: r, role: owned, predicates: ps})
	return c
}

// Watches reconciles what mapping makes of each event of r. mapping is called by one goroutine at a time per resource,
// must be quick, and must not wait for the reconciler. What watches the same resource sees each event in the order of the
// calls that asked for it, For and Owns among them.
func (c *Controller) Watches(r api.Resource, mapping func(api.Event) []Request, ps ...Predicate) *Controller {
	c.watches = append(c.watches, watch{resource: r, role: mapped, mapping: mapping, predicates: ps})
	return c
}

// Workers sets how many keys are reconciled at a time; 1 unless set.
func (c *Controller) Workers(n int) *Controller {
	c.workers = n
	return c
}

// Coalesce makes reconciles of one key start at least d apart: the first comes at once, what happens within d of it is
// answered by one more.
func (c *Controller) Coalesce(d time.Duration) *Controller {
	c.interval = d
	return c
}

// Also runs f beside the workers for as long as the controller runs. When f fails it is started again after a delay.
func (c *Controller) Also(f func(context.Context) error) *Controller {
	c.background = append(c.background, f)
	return c
}

// NamespaceGone reports whether a write failed because its namespace is gone or on its way out, where there is nothing
// left to bring in line.
func NamespaceGone(err error) bool {
	return api.IsNotFound(err) || api.HasCause(err, corev1.NamespaceTerminatingCause)
}

// Deleted passes events of objects that are gone.
func Deleted(e api.Event) bool { return e.New == nil }
