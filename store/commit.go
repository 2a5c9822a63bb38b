package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pintle.dev/api"
)

// request is one caller's wait for the committer.
type request struct {
	ws       []Write
	drop     *api.Resource // in place of ws: forget a table
	close    bool          // in place of ws: end the store
	size     int           // of the records, bytes
	turn     chan turn     // one message when led or answered
	promoted bool          // guarded by queueMu: lead has been or is about to be sent
	rev      api.Revision
	err      error
}

type turn int

const (
	answered turn = iota
	lead          // the request's goroutine is to process the next group, in which it is the first
)

// Commit makes all of ws durable and visible, or nothing. It returns the revision of the last write; the n writes that
// are no guards have the n revisions up to it, in order. A commit of guards alone returns the revision at which they
// held. Errors: a *ConflictError, ErrFull, ErrUnknown, ErrClosed, the context's when it ended while the commit was
// still waiting, or that the writes do not fit together.
func (s *Store) Commit(ctx context.Context, ws ...Write) (api.Revision, error) {
	size, err := check(ws)
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	rev, err := s.submit(ctx, &request{ws: ws, size: size})
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return rev, nil
}

// Drop forgets a table, as after its CRD was deleted: its cursors get ErrExpired, and so does every later Follow or At
// of a revision before the drop, which has a revision of its own. Objects still in the table vanish without events.
func (s *Store) Drop(ctx context.Context, res api.Resource) (api.Revision, error) {
	rev, err := s.submit(ctx, &request{drop: &res})
	if err != nil {
		return 0, fmt.Errorf("drop %s: %w", res, err)
	}
	return rev, nil
}

// check finds what no state of the store could make right.
func check(ws []Write) (size int, err error) {
	if len(ws) == 0 {
		return 0, errors.New("no writes")
	}
	for i, w := range ws {
		switch {
		case w.Op == OpGuard:
			continue
		case strings.IndexByte(w.Key.Name, 0) >= 0 || strings.IndexByte(w.Key.Namespace, 0) >= 0:
			return 0, fmt.Errorf("write %s %q: a key may not contain NUL", w.Resource, w.Key)
		case w.Op == OpPut && w.Record == nil:
			return 0, fmt.Errorf("put %s %q: no record", w.Resource, w.Key)
		case w.Op == OpPut && w.Record.Key() != w.Key:
			return 0, fmt.Errorf("put %s %q: the record's key is %q", w.Resource, w.Key, w.Record.Key())
		case w.Op == OpPut && w.Record.Revision() != 0:
			return 0, fmt.Errorf("put %s %q: the record was put before", w.Resource, w.Key)
		case w.Op == OpDelete && w.Expect == 0:
			return 0, fmt.Errorf("delete %s %q: no expected revision", w.Resource, w.Key)
		case w.Op > OpGuard:
			return 0, fmt.Errorf("write %s %q: unknown operation %d", w.Resource, w.Key, w.Op)
		}
		if w.Record != nil {
			size += w.Record.Size()
		}
		if i < 8 && slices.ContainsFunc(ws[:i], w.sameObject) {
			return 0, fmt.Errorf("%s %q is written twice", w.Resource, w.Key)
		}
	}
	if len(ws) > 8 {
		seen := make(map[object]bool, len(ws))
		for _, w := range ws {
			if o := w.object(); w.Op != OpGuard {
				if seen[o] {
					return 0, fmt.Errorf("%s %q is written twice", w.Resource, w.Key)
				}
				seen[o] = true
			}
		}
	}
	return size, nil
}

// frees is Batch.Frees of what ws become.
func frees(ws []Write) bool {
	return !slices.ContainsFunc(ws, func(w Write) bool { return w.Op == OpPut && !w.Record.Is(api.Deleting) })
}

// object names an object across tables.
type object struct {
	resource api.Resource
	key      api.Key
}

func (w Write) object() object { return object{w.Resource, w.Key} }

func (w Write) sameObject(o Write) bool {
	return o.Op != OpGuard && o.Key == w.Key && o.Resource == w.Resource
}

