// Package admission judges and completes objects on their way in: a chain of plugins, one per file, in the order that
// order.go lists. A plugin sees a resource.Write after defaulting; Admit may change the new object, Validate may only
// refuse. What must still be true when the object is committed goes into Write.Guards.
//
// Plugins are for rules that need other objects or the user (is the namespace alive, what priority does the class
// mean). Rules about an object alone belong to the kind's own hooks.
package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/validation/path"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// Plugin is one rule. Errors are *api.Error, mostly 403.
type Plugin interface {
	// Completes reports whether Admit may change w.New, by what kind of write w is. What no plugin completes is stored
	// as it was encoded before Admit.
	Completes(w *resource.Write) bool
	// Admit may change w.New, or refuse. It is called for creates, updates, deletes (w.New nil) and subresources.
	Admit(ctx context.Context, w *resource.Write) error
	// Validate may refuse; it sees the object after every Admit.
	Validate(ctx context.Context, w *resource.Write) error
}

// Snapshot returns the newest state of the cluster.
type Snapshot func(ctx context.Context) (store.View, error)

// Chain asks plugins in order; the first error ends it.
type Chain []Plugin

// Completes implements Plugin.
func (c Chain) Completes(w *resource.Write) bool {
	return slices.ContainsFunc(c, func(p Plugin) bool { return p.Completes(w) })
}

// Admit implements Plugin.
func (c Chain) Admit(ctx context.Context, w *resource.Write) error {
	for _, p := range c {
		if err := p.Admit(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// Validate implements Plugin.
func (c Chain) Validate(ctx context.Context, w *resource.Write) error {
	for _, p := range c {
		if err := p.Validate(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// forbidden refuses w. An object whose name the server makes goes by metadata.generateName, as upstream admits objects
// before it makes names, and one without any by Unknown.
func forbidden(w *resource.Write, err error) *api.Error {
	name := w.Request.Key.Name
	if w.New != nil && (name == "" || w.Generated) {
		name = cmp.Or(w.New.Meta.Name, "Unknown")
		if w.Generated {
			name = w.New.Meta.GenerateName
		}
	}
	return api.Forbidden(w.Definition.Resource, name, err)
}

// askable tells why no object can be asked for by a name, in the words of upstream's client; nil when one can.
func askable(name string) error {
	if name == "" {
		return errors.New("resource name may not be empty")
	}
	if wrong := path.IsValidPathSegmentName(name); len(wrong) > 0 {
		return fmt.Errorf("invalid resource name %q: %v", name, wrong)
	}
	return nil
}

// judge is a Plugin that only admits and changes nothing but Write.Guards.
type judge func(ctx context.Context, w *resource.Write) error

func (judge) Completes(*resource.Write) bool                       { return false }
func (f judge) Admit(ctx context.Context, w *resource.Write) error { return f(ctx, w) }
func (judge) Validate(_ context.Context, _ *resource.Write) error  { return nil }

// complete is a Plugin that only admits, and completes objects of one resource, not their subresources.
type complete struct {
	of    api.Resource
	admit func(ctx context.Context, w *resource.Write) error
}

func (c complete) Completes(w *resource.Write) bool {
	return w.Definition.Resource == c.of && w.Subresource == ""
}

func (c complete) Admit(ctx context.Context, w *resource.Write) error {
	if !c.Completes(w) {
		return nil
	}
	return c.admit(ctx, w)
}

func (complete) Validate(context.Context, *resource.Write) error { return nil }
