package store

import (
	"iter"

	"pintle.dev/api"
)

// Names of the indexes every table has without declaring them: they are read off the key.
const (
	IndexNamespace = "metadata.namespace"
	IndexName      = "metadata.name"
)

// View is one revision across all tables (S5). It costs a few words, may be copied and kept, and never changes; while
// it is kept, so are the versions it shows. The zero View is empty, at revision 0.
type View struct {
	tables   tables
	revision api.Revision
}

// Revision is the revision of the last commit the view shows.
func (v View) Revision() api.Revision { return v.revision }

// Get returns an object, or nil when there is none.
func (v View) Get(r api.Resource, k api.Key) *api.Record {
	t, ok := v.tables.get(r)
	if !ok {
		return nil
	}
	rec, _ := t.records.get(k)
	return rec
}

// All yields the objects of a namespace ("": of all) in key order.
func (v View) All(r api.Resource, namespace string) iter.Seq[*api.Record] {
	return v.From(r, namespace, api.Key{})
}

// From yields the objects of a namespace ("": of all) whose key is greater than after, in key order. The zero Key
// comes before every object.
func (v View) From(r api.Resource, namespace string, after api.Key) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		t, ok := v.tables.get(r)
		if !ok {
			return
		}
		if start := (api.Key{Namespace: namespace}); after.Compare(start) < 0 {
			after = start
		}
		for rec := range t.records.from(after) {
			if namespace != "" && rec.Namespace() != namespace {
				return
			}
			if rec.Key() == after {
				continue
			}
			if !yield(rec) {
				return
			}
		}
	}
}

// ByIndex yields the objects that have the index entry, in key order. IndexNamespace and IndexName work on every
// table, the latter by looking at all of its keys. Marks find nothing here.
func (v View) ByIndex(r api.Resource, x api.Index) iter.Seq[*api.Record] {
	switch x.Name {
	case IndexNamespace:
		return v.inNamespace(r, x.Value)
	case IndexName:
		return v.named(r, x.Value)
	}
	return func(yield func(*api.Record) bool) {
		t, ok := v.tables.get(r)
		if !ok {
			return
		}
		for p := range t.postings.from(place{index: x}) {
			if p.rec.Posted(p.at) != x || !yield(p.rec) {
				return
			}
		}
	}
}

func (v View) inNamespace(r api.Resource, namespace string) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		for rec := range v.All(r, namespace) {
			if rec.Namespace() != namespace || !yield(rec) {
				return // "" selects what has no namespace, and that comes first
			}
		}
	}
}

func (v View) named(r api.Resource, name string) iter.Seq[*api.Record] {
	return func(yield func(*api.Record) bool) {
		for rec := range v.All(r, "") {
			if rec.Name() == name && !yield(rec) {
				return
			}
		}
	}
}

// Len is the number of objects in a namespace ("": in all), found without visiting them.
func (v View) Len(r api.Resource, namespace string) int {
	t, ok := v.tables.get(r)
	if !ok {
		return 0
	}
	if namespace == "" {
		return t.records.len()
	}
	after := namespace + "\x00" // the least string greater than namespace
	return t.records.rank(api.Key{Namespace: after}) - t.records.rank(api.Key{Namespace: namespace})
}

// Resources yields the resources that have had objects, in order.
func (v View) Resources() iter.Seq[api.Resource] {
	return func(yield func(api.Resource) bool) {
		for t := range v.tables.all() {
			if !yield(t.resource) {
				return
			}
		}
	}
}
