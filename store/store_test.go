package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/mem"
	"pintle.dev/store/storetest"
)

var things = api.Resource{Group: "example.org", Name: "things"}

func open(t testing.TB, c store.Config) *store.Store {
	t.Helper()
	if c.Backend == nil {
		c.Backend = mem.New()
	}
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func record(ns, name, data string, index ...api.Index) *api.Record {
	return storetest.Object{Key: api.Key{Namespace: ns, Name: name}, Data: data, Index: index}.Record()
}

func commit(t *testing.T, s *store.Store, ws ...store.Write) api.Revision {
	t.Helper()
	rev, err := s.Commit(t.Context(), ws...)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func view(t *testing.T, s *store.Store) store.View {
	t.Helper()
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func names(seq func(func(*api.Record) bool)) []string {
	var out []string
	for r := range seq {
		out = append(out, r.Key().String())
	}
	return out
}

func TestViewSelects(t *testing.T) {
	s := open(t, store.Config{})
	x := api.Index{Name: "spec.nodeName", Value: "n1"}
	commit(t, s, store.Put(things, record("b", "1", ""), 0), store.Put(things, record("a", "2", "", x), 0))
	commit(t, s, store.Put(things, record("a", "1", "", x, api.Index{Name: "owner", Value: "u"}), 0))
	commit(t, s, store.Put(things, record("ab", "1", "", api.Index{Name: "spec.nodeName", Value: "n10"}), 0))
	commit(t, s, store.Put(things, record("", "0", ""), 0))
	v := view(t, s)
	for _, c := range []struct {
		name string
		seq  func(func(*api.Record) bool)
		want []string
	}{
		{"all", v.All(things, ""), []string{"0", "a/1", "a/2", "ab/1", "b/1"}},
		{"namespace", v.All(things, "a"), []string{"a/1", "a/2"}},
		{"from", v.From(things, "", api.Key{Namespace: "a", Name: "1"}), []string{"a/2", "ab/1", "b/1"}},
		{"from in namespace", v.From(things, "a", api.Key{Namespace: "a", Name: "1"}), []string{"a/2"}},
		{"from before the namespace", v.From(things, "ab", api.Key{Namespace: "a", Name: "1"}), []string{"ab/1"}},
		{"index", v.ByIndex(things, x), []string{"a/1", "a/2"}},
		{"index by namespace", v.ByIndex(things, api.Index{Name: store.IndexNamespace, Value: "a"}), []string{"a/1", "a/2"}},
		{"index by no namespace", v.ByIndex(things, api.Index{Name: store.IndexNamespace}), []string{"0"}},
		{"index by name", v.ByIndex(things, api.Index{Name: store.IndexName, Value: "1"}), []string{"a/1", "ab/1", "b/1"}},
		{"other table", v.All(api.Pods, ""), nil},
	} {
		if got := names(c.seq); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if n, all := v.Len(things, "a"), v.Len(things, ""); n != 2 || all != 5 {
		t.Errorf("Len is %d in the namespace and %d in all, want 2 and 5", n, all)
	}
	old := v.Get(things, api.Key{Namespace: "a", Name: "1"})
	commit(t, s, store.Put(things, record("a", "1", ""), old.Revision()))
	if got := names(view(t, s).ByIndex(things, x)); !slices.Equal(got, []string{"a/2"}) {
		t.Errorf("index after an update: %q", got)
	}
	var zero store.View
	if zero.Get(things, api.Key{Name: "0"}) != nil || zero.Len(things, "") != 0 || names(zero.All(things, "")) != nil {
		t.Error("the zero View is not empty")
	}
}

func TestConflictNamesTheWrite(t *testing.T) {
	s := open(t, store.Config{})
	rev := commit(t, s, store.Put(things, record("a", "1", "x"), 0))
	_, err := s.Commit(t.Context(), store.Put(things, record("a", "2", ""), 0), store.Guard(things, api.Key{Namespace: "a", Name: "1"}, 7))
	var conflict *store.ConflictError
	if !errors.Is(err, store.ErrConflict) || !errors.As(err, &conflict) {
		t.Fatalf("got %v", err)
	}
	want := store.ConflictError{Resource: things, Key: api.Key{Namespace: "a", Name: "1"}, Have: rev, Want: 7}
	if *conflict != want {
		t.Errorf("got %+v, want %+v", *conflict, want)
	}
	if view(t, s).Len(things, "") != 1 || s.Revision() != rev {
		t.Error("a commit that failed has written")
	}
}

func TestFollowMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, store.Config{})
		node := func(n string) api.Index { return api.Index{Name: "spec.nodeName", Value: n} }
		one, err := s.Follow(things, 0, node("n1"))
		if err != nil {
			t.Fatal(err)
		}
		defer one.Close()
		wait, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := one.Next(wait); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Next of an empty table: %v", err)
		}
		var got []api.Event
		go func() {
			es, err := one.Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			got = slices.Clone(es)
		}()
		synctest.Wait() // it waits for an event
		r1 := commit(t, s, store.Put(things, record("a", "1", "", node("n2")), 0))
		commit(t, s, store.Put(things, record("a", "2", "", node("n2")), 0))
		synctest.Wait()
		if n := s.Stats().Wakes; n != 0 || got != nil {
			t.Errorf("woken by an event that does not match: %d wakes, got %v", n, got)
		}
		r3 := commit(t, s, store.Put(things, record("a", "1", "", node("n1")), r1))
		synctest.Wait()
		if n := s.Stats().Wakes; n != 1 || len(got) != 1 || got[0].Revision != r3 || got[0].Old.Revision() != r1 {
			t.Fatalf("%d wakes, got %v", n, got)
		}
		r4 := commit(t, s, store.Put(things, record("a", "1", "", node("n3")), r3)) // leaves the selection: Old matches
		if es, err := one.Next(t.Context()); err != nil || len(es) != 1 || es[0].Revision != r4 {
			t.Fatalf("got %v, %v", es, err)
		}
	})
}

