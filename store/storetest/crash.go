package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pintle.dev/api"
	"pintle.dev/store"
)

// testDurableWhenAcknowledged loses everything unsynced right after each acknowledgement: the commit is there.
func testDurableWhenAcknowledged(t *testing.T, storage *Storage) {
	s := open(t, storage)
	rnd := rand.New(rand.NewPCG(5, 5))
	m := newModel()
	g := &generator{rnd: rnd}
	for range 25 {
		ws, effect, holds := g.commit(m)
		if len(ws) == 0 || !holds || len(effect) == 0 {
			continue
		}
		rev := commit(t, s, ws...)
		m.commit(effect)
		crashed := open(t, storage.Crash(nil))
		if crashed.Revision() != rev {
			t.Fatalf("after a crash the store is at revision %d, %d was acknowledged", crashed.Revision(), rev)
		}
		for _, r := range []api.Resource{apples, pears} {
			if err := compare(view(t, crashed), r, m.table(r)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// crashClone is a storage as a crash left it, and what had been acknowledged when it began.
type crashClone struct {
	storage      *Storage
	acknowledged api.Revision
}

// testCrash writes from several goroutines and copies the storage, as a crash may leave it, before and after syncs.
// Every copy must open with the state after some commit, not before the last acknowledged one, events included.
func testCrash(t *testing.T, storage *Storage) {
	const clones = 60
	var mu sync.Mutex
	var acknowledged api.Revision
	history := map[api.Revision]int{} // first revision of a commit -> its writes
	var crashes []crashClone
	rnd := rand.New(rand.NewPCG(9, 9))
	done := make(chan struct{})
	points := 0
	s := open(t, storage)
	storage.OnSync(func() {
		mu.Lock()
		defer mu.Unlock()
		points++
		if len(crashes) == clones || points > 3*clones && rnd.IntN(4) > 0 {
			return
		}
		// Half of the copies keep some of what was not synced.
		var r *rand.Rand
		if points%2 == 0 {
			r = rnd
		}
		crashes = append(crashes, crashClone{storage.Crash(r), acknowledged})
		if len(crashes) == clones {
			close(done)
		}
	})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			revs := map[string]api.Revision{}
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				ws := make([]store.Write, 0, 4)
				names := make([]string, 0, 4)
				for j := range 1 + rnd.IntN(4) {
					name := fmt.Sprint(w, "-", (i+j)%6)
					ws = append(ws, store.Put(apples, object(name, fmt.Sprint(i, "x", string(make([]byte, rnd.IntN(2000))))), revs[name]))
					names = append(names, name)
				}
				rev, err := s.Commit(t.Context(), ws...)
				if err != nil {
					t.Error(err)
					return
				}
				first := rev - api.Revision(len(ws)) + 1
				for j, name := range names {
					revs[name] = first + api.Revision(j)
				}
				mu.Lock()
				history[first] = len(ws)
				acknowledged = max(acknowledged, rev)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	storage.OnSync(nil)
	last := s.Revision()
	all, err := drain(t.Context(), follow(t, s, apples, 0), apples, last)
	if err != nil {
		t.Fatal(err)
	}
	boundaries := map[api.Revision]bool{0: true}
	for first, n := range history {
		boundaries[first+api.Revision(n)-1] = true
	}
	for i, c := range crashes {
		if err := checkCrash(t, c, all, boundaries); err != nil {
			t.Errorf("crash %d, %d acknowledged: %v", i, c.acknowledged, err)
		}
	}
}

func checkCrash(t *testing.T, c crashClone, all []change, boundaries map[api.Revision]bool) error {
	b, err := c.storage.Open()
	if err != nil {
		return err
	}
	s, err := store.Open(t.Context(), store.Config{Backend: b})
	if err != nil {
		return err
	}
	defer closeStore(t, s)
	rev := s.Revision()
	if rev < c.acknowledged || !boundaries[rev] {
		return fmt.Errorf("the store is at revision %d, in the middle of a commit or before what was acknowledged", rev)
	}
	if err := replay(all[:rev], view(t, s)); err != nil {
		return err
	}
	got, err := drain(context.Background(), follow(t, s, apples, 0), apples, rev)
	if err != nil {
		return err
	}
	if !slices.Equal(got, all[:rev]) {
		return fmt.Errorf("%d events are left of %d", len(got), rev)
	}
	if next := commit(t, s, store.Put(pears, object("after", ""), 0)); next != rev+1 {
		return fmt.Errorf("the next revision is %d after %d", next, rev)
	}
	return nil
}

// testRevisions checks that every object has a revision of its own, that those of a commit are contiguous, and that
// none is used twice across restarts, compactions and drops.
func testRevisions(t *testing.T, storage *Storage) {
	s := open(t, storage)
	last := api.Revision(0)
	var head api.Revision
	for i := range 40 {
		var ws []store.Write
		for j := range 1 + i%5 {
			ws = append(ws, store.Put(apples, object(fmt.Sprint(i, "-", j), ""), 0))
		}
		ws = append(ws, store.Put(pears, object("same", fmt.Sprint(i)), head), store.Guard(pears, key("none"), 0))
		rev := commit(t, s, ws...)
		if want := last + api.Revision(len(ws)-1); rev != want {
			t.Fatalf("a commit of %d objects after revision %d is at %d, want %d", len(ws)-1, last, rev, want)
		}
		for j := range 1 + i%5 {
			if rec := view(t, s).Get(apples, key(fmt.Sprint(i, "-", j))); rec.Revision() != last+api.Revision(j)+1 {
				t.Fatalf("object %d of the commit after %d has revision %d", j, last, rec.Revision())
			}
		}
		head, last = rev, rev
		switch i % 10 {
		case 3:
			if err := s.Compact(t.Context(), last-2); err != nil {
				t.Fatal(err)
			}
		case 6:
			if storage.Crash != nil {
				closeStore(t, s)
				s = open(t, storage)
			}
		case 9:
			dropped, err := s.Drop(t.Context(), api.Pods)
			if err != nil || dropped <= last {
				t.Fatalf("dropped at %d after %d: %v", dropped, last, err)
			}
			last = dropped
		}
	}
	deleted := commit(t, s, store.Delete(pears, key("same"), head))
	if deleted != last+1 {
		t.Errorf("a deletion after %d is at %d", last, deleted)
	}
}

// testReadYourWrite reads after each commit, while others write.
func testReadYourWrite(t *testing.T, storage *Storage) {
	s := open(t, storage)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rev := api.Revision(0)
			for i := range 100 {
				var err error
				rev, err = s.Commit(t.Context(), store.Put(apples, object(fmt.Sprint(w), fmt.Sprint(i)), rev))
				if err != nil {
					t.Error(err)
					return
				}
				v, err := s.View(t.Context(), 0)
				if err != nil {
					t.Error(err)
					return
				}
				if rec := v.Get(apples, key(fmt.Sprint(w))); v.Revision() < rev || rec == nil || rec.Revision() != rev {
					t.Errorf("wrote revision %d and read %v at %d", rev, read(rec), v.Revision())
					return
				}
			}
		})
	}
	wg.Wait()
}
