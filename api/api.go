// Package api is Pintle's vocabulary: the nouns every other package speaks in, and nothing that does work on its own.
//
// Everything that enters the system is a Request and leaves as a Response through a Handler, the waist that HTTP and
// in-process callers share. What is stored is a Record, an object as its bytes; what happened to it is an Event.
// A Resource names a kind's table ("deployments" of "apps") and a Key names an object in it.
//
// The package knows no transport, no storage and no kind's rules. Invariants:
//
//   - A Record never changes once it has been published by the store; everyone may keep and share it.
//   - A Record's JSON starts with apiVersion and kind, in either order, carries no managedFields (its Ownership does),
//     and has a blank slot for the resourceVersion that Stamp fills before publication.
//   - An Error is a metav1.Status with a cause; it is mapped to HTTP once, at the edge.
package api

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource names a resource across versions: the plural name and its API group ("" for the core group).
// It identifies a table of the store.
type Resource struct {
	Group, Name string
}

// String is the resource's qualified name: "deployments.apps", or "pods" in the core group.
func (r Resource) String() string {
	if r.Group == "" {
		return r.Name
	}
	return r.Name + "." + r.Group
}

// GroupResource is r in apimachinery's terms, as error constructors want it.
func (r Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Name}
}

// Compare orders resources by group, then name.
func (r Resource) Compare(o Resource) int {
	return cmp.Or(cmp.Compare(r.Group, o.Group), cmp.Compare(r.Name, o.Name))
}

// Key names an object within a resource. Namespace is empty for cluster-scoped resources.
type Key struct {
	Namespace, Name string
}

// String is "namespace/name", or the name alone when there is no namespace.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Compare orders keys as lists return them: by namespace, then name.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	return cmp.Compare(k.Name, o.Name)
}

// Revision is a position in the store's one order of writes; a resourceVersion in API terms. The first write has
// revision 1; 0 stands for "none".
type Revision uint64

// String is the decimal form used on the wire.
func (r Revision) String() string { return strconv.FormatUint(uint64(r), 10) }

// ParseRevision reads a resourceVersion as a client sent it. "" is 0.
func ParseRevision(s string) (Revision, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resourceVersion %q: must be an unsigned decimal integer", s)
	}
	return Revision(n), nil
}

// Event is one change of one object. Old is nil when the object was added, New is nil when it was deleted.
// The revision of an event is that of New, or, for a deletion, a revision of its own.
type Event struct {
	Revision Revision
	Old, New *Record
}

// Record returns the newest state the event carries: New, or for a deletion the last state before it.
func (e Event) Record() *Record {
	if e.New != nil {
		return e.New
	}
	return e.Old
}

// Handler answers requests: the waist of the system. Every layer (audit, authorization, admission, storage) is a
// Handler around another. The error is an *Error or is reported as an internal error (500).
type Handler func(ctx context.Context, r *Request) (*Response, error)
