package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
)

// load writes from several goroutines until stopped.
type load struct {
	store *store.Store
	wg    sync.WaitGroup
	once  sync.Once
	stop  chan struct{}
}

// start lets writers commit: single objects and groups, of all colors.
func start(t *testing.T, s *store.Store, writers int) *load {
	l := &load{store: s, stop: make(chan struct{})}
	t.Cleanup(func() { l.end() })
	for w := range writers {
		l.wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 11))
			known := map[string]api.Revision{}
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				var ws []store.Write
				var puts []string
				for j := range 1 + rnd.IntN(3) {
					name := fmt.Sprintf("w%d-%d", w, (i+j)%5)
					if rev := known[name]; rev != 0 && rnd.IntN(4) == 0 {
						ws, puts = append(ws, store.Delete(apples, key(name), rev)), append(puts, "")
						delete(known, name)
						continue
					}
					ws = append(ws, store.Put(apples, object(name, fmt.Sprint(i), color(fmt.Sprint("c", rnd.IntN(4)))), known[name]))
					puts = append(puts, name)
				}
				rev, err := s.Commit(t.Context(), ws...)
				if errors.Is(err, context.Canceled) {
					return // the test has failed
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				for j, name := range puts {
					if name != "" {
						known[name] = rev - api.Revision(len(ws)-1-j)
					}
				}
			}
		})
	}
	return l
}

func (l *load) end() api.Revision {
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
	return l.store.Revision()
}

// longLog keeps all events there can be under load, however late a watcher comes to read them.
func longLog(c *store.Config) { c.LogBudget = 1 << 40 }

