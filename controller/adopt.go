package controller

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Adoption connects objects that select others by label (ReplicaSets, Deployments) with those that have no controller
// yet. It knows each namespace's orphans and selectors from the event streams, so that no reconcile has to look
// through a namespace for them. A selector must not change during an object's life, which apps/v1 ensures.
type Adoption struct {
	owners, dependents api.Resource

	mu         sync.Mutex
	namespaces map[string]*adoptionScope
	known      map[string]bool // UIDs of owners
}

type adoptionScope struct {
	orphans   map[string]struct{}
	selectors map[string]ownerSelector
}

type ownerSelector struct {
	uid      string
	selector labels.Selector
}

// NewAdoption returns the Adoption of dependents by owners.
func NewAdoption(owners, dependents api.Resource) *Adoption {
	return &Adoption{owners: owners, dependents: dependents, namespaces: map[string]*adoptionScope{}, known: map[string]bool{}}
}

// Watch makes c feed the Adoption and reconcile owners that an orphan matches.
func (a *Adoption) Watch(c *Controller) *Controller {
	return c.Watches(a.owners, a.owner).Watches(a.dependents, a.dependent)
}

func (a *Adoption) scope(namespace string) *adoptionScope {
	s := a.namespaces[namespace]
	if s == nil {
		s = &adoptionScope{orphans: map[string]struct{}{}, selectors: map[string]ownerSelector{}}
		a.namespaces[strings.Clone(namespace)] = s
	}
	return s
}

func (a *Adoption) sweep(namespace string) {
	if s := a.namespaces[namespace]; s != nil && len(s.orphans) == 0 && len(s.selectors) == 0 {
		delete(a.namespaces, namespace)
	}
}

// selecting is what is read of an owner.
type selecting struct {
	Spec struct {
		Selector *metav1.LabelSelector `json:"selector"`
	} `json:"spec"`
}

func (a *Adoption) owner(e api.Event) []Request {
	rec := e.Record()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.scope(rec.Namespace())
	defer a.sweep(rec.Namespace())
	if e.New == nil {
		delete(s.selectors, rec.Name())
		delete(a.known, rec.UID())
		return nil
	}
	old, ok := s.selectors[rec.Name()]
	if ok && old.uid == rec.UID() {
		return nil
	}
	o, err := client.Decode[selecting](rec)
	if err != nil {
		panic(err) // what is stored is valid
	}
	sel, err := metav1.LabelSelectorAsSelector(o.Spec.Selector)
	if err != nil {
		sel = labels.Nothing()
	}
	uid := strings.Clone(rec.UID())
	delete(a.known, old.uid)
	s.selectors[strings.Clone(rec.Name())] = ownerSelector{uid, sel}
	a.known[uid] = true
	return nil
}

func (a *Adoption) dependent(e api.Event) (reqs []Request) {
	rec := e.Record()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.scope(rec.Namespace())
	defer a.sweep(rec.Namespace())
	if e.New == nil || a.controlled(rec) {
		delete(s.orphans, rec.Name())
		return nil
	}
	if _, ok := s.orphans[rec.Name()]; !ok {
		s.orphans[strings.Clone(rec.Name())] = struct{}{}
	}
	for name, o := range s.selectors {
		if o.selector.Matches(rec) {
			reqs = append(reqs, Request{api.Key{Namespace: rec.Namespace(), Name: name}})
		}
	}
	return reqs
}

// controlled reports whether the object has a controller. Only objects with unknown owners are decoded for that.
func (a *Adoption) controlled(rec *api.Record) bool {
	owned := false
	for name, uid := range rec.Indexes() {
		if name == api.IndexOwner {
			if a.known[uid] {
				return true
			}
			owned = true
		}
	}
	if !owned {
		return false
	}
	m, err := client.DecodeMetadata[Owned](rec)
	if err != nil {
		panic(err)
	}
	return m.Controller() != nil
}

