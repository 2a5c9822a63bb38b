package store

import (
	"cmp"

	"pintle.dev/api"
)

// table is one resource's objects in one version of the whole: what a View reads. Its own generation follows the rule
// of its trees: a table of another generation is copied before it changes.
type table struct {
	gen      uint64
	resource api.Resource
	records  tree[api.Key, *api.Record]
	postings tree[place, posting]
}

// Key makes tables the items of a tree.
func (t *table) Key() api.Resource { return t.resource }

// posting says that a record has an index entry. It is small, as a write copies a node of them for each of its entries.
type posting struct {
	rec *api.Record
	at  api.Posting
}

// place is where a posting stands: entries of one index value are neighbours, ordered by object key.
type place struct {
	index api.Index
	key   api.Key
}

// Key is the posting's place.
func (p posting) Key() place { return place{p.rec.Posted(p.at), p.rec.Key()} }

// Compare orders places by index name, value, then object key.
func (a place) Compare(b place) int {
	if c := cmp.Compare(a.index.Name, b.index.Name); c != 0 {
		return c
	}
	if c := cmp.Compare(a.index.Value, b.index.Value); c != 0 {
		return c
	}
	return a.key.Compare(b.key)
}

// put stores rec and returns the version it replaces, or nil.
func (t *table) put(gen uint64, rec *api.Record) *api.Record {
	old, _ := t.records.set(gen, rec)
	if old != nil {
		for _, x := range old.Postings() {
			if !posted(rec, x) {
				t.postings.delete(gen, place{x, old.Key()})
			}
		}
	}
	for at := range rec.Postings() {
		t.postings.set(gen, posting{rec, at})
	}
	return old
}

func posted(rec *api.Record, x api.Index) bool {
	for _, have := range rec.Postings() {
		if have == x {
			return true
		}
	}
	return false
}

// remove deletes the object and returns its last version, or nil.
func (t *table) remove(gen uint64, k api.Key) *api.Record {
	old, found := t.records.delete(gen, k)
	if !found {
		return nil
	}
	for _, x := range old.Postings() {
		t.postings.delete(gen, place{x, k})
	}
	return old
}

// tables are all tables in one version of the whole.
type tables struct {
	tree[api.Resource, *table]
}

// own returns the table for changing under gen, made if there is none.
func (t *tables) own(gen uint64, r api.Resource) *table {
	tb, ok := t.get(r)
	switch {
	case !ok:
		tb = &table{gen: gen, resource: r}
	case tb.gen == gen:
		return tb
	default:
		c := *tb
		c.gen = gen
		tb = &c
	}
	t.set(gen, tb)
	return tb
}
