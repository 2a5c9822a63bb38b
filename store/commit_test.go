package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/mem"
)

// scripted is a backend whose commits wait to be let through, with the error that they are to return. It keeps events
// no longer than memory but claims to.
type scripted struct {
	mem.Backend
	commits chan []store.Batch
	answers chan error
	failed  chan error

	mu        sync.Mutex
	compacted []api.Revision
}

func newScripted() *scripted {
	return &scripted{commits: make(chan []store.Batch, 100), answers: make(chan error), failed: make(chan error, 1)}
}

func (b *scripted) Load(context.Context, func(api.Resource, *api.Record)) (store.State, error) {
	return store.State{Failed: b.failed}, nil
}

func (b *scripted) Commit(_ context.Context, group []store.Batch) error {
	b.commits <- group
	return <-b.answers
}

func (b *scripted) Events(context.Context, api.Resource, api.Revision, api.Revision) ([]api.Event, error) {
	return nil, errors.New("not asked for in these tests")
}

func (b *scripted) Compact(_ context.Context, through api.Revision) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.compacted = append(b.compacted, through)
	return nil
}

type answer struct {
	rev api.Revision
	err error
}

// try commits in the background.
func try(s *store.Store, ctx context.Context, ws ...store.Write) chan answer {
	c := make(chan answer, 1)
	go func() {
		rev, err := s.Commit(ctx, ws...)
		c <- answer{rev, err}
	}()
	return c
}

func key(name string) api.Key { return api.Key{Namespace: "ns", Name: name} }

// TestGroupCommit fills a group while the disk syncs: it goes out as one, later commits of it see earlier ones, and
// those that do not hold do not disturb the others.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted()
		s := open(t, store.Config{Backend: b})
		ctx := t.Context()
		first := try(s, ctx, store.Put(things, record("ns", "a", "1"), 0))
		synctest.Wait()
		second := try(s, ctx, store.Put(things, record("ns", "a", "2"), 1))
		synctest.Wait()
		loser := try(s, ctx, store.Put(things, record("ns", "a", "lost"), 1), store.Put(things, record("ns", "never", ""), 0))
		synctest.Wait()
		third := try(s, ctx, store.Put(things, record("ns", "b", ""), 0), store.Delete(things, key("a"), 2))
		synctest.Wait()
		guard := try(s, ctx, store.Guard(things, key("a"), 0))
		synctest.Wait()
		cancelled, cancel := context.WithCancel(ctx)
		withdrawn := try(s, cancelled, store.Put(things, record("ns", "withdrawn", ""), 0))
		synctest.Wait()
		cancel()
		if a := <-withdrawn; !errors.Is(a.err, context.Canceled) {
			t.Errorf("a commit that was cancelled while it waited: %v", a.err)
		}
		v := view(t, s)
		if v.Revision() != 0 || v.Len(things, "") != 0 {
			t.Error("a commit is visible before it is durable")
		}
		b.answers <- nil
		if a := <-first; a.rev != 1 || a.err != nil {
			t.Errorf("the first commit: %v", a)
		}
		synctest.Wait()
		if g := <-b.commits; len(g) != 1 {
			t.Errorf("the first group has %d commits", len(g))
		}
		if g := <-b.commits; len(g) != 2 || len(g[0]) != 1 || len(g[1]) != 2 || g[1][1].Revision != 4 || g[1][1].Old != 2 || g[1][1].Record != nil {
			t.Errorf("the second group is %v", g)
		}
		b.answers <- nil
		var conflict *store.ConflictError
		if a := <-loser; !errors.As(a.err, &conflict) || conflict.Have != 2 || conflict.Want != 1 {
			t.Errorf("the commit that lost: %v", a.err)
		}
		for i, c := range []struct {
			got  answer
			want api.Revision
		}{{<-second, 2}, {<-third, 4}, {<-guard, 4}} {
			if c.got.err != nil || c.got.rev != c.want {
				t.Errorf("commit %d of the group: %v, want %d", i, c.got, c.want)
			}
		}
		v = view(t, s)
		if v.Revision() != 4 || v.Len(things, "") != 1 || v.Get(things, key("b")) == nil {
			t.Errorf("%d objects at %d", v.Len(things, ""), v.Revision())
		}
		if st := s.Stats(); st.Groups != 2 || st.Writes != 4 || st.Conflicts != 1 {
			t.Errorf("the counts are %+v", st)
		}
	})
}

