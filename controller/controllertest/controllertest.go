// Package controllertest is an API for tests of reconcilers: a client.Client over objects in memory that keeps the
// promises controllers rely on. Revisions are one order, writes that name a stale resourceVersion conflict, status and
// the rest are written apart, generations count spec changes, deletions honour preconditions, finalizers, propagation
// policies and grace periods, and an update that changes nothing writes nothing.
//
// It is no API server: it neither defaults nor validates nor authorizes, and it finds index entries by looking at
// every object.
package controllertest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/btree"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"pintle.dev/api"
	"pintle.dev/client"
)

// API holds objects. It implements client.Client.
type API struct {
	gate   sync.Mutex // held while before looks at a change
	before func(client.Change) error

	mu       sync.Mutex
	revision api.Revision
	uids     int
	tables   map[api.Resource]*btree.BTreeG[*api.Record]
	log      []logged
	floor    api.Revision // the log holds what is later
	changed  chan struct{}
	commits  []client.Change
}

type logged struct {
	resource api.Resource
	event    api.Event
}

// New returns an API that holds objects: pointers to typed values with TypeMeta. It panics when one cannot be stored.
func New(objects ...metav1.Object) *API {
	a := &API{tables: map[api.Resource]*btree.BTreeG[*api.Record]{}, changed: make(chan struct{})}
	for _, o := range objects {
		a.Create(o)
	}
	return a
}

// Create stores an object as it is, status included; a missing UID and creationTimestamp are filled in.
func (a *API) Create(o metav1.Object) *api.Record {
	d, err := decode(o)
	if err != nil {
		panic(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rec, err := a.create(d.resource(), d)
	if err != nil {
		panic(fmt.Sprintf("controllertest: storing %T %s: %v", o, o.GetName(), err))
	}
	return rec
}

// Before has f see every change first, one at a time, and refuse those that it returns an error for. nil refuses none.
func (a *API) Before(f func(client.Change) error) {
	a.gate.Lock()
	defer a.gate.Unlock()
	a.before = f
}

func (a *API) refused(c client.Change) error {
	a.gate.Lock()
	defer a.gate.Unlock()
	if a.before == nil {
		return nil
	}
	return a.before(c)
}

// Commits returns the changes made through Commit so far that were not refused.
func (a *API) Commits() []client.Change {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.commits)
}

// Forget drops the event log, so that every stream and every Follow from before now ends with a 410.
func (a *API) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log, a.floor = nil, a.revision+1
	a.revision++
	a.wake()
}

func (a *API) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *API) table(r api.Resource) *btree.BTreeG[*api.Record] {
	t := a.tables[r]
	if t == nil {
		t = btree.NewBTreeG(func(x, y *api.Record) bool { return x.Key().Compare(y.Key()) < 0 })
		a.tables[r] = t
	}
	return t
}

func (a *API) lookup(r api.Resource, k api.Key) *api.Record {
	var found *api.Record
	probe := probeRecord(k)
	a.table(r).Ascend(probe, func(rec *api.Record) bool {
		if rec.Key() == k {
			found = rec
		}
		return false
	})
	return found
}

// Get implements client.Client.
func (a *API) Get(_ context.Context, r api.Resource, k api.Key) (*api.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if rec := a.lookup(r, k); rec != nil {
		return rec, nil
	}
	return nil, api.NotFound(r, k.Name)
}

// List implements client.Client.
func (a *API) List(ctx context.Context, r api.Resource, o client.Options) (*api.RecordList, error) {
	match, err := matcher(o)
	if err != nil {
		return nil, err
	}
	v, err := a.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	l := &api.RecordList{Revision: v.Revision()}
	for rec := range v.All(r, o.Namespace) {
		if match(rec) {
			l.Records = append(l.Records, rec)
		}
	}
	return l, nil
}

func matcher(o client.Options) (func(*api.Record) bool, error) {
	sel, err := labels.Parse(o.Labels)
	if err != nil {
		return nil, api.BadRequest("unable to parse requirement: %v", err)
	}
	return func(rec *api.Record) bool {
		switch {
		case rec == nil:
			return false
		case o.Namespace != "" && rec.Namespace() != o.Namespace:
			return false
		case o.Index.Name == "metadata.name" && rec.Name() != o.Index.Value:
			return false
		case o.Index.Name != "" && o.Index.Name != "metadata.name" && !rec.Indexed(o.Index):
			return false
		}
		return sel.Matches(rec)
	}, nil
}

