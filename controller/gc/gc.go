// Package gc is the garbage collector: it deletes objects whose owners are all gone, and carries out foreground and
// orphaning deletion.
//
// It keeps no graph. Every table has an index of the UIDs in metadata.ownerReferences (api.IndexOwner), which is the
// graph's edges; a view gives both ends of each. What is kept besides is bounded: which tables have owned objects at
// all, who is waiting for dependents, and recently checked owners.
//
// Invariants:
//
//   - An object is deleted only after each of its owners has been asked for anew and found absent, of another UID, or
//     waiting for its dependents' end, and only while its UID and resourceVersion are those that were judged.
//   - An owner's deletion is followed by a look at every object that names it, in a view that is newer than the
//     deletion; an object that names an owner is looked at when it appears, unless the owner was lately seen alive. So
//     no order in which events of different resources arrive leaves an object behind.
package gc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/lru"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	workers = 20
	// checkedOwners is how many owners are remembered as alive, as deleted and as absent, each.
	checkedOwners = 4096
	// settle is how long changes of the catalog are collected. CustomResourceDefinitions come by the hundred, one right
	// after the other, and each of them has all resources looked at.
	settle = 100 * time.Millisecond
)

// ref identifies an object to look at.
type ref struct {
	resource api.Resource
	key      api.Key
	uid      string
}

type collector struct {
	client  client.Client
	events  *client.Recorder
	catalog controller.Catalog
	queue   *controller.Queue[ref]

	mu      sync.Mutex
	kinds   map[groupKind]controller.Kind
	owned   map[api.Resource]int // objects of the resource that have owners
	waiting map[string]ref       // by UID: objects in foreground deletion
	newest  api.Revision

	alive   *lru.Cache // owners that were found and whose deletion has not been heard of: UID -> namespace
	deleted *lru.Cache // UIDs of objects that were deleted lately
	absent  *lru.Cache // absentOwner: owners that were not found, and never will be
}

type groupKind struct{ group, kind string }

// New returns the controller. It learns from catalog which resources there are.
func New(c client.Client, catalog controller.Catalog, rec *client.Recorder) *controller.Controller {
	return controller.New("garbage-collector", nil).Also(newCollector(c, catalog, rec).run)
}

func newCollector(c client.Client, catalog controller.Catalog, rec *client.Recorder) *collector {
	return &collector{
		client: controller.Fresh(c), events: rec, catalog: catalog,
		kinds: map[groupKind]controller.Kind{}, owned: map[api.Resource]int{}, waiting: map[string]ref{},
		alive: lru.New(checkedOwners), deleted: lru.New(checkedOwners), absent: lru.New(checkedOwners),
		queue: controller.NewQueue[ref](0),
	}
}

func (g *collector) run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { g.work(ctx) })
	}
	g.follow(ctx, &wg)
	g.queue.Close()
	wg.Wait()
	return ctx.Err()
}

// follow follows every resource there is until ctx ends.
func (g *collector) follow(ctx context.Context, wg *sync.WaitGroup) {
	following := map[api.Resource]context.CancelFunc{}
	for {
		kinds, changed := g.catalog()
		g.learn(kinds)
		served := map[api.Resource]bool{}
		for _, k := range kinds {
			if k.Resource == api.Events {
				continue // by far the most, and nobody's dependents
			}
			served[k.Resource] = true
			if following[k.Resource] != nil {
				continue
			}
			follow, cancel := context.WithCancel(ctx)
			following[k.Resource] = cancel
			wg.Go(func() { g.watch(follow, k.Resource) })
		}
		for r, cancel := range following {
			if !served[r] {
				cancel()
				delete(following, r)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			for _, cancel := range following {
				cancel()
			}
			return
		}
	}
}

func (g *collector) learn(kinds []controller.Kind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.kinds)
	for _, k := range kinds {
		for _, group := range k.Groups {
			g.kinds[groupKind{group, k.Kind}] = k
		}
	}
	for _, k := range kinds { // a kind's own group decides
		g.kinds[groupKind{k.Resource.Group, k.Kind}] = k
	}
}

