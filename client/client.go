// Package client is how everything but kubectl talks to the API: one interface over api.Record, with typed access on
// top. Local calls the request chain in process; HTTP reaches it over the network. Controllers, the scheduler and the
// node agent see nothing else of the server.
package client

import (
	"context"
	"iter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
)

// Client reads and writes objects with its own identity: it obeys authorization and admission like any other caller.
// Errors are *api.Error.
type Client interface {
	// Get returns the newest version of an object; a 404 when there is none.
	Get(ctx context.Context, r api.Resource, k api.Key) (*api.Record, error)
	// List returns what matches, from one snapshot.
	List(ctx context.Context, r api.Resource, o Options) (*api.RecordList, error)
	// View returns a snapshot of all resources that is at least as new as the revision (0: the newest).
	View(ctx context.Context, atLeast api.Revision) (View, error)
	// Follow streams events after a revision; 410 when the log does not reach back. Options.Initial starts with the
	// current objects instead.
	Follow(ctx context.Context, r api.Resource, after api.Revision, o Options) (api.Stream, error)
	// Commit makes one change and returns the object after it (for a deletion, its last state, or nil when the
	// server answered with a Status).
	Commit(ctx context.Context, c Change) (*api.Record, error)
}

// View is one revision of all resources.
type View interface {
	Revision() api.Revision
	// Get returns an object, or nil when there is none.
	Get(r api.Resource, k api.Key) *api.Record
	// All yields the objects of a namespace ("": of all) by key.
	All(r api.Resource, namespace string) iter.Seq[*api.Record]
	// ByIndex yields the objects that have the entry under a declared index, by key.
	ByIndex(r api.Resource, x api.Index) iter.Seq[*api.Record]
}

// Options narrow a List or Follow. The zero value selects everything.
type Options struct {
	Namespace string
	Labels    string    // a label selector
	Index     api.Index // an equality on a declared index, "metadata.name" included
	Initial   bool      // of Follow: start with the current objects, as sendInitialEvents does
}

// Change is one write. Verb is Create, Update, Patch or Delete.
type Change struct {
	Verb        api.Verb
	Resource    api.Resource
	Version     string // of the API to write in; "" for the preferred one
	Subresource string
	Key         api.Key
	Object      any             // of Create and Update: a pointer to the typed object, not changed by either side afterwards
	Base        *api.Base       // what Object was made from, where the caller has it; only calls in process use it
	Patch       []byte          // of Patch
	PatchType   types.PatchType // of Patch
	Delete      *metav1.DeleteOptions
	Manager     string // field manager; "" for the client's own
}
