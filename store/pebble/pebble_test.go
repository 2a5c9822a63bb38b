package pebble_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
	"pintle.dev/store/storetest"
)

var things = api.Resource{Group: "example.org", Name: "things"}

func open(t *testing.T, fs vfs.FS) *store.Store {
	t.Helper()
	b, err := pebble.Open("data", pebble.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(name, data string) *api.Record {
	return storetest.Object{Key: api.Key{Namespace: "ns", Name: name}, Data: data,
		Owners: api.Owners{{Manager: "m", Operation: "Update", Fields: "{}", Time: 1}}}.Record()
}

// TestCloseWhileReadingBack closes the store under cursors that read from the engine.
func TestCloseWhileReadingBack(t *testing.T) {
	for range 20 {
		b, err := pebble.Open("data", pebble.Options{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), store.Config{Backend: b, LogBudget: 1, LogFloor: 1})
		if err != nil {
			t.Fatal(err)
		}
		rev := api.Revision(0)
		for i := range 50 {
			if rev, err = s.Commit(t.Context(), store.Put(things, record("a", fmt.Sprint(i)), rev)); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					c, err := s.Follow(things, 0)
					if err == nil {
						_, err = c.Next(t.Context())
						c.Close()
					}
					if errors.Is(err, store.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if b.Stats() != (pebble.Stats{}) {
			t.Error("a closed backend has counts")
		}
	}
}

func TestReopen(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	r1, err := s.Commit(t.Context(), store.Put(things, record("a", "1"), 0), store.Put(api.Pods, record("a", "1"), 0))
	if err != nil {
		t.Fatal(err)
	}
	r2, err := s.Commit(t.Context(), store.Put(things, record("a", "2"), r1-1), store.Delete(api.Pods, api.Key{Namespace: "ns", Name: "a"}, r1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs)
	defer s.Close()
	if s.Revision() != r2 {
		t.Errorf("revision %d after opening again, want %d", s.Revision(), r2)
	}
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	rec := v.Get(things, api.Key{Namespace: "ns", Name: "a"})
	if rec == nil || storetest.Data(rec) != "2" || rec.Revision() != r2-1 || len(rec.Owners()) != 1 || v.Len(api.Pods, "") != 0 {
		t.Fatalf("the objects differ after opening again: %v", rec)
	}
	c, err := s.Follow(things, 0)
	if err != nil {
		t.Fatal(err)
	}
	es, err := c.Next(t.Context())
	if err != nil || len(es) != 2 || es[0].Old != nil || storetest.Data(es[1].Old) != "1" || storetest.Data(es[1].New) != "2" {
		t.Fatalf("events read back: %v, %v", es, err)
	}
	if err := s.Compact(t.Context(), r1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Follow(things, r1-1); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Follow of what was compacted: %v", err)
	}
	if c, err = s.Follow(api.Pods, r1); err != nil {
		t.Fatal(err)
	}
	if es, err := c.Next(t.Context()); err != nil || len(es) != 1 || es[0].New != nil || es[0].Old == nil || es[0].Revision != r2 {
		t.Fatalf("the deletion read back: %v, %v", es, err)
	}
}