// joined returns a cursor that has seen everything and waits, but for its owner.
func joined(t *testing.T, s *store.Store, match ...api.Index) *store.Cursor {
	t.Helper()
	c, err := s.Follow(things, s.Revision(), match...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	wait, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := c.Next(wait); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Next of what has been read: %v", err)
	}
	return c
}

// next returns the revisions of what Next gives.
func next(t *testing.T, c *store.Cursor) []api.Revision {
	t.Helper()
	es, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var revs []api.Revision
	for _, e := range es {
		revs = append(revs, e.Revision)
	}
	return revs
}

// TestQuietCursor: a cursor is not behind for what does not match it, even when all that has left the log, and two events
// that do match come before its owner looks.
func TestQuietCursor(t *testing.T) {
	s := open(t, store.Config{LogBudget: 1, LogFloor: 4})
	c := joined(t, s, api.Index{Name: store.IndexName, Value: "mine"})
	for i := range 100 {
		commit(t, s, store.Put(things, record("a", fmt.Sprint(i), ""), 0))
	}
	r1 := commit(t, s, store.Put(things, record("a", "mine", "1"), 0))
	r2 := commit(t, s, store.Put(things, record("a", "mine", "2"), r1))
	if got := next(t, c); !slices.Equal(got, []api.Revision{r1, r2}) {
		t.Errorf("got %v, want %d and %d", got, r1, r2)
	}
}

// TestEventsOfOneCommit: they come in one piece, so that what passes them on can do so at once.
func TestEventsOfOneCommit(t *testing.T) {
	s := open(t, store.Config{})
	all, some := joined(t, s), joined(t, s, api.Index{Name: store.IndexNamespace, Value: "a"})
	rev := commit(t, s, store.Put(things, record("a", "1", ""), 0), store.Put(things, record("b", "2", ""), 0), store.Put(things, record("a", "3", ""), 0))
	if got := next(t, all); !slices.Equal(got, []api.Revision{rev - 2, rev - 1, rev}) {
		t.Errorf("got %v", got)
	}
	if got := next(t, some); !slices.Equal(got, []api.Revision{rev - 2, rev}) {
		t.Errorf("of namespace a: got %v", got)
	}
}

// TestCursorsOfOneGroup: one that leaves while others are handed an event disturbs none of them.
func TestCursorsOfOneGroup(t *testing.T) {
	s := open(t, store.Config{})
	var cs []*store.Cursor
	for range 5 {
		cs = append(cs, joined(t, s))
	}
	var rev api.Revision
	for len(cs) > 0 {
		rev = commit(t, s, store.Put(things, record("a", "1", ""), rev))
		for _, c := range cs {
			if got := next(t, c); !slices.Equal(got, []api.Revision{rev}) {
				t.Fatalf("of %d cursors one got %v, want %d", len(cs), got, rev)
			}
		}
		cs[0].Close()
		cs = cs[1:]
	}
	if n := s.Stats().Wakes; n != 5+4+3+2+1 {
		t.Errorf("%d were handed an event", n)
	}
}
