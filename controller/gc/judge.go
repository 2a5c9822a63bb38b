package gc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	orphanFinalizer     = metav1.FinalizerOrphanDependents
	foregroundFinalizer = metav1.FinalizerDeleteDependents
)

// object is what is read of an object.
type object struct {
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
	Finalizers      []string                `json:"finalizers"`
}

func decode(rec *api.Record) (*object, error) { return client.DecodeMetadata[object](rec) }

func (o *object) has(finalizer string) bool { return slices.Contains(o.Finalizers, finalizer) }

func uidOf(rec *api.Record) types.UID { return types.UID(rec.UID()) }

// errUnknownKind: nothing can be said of an owner whose kind is not served. It may come back with its CRD.
var errUnknownKind = errors.New("the owner's kind is not served")

// absentOwner is an owner as looked for by a dependent in a namespace.
type absentOwner struct{ uid, namespace string }

// judge deletes an object that no owner holds any more, and drops references to owners that are gone from one that
// still has others.
func (g *collector) judge(ctx context.Context, v client.View, r ref, rec *api.Record, o *object) error {
	var solid, gone, leaving []metav1.OwnerReference
	for _, owner := range o.OwnerReferences {
		state, err := g.find(ctx, v, r, rec, owner)
		switch {
		case err != nil:
			return err
		case state == unresolvable:
			return nil
		case state == absent:
			gone = append(gone, owner)
		case state == leavingForeground:
			leaving = append(leaving, owner)
		default:
			solid = append(solid, owner)
		}
	}
	if len(solid) > 0 {
		if len(gone)+len(leaving) == 0 {
			return nil
		}
		return g.patch(ctx, r, rec, map[string]any{"ownerReferences": solid})
	}
	policy := metav1.DeletePropagationBackground
	switch hasDependents := g.unblock(ctx, v, r, rec, o, len(leaving) > 0); {
	case hasDependents.err != nil:
		return hasDependents.err
	case hasDependents.any:
		// The owner waits for its dependents' end, so they wait for theirs.
		policy = metav1.DeletePropagationForeground
	case o.has(orphanFinalizer):
		policy = metav1.DeletePropagationOrphan
	case o.has(foregroundFinalizer):
		policy = metav1.DeletePropagationForeground
	}
	uid, version := uidOf(rec), rec.Revision().String()
	_, err := g.client.Commit(ctx, client.Change{Verb: api.Delete, Resource: r.resource, Key: r.key, Delete: &metav1.DeleteOptions{
		Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		PropagationPolicy: &policy,
	}})
	if err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("deleting %s %s, whose owners are gone: %w", r.resource, r.key, err)
	}
	return nil
}

type found struct {
	any bool
	err error
}

// unblock reports, for an object with an owner in foreground deletion, whether it has dependents. When one of those is
// in foreground deletion itself there may be a circle, which is broken by letting the object block no owner.
func (g *collector) unblock(ctx context.Context, v client.View, r ref, rec *api.Record, o *object, leaving bool) (f found) {
	if !leaving {
		return f
	}
	circle := false
	g.dependents(v, r.uid, func(_ api.Resource, d *api.Record) {
		f.any = true
		if d.Is(api.Deleting | api.HasFinalizers) {
			if m, err := decode(d); err != nil {
				f.err = err
			} else if m.has(foregroundFinalizer) {
				circle = true
			}
		}
	})
	blocks := slices.ContainsFunc(o.OwnerReferences, blocking)
	if f.err == nil && circle && blocks {
		refs := slices.Clone(o.OwnerReferences)
		no := false
		for i := range refs {
			if refs[i].BlockOwnerDeletion != nil {
				refs[i].BlockOwnerDeletion = &no
			}
		}
		if f.err = g.patch(ctx, r, rec, map[string]any{"ownerReferences": refs}); f.err == nil {
			f.err = fmt.Errorf("breaking a circle of owners at %s %s: %w", r.resource, r.key, errAgain)
		}
	}
	return f
}

var errAgain = errors.New("to be looked at again")

func blocking(o metav1.OwnerReference) bool {
	return o.BlockOwnerDeletion != nil && *o.BlockOwnerDeletion
}

type ownerState uint8

const (
	held ownerState = iota
	absent
	leavingForeground
	unresolvable
)