// testWatch runs watchers of every kind under load: patient, slow, selecting, and cut off and resumed at any revision.
// Each must see exactly the events there were.
func testWatch(t *testing.T, storage *Storage) {
	s := open(t, storage, longLog)
	type watcher struct {
		name  string
		match []api.Index
		pause time.Duration
		cut   int // resume with a new cursor after so many events, in the middle of what Next returned
		got   []change
		err   error
	}
	watchers := []*watcher{
		{name: "patient"}, {name: "slow", pause: 3 * time.Millisecond}, {name: "cut", cut: 1}, {name: "cut later", cut: 7},
		{name: "color", match: []api.Index{color("c1")}},
		{name: "color, cut", match: []api.Index{color("c2")}, cut: 3},
		{name: "one object", match: []api.Index{{Name: store.IndexName, Value: "w0-1"}}},
		{name: "namespace and color", match: []api.Index{{Name: store.IndexNamespace, Value: "ns"}, color("c3")}},
		{name: "other namespace", match: []api.Index{{Name: store.IndexNamespace, Value: "other"}}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := make(chan api.Revision)
	var wg sync.WaitGroup
	for _, w := range watchers {
		c := follow(t, s, apples, 0, w.match...)
		through := make(chan api.Revision, 1)
		go func() { through <- <-end }()
		wg.Go(func() {
			var last api.Revision
			for last == 0 || c.Revision() < last {
				select {
				case last = <-through:
					continue
				default:
				}
				wait, stop := context.WithTimeout(ctx, 5*time.Millisecond)
				es, err := c.Next(wait)
				stop()
				if errors.Is(err, context.DeadlineExceeded) {
					continue
				}
				if err != nil {
					w.err = err
					return
				}
				for i, e := range es {
					w.got = append(w.got, readEvent(apples, e))
					if w.cut > 0 && (i+1)%w.cut == 0 {
						c.Close()
						if c, err = s.Follow(apples, e.Revision, w.match...); err != nil {
							w.err = err
							return
						}
						break
					}
				}
				time.Sleep(w.pause)
			}
			c.Close()
		})
	}
	l := start(t, s, 3)
	time.Sleep(100 * time.Millisecond)
	last := l.end()
	for range watchers {
		end <- last
	}
	wg.Wait()
	all := watchers[0].got
	if err := replay(all, view(t, s)); err != nil {
		t.Error(err)
	}
	for _, w := range watchers {
		var want []change
		for _, c := range all {
			if changeMatches(c, w.match) {
				want = append(want, c)
			}
		}
		if w.err != nil || !slices.Equal(w.got, want) {
			t.Errorf("watcher %q: %v: saw %d events, want %d", w.name, w.err, len(w.got), len(want))
		}
	}
}

func changeMatches(c change, match []api.Index) bool {
	has := func(v version) bool {
		if v == (version{}) {
			return false
		}
		for _, x := range match {
			switch x.Name {
			case store.IndexName:
				if c.key.Name != x.Value {
					return false
				}
			case store.IndexNamespace:
				if c.key.Namespace != x.Value {
					return false
				}
			default:
				if v.index != x.Value {
					return false
				}
			}
		}
		return true
	}
	return has(c.old) || has(c.new)
}

// replay checks that events are contiguous in revision (only one table is written), that each one's old version is what
// the one before left, and that they lead to the view.
func replay(events []change, v store.View) error {
	t := tableModel{}
	for i, e := range events {
		if e.revision != api.Revision(i+1) {
			return fmt.Errorf("event %d has revision %d", i, e.revision)
		}
		if t[e.key] != e.old {
			return fmt.Errorf("event %d of %q: its old version is %v, the one before left %v", e.revision, e.key, e.old, t[e.key])
		}
		if e.new == (version{}) {
			delete(t, e.key)
		} else {
			if e.new.revision != e.revision {
				return fmt.Errorf("event %d has a record of revision %d", e.revision, e.new.revision)
			}
			t[e.key] = e.new
		}
	}
	return compare(v, apples, t)
}

// testTableBeforeEvent takes a view for every event: it must not be older than the event.
func testTableBeforeEvent(t *testing.T, storage *Storage) {
	s := open(t, storage, longLog)
	c := follow(t, s, apples, 0)
	l := start(t, s, 3)
	for seen := 0; seen < 300; {
		es, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v := view(t, s)
		for _, e := range es {
			seen++
			if v.Revision() < e.Revision || s.Revision() < e.Revision {
				t.Fatalf("event %d came while the tables were at %d", e.Revision, v.Revision())
			}
			rec := v.Get(apples, e.Record().Key())
			if rec != nil && rec.Revision() < e.Revision || rec != e.New && v.Revision() == e.Revision {
				t.Fatalf("event %d came before its object", e.Revision)
			}
		}
	}
	l.end()
}

// testSlowCursor has cursors that never read, and then expects commits to go on and memory to stay within the budget.
func testSlowCursor(t *testing.T, storage *Storage) {
	s := open(t, storage, func(c *store.Config) { c.LogBudget, c.LogFloor = 16<<10, 4 })
	for range 50 {
		follow(t, s, apples, 0)
	}
	slow := follow(t, s, apples, 0)
	rev := api.Revision(0)
	for i := range 500 {
		rev = commit(t, s, store.Put(apples, object("one", fmt.Sprint(i)), rev))
	}
	if got := s.Stats().LogBytes; got > 16<<10 {
		t.Errorf("the log holds %d bytes, its budget is %d", got, 16<<10)
	}
	// It gets everything where the backend keeps events, else it is told.
	got, err := drain(t.Context(), slow, apples, rev)
	if storage.Crash == nil {
		if !errors.Is(err, store.ErrExpired) || len(got) != 0 {
			t.Errorf("a cursor behind the log got %d events and %v", len(got), err)
		}
		return
	}
	if err != nil || len(got) != 500 || replay(got, view(t, s)) != nil {
		t.Errorf("a cursor behind the memory got %d events and %v", len(got), err)
	}
}

// testResumeAfterRestart cuts a watch off with its store, and resumes it in the middle of a commit.
func testResumeAfterRestart(t *testing.T, storage *Storage) {
	s := open(t, storage)
	l := start(t, s, 2)
	time.Sleep(20 * time.Millisecond)
	middle := l.end()
	before, err := drain(t.Context(), follow(t, s, apples, 0), apples, middle)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t, storage)
	rev := commit(t, s, store.Put(apples, object("x", ""), 0), store.Put(apples, object("y", ""), 0))
	closeStore(t, s)
	s = open(t, storage)
	last := commit(t, s, store.Put(apples, object("z", ""), 0))
	for _, at := range []api.Revision{0, 1, middle / 2, middle, rev - 1, rev} {
		got, err := drain(t.Context(), follow(t, s, apples, at), apples, last)
		if err != nil {
			t.Fatal(err)
		}
		if all := append(slices.Clone(before[:min(at, middle)]), got...); at <= middle {
			if err := replay(all, view(t, s)); err != nil {
				t.Errorf("resumed after %d: %v", at, err)
			}
		} else if len(got) != int(last-at) || got[0].revision != at+1 {
			t.Errorf("resumed after %d: %v", at, got)
		}
	}
}