// View implements client.Client.
func (a *API) View(_ context.Context, atLeast api.Revision) (client.View, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if atLeast > a.revision {
		return nil, api.TimedOut(fmt.Sprintf("revision %d is later than the newest, %d", atLeast, a.revision))
	}
	v := view{revision: a.revision, tables: map[api.Resource]*btree.BTreeG[*api.Record]{}}
	for r, t := range a.tables {
		v.tables[r] = t.Copy()
	}
	return v, nil
}

type view struct {
	revision api.Revision
	tables   map[api.Resource]*btree.BTreeG[*api.Record]
}

func (v view) Revision() api.Revision { return v.revision }

func (v view) Get(r api.Resource, k api.Key) *api.Record {
	for rec := range v.from(r, k) {
		if rec.Key() == k {
			return rec
		}
		break
	}
	return nil
}

func (v view) from(r api.Resource, k api.Key) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		if t := v.tables[r]; t != nil {
			t.Ascend(probeRecord(k), yield)
		}
	}
}

func (v view) All(r api.Resource, namespace string) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		for rec := range v.from(r, api.Key{Namespace: namespace}) {
			if namespace != "" && rec.Namespace() != namespace || !yield(rec) {
				return
			}
		}
	}
}

func (v view) ByIndex(r api.Resource, x api.Index) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		for rec := range v.All(r, "") {
			if rec.Indexed(x) && !yield(rec) {
				return
			}
		}
	}
}

// Follow implements client.Client.
func (a *API) Follow(_ context.Context, r api.Resource, after api.Revision, o client.Options) (api.Stream, error) {
	match, err := matcher(o)
	if err != nil {
		return nil, err
	}
	if o.Initial {
		return nil, errors.New("controllertest: Follow with Initial is not supported")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if after < a.floor {
		return nil, api.Expired("too old resource version")
	}
	return &stream{api: a, resource: r, at: after, match: match}, nil
}

type stream struct {
	api      *API
	resource api.Resource
	at       api.Revision
	match    func(*api.Record) bool
}

func (s *stream) Revision() api.Revision { return s.at }
func (s *stream) Initial() bool          { return false }
func (s *stream) Close()                 {}

func (s *stream) Next(ctx context.Context) ([]api.Event, error) {
	for {
		evs, changed, err := s.take()
		if err != nil || len(evs) > 0 {
			return evs, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *stream) take() ([]api.Event, <-chan struct{}, error) {
	a := s.api
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.at < a.floor {
		return nil, nil, api.Expired("too old resource version")
	}
	first, _ := slices.BinarySearchFunc(a.log, s.at+1, func(l logged, r api.Revision) int { return int(l.event.Revision) - int(r) })
	var evs []api.Event
	for _, l := range a.log[first:] {
		e := l.event
		if l.resource != s.resource {
			continue
		}
		if !s.match(e.Old) {
			e.Old = nil
		}
		if !s.match(e.New) {
			e.New = nil
		}
		if e.Old != nil || e.New != nil {
			evs = append(evs, e)
		}
	}
	s.at = a.revision
	return evs, a.changed, nil
}

// put publishes a new version of an object, or its end when d is nil.
func (a *API) put(r api.Resource, old *api.Record, d document) (*api.Record, error) {
	a.revision++
	e := api.Event{Revision: a.revision, Old: old}
	if d != nil {
		rec, err := d.seal()
		if err != nil {
			return nil, err
		}
		rec.Stamp(a.revision)
		a.table(r).Set(rec)
		e.New = rec
	} else {
		a.table(r).Delete(old)
	}
	a.log = append(a.log, logged{r, e})
	a.wake()
	return e.New, nil
}

func (a *API) create(r api.Resource, d document) (*api.Record, error) {
	m := d.metadata()
	if m["generateName"] != nil && m["name"] == nil {
		a.uids++
		m["name"] = fmt.Sprintf("%s%05d", m["generateName"], a.uids)
	}
	if a.lookup(r, d.key()) != nil {
		return nil, api.AlreadyExists(r, d.key().Name)
	}
	if m["uid"] == nil {
		a.uids++
		m["uid"] = fmt.Sprintf("uid-%d", a.uids)
	}
	if m["creationTimestamp"] == nil {
		m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	if m["generation"] == nil && d["spec"] != nil {
		m["generation"] = 1
	}
	return a.put(r, nil, d)
}