// find looks for an owner where a dependent's reference says it is: in the dependent's namespace, or, if its kind is
// cluster-scoped, in the cluster. What the view does not have is asked of the API once more.
func (g *collector) find(ctx context.Context, v client.View, r ref, rec *api.Record, owner metav1.OwnerReference) (ownerState, error) {
	kind, ok := g.kindOf(owner)
	if !ok {
		return held, fmt.Errorf("owner %s %s of %s %s: %w", owner.APIVersion, owner.Kind, r.resource, r.key, errUnknownKind)
	}
	at := api.Key{Name: owner.Name}
	if kind.Namespaced {
		if at.Namespace = strings.Clone(rec.Namespace()); at.Namespace == "" {
			g.misplaced(r, rec, owner, "")
			return unresolvable, nil
		}
	}
	there := v.Get(kind.Resource, at)
	if there == nil || uidOf(there) != owner.UID {
		id := absentOwner{string(owner.UID), at.Namespace}
		if _, known := g.absent.Get(id); known {
			return absent, nil
		}
		var err error
		if there, err = g.client.Get(ctx, kind.Resource, at); err != nil && !api.IsNotFound(err) {
			return held, fmt.Errorf("looking for owner %s %s of %s %s: %w", kind.Resource, at, r.resource, r.key, err)
		}
		if err != nil || uidOf(there) != owner.UID {
			g.absent.Add(id, nil)
			if kind.Namespaced {
				g.elsewhere(v, kind, r, rec, owner)
			}
			return absent, nil
		}
	}
	if there.Is(api.Deleting | api.HasFinalizers) {
		m, err := decode(there)
		if err != nil {
			return held, err
		}
		if m.has(foregroundFinalizer) {
			return leavingForeground, nil
		}
		return held, nil
	}
	g.alive.Add(string(owner.UID), at.Namespace)
	if _, ok := g.deleted.Get(string(owner.UID)); ok { // meanwhile
		g.alive.Remove(string(owner.UID))
	}
	return held, nil
}

func (g *collector) kindOf(owner metav1.OwnerReference) (controller.Kind, bool) {
	group, _, ok := strings.Cut(owner.APIVersion, "/")
	if !ok {
		group = ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k, ok := g.kinds[groupKind{group, owner.Kind}]
	return k, ok
}

// elsewhere tells a dependent's author when the owner exists, but in another namespace.
func (g *collector) elsewhere(v client.View, kind controller.Kind, r ref, rec *api.Record, owner metav1.OwnerReference) {
	for ns := range v.All(api.Namespaces, "") {
		there := v.Get(kind.Resource, api.Key{Namespace: ns.Name(), Name: owner.Name})
		if there != nil && uidOf(there) == owner.UID {
			g.misplaced(r, rec, owner, rec.Namespace())
			return
		}
	}
}

func (g *collector) misplaced(r ref, rec *api.Record, owner metav1.OwnerReference, namespace string) {
	name := fmt.Sprintf("[%s/%s, namespace: %s, name: %s, uid: %s]", owner.APIVersion, owner.Kind, namespace, owner.Name, owner.UID)
	g.events.Warning(g.about(r.resource, rec), "OwnerRefInvalidNamespace", "ownerRef %s does not exist in namespace %q", name, namespace)
}

// foreground ends an owner's deletion once nothing is left that blocks it, and deletes what is.
func (g *collector) foreground(ctx context.Context, v client.View, r ref, rec *api.Record, o *object) error {
	g.mu.Lock()
	first := g.waiting[r.uid] == ref{}
	g.waiting[r.uid] = r
	g.mu.Unlock()
	// The owner is not one that keeps its dependents any more.
	g.alive.Remove(r.uid)
	left := false
	var failure error
	g.dependents(v, r.uid, func(res api.Resource, d *api.Record) {
		if d.UID() == r.uid {
			return // upstream waits for ever for an object that names itself as its owner
		}
		m, err := decode(d)
		if err != nil {
			failure = err
			return
		}
		blocks := slices.ContainsFunc(m.OwnerReferences, func(ref metav1.OwnerReference) bool {
			return string(ref.UID) == r.uid && blocking(ref)
		})
		left = left || blocks
		if (blocks || first) && !(d.Is(api.Deleting) && m.has(foregroundFinalizer)) {
			g.add(res, d)
		}
	})
	if left || failure != nil {
		return failure
	}
	return g.dropFinalizer(ctx, r, rec, o, foregroundFinalizer)
}

// orphan takes the owner out of its dependents' references before it goes.
func (g *collector) orphan(ctx context.Context, v client.View, r ref, rec *api.Record, o *object) error {
	var failures []error
	g.dependents(v, r.uid, func(res api.Resource, d *api.Record) {
		m, err := decode(d)
		if err == nil {
			refs := slices.DeleteFunc(m.OwnerReferences, func(ref metav1.OwnerReference) bool { return string(ref.UID) == r.uid })
			err = g.patch(ctx, ref{res, d.Key(), d.UID()}, d, map[string]any{"ownerReferences": refs})
		}
		if err != nil {
			failures = append(failures, err)
		}
	})
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("orphaning the dependents of %s %s: %w", r.resource, r.key, err)
	}
	return g.dropFinalizer(ctx, r, rec, o, orphanFinalizer)
}

func (g *collector) dropFinalizer(ctx context.Context, r ref, rec *api.Record, o *object, finalizer string) error {
	left := slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return f == finalizer })
	return g.patch(ctx, r, rec, map[string]any{"finalizers": left})
}

// patch sets members of an object's metadata, if it still is the version that was judged. An empty list is removed.
func (g *collector) patch(ctx context.Context, r ref, rec *api.Record, metadata map[string]any) error {
	metadata["uid"], metadata["resourceVersion"] = rec.UID(), rec.Revision().String()
	p, err := client.MergePatch(map[string]any{"metadata": metadata})
	if err != nil {
		return err
	}
	_, err = g.client.Commit(ctx, client.Change{Verb: api.Patch, Resource: r.resource, Key: r.key, Patch: p.Body, PatchType: p.Type})
	if err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("patching the metadata of %s %s: %w", r.resource, r.key, err)
	}
	return nil
}
