package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
)

// version is what the model knows of a record.
type version struct {
	revision api.Revision
	data     string
	index    string // the value of its "color" index; "" for none
}

// change is an event as the model sees it. A zero version stands for none.
type change struct {
	resource api.Resource
	key      api.Key
	revision api.Revision
	old, new version
	boundary bool // the last of its commit
}

type tableModel map[api.Key]version

// model is the store as it should be.
type model struct {
	tables   map[api.Resource]tableModel
	revision api.Revision
	history  []change
}

func newModel() *model { return &model{tables: map[api.Resource]tableModel{}} }

func (m *model) table(r api.Resource) tableModel {
	if m.tables[r] == nil {
		m.tables[r] = tableModel{}
	}
	return m.tables[r]
}

// write is one write of a commit as the model sees it. A zero version deletes.
type write struct {
	resource api.Resource
	key      api.Key
	new      version
}

// commit applies writes; the revisions are given out here.
func (m *model) commit(ws []write) {
	for i, w := range ws {
		m.revision++
		t := m.table(w.resource)
		c := change{resource: w.resource, key: w.key, revision: m.revision, old: t[w.key], boundary: i == len(ws)-1}
		if w.new == (version{}) {
			delete(t, w.key)
		} else {
			w.new.revision = m.revision
			c.new, t[w.key] = w.new, w.new
		}
		m.history = append(m.history, c)
	}
}

// at is a table as of a revision.
func (m *model) at(r api.Resource, rev api.Revision) tableModel {
	t := tableModel{}
	for _, c := range m.history {
		if c.resource != r || c.revision > rev {
			continue
		}
		if c.new == (version{}) {
			delete(t, c.key)
		} else {
			t[c.key] = c.new
		}
	}
	return t
}

// events are a table's changes after a revision.
func (m *model) events(r api.Resource, after api.Revision) []change {
	var cs []change
	for _, c := range m.history {
		if c.resource == r && c.revision > after {
			c.boundary = false
			cs = append(cs, c)
		}
	}
	return cs
}

func color(v string) api.Index { return api.Index{Name: "color", Value: v} }

// read makes a version of a record.
func read(rec *api.Record) version {
	if rec == nil {
		return version{}
	}
	return version{rec.Revision(), Data(rec), rec.IndexValue("color")}
}

func readEvent(r api.Resource, e api.Event) change {
	return change{resource: r, key: e.Record().Key(), revision: e.Revision, old: read(e.Old), new: read(e.New)}
}

// compare says how a view's table differs from the model's, or nil.
func compare(v store.View, r api.Resource, want tableModel) error {
	got := tableModel{}
	var last api.Key
	for rec := range v.All(r, "") {
		if last.Compare(rec.Key()) >= 0 {
			return fmt.Errorf("%q comes after %q", rec.Key(), last)
		}
		last = rec.Key()
		got[rec.Key()] = read(rec)
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("%s at revision %d: got %v, want %v", r, v.Revision(), got, want)
	}
	if v.Len(r, "") != len(want) {
		return fmt.Errorf("%s has length %d, want %d", r, v.Len(r, ""), len(want))
	}
	colors := map[string][]api.Key{}
	for k, w := range want {
		if v.Get(r, k) == nil {
			return fmt.Errorf("%q of %s is listed but not found", k, r)
		}
		if w.index != "" {
			colors[w.index] = append(colors[w.index], k)
		}
	}
	for c := range 4 {
		name := fmt.Sprint("c", c)
		slices.SortFunc(colors[name], api.Key.Compare)
		var keys []api.Key
		for rec := range v.ByIndex(r, color(name)) {
			keys = append(keys, rec.Key())
		}
		if !slices.Equal(keys, colors[name]) {
			return fmt.Errorf("%s of color %s at revision %d: got %q, want %q", r, name, v.Revision(), keys, colors[name])
		}
	}
	return nil
}

// drain reads a cursor up to a revision that has been committed. The table's last event may be before it, so that
// there is nothing to wait for.
func drain(ctx context.Context, c *store.Cursor, r api.Resource, through api.Revision) ([]change, error) {
	var got []change
	for c.Revision() < through {
		wait, cancel := context.WithTimeout(ctx, time.Millisecond)
		es, err := c.Next(wait)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return got, err
		}
		for _, e := range es {
			got = append(got, readEvent(r, e))
		}
	}
	return got, nil
}

// generator makes random commits.
type generator struct {
	rnd  *rand.Rand
	next int
}

