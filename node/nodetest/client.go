// Package nodetest is an API small enough for tests of the node agent: a client.Client over objects in memory. It
// stores what it is given, counts revisions, reports conflicts and streams events; it defaults, validates and
// authorizes nothing.
package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
)

type change struct {
	resource api.Resource
	event    api.Event
}

// Client is the API.
type Client struct {
	Writes atomic.Int64 // all that were accepted
	// Token answers TokenRequests; nil refuses them.
	Token func(c client.Change) (any, error)

	mu      sync.Mutex
	objects map[api.Resource]map[api.Key]*api.Record
	log     []change
	rev     api.Revision
	uids    int
	grown   chan struct{} // closed when log grows
}

// New returns an API without objects.
func New() *Client {
	return &Client{objects: map[api.Resource]map[api.Key]*api.Record{}, grown: make(chan struct{})}
}

// Get implements client.Client.
func (c *Client) Get(_ context.Context, r api.Resource, k api.Key) (*api.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rec := c.objects[r][k]; rec != nil {
		return rec, nil
	}
	return nil, api.NotFound(r, k.Name)
}

// List implements client.Client. It knows no label selectors.
func (c *Client) List(_ context.Context, r api.Resource, o client.Options) (*api.RecordList, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &api.RecordList{Revision: c.rev}
	for _, k := range slices.SortedFunc(maps.Keys(c.objects[r]), api.Key.Compare) {
		if rec := c.objects[r][k]; matches(rec, o) {
			l.Records = append(l.Records, rec)
		}
	}
	return l, nil
}

func matches(rec *api.Record, o client.Options) bool {
	if rec == nil || o.Namespace != "" && rec.Namespace() != o.Namespace {
		return false
	}
	return o.Index == api.Index{} || rec.Indexed(o.Index)
}

// View implements client.Client.
func (c *Client) View(ctx context.Context, _ api.Revision) (client.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := view{c.rev, map[api.Resource]map[api.Key]*api.Record{}}
	for r, m := range c.objects {
		v.objects[r] = maps.Clone(m)
	}
	return v, nil
}

type view struct {
	rev     api.Revision
	objects map[api.Resource]map[api.Key]*api.Record
}

func (v view) Revision() api.Revision                    { return v.rev }
func (v view) Get(r api.Resource, k api.Key) *api.Record { return v.objects[r][k] }
func (v view) All(r api.Resource, ns string) iter.Seq[*api.Record] {
	return v.each(r, client.Options{Namespace: ns})
}
func (v view) ByIndex(r api.Resource, x api.Index) iter.Seq[*api.Record] {
	return v.each(r, client.Options{Index: x})
}

func (v view) each(r api.Resource, o client.Options) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(v.objects[r]), api.Key.Compare) {
			if rec := v.objects[r][k]; matches(rec, o) && !yield(rec) {
				return
			}
		}
	}
}

// Call implements client.Caller.
func (c *Client) Call(_ context.Context, ch client.Change) (any, error) {
	if ch.Subresource == "token" && c.Token != nil {
		return c.Token(ch)
	}
	return nil, fmt.Errorf("nodetest: no way to call %s/%s", ch.Resource, ch.Subresource)
}

// Commit implements client.Client. Only Events can be patched.
func (c *Client) Commit(_ context.Context, ch client.Change) (*api.Record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.objects[ch.Resource][ch.Key]
	switch ch.Verb {
	case api.Create:
		if old != nil {
			return nil, api.AlreadyExists(ch.Resource, ch.Key.Name)
		}
		return c.put(ch, nil)
	case api.Update:
		m := ch.Object.(metav1.Object)
		switch { // as upstream: a UID is a precondition, and leases are made by updating them
		case m.GetUID() != "" && (old == nil || string(m.GetUID()) != old.UID()):
			return nil, api.Conflict(ch.Resource, ch.Key.Name, errors.New("UID differs"))
		case old == nil && ch.Resource == api.Leases:
			return c.put(ch, nil)
		case old == nil:
			return nil, api.NotFound(ch.Resource, ch.Key.Name)
		}
		if v := m.GetResourceVersion(); v != "" && v != old.Revision().String() {
			return nil, api.Conflict(ch.Resource, ch.Key.Name, errors.New("the object has been modified"))
		}
		return c.put(ch, old)
	case api.Patch:
		if old == nil {
			return nil, api.NotFound(ch.Resource, ch.Key.Name)
		}
		if ch.Resource != api.Events {
			break
		}
		ev, err := client.Events.Decode(old)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(ch.Patch, ev); err != nil {
			return nil, err
		}
		return c.put(client.Change{Resource: ch.Resource, Object: ev}, old)
	case api.Delete:
		return c.delete(ch, old)
	}
	return nil, fmt.Errorf("nodetest: no way to %s", ch.Verb)
}