// Owned is the part of an object's metadata that says whose it is.
type Owned struct {
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
}

// Controller is the reference to the object's controller, or nil.
func (o *Owned) Controller() *metav1.OwnerReference {
	for i := range o.OwnerReferences {
		if c := o.OwnerReferences[i].Controller; c != nil && *c {
			return &o.OwnerReferences[i]
		}
	}
	return nil
}

// Orphans yields the dependents in a namespace that match and, when the events were delivered, had no controller.
// Whether they still have none the caller sees in the view.
func (a *Adoption) Orphans(v client.View, namespace string, sel labels.Selector) iter.Seq[*api.Record] {
	a.mu.Lock()
	var names []string
	if s := a.namespaces[namespace]; s != nil {
		for n := range s.orphans {
			names = append(names, n)
		}
	}
	a.mu.Unlock()
	slices.Sort(names)
	return func(yield func(*api.Record) bool) {
		for _, n := range names {
			rec := v.Get(a.dependents, api.Key{Namespace: namespace, Name: n})
			if rec != nil && sel.Matches(rec) && !yield(rec) {
				return
			}
		}
	}
}

// Owner is an object that adopts and releases.
type Owner struct {
	Client     client.Client
	Resource   api.Resource
	APIVersion string
	Kind       string
	Object     metav1.Object
}

// Reference is the controller reference the owner's dependents carry.
func (o Owner) Reference() metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion: o.APIVersion, Kind: o.Kind, Name: o.Object.GetName(), UID: o.Object.GetUID(),
		Controller: &yes, BlockOwnerDeletion: &yes,
	}
}

// MayAdopt asks the server whether the owner is still the same and alive, as adopting for a dead owner would hand the
// object to the garbage collector.
func (o Owner) MayAdopt(ctx context.Context) error {
	rec, err := o.Client.Get(ctx, o.Resource, client.KeyOf(o.Object))
	if err != nil {
		return err
	}
	if types.UID(rec.UID()) != o.Object.GetUID() {
		return fmt.Errorf("original %s %s/%s is gone: got uid %s, wanted %s", o.Kind, o.Object.GetNamespace(), o.Object.GetName(), rec.UID(), o.Object.GetUID())
	}
	if rec.Is(api.Deleting) {
		return fmt.Errorf("%s/%s has just been deleted", o.Object.GetNamespace(), o.Object.GetName())
	}
	return nil
}

// Adopt makes the owner the controller of rec. A lost race is an error; the object is looked at again then.
func (o Owner) Adopt(ctx context.Context, r api.Resource, rec *api.Record) (*api.Record, error) {
	return o.disown(ctx, r, rec, []metav1.OwnerReference{o.Reference()})
}

// Release takes the owner out of rec's references. It is no error when the object is gone.
func (o Owner) Release(ctx context.Context, r api.Resource, rec *api.Record) error {
	_, err := o.disown(ctx, r, rec, nil)
	if api.IsNotFound(err) {
		return nil
	}
	return err
}

// disown replaces the owner's references in rec by refs.
func (o Owner) disown(ctx context.Context, r api.Resource, rec *api.Record, refs []metav1.OwnerReference) (*api.Record, error) {
	m, err := client.DecodeMetadata[Owned](rec)
	if err != nil {
		return nil, err
	}
	for _, ref := range m.OwnerReferences {
		if ref.UID != o.Object.GetUID() {
			refs = append(refs, ref)
		}
	}
	type metadata struct {
		UID             string                  `json:"uid"`
		ResourceVersion string                  `json:"resourceVersion"`
		OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
	}
	p, err := client.MergePatch(map[string]metadata{"metadata": {rec.UID(), rec.Revision().String(), refs}})
	if err != nil {
		return nil, err
	}
	return o.Client.Commit(ctx, client.Change{Verb: api.Patch, Resource: r, Key: rec.Key(), Patch: p.Body, PatchType: p.Type})
}