// watch looks at one resource's events.
func (g *collector) watch(ctx context.Context, r api.Resource) {
	lists := 0
	w := controller.Watcher{
		Listed: func(v client.View) {
			lists++
			g.list(r, v, lists > 1)
		},
		Event: func(e api.Event) { g.event(r, e) },
	}
	for ctx.Err() == nil {
		err := controller.Follow(ctx, g.client, r, w)
		if ctx.Err() != nil {
			return
		}
		slog.Debug("garbage collector: resource is not served", "resource", r, "err", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// list looks at all objects of a resource. After a gap in its events, owners may have gone unnoticed: then all
// dependents of the resource's kind are found only by looking at every object that is owned.
func (g *collector) list(r api.Resource, v client.View, gap bool) {
	g.mu.Lock()
	g.owned[r] = 0
	g.newest = max(g.newest, v.Revision())
	if gap {
		g.alive.Clear()
	}
	resources := g.ownedResources()
	g.mu.Unlock()
	for rec := range v.All(r, "") {
		g.event(r, api.Event{Revision: rec.Revision(), New: rec})
	}
	if !gap {
		return
	}
	for _, other := range resources {
		for rec := range v.All(other, "") {
			if rec.IndexValue(api.IndexOwner) != "" {
				g.add(other, rec)
			}
		}
	}
}

// ownedResources are the resources that have owned objects. The caller holds mu.
func (g *collector) ownedResources() (rs []api.Resource) {
	for r, n := range g.owned {
		if n > 0 {
			rs = append(rs, r)
		}
	}
	return rs
}

func (g *collector) add(r api.Resource, rec *api.Record) {
	k := rec.Key()
	g.queue.Add(ref{r, api.Key{Namespace: strings.Clone(k.Namespace), Name: strings.Clone(k.Name)}, strings.Clone(rec.UID())})
}

func ownedBy(rec *api.Record) bool { return rec != nil && rec.IndexValue(api.IndexOwner) != "" }

// event decides whom a change concerns: the object itself, when it may have lost its owners or is being deleted;
// owners that wait for it; and, when it is gone, its dependents.
func (g *collector) event(r api.Resource, e api.Event) {
	was, is := ownedBy(e.Old), ownedBy(e.New)
	g.mu.Lock()
	g.newest = max(g.newest, e.Revision)
	if was != is {
		if is {
			g.owned[r]++
		} else {
			g.owned[r]--
		}
	}
	if len(g.waiting) > 0 {
		for _, rec := range []*api.Record{e.Old, e.New} {
			if rec == nil {
				continue
			}
			for name, uid := range rec.Indexes() {
				if owner, ok := g.waiting[uid]; ok && name == api.IndexOwner {
					g.queue.Add(owner)
				}
			}
		}
	}
	if e.New == nil {
		delete(g.waiting, e.Old.UID())
	}
	g.mu.Unlock()

	switch {
	case e.New == nil:
		// The view in which dependents are looked for is newer than any event, this one included. In this order, and
		// find the other way round, so that a find that still saw the owner cannot leave it among the living.
		g.deleted.Add(strings.Clone(e.Old.UID()), nil)
		g.alive.Remove(e.Old.UID())
		g.add(r, e.Old)
	case e.New.Is(api.Deleting | api.HasFinalizers):
		g.add(r, e.New)
	case is && !sameOwners(e.Old, e.New) && !g.ownersAlive(e.New):
		g.add(r, e.New)
	}
}

// sameOwners reports whether the objects name the same owners, in the same order.
func sameOwners(old, new *api.Record) bool {
	if old == nil {
		return false
	}
	var uids []string
	for name, uid := range old.Indexes() {
		if name == api.IndexOwner {
			uids = append(uids, uid)
		}
	}
	for name, uid := range new.Indexes() {
		if name == api.IndexOwner {
			if len(uids) == 0 || uids[0] != uid {
				return false
			}
			uids = uids[1:]
		}
	}
	return len(uids) == 0
}

func (g *collector) ownersAlive(rec *api.Record) bool {
	for name, uid := range rec.Indexes() {
		if name != api.IndexOwner {
			continue
		}
		where, ok := g.alive.Get(uid)
		if !ok || where.(string) != rec.Namespace() && where.(string) != "" {
			return false
		}
	}
	return true
}

func (g *collector) work(ctx context.Context) {
	for {
		r, ok := g.queue.Get()
		if !ok {
			return
		}
		err := g.contained(ctx, r)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			g.queue.Retry(r)
			level := slog.LevelWarn
			if api.IsConflict(err) || errors.Is(err, errUnknownKind) || errors.Is(err, errAgain) {
				level = slog.LevelDebug
			}
			slog.Log(ctx, level, "garbage collector failed, will try again", "resource", r.resource, "key", r.key, "err", err)
		default:
			g.queue.Forget(r)
		}
		g.queue.Done(r)
	}
}

func (g *collector) contained(ctx context.Context, r ref) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return g.look(ctx, r)
}

// view is newer than every event so far.
func (g *collector) view(ctx context.Context) (client.View, error) {
	g.mu.Lock()
	newest := g.newest
	g.mu.Unlock()
	v, err := g.client.View(ctx, 0)
	if err != nil || v.Revision() >= newest {
		return v, err
	}
	return g.client.View(ctx, newest)
}

// look does what an object's state calls for.
func (g *collector) look(ctx context.Context, r ref) error {
	v, err := g.view(ctx)
	if err != nil {
		return err
	}
	rec := v.Get(r.resource, r.key)
	if rec == nil || rec.UID() != r.uid {
		g.dependents(v, r.uid, func(res api.Resource, d *api.Record) { g.add(res, d) })
		return nil
	}
	o, err := decode(rec)
	if err != nil {
		return err
	}
	switch {
	case rec.Is(api.Deleting) && o.has(orphanFinalizer):
		return g.orphan(ctx, v, r, rec, o)
	case rec.Is(api.Deleting) && o.has(foregroundFinalizer):
		return g.foreground(ctx, v, r, rec, o)
	case rec.Is(api.Deleting) || len(o.OwnerReferences) == 0:
		return nil
	}
	return g.judge(ctx, v, r, rec, o)
}

// dependents calls fn for every object that names the UID as an owner.
func (g *collector) dependents(v client.View, uid string, fn func(api.Resource, *api.Record)) {
	g.mu.Lock()
	resources := g.ownedResources()
	g.mu.Unlock()
	for _, r := range resources {
		for rec := range v.ByIndex(r, api.Index{Name: api.IndexOwner, Value: uid}) {
			fn(r, rec)
		}
	}
}

// about names a record in an event.
func (g *collector) about(r api.Resource, rec *api.Record) corev1.ObjectReference {
	o := corev1.ObjectReference{Namespace: rec.Namespace(), Name: rec.Name(), UID: uidOf(rec)}
	g.mu.Lock()
	defer g.mu.Unlock()
	for gk, k := range g.kinds {
		if k.Resource == r {
			o.Kind, o.APIVersion = gk.kind, k.Version
			if r.Group != "" {
				o.APIVersion = r.Group + "/" + k.Version
			}
		}
	}
	return o
}