func (c *Client) put(ch client.Change, old *api.Record) (*api.Record, error) {
	o := ch.Object.(runtime.Object).DeepCopyObject()
	m := o.(metav1.Object)
	if m.GetUID() == "" {
		c.uids++
		m.SetUID(types.UID(fmt.Sprintf("uid-%d", c.uids)))
	}
	if old != nil {
		m.SetUID(types.UID(old.UID()))
	}
	rec, err := record(ch.Resource, o, c.rev+1)
	if err != nil {
		return nil, err
	}
	c.rev++
	c.store(ch.Resource, api.Event{Revision: c.rev, Old: old, New: rec})
	return rec, nil
}

func (c *Client) store(r api.Resource, ev api.Event) {
	if c.objects[r] == nil {
		c.objects[r] = map[api.Key]*api.Record{}
	}
	if ev.New != nil {
		c.objects[r][ev.New.Key()] = ev.New
	} else {
		delete(c.objects[r], ev.Old.Key())
	}
	c.Writes.Add(1)
	c.log = append(c.log, change{r, ev})
	close(c.grown)
	c.grown = make(chan struct{})
}

// delete treats a pod as the API does: without grace period 0 it is only marked.
func (c *Client) delete(ch client.Change, old *api.Record) (*api.Record, error) {
	if old == nil {
		return nil, api.NotFound(ch.Resource, ch.Key.Name)
	}
	o := ch.Delete
	if o != nil && o.Preconditions != nil && o.Preconditions.UID != nil && string(*o.Preconditions.UID) != old.UID() {
		return nil, api.Conflict(ch.Resource, ch.Key.Name, errors.New("UID differs"))
	}
	if ch.Resource == api.Pods && (o == nil || o.GracePeriodSeconds == nil || *o.GracePeriodSeconds != 0) {
		pod, err := client.Pods.Decode(old)
		if err != nil {
			return nil, err
		}
		grace := int64(30)
		if o != nil && o.GracePeriodSeconds != nil {
			grace = *o.GracePeriodSeconds
		}
		now := metav1.NewTime(time.Now())
		pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &now, &grace
		return c.put(client.Change{Resource: ch.Resource, Object: pod}, old)
	}
	c.rev++
	c.store(ch.Resource, api.Event{Revision: c.rev, Old: old})
	return old, nil
}

// record builds the record of a typed object.
func record(r api.Resource, o runtime.Object, rev api.Revision) (*api.Record, error) {
	m := o.(metav1.Object)
	m.SetResourceVersion(api.Slot[1 : len(api.Slot)-1])
	j, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	slot := bytes.Index(j, []byte(`"resourceVersion":`+api.Slot)) + len(`"resourceVersion":`)
	start := bytes.Index(j, []byte(`"metadata":`)) + len(`"metadata":`)
	d := json.NewDecoder(bytes.NewReader(j[start:]))
	var skip json.RawMessage
	if err := d.Decode(&skip); err != nil {
		return nil, err
	}
	p := api.Parts{Key: client.KeyOf(m), UID: string(m.GetUID()), JSON: j, Slot: slot,
		Metadata: api.Span{Start: start, End: start + int(d.InputOffset())}}
	if m.GetDeletionTimestamp() != nil {
		p.Flags |= api.Deleting
	}
	if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		p.Index = append(p.Index, api.Index{Name: "spec.nodeName", Value: pod.Spec.NodeName})
	}
	rec, err := api.NewRecord(p)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r, p.Key, err)
	}
	rec.Stamp(rev)
	return rec, nil
}

// Follow implements client.Client.
func (c *Client) Follow(_ context.Context, r api.Resource, after api.Revision, o client.Options) (api.Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &stream{c: c, r: r, o: o, rev: after}
	if o.Initial {
		s.rev, s.initial = c.rev, true
		for _, k := range slices.SortedFunc(maps.Keys(c.objects[r]), api.Key.Compare) {
			if rec := c.objects[r][k]; matches(rec, o) {
				s.first = append(s.first, api.Event{Revision: rec.Revision(), New: rec})
			}
		}
		s.initial = len(s.first) > 0
	}
	for s.at < len(c.log) && c.log[s.at].event.Revision <= s.rev {
		s.at++
	}
	return s, nil
}

type stream struct {
	c       *Client
	r       api.Resource
	o       client.Options
	first   []api.Event
	initial bool
	at      int
	rev     api.Revision
}

func (s *stream) Next(ctx context.Context) ([]api.Event, error) {
	if len(s.first) > 0 {
		evs := s.first
		s.first, s.initial = nil, false
		return evs, nil
	}
	for {
		s.c.mu.Lock()
		var evs []api.Event
		for ; s.at < len(s.c.log); s.at++ {
			ch := s.c.log[s.at]
			s.rev = ch.event.Revision
			if ch.resource != s.r {
				continue
			}
			ev := ch.event
			was, is := matches(ev.Old, s.o), matches(ev.New, s.o)
			switch {
			case !was && !is:
				continue
			case was && !is:
				ev.New = nil
			case !was:
				ev.Old = nil
			}
			evs = append(evs, ev)
		}
		grown := s.c.grown
		s.c.mu.Unlock()
		if len(evs) > 0 {
			return evs, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-grown:
		}
	}
}

func (s *stream) Revision() api.Revision { return s.rev }
func (s *stream) Initial() bool          { return s.initial }
func (s *stream) Close()                 {}