// submit queues a request and sees it answered. There is no committer goroutine: the first request that finds the queue
// unattended leads, processing one group on its own goroutine, and then hands the lead to the first request that came
// meanwhile. An uncontended commit thus costs no switch of goroutines, and a disk's sync time fills the next group.
func (s *Store) submit(ctx context.Context, r *request) (api.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r.turn = make(chan turn, 1)
	s.queueMu.Lock()
	if s.closing && !r.close {
		s.queueMu.Unlock()
		return 0, ErrClosed
	}
	s.queue = append(s.queue, r)
	first := !s.leading
	s.leading = true
	s.queueMu.Unlock()
	if !first {
		select {
		case t := <-r.turn:
			if t == answered {
				return r.rev, r.err
			}
		case <-s.failed:
			// The leader may be stuck in the backend.
			return 0, fmt.Errorf("%w: %w", ErrUnknown, s.failure)
		case <-ctx.Done():
			if s.withdraw(r) {
				return 0, ctx.Err()
			}
			if t := <-r.turn; t == answered {
				return r.rev, r.err
			}
		}
	}
	s.lead()
	return r.rev, r.err
}

// withdraw takes a request that nobody has begun to process out of the queue.
func (s *Store) withdraw(r *request) bool {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	i := slices.Index(s.queue, r)
	if i < 0 || r.promoted {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

// lead processes one group and hands the lead on.
func (s *Store) lead() {
	s.queueMu.Lock()
	group := s.takeGroup()
	s.queueMu.Unlock()

	woken := s.process(group)

	// Whoever leads next cannot send wakes before these are sent.
	if len(woken) > 0 {
		s.waking.Lock()
		defer s.waking.Unlock()
	}
	s.queueMu.Lock()
	if len(s.queue) > 0 {
		s.queue[0].promoted = true
		s.queue[0].turn <- lead
	} else {
		s.leading = false
	}
	s.queueMu.Unlock()
	for _, r := range group[1:] { // the first is the leader itself
		r.turn <- answered
	}
	for i := range woken {
		woken[i].send()
	}
}

// takeGroup takes the requests that are to be committed together off the queue.
func (s *Store) takeGroup() []*request {
	n, size := 0, 0
	for _, r := range s.queue {
		alone := r.drop != nil || r.close
		if n > 0 && (alone || size+r.size > s.config.GroupBytes) {
			break
		}
		n++
		size += r.size
		if alone {
			break
		}
	}
	group := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return group
}

// process commits a group, sets every request's answer and returns the wakes to send.
func (s *Store) process(group []*request) []wake {
	err := s.Err()
	switch first := group[0]; {
	case first.close:
		s.stop(ErrClosed)
		if err != nil {
			first.err = err
		}
		return nil
	case err != nil:
		for _, r := range group {
			r.err = err
		}
		return nil
	case first.drop != nil:
		return s.dropTable(first)
	}
	st := stage{store: s, next: s.revision, heads: s.heads}
	for _, r := range group {
		st.add(r)
	}
	st.done()
	if len(st.batches) == 0 {
		return nil
	}
	began := time.Now()
	err = s.backend.Commit(context.Background(), st.batches)
	if err != nil {
		if !errors.Is(err, ErrFull) {
			err = fmt.Errorf("%w: %w", ErrUnknown, err)
			s.stop(err)
		} else if rest := refuse(group, err); len(rest) > 0 && len(rest) < len(group) {
			return s.process(rest)
		}
		for _, r := range group { // also those that lost to a commit which now will not be
			r.rev, r.err = 0, err
		}
		return nil
	}
	s.stats.synced(time.Since(began))
	s.stats.commits.Add(int64(len(st.requests)))
	return s.publish(st.batches)
}

// refuse answers with err what does not free space, and returns the rest of the group, to be tried without it.
func refuse(group []*request, err error) (rest []*request) {
	for _, r := range group {
		r.rev, r.err = 0, err
		if frees(r.ws) {
			r.err = nil
			rest = append(rest, r)
		}
	}
	return rest
}

// stage is a group in the making: what its commits will have changed once they are published.
type stage struct {
	store    *Store
	next     api.Revision // the last revision given out
	batches  []Batch
	requests []*request
	heads    map[object]api.Revision // of what the group has changed so far; 0: deleted
}

// mostHeads is how many changes a group may have for the next one to use its map again: to clear a map takes as long as it
// has ever been large.
const mostHeads = 256

// done leaves the map to the next group, once all of this one are added.
func (st *stage) done() {
	if len(st.heads) > mostHeads {
		st.heads = nil
	}
	clear(st.heads)
	st.store.heads, st.heads = st.heads, nil
}

// head is the revision an object will have once the group's commits so far are published.
func (st *stage) head(w *Write) api.Revision {
	if rev, ok := st.heads[w.object()]; ok {
		return rev
	}
	if t, ok := st.store.tables.get(w.Resource); ok {
		if rec, ok := t.records.get(w.Key); ok {
			return rec.Revision()
		}
	}
	return 0
}

// add checks a request's expectations and numbers its writes, or answers it with a conflict.
func (st *stage) add(r *request) {
	writes := 0
	for i := range r.ws {
		w := &r.ws[i]
		if have := st.head(w); have != w.Expect {
			st.store.stats.conflicts.Add(1)
			r.err = &ConflictError{w.Resource, w.Key, have, w.Expect}
			return
		}
		if w.Op != OpGuard {
			writes++
		}
	}
	if writes == 0 {
		r.rev = st.next
		// The answer depends on commits before it in the group, so it fails with them.
		st.requests = append(st.requests, r)
		return
	}
	if st.heads == nil {
		st.heads = map[object]api.Revision{}
	}
	batch := make(Batch, 0, writes)
	for i := range r.ws {
		w := &r.ws[i]
		if w.Op == OpGuard {
			continue
		}
		st.next++
		c := Change{Revision: st.next, Resource: w.Resource, Key: w.Key, Old: w.Expect}
		head := api.Revision(0)
		if w.Op == OpPut {
			w.Record.Stamp(st.next)
			c.Record, head = w.Record, st.next
		}
		st.heads[w.object()] = head
		batch = append(batch, c)
	}
	r.rev = st.next
	st.batches = append(st.batches, batch)
	st.requests = append(st.requests, r)
}

// publish makes a durable group visible: first the tables, then the events (S4). It returns the wakes to send.
func (s *Store) publish(batches []Batch) (woken []wake) {
	n := 0
	for _, b := range batches {
		n += len(b)
	}
	events := make([]api.Event, 0, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	var t *table
	for _, b := range batches {
		for _, c := range b {
			if t == nil || t.resource != c.Resource {
				t = s.tables.own(s.gen, c.Resource)
			}
			e := api.Event{Revision: c.Revision, New: c.Record}
			if c.Record != nil {
				e.Old = t.put(s.gen, c.Record)
			} else {
				e.Old = t.remove(s.gen, c.Key)
			}
			events = append(events, e)
			s.revision = c.Revision
		}
	}
	s.view.Store(nil)
	var l *eventLog
	i := 0
	for _, b := range batches {
		for _, c := range b {
			if l == nil || l.resource != c.Resource {
				if l != nil {
					l.mu.Unlock()
				}
				l = s.log(c.Resource)
				l.mu.Lock()
			}
			l.append(events[i])
			s.budget.add(l, events[i])
			woken = l.wakes(&events[i], events[0].Revision, woken)
			i++
		}
	}
	l.mu.Unlock()
	s.stats.evicted.Add(s.budget.enforce())
	s.stats.logBytes.Store(s.budget.used)
	s.reached()
	s.stats.writes.Add(int64(n))
	for i := range woken {
		s.stats.wakes.Add(int64(len(woken[i].cursors)))
	}
	return woken
}

// reached announces the revision once its events are in the logs.
func (s *Store) reached() {
	s.logged.Store(uint64(s.revision))
	s.ahead = slices.DeleteFunc(s.ahead, func(w *aheadView) bool {
		if w.atLeast > s.revision {
			return false
		}
		close(w.reached)
		return true
	})
}

// dropTable processes a Drop.
func (s *Store) dropTable(r *request) (woken []wake) {
	at := s.revision + 1
	if err := s.backend.Drop(context.Background(), *r.drop, at); err != nil {
		if !errors.Is(err, ErrFull) {
			err = fmt.Errorf("%w: %w", ErrUnknown, err)
			s.stop(err)
		}
		r.err = err
		return nil
	}
	l := s.log(*r.drop)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables.delete(s.gen, *r.drop)
	s.revision = at
	s.view.Store(nil)

	s.logMu.Lock()
	s.dropped[*r.drop] = at
	delete(s.logs, *r.drop)
	s.logMu.Unlock()

	l.mu.Lock()
	woken = l.close(ErrExpired)
	s.budget.forget(l)
	l.mu.Unlock()
	s.reached()
	r.rev = at
	return woken
}
