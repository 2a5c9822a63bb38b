package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pintle.dev/api"
	"pintle.dev/store"
)

// testSnapshots checks that one view shows several tables at one revision, that it stays as it is, and that an earlier
// revision can be had in pages while objects come, change and go.
func testSnapshots(t *testing.T, storage *Storage) {
	s := open(t, storage)
	var ws []store.Write
	for i := range 100 {
		ws = append(ws, store.Put(apples, object(fmt.Sprintf("o%03d", i), "old"), 0))
	}
	rev := commit(t, s, ws...)
	first := view(t, s)
	var got []string
	after := api.Key{}
	for page := 0; ; page++ {
		v := first
		if page > 0 {
			// Between the pages things move: behind the page, in it and before it.
			i := page * 10
			w := commit(t, s,
				store.Delete(apples, key(fmt.Sprintf("o%03d", i)), api.Revision(i+1)),
				store.Put(apples, object(fmt.Sprintf("o%03d", i+1), "new"), api.Revision(i+2)),
				store.Put(apples, object(fmt.Sprintf("o%03dx", i+2), "new"), 0),
				store.Put(pears, object(fmt.Sprint(page), ""), 0))
			if v := view(t, s); v.Revision() != w || v.Get(pears, key(fmt.Sprint(page))) == nil {
				t.Fatal("a view lacks the last commit")
			}
			var err error
			if v, err = s.At(t.Context(), apples, rev); err != nil {
				t.Fatal(err)
			}
			if v.Revision() != rev {
				t.Fatalf("At(%d) is at revision %d", rev, v.Revision())
			}
		}
		n := 0
		for rec := range v.From(apples, "ns", after) {
			if n++; n > 10 {
				break
			}
			if Data(rec) != "old" {
				t.Errorf("%q is of a later revision", rec.Key())
			}
			got = append(got, rec.Name())
			after = rec.Key()
		}
		if n == 0 || page == 9 {
			break
		}
	}
	for i := range 100 {
		if want := fmt.Sprintf("o%03d", i); i >= len(got) || got[i] != want {
			t.Fatalf("the pages are %q", got)
		}
	}
	if first.Len(apples, "") != 100 || first.Len(pears, "") != 0 {
		t.Error("the first view has changed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.View(ctx, s.Revision()+1); !errors.Is(err, context.Canceled) {
		t.Errorf("a view of the future: %v", err)
	}
	reached := make(chan error)
	next := s.Revision() + 1
	go func() {
		v, err := s.View(t.Context(), next)
		if err == nil && v.Revision() < next {
			err = fmt.Errorf("got revision %d", v.Revision())
		}
		reached <- err
	}()
	commit(t, s, store.Put(pears, object("next", ""), 0))
	if err := <-reached; err != nil {
		t.Errorf("waiting for a revision: %v", err)
	}
}

// testDrop forgets a table: cursors end, earlier revisions are refused, also after a restart, and a table of the same
// name starts anew.
func testDrop(t *testing.T, storage *Storage) {
	s := open(t, storage)
	r1 := commit(t, s, store.Put(apples, object("a", ""), 0), store.Put(pears, object("p", ""), 0))
	waiting := follow(t, s, apples, r1)
	ended := make(chan error)
	go func() {
		_, err := waiting.Next(t.Context())
		ended <- err
	}()
	at, err := s.Drop(t.Context(), apples)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrExpired) {
		t.Errorf("a cursor of the dropped table: %v", err)
	}
	check := func(when string) {
		t.Helper()
		v := view(t, s)
		if v.Len(apples, "") != 0 || v.Len(pears, "") != 1 || v.Revision() < at {
			t.Errorf("%s: %d apples and %d pears at %d", when, v.Len(apples, ""), v.Len(pears, ""), v.Revision())
		}
		if _, err := s.Follow(apples, at-1); !errors.Is(err, store.ErrExpired) {
			t.Errorf("%s: Follow before the drop: %v", when, err)
		}
		if _, err := s.At(t.Context(), apples, at-1); !errors.Is(err, store.ErrExpired) {
			t.Errorf("%s: At before the drop: %v", when, err)
		}
		follow(t, s, apples, at).Close()
	}
	check("after the drop")
	if storage.Crash != nil {
		closeStore(t, s)
		s = open(t, storage)
		check("after a restart")
	}
	r2 := commit(t, s, store.Put(apples, object("a", "again"), 0))
	got, err := drain(t.Context(), follow(t, s, apples, at), apples, r2)
	if err != nil || len(got) != 1 || got[0].old != (version{}) || got[0].new.data != "again" {
		t.Errorf("the new table's events: %v, %v", got, err)
	}
	if _, err := s.Follow(apples, r1); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Follow before the drop, with objects: %v", err)
	}
	if storage.Crash != nil {
		closeStore(t, s)
		s = open(t, storage)
		if rec := view(t, s).Get(apples, key("a")); rec == nil || Data(rec) != "again" {
			t.Errorf("the new table after a restart: %v", rec)
		}
	}
}

// testCompact forgets events: earlier revisions are refused, also after a restart, and the objects stay.
func testCompact(t *testing.T, storage *Storage) {
	s := open(t, storage, smallLog)
	rev := api.Revision(0)
	for i := range 20 {
		rev = commit(t, s, store.Put(apples, object("a", fmt.Sprint(i)), rev))
	}
	gone := commit(t, s, store.Put(apples, object("b", ""), 0))
	commit(t, s, store.Delete(apples, key("b"), gone))
	last := commit(t, s, store.Put(apples, object("a", "last"), rev), store.Put(apples, object("c", ""), 0))
	through := last - 2 // the deletion
	if err := s.Compact(t.Context(), through); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at once", "after a restart", "after a crash"} {
		switch when {
		case "after a restart":
			closeStore(t, s)
			s = open(t, storage, smallLog)
		case "after a crash":
			commit(t, s, store.Put(pears, object("p", ""), 0)) // syncs what the compaction wrote
			s = open(t, storage.Crash(nil), smallLog)
		}
		if _, err := s.Follow(apples, through-1); !errors.Is(err, store.ErrExpired) {
			t.Errorf("%s: Follow of what is gone: %v", when, err)
		}
		if s.Oldest(apples) != through {
			t.Errorf("%s: the oldest revision is %d, want %d", when, s.Oldest(apples), through)
		}
		got, err := drain(t.Context(), follow(t, s, apples, through), apples, last)
		if err != nil || len(got) != 2 || got[0].old.data != "19" || got[0].new.data != "last" {
			t.Errorf("%s: the events left are %v, %v", when, got, err)
		}
		v := view(t, s)
		if v.Len(apples, "") != 2 || Data(v.Get(apples, key("a"))) != "last" {
			t.Errorf("%s: %d objects are left", when, v.Len(apples, ""))
		}
		past, err := s.At(t.Context(), apples, through)
		if err != nil || past.Len(apples, "") != 1 || Data(past.Get(apples, key("a"))) != "19" {
			t.Errorf("%s: the table as of the compaction: %v", when, err)
		}
	}
}
