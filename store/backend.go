package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pintle.dev/api"
)

// Errors a Backend or the Store returns, to be tested with errors.Is.
var (
	// ErrConflict: an expectation of a write does not hold, nothing was written. The error is a *ConflictError.
	ErrConflict = errors.New("store: a write's expected revision does not hold")
	// ErrUnknown: the write may or may not have become durable. The store has failed and takes no more writes.
	ErrUnknown = errors.New("store: the outcome of the commit is not known")
	// ErrExpired: the event log no longer reaches back to the revision.
	ErrExpired = errors.New("store: the event log no longer reaches back to that revision")
	// ErrFull: nothing was written because the disk is about to be full. Freeing space is all that is needed.
	ErrFull = errors.New("store: the disk is about to be full; free space, or delete objects, to allow writes again")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store: closed")
)

// ConflictError says which write of a commit expected a revision its key does not have. It Is ErrConflict.
type ConflictError struct {
	Resource   api.Resource
	Key        api.Key
	Have, Want api.Revision // 0: absent
}

// Error names the object and both revisions.
func (e *ConflictError) Error() string {
	say := func(r api.Revision) string {
		if r == 0 {
			return "absent"
		}
		return "at revision " + r.String()
	}
	return fmt.Sprintf("store: %s %q is %s, expected it %s", e.Resource, e.Key, say(e.Have), say(e.Want))
}

// Is makes errors.Is(e, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Op is what a Write does.
type Op uint8

// The operations of a Write.
const (
	OpPut    Op = iota // store Record
	OpDelete           // remove the object
	OpGuard            // write nothing; only check Expect
)

// Write is one element of a commit. Every write names the revision its key must have (0: absent) before the commit;
// when any of a commit's expectations fails, nothing is written (S7). A commit changes a key at most once, but may
// guard it as well.
type Write struct {
	Op       Op
	Resource api.Resource
	Key      api.Key
	Expect   api.Revision
	Record   *api.Record // of a Put, unstamped; the store stamps it
}

// Put stores rec over the version that has the given revision (0: creates it). The record belongs to the store from
// then on; after a commit that failed with anything but ErrConflict it cannot be put again.
func Put(res api.Resource, rec *api.Record, expect api.Revision) Write {
	return Write{Op: OpPut, Resource: res, Key: rec.Key(), Expect: expect, Record: rec}
}

// Delete removes the version of key that has the given revision, which must not be 0.
func Delete(res api.Resource, key api.Key, expect api.Revision) Write {
	return Write{Op: OpDelete, Resource: res, Key: key, Expect: expect}
}

// Guard makes the commit fail unless key has the given revision (0: is absent).
func Guard(res api.Resource, key api.Key, expect api.Revision) Write {
	return Write{Op: OpGuard, Resource: res, Key: key, Expect: expect}
}

// Change is one numbered write. Record is nil for a deletion, else stamped with Revision.
type Change struct {
	Revision api.Revision
	Resource api.Resource
	Key      api.Key
	Record   *api.Record
	Old      api.Revision // of the version it supersedes; 0 when there was none
}

// Batch is one commit: changes with ascending contiguous revisions.
type Batch []Change

// Frees reports whether a commit does nothing but take objects away, or objects that are being deleted a step further on
// their way: it is to pass on a disk that is nearly full.
func (b Batch) Frees() bool {
	return !slices.ContainsFunc(b, func(c Change) bool { return c.Record != nil && !c.Record.Is(api.Deleting) })
}

// State is what a Backend says of itself when loaded.
type State struct {
	// Revision of the last commit.
	Revision api.Revision
	// Horizon is the revision up to which superseded versions and events may be gone: Events serves cursors at it or
	// later.
	Horizon api.Revision
	// NoLog says that the backend keeps no events at all: those that have left memory are gone.
	NoLog bool
	// Dropped has the tables that were dropped after Horizon, and when: their cursors must be at that revision or later.
	Dropped map[api.Resource]api.Revision
	// Failed, where not nil, gets the reason when the backend fails outside of any call.
	Failed <-chan error
}

// Backend keeps records durably. The Store in front of it is its only writer: it holds the tables and the recent
// events, checks expectations, numbers the writes and groups the commits. A Backend is asked for objects only when it
// is loaded, and for events only when they have left memory. Events and Compact may run beside everything but Close,
// the other methods are called one at a time. (A backend that several servers share, such as etcd, cannot let the Store number the writes; it
// will need a second way to commit.)
type Backend interface {
	// Load calls put for every live object, stamped, in key order within each resource, and says where the log stands.
	// It is called once, first.
	Load(ctx context.Context, put func(api.Resource, *api.Record)) (State, error)
	// Commit makes the batches durable: when it returns nil all of them survive a crash, and after a crash at any other
	// time each is there wholly or not at all, and none without those before it. ErrFull means that nothing was written
	// and the Store may go on; any other error leaves the outcome unknown and ends the Store.
	Commit(ctx context.Context, group []Batch) error
	// Events returns events of one resource with after < revision <= through, in order, at least one when there are
	// any, as many as it sees fit. ErrExpired when after lies before the horizon.
	Events(ctx context.Context, res api.Resource, after, through api.Revision) ([]api.Event, error)
	// Drop durably forgets the objects and events of a resource. The drop has a revision of its own.
	Drop(ctx context.Context, res api.Resource, at api.Revision) error
	// Compact forgets events up to and including a revision, and the versions that only they show.
	Compact(ctx context.Context, through api.Revision) error
	Close() error
}