// TestS9_FullIsNotFatal refuses a group and goes on: revisions are not used up, and nobody lost to what never was.
func TestS9_FullIsNotFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted()
		s := open(t, store.Config{Backend: b})
		blocker := try(s, t.Context(), store.Put(things, record("ns", "0", ""), 0))
		synctest.Wait()
		one := try(s, t.Context(), store.Put(things, record("ns", "a", ""), 0))
		synctest.Wait()
		two := try(s, t.Context(), store.Put(things, record("ns", "a", ""), 0))
		synctest.Wait()
		b.answers <- nil
		<-blocker
		b.answers <- fmt.Errorf("%w: 1 MiB left", store.ErrFull)
		for _, c := range []chan answer{one, two} {
			if a := <-c; !errors.Is(a.err, store.ErrFull) || errors.Is(a.err, store.ErrConflict) {
				t.Errorf("a commit to a full disk: %v", a.err)
			}
		}
		if s.Err() != nil || view(t, s).Len(things, "") != 1 {
			t.Errorf("after the refusal: %v", s.Err())
		}
		again := try(s, t.Context(), store.Put(things, record("ns", "a", ""), 0))
		b.answers <- nil
		if a := <-again; a.rev != 2 || a.err != nil {
			t.Errorf("once there is space: %v", a)
		}
	})
}

// TestS9_DeletionsPassAlone tries the deletions of a refused group again, without the rest of it.
func TestS9_DeletionsPassAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted()
		s := open(t, store.Config{Backend: b})
		blocker := try(s, t.Context(), store.Put(things, record("ns", "0", ""), 0))
		synctest.Wait()
		put := try(s, t.Context(), store.Put(things, record("ns", "a", ""), 0))
		synctest.Wait()
		deleted := try(s, t.Context(), store.Delete(things, api.Key{Namespace: "ns", Name: "0"}, 1))
		synctest.Wait()
		lost := try(s, t.Context(), store.Delete(things, api.Key{Namespace: "ns", Name: "a"}, 2)) // of what the refused put would have made
		synctest.Wait()
		b.answers <- nil
		<-blocker
		b.answers <- store.ErrFull
		b.answers <- nil
		if a := <-put; !errors.Is(a.err, store.ErrFull) || a.rev != 0 {
			t.Errorf("the put: %v", a)
		}
		if a := <-deleted; a.err != nil || a.rev != 2 {
			t.Errorf("the deletion: %v", a)
		}
		if a := <-lost; !errors.Is(a.err, store.ErrConflict) {
			t.Errorf("the deletion of what was not written: %v", a)
		}
		if s.Err() != nil || view(t, s).Len(things, "") != 0 {
			t.Errorf("after it: %v", s.Err())
		}
	})
}

// TestS3_UnknownOutcomeStops fails a sync: its commits, those that wait and all to come get errors, and the process
// learns that it has to end.
func TestS3_UnknownOutcomeStops(t *testing.T) {
	broken := errors.New("EIO")
	for _, inCall := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newScripted()
			s, err := store.Open(t.Context(), store.Config{Backend: b})
			if err != nil {
				t.Fatal(err)
			}
			cursor, err := s.Follow(things, 0)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := cursor.Next(context.Background())
				ended <- err
			}()
			one := try(s, t.Context(), store.Put(things, record("ns", "a", ""), 0))
			synctest.Wait()
			two := try(s, t.Context(), store.Put(things, record("ns", "b", ""), 0))
			synctest.Wait()
			if inCall {
				b.answers <- broken
				if a := <-one; !errors.Is(a.err, store.ErrUnknown) || !errors.Is(a.err, broken) {
					t.Errorf("the commit whose sync failed: %v", a.err)
				}
			} else {
				b.failed <- broken // the engine is stuck in the commit
			}
			<-s.Failed()
			if a := <-two; !errors.Is(a.err, broken) {
				t.Errorf("a commit that waited: %v", a.err)
			}
			if err := <-ended; !errors.Is(err, broken) {
				t.Errorf("a cursor that waited: %v", err)
			}
			if !inCall {
				b.answers <- broken
				<-one
			}
			if _, err := s.Commit(t.Context(), store.Put(things, record("ns", "c", ""), 0)); !errors.Is(err, broken) {
				t.Errorf("a later commit: %v", err)
			}
			if _, err := s.View(t.Context(), 0); !errors.Is(err, broken) {
				t.Errorf("a later view: %v", err)
			}
			if _, err := s.Follow(things, 0); !errors.Is(err, broken) {
				t.Errorf("a later cursor: %v", err)
			}
			if err := s.Close(); err != nil && !errors.Is(err, broken) {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// TestClose lets a commit under way finish, refuses later ones and ends cursors.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted()
		s := open(t, store.Config{Backend: b})
		cursor, err := s.Follow(things, 0)
		if err != nil {
			t.Fatal(err)
		}
		one := try(s, t.Context(), store.Put(things, record("ns", "a", ""), 0))
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if _, err := s.Commit(t.Context(), store.Put(things, record("ns", "b", ""), 0)); !errors.Is(err, store.ErrClosed) {
			t.Errorf("a commit while the store closes: %v", err)
		}
		b.answers <- nil
		if a := <-one; a.rev != 1 || a.err != nil {
			t.Errorf("the commit under way: %v", a)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if _, err := cursor.Next(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("a cursor of a closed store: %v", err)
		}
		select {
		case <-s.Failed():
			t.Error("a store that was closed says that it failed")
		default:
		}
	})
}

