package store

import (
	"context"
	"errors"

	"pintle.dev/api"
)

// Errors a Backend or the Store returns, to be tested with errors.Is.
var (
	ErrConflict = errors.New("store: a write's expected revision does not hold")
	ErrUnknown  = errors.New("store: the outcome of the commit is not known")
	ErrExpired  = errors.New("store: the event log no longer reaches back to that revision")
	ErrFull     = errors.New("store: the disk is about to be full; free space to allow writes again")
	ErrClosed   = errors.New("store: closed")
)

// Op is what a Write does.
type Op uint8

// The operations of a Write.
const (
	OpPut    Op = iota // store Record
	OpDelete           // remove the object
	OpGuard            // write nothing; only check Expect
)

// Write is one element of a commit. Every write names the revision its key must have (0: absent); when any of a
// commit's expectations fails, nothing is written (S7).
type Write struct {
	Op       Op
	Resource api.Resource
	Key      api.Key
	Expect   api.Revision
	Record   *api.Record // of a Put, unstamped; the store stamps it
}

// Put stores rec over the version that has the given revision (0: creates it).
func Put(res api.Resource, rec *api.Record, expect api.Revision) Write {
	return Write{Op: OpPut, Resource: res, Key: rec.Key(), Expect: expect, Record: rec}
}

// Delete removes the version of key that has the given revision.
func Delete(res api.Resource, key api.Key, expect api.Revision) Write {
	return Write{Op: OpDelete, Resource: res, Key: key, Expect: expect}
}

// Guard makes the commit fail unless key has the given revision (0: is absent).
func Guard(res api.Resource, key api.Key, expect api.Revision) Write {
	return Write{Op: OpGuard, Resource: res, Key: key, Expect: expect}
}

// Entry is one object as a Backend hands it over when loading.
type Entry struct {
	Resource api.Resource
	Record   *api.Record // stamped
}

// Change is one committed write: what Follow and the event log carry. Record is nil for a deletion.
type Change struct {
	Revision api.Revision
	Resource api.Resource
	Key      api.Key
	Record   *api.Record
}

// Batch is one commit's changes, or, when empty, the news that everything up to Revision has been delivered.
type Batch struct {
	Revision api.Revision
	Changes  []Change
}

// Backend keeps records durably. The Store in front of it holds the tables and the event log, so a Backend is asked
// for objects only when it is loaded and for events only when they have left memory.
type Backend interface {
	// Load hands over every live object and returns the revision of the last commit.
	Load(ctx context.Context, put func(Entry)) (api.Revision, error)
	// Commit makes all of ws durable, or nothing: ErrConflict when an expectation does not hold, ErrUnknown when the
	// outcome is not known. It returns the revision of the last write; the n writes that are no guards have the n
	// revisions up to it, in order.
	Commit(ctx context.Context, ws []Write) (api.Revision, error)
	// Follow calls fn for every batch after a revision, in order, until ctx ends; ErrExpired when the log does not
	// reach back that far.
	Follow(ctx context.Context, after api.Revision, fn func(Batch) error) error
	// Current is the revision of the last commit by any server.
	Current(ctx context.Context) (api.Revision, error)
	// Compact forgets superseded versions and log entries before a revision.
	Compact(ctx context.Context, before api.Revision) error
	Close() error
}