// commit makes a commit that may or may not hold in the model's state, and what it does to the model if it holds.
func (g *generator) commit(m *model) (ws []store.Write, effect []write, holds bool) {
	holds = true
	n := 1
	if g.rnd.IntN(4) == 0 {
		n = 1 + g.rnd.IntN(12)
	}
	used := map[write]bool{}
	for range n {
		r := apples
		if g.rnd.IntN(3) == 0 {
			r = pears
		}
		k := api.Key{Namespace: fmt.Sprint("n", g.rnd.IntN(3)), Name: fmt.Sprint("o", g.rnd.IntN(12))}
		if id := (write{resource: r, key: k}); used[id] {
			continue
		} else {
			used[id] = true
		}
		have := m.table(r)[k].revision
		expect := have
		if g.rnd.IntN(12) == 0 {
			expect = api.Revision(g.rnd.IntN(int(m.revision) + 2))
		}
		switch op := g.rnd.IntN(10); {
		case op < 6 || have == 0 && op < 9:
			g.next++
			v := version{data: fmt.Sprint("d", g.next)}
			var index []api.Index
			if g.rnd.IntN(2) == 0 {
				v.index = fmt.Sprint("c", g.rnd.IntN(4))
				index = append(index, color(v.index))
			}
			ws = append(ws, store.Put(r, Object{Key: k, Data: v.data, Index: index}.Record(), expect))
			effect = append(effect, write{r, k, v})
		case op < 9:
			if expect == 0 {
				continue
			}
			ws = append(ws, store.Delete(r, k, expect))
			effect = append(effect, write{resource: r, key: k})
		default:
			ws = append(ws, store.Guard(r, k, expect))
		}
		holds = holds && expect == have
	}
	return ws, effect, holds
}

// testModel performs random operations and compares everything that can be read with the model, also what snapshots,
// cursors and earlier revisions show.
func testModel(t *testing.T, storage *Storage) { runModel(t, storage, false) }

// testModelReadBack is the same with events that leave memory at once, and a store that is closed and opened again now
// and then.
func testModelReadBack(t *testing.T, storage *Storage) { runModel(t, storage, true) }

func runModel(t *testing.T, storage *Storage, reopen bool) {
	g := &generator{rnd: rand.New(rand.NewPCG(1, 7))}
	m := newModel()
	var configs []func(*store.Config)
	if reopen {
		configs = append(configs, smallLog)
	}
	s := open(t, storage, configs...)
	type snapshot struct {
		view   store.View
		tables map[api.Resource]tableModel
	}
	var snapshots []snapshot
	check := func() {
		t.Helper()
		v := view(t, s)
		if v.Revision() != m.revision || s.Revision() != m.revision {
			t.Fatalf("revision %d and %d, want %d", v.Revision(), s.Revision(), m.revision)
		}
		for _, r := range []api.Resource{apples, pears} {
			if err := compare(v, r, m.table(r)); err != nil {
				t.Fatal(err)
			}
			then := api.Revision(g.rnd.IntN(int(m.revision) + 1))
			if past, err := s.At(t.Context(), r, then); err != nil {
				t.Fatalf("%s at %d: %v", r, then, err)
			} else if err := compare(past, r, m.at(r, then)); err != nil {
				t.Fatal(err)
			}
			c := follow(t, s, r, then)
			got, err := drain(t.Context(), c, r, m.revision)
			if want := m.events(r, then); err != nil || !slices.Equal(got, want) {
				t.Fatalf("events of %s after %d: %v\n got %v\nwant %v", r, then, err, got, want)
			}
			c.Close()
		}
		snapshots = append(snapshots, snapshot{v, map[api.Resource]tableModel{apples: maps.Clone(m.table(apples)), pears: maps.Clone(m.table(pears))}})
	}
	for step := range 1500 {
		ws, effect, holds := g.commit(m)
		if len(ws) == 0 {
			continue
		}
		rev, err := s.Commit(t.Context(), ws...)
		if holds != (err == nil) || err != nil && !errors.Is(err, store.ErrConflict) {
			t.Fatalf("step %d: Commit says %v, want success: %v", step, err, holds)
		}
		if holds {
			m.commit(effect)
			if rev != m.revision {
				t.Fatalf("step %d: committed at %d, want %d", step, rev, m.revision)
			}
		}
		if step%100 == 99 {
			check()
		}
		if reopen && step%400 == 399 {
			closeStore(t, s)
			s = open(t, storage, configs...)
			check()
		}
	}
	for _, snap := range snapshots {
		for r, want := range snap.tables {
			if err := compare(snap.view, r, want); err != nil {
				t.Fatalf("a snapshot has changed: %v", err)
			}
		}
	}
}