func TestCommitRefusesNonsense(t *testing.T) {
	s := open(t, store.Config{})
	used := record("ns", "used", "")
	commit(t, s, store.Put(things, used, 0))
	a := record("ns", "a", "")
	wrong := store.Put(things, a, 0)
	wrong.Key.Name = "b"
	many := make([]store.Write, 0, 20)
	for i := range 19 {
		many = append(many, store.Put(things, record("ns", fmt.Sprint(i), ""), 0))
	}
	for name, ws := range map[string][]store.Write{
		"nothing":          nil,
		"no record":        {{Op: store.OpPut, Resource: things, Key: key("a")}},
		"another key":      {wrong},
		"used record":      {store.Put(things, used, 1)},
		"delete of absent": {store.Delete(things, key("a"), 0)},
		"twice":            {store.Put(things, a, 0), store.Delete(things, key("a"), 1)},
		"twice of many":    append(many, store.Put(things, record("ns", "3", ""), 0)),
		"unknown":          {{Op: 9, Resource: things, Key: key("a")}},
		"NUL":              {store.Put(things, record("ns", "a\x00b", ""), 0)},
	} {
		if _, err := s.Commit(t.Context(), ws...); err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Revision() != 1 {
		t.Errorf("the store is at %d", s.Revision())
	}
}

// TestRetention lets time pass: events are compacted once they are older than the retention, not before, and an idle
// store is left alone.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newScripted()
		close(b.answers) // every commit succeeds
		s := open(t, store.Config{Backend: b, Retention: 10 * time.Minute, LogFloor: 1})
		put := func(name string) api.Revision { return commit(t, s, store.Put(things, record("ns", name, ""), 0)) }
		compacted := func() []api.Revision {
			synctest.Wait()
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.compacted
		}
		for i := range 5 {
			put(fmt.Sprint("early-", i))
		}
		time.Sleep(9 * time.Minute)
		late := put("late")
		if got := compacted(); len(got) != 0 {
			t.Errorf("compacted at %v before the retention has passed", got)
		}
		time.Sleep(3 * time.Minute)
		if got := compacted(); len(got) != 1 || got[0] != late-1 {
			t.Errorf("compacted at %v, want %d", got, late-1)
		}
		if oldest := s.Oldest(things); oldest != late-1 {
			t.Errorf("the oldest revision is %d, want %d", oldest, late-1)
		}
		if _, err := s.Follow(things, late-2); !errors.Is(err, store.ErrExpired) {
			t.Errorf("Follow of what has expired: %v", err)
		}
		c, err := s.Follow(things, late-1)
		if err != nil {
			t.Fatal(err)
		}
		if es, err := c.Next(t.Context()); err != nil || len(es) != 1 {
			t.Errorf("what is left: %v, %v", es, err)
		}
		time.Sleep(time.Hour)
		if got := compacted(); len(got) != 2 || got[1] != late {
			t.Errorf("an idle store was compacted at %v", got)
		}
		if es, err := c.Next(bookmark(t)); !errors.Is(err, context.DeadlineExceeded) || c.Revision() != late {
			t.Errorf("an idle cursor: %v, %v at %d", es, err, c.Revision())
		}
		put("next")
		if es, err := c.Next(t.Context()); err != nil || len(es) != 1 {
			t.Errorf("after a long wait: %v, %v", es, err)
		}
	})
}

func bookmark(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestLogBudget fills the log of one table: its old events leave memory, those of a quiet one stay down to the floor.
func TestLogBudget(t *testing.T) {
	const limit = 64 << 10
	s := open(t, store.Config{LogBudget: limit, LogFloor: 4})
	rev := map[api.Resource]api.Revision{}
	put := func(r api.Resource) {
		rev[r] = commit(t, s, store.Put(r, record("ns", "x", string(make([]byte, 100))), rev[r]))
	}
	for range 10 {
		put(api.Pods)
	}
	quiet := rev[api.Pods]
	for range 2000 {
		put(things)
		if got := s.Stats().LogBytes; got > limit {
			t.Fatalf("the logs hold %d bytes", got)
		}
	}
	count := func(r api.Resource) int {
		c, err := s.Follow(r, s.Oldest(r))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		n := 0
		for c.Revision() < rev[r] {
			es, err := c.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n += len(es)
		}
		return n
	}
	if n := count(api.Pods); n != 4 {
		t.Errorf("%d events of the quiet table are left, want 4", n)
	}
	if n := count(things); n < 50 || n > 200 {
		t.Errorf("%d events of the busy table are left", n)
	}
	if _, err := s.Follow(api.Pods, quiet-5); !errors.Is(err, store.ErrExpired) {
		t.Errorf("Follow of what is gone: %v", err)
	}
	if st := s.Stats(); st.Cursors != 0 {
		t.Errorf("%d cursors are open", st.Cursors)
	}
}
