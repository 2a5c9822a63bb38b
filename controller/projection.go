package controller

import (
	"iter"
	"strings"
	"sync"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Projection remembers small decoded extracts of records, so that a controller that looks at a thousand pods on each
// of their changes decodes only those that changed. Extracts are kept in groups (a ReplicaSet's pods), each as large as
// what it was last asked for, so that memory is bounded by the live objects.
type Projection[T any] struct {
	decode func(*api.Record) (*T, error)

	mu     sync.Mutex
	groups map[string]*group[T]
}

type group[T any] struct {
	mu      sync.Mutex
	round   uint64
	entries map[string]*extract[T]
}

type extract[T any] struct {
	revision api.Revision
	round    uint64
	value    *T
}

// NewProjection returns a Projection to T by client.Decode.
func NewProjection[T any]() *Projection[T] {
	return &Projection[T]{decode: client.Decode[T], groups: map[string]*group[T]{}}
}

// Each calls fn with each record and its extract, in order; an extract must not be changed. What the group held before
// and is not among recs is forgotten. It stops at the first record that does not decode. fn must not use the group.
func (p *Projection[T]) Each(name string, recs iter.Seq[*api.Record], fn func(*api.Record, *T)) error {
	p.mu.Lock()
	g := p.groups[name]
	if g == nil {
		g = &group[T]{entries: map[string]*extract[T]{}}
		p.groups[strings.Clone(name)] = g
	}
	p.mu.Unlock()

	g.mu.Lock()
	defer g.mu.Unlock()
	g.round++
	n := 0
	for rec := range recs {
		x := g.entries[rec.UID()]
		if x == nil || x.revision != rec.Revision() {
			v, err := p.decode(rec)
			if err != nil {
				return err
			}
			if x == nil {
				x = new(extract[T])
				g.entries[strings.Clone(rec.UID())] = x
			}
			x.revision, x.value = rec.Revision(), v
		}
		x.round = g.round
		n++
		fn(rec, x.value)
	}
	if n == len(g.entries) {
		return nil
	}
	for uid, x := range g.entries {
		if x.round != g.round {
			delete(g.entries, uid)
		}
	}
	return nil
}

// Forget drops a group.
func (p *Projection[T]) Forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.groups, name)
}
