package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/webhook"
)

// CustomResources keeps a Registry in line with the stored CustomResourceDefinitions: what is established is registered,
// what is gone is unregistered and its table dropped. The server that commits a change of a definition calls Sync before
// it answers, so that an established kind is served when its create returns; Run does the same for changes that others
// commit. Every registration is computed from the newest state of the store under one lock, so it does not matter who
// comes first.
type CustomResources struct {
	registry *Registry
	store    *store.Store
	caller   *webhook.Caller

	mu   sync.Mutex
	seen map[string]registered // by the definition's name
}

// registered is what is known of a definition that the store holds.
type registered struct {
	resource api.Resource // zero while nothing is registered for it
	uid      string
	revision api.Revision
}

// NewCustomResources returns a CustomResources that has registered nothing yet: see Load.
func NewCustomResources(r *Registry, s *store.Store) *CustomResources {
	caller := &webhook.Caller{Snapshot: func(ctx context.Context) (store.View, error) { return s.View(ctx, 0) }}
	return &CustomResources{registry: r, store: s, caller: caller, seen: map[string]registered{}}
}

// Load registers every stored definition, in one change of the Registry, and returns the revision it saw. Definitions
// that cannot be registered are handed to report and left out: they must not keep the others from being served.
func (c *CustomResources) Load(ctx context.Context, report func(error)) (api.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.store.View(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("loading custom resource definitions: %w", err)
	}
	var all []*Definition
	stored := map[string]bool{}
	for rec := range v.All(api.CustomResourceDefinitions, "") {
		stored[rec.Name()] = true
		d, err := c.examine(ctx, rec)
		if err != nil {
			report(err)
		} else if d != nil {
			all = append(all, d)
		}
	}
	for name := range c.seen {
		if !stored[name] {
			if err := c.forget(ctx, name); err != nil {
				report(err)
			}
		}
	}
	if len(all) > 0 {
		c.registry.Put(all...)
	}
	return v.Revision(), nil
}

// Sync brings the Registry in line with one definition as it is stored now, or no longer.
func (c *CustomResources) Sync(ctx context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.store.View(ctx, 0)
	if err != nil {
		return fmt.Errorf("registering custom resource definition %s: %w", name, err)
	}
	rec := v.Get(api.CustomResourceDefinitions, api.Key{Name: name})
	if rec == nil {
		return c.forget(ctx, name)
	}
	d, err := c.examine(ctx, rec)
	if err != nil {
		return err
	}
	if d != nil {
		c.registry.Put(d)
	}
	return nil
}

// examine returns the Definition to be registered for rec, nil when there is none or nothing has changed.
func (c *CustomResources) examine(ctx context.Context, rec *api.Record) (*Definition, error) {
	was, known := c.seen[rec.Name()]
	if known && was.revision == rec.Revision() {
		return nil, nil
	}
	if known && was.uid != rec.UID() {
		if err := c.forget(ctx, rec.Name()); err != nil {
			return nil, err
		}
	}
	name := strings.Clone(rec.Name()) // what is kept must not keep the record
	is := registered{uid: strings.Clone(rec.UID()), revision: rec.Revision()}
	d, err := FromCRD(rec, c.caller)
	if err != nil {
		return nil, err
	}
	if d != nil {
		d.Renew = func(ctx context.Context) error { return c.Sync(ctx, name) }
		if c.registry.BuiltIn(d.Resource.Group) {
			d = nil
		} else {
			is.resource = d.Resource
			old := c.registry.ByResource(d.Resource)
			if old != nil && old.Declared == d.Declared {
				// What changed is the definition's status or metadata: watches of the kind go on.
				moveTo(d, old)
				if ending := d.Ending.Load(); old.Ending.Swap(ending) != ending {
					d = old // put again, discovery looks at it anew
				} else {
					d = nil
				}
			}
		}
	}
	c.seen[name] = is
	return d, nil
}

// forget unregisters what a definition that is gone has defined.
func (c *CustomResources) forget(ctx context.Context, name string) error {
	was, known := c.seen[name]
	if !known {
		return nil
	}
	if was.resource != (api.Resource{}) {
		c.registry.Remove(was.resource)
		if _, err := c.store.Drop(ctx, was.resource); err != nil {
			return fmt.Errorf("dropping the table of %s: %w", was.resource, err)
		}
	}
	delete(c.seen, name)
	return nil
}

// Run follows the stored definitions until ctx ends, after loading them. What cannot be registered is handed to report
// and does not stop it.
func (c *CustomResources) Run(ctx context.Context, report func(error)) error {
	for {
		rev, err := c.Load(ctx, report)
		if err != nil {
			return err
		}
		if err := c.follow(ctx, rev, report); !errors.Is(err, store.ErrExpired) {
			return err
		}
	}
}

func (c *CustomResources) follow(ctx context.Context, after api.Revision, report func(error)) error {
	cursor, err := c.store.Follow(api.CustomResourceDefinitions, after)
	if err != nil {
		return fmt.Errorf("following custom resource definitions: %w", err)
	}
	defer cursor.Close()
	for {
		events, err := cursor.Next(ctx)
		if err != nil {
			return fmt.Errorf("following custom resource definitions: %w", err)
		}
		for _, e := range events {
			if err := c.Sync(ctx, e.Record().Name()); err != nil {
				report(err)
			}
		}
	}
}
