package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
	"pintle.dev/store"
)

// Times of a watch.
const (
	watchTimeoutMin  = 30 * time.Minute // and up to twice that, when the client names none
	finalBookmark    = 2 * time.Second  // before the end
	writePatience    = 30 * time.Second // for one write to a client that does not read
	slowWriterRounds = 5 * time.Second
)

// snapshotPage is how many objects of the initial state one Next gives.
const snapshotPage = 500

// watch opens a stream of the events that pass the request's selectors.
func (q *request) watch(ctx context.Context) (*api.Response, error) {
	o, err := parseListOptions(q.d, q.v, q.Query, api.Watch)
	if err != nil {
		return nil, err
	}
	st := &stream{q: q, selector: o.selector, keyed: o.selector.keyed()}
	initial := o.initial != nil && *o.initial
	switch {
	case initial || o.version == 0 && o.initial == nil:
		// The current objects come first: asked for, or because no place in history was named.
		v, err := q.s.view(ctx, o.version)
		if err != nil {
			return nil, err
		}
		st.revision, st.snapshot, st.marked = v.Revision(), q.snapshot(v, &o), initial
	case o.version == 0:
		// sendInitialEvents=false without a version: from now on.
		v, err := q.s.view(ctx, 0)
		if err != nil {
			return nil, err
		}
		st.revision = v.Revision()
	default:
		st.revision = o.version
	}
	indexed := true
	if len(o.selector.fields) > 0 {
		v, err := q.s.view(ctx, 0)
		if err != nil {
			return nil, err
		}
		indexed = q.settled(v)
	}
	st.cursor, err = q.s.Store.Follow(q.d.Resource, st.revision, o.selector.entries(q.Key.Namespace, indexed)...)
	if errors.Is(err, store.ErrExpired) {
		// The stream itself says so, as upstream's does.
		st.err = q.s.expired(q, st.revision)
		return &api.Response{Watch: st}, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	return &api.Response{Watch: st}, nil
}

func (s *Server) expired(q *request, rev api.Revision) error {
	return api.Expired(fmt.Sprintf("too old resource version: %d (%d)", rev, s.Store.Oldest(q.d.Resource)))
}

// snapshot returns a function that gives the objects of a view page by page, nil at the end.
func (q *request) snapshot(v store.View, o *listOptions) func() ([]api.Event, error) {
	var after api.Key
	done := false
	return func() ([]api.Event, error) {
		if done {
			return nil, nil
		}
		var page []api.Event
		for rec, err := range q.chosen(v, o, after) {
			if err != nil {
				return nil, err
			}
			page = append(page, api.Event{Revision: rec.Revision(), New: rec})
			if len(page) == snapshotPage {
				after = rec.Key()
				return page, nil
			}
		}
		done = true
		return page, nil
	}
}

// stream implements api.Stream: a snapshot, if one was asked for, and then a cursor at its revision.
type stream struct {
	q        *request
	selector selector
	keyed    bool // the cursor selects by itself: all there is to match is the key
	cursor   *store.Cursor
	snapshot func() ([]api.Event, error) // nil once given
	marked   bool                        // the snapshot's end is to be told
	revision api.Revision                // before the cursor's first event
	err      error
}

// Initial implements api.Stream.
func (st *stream) Initial() bool { return st.snapshot != nil && st.marked }

// Revision implements api.Stream.
func (st *stream) Revision() api.Revision {
	if st.cursor == nil || st.snapshot != nil {
		return st.revision
	}
	return st.cursor.Revision()
}

// Close implements api.Stream.
func (st *stream) Close() {
	if st.cursor != nil {
		st.cursor.Close()
	}
}

// Next implements api.Stream.
func (st *stream) Next(ctx context.Context) ([]api.Event, error) {
	if st.err != nil {
		return nil, st.err
	}
	if st.snapshot != nil {
		if page, err := st.snapshot(); len(page) > 0 || err != nil {
			st.err = err
			return page, err
		}
		if initial := st.Initial(); initial {
			st.snapshot = nil
			return nil, nil // so that the caller sees the end of the initial events
		}
		st.snapshot = nil
	}
	for {
		events, err := st.cursor.Next(ctx)
		if errors.Is(err, store.ErrExpired) {
			st.err = st.q.s.expired(st.q, st.cursor.Revision())
			return nil, st.err
		}
		if err != nil {
			return nil, storeError(err)
		}
		passed, err := st.filter(events)
		if len(passed) > 0 || len(events) == 0 || err != nil {
			st.err = err
			return passed, err
		}
	}
}

// filter keeps, in place, the events that concern what the selector lets pass, and makes those that cross its border
// additions and deletions.
func (st *stream) filter(events []api.Event) ([]api.Event, error) {
	if st.keyed {
		return events, nil
	}
	kept := events[:0]
	for _, e := range events {
		for _, rec := range []**api.Record{&e.Old, &e.New} {
			passes, err := st.passes(*rec)
			if err != nil {
				return nil, err
			}
			if !passes {
				*rec = nil
			}
		}
		if e.Old != nil || e.New != nil {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

func (st *stream) passes(rec *api.Record) (bool, error) {
	if ns := st.q.Key.Namespace; rec == nil || ns != "" && rec.Namespace() != ns {
		return false, nil
	}
	return st.selector.matches(st.q.s, rec)
}

// stream prepares what sends a watch until the client goes, its time is up or the server stops.
func (x *exchange) stream(q *request, resp *api.Response) error {
	st := resp.Watch
	o, err := parseListOptions(q.d, q.v, q.Query, api.Watch)
	if err == nil && x.form.shape == asTable && o.initial != nil && *o.initial && !q.d.Custom {
		err = accept.Only(accept.All()...)
	}
	if err != nil {
		st.Close()
		return err
	}
	if o.timeout == 0 {
		o.timeout = watchTimeoutMin + rand.N(watchTimeoutMin)
	}
	h := x.w.Header()
	addWarnings(h, resp.Warnings)
	h["Content-Type"] = headerTypes[x.form.media]
	if x.form.media == accept.Protobuf {
		h.Set("Content-Type", accept.TypeProtobuf+";stream=watch")
	}
	x.rest = func() {
		defer st.Close()
		deadline := time.Now().Add(o.timeout)
		ctx, cancel := context.WithDeadline(x.r.Context(), deadline)
		defer cancel()
		defer context.AfterFunc(x.s.stopping, cancel)()
		fw := x.newFrameWriter(q, &o, cancel)
		defer fw.close()
		x.code = http.StatusOK
		x.w.WriteHeader(http.StatusOK)
		fw.flush() // the headers, so that the client knows the watch is open
		x.follow(ctx, st, fw, deadline)
		x.s.metrics.observe(q, x.code, 0)
	}
	return nil
}

// follow sends events and bookmarks until ctx ends or the client is gone. Errors are the connection's, or have been
// sent as events.
func (x *exchange) follow(ctx context.Context, st api.Stream, fw *frameWriter, deadline time.Time) {
	marks := x.s.newBookmarks(fw.options.bookmarks, deadline)
	wait, cancel := marks.wait(ctx)
	defer func() { cancel() }()
	for fw.err == nil {
		initial := st.Initial()
		events, err := st.Next(wait)
		switch {
		case err == nil && redefined(fw.q.d, x.s.Registry.Snapshot()):
			return // who goes on from where this one ended gets the rest as it is defined now
		case err == nil:
			fw.all(events, initial)
			if initial && !st.Initial() && fw.options.bookmarks {
				fw.bookmark(st.Revision(), true)
			}
			fw.flush()
		case ctx.Err() != nil:
			return
		case wait.Err() != nil:
			fw.bookmark(st.Revision(), false)
			fw.flush()
			cancel()
			wait, cancel = marks.wait(ctx)
		case fw.q.d.Custom && x.s.Registry.Snapshot().ByResource(fw.q.d.Resource) == nil:
			return // its definition was deleted: there is nothing to be read anew
		default:
			fw.failure(err)
			fw.flush()
			return
		}
	}
}

// bookmarks says when the next one is due.
type bookmarks struct {
	on       bool
	interval time.Duration
	last     time.Time // the final one's, before the watch ends
}

func (s *Server) newBookmarks(on bool, deadline time.Time) *bookmarks {
	return &bookmarks{on: on, interval: s.BookmarkInterval, last: deadline.Add(-finalBookmark)}
}

// wait returns a context that ends when a bookmark is due, or with ctx.
func (b *bookmarks) wait(ctx context.Context) (context.Context, context.CancelFunc) {
	if !b.on {
		return ctx, func() {}
	}
	now := time.Now()
	due := now.Add(b.interval)
	if now.Before(b.last) && due.After(b.last) {
		due = b.last
	}
	return context.WithDeadline(ctx, due)
}

// watches are those that are open over the network. It breaks off the writes of clients that do not read. One timer looks
// at all of them: a deadline of its own for each write would cost each event two messages to the connection's goroutine.
type watches struct {
	mu     sync.Mutex
	open   map[*frameWriter]struct{}
	custom map[*resource.Definition]map[*frameWriter]struct{} // those of custom kinds, by how these were defined then
	ended  int64                                              // events sent by those that are no more
	timer  *time.Timer
	// following says that a goroutine looks at the registry, for watches of custom kinds.
	following bool
}

// stall is what the last round saw of a watch, guarded by watches.mu.
type stall struct {
	turn  uint32
	since time.Time // of turn
}

func (w *watches) add(fw *frameWriter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[*frameWriter]struct{}{}
	}
	w.open[fw] = struct{}{}
	if w.timer == nil {
		w.timer = time.AfterFunc(slowWriterRounds, w.round)
	}
	d := fw.q.d
	if !d.Custom {
		return
	}
	if w.custom == nil {
		w.custom = map[*resource.Definition]map[*frameWriter]struct{}{}
	}
	if w.custom[d] == nil {
		w.custom[d] = map[*frameWriter]struct{}{}
	}
	w.custom[d][fw] = struct{}{}
	if !w.following {
		w.following = true
		go w.follow(fw.x.s)
	}
	if redefined(d, fw.x.s.Registry.Snapshot()) {
		fw.end() // between the lookup and here
	}
}

// follow ends the watches of custom kinds that are defined anew, at once, as upstream does, until the server stops.
func (w *watches) follow(s *Server) {
	for s.stopping.Err() == nil {
		now := s.Registry.Snapshot()
		w.mu.Lock()
		for d, of := range w.custom {
			if redefined(d, now) {
				for fw := range of {
					fw.end()
				}
			}
		}
		w.mu.Unlock()
		select {
		case <-now.Changed():
		case <-s.stopping.Done():
		}
	}
}

func (w *watches) remove(fw *frameWriter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, fw)
	if of := w.custom[fw.q.d]; of != nil {
		if delete(of, fw); len(of) == 0 {
			delete(w.custom, fw.q.d)
		}
	}
	w.ended += fw.events.Load()
}

// count returns how many are open.
func (w *watches) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

// events returns how many have been sent, by all there ever were.
func (w *watches) events() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.ended
	for fw := range w.open {
		n += fw.events.Load()
	}
	return n
}

func (w *watches) round() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) == 0 {
		w.timer = nil
		return
	}
	now := time.Now()
	for fw := range w.open {
		turn, seen := fw.turns.Load(), &fw.watched
		switch {
		case turn != seen.turn || turn%2 == 0:
			*seen = stall{turn, now}
		case now.Sub(seen.since) > writePatience:
			fw.abort(now)
		}
	}
	w.timer.Reset(slowWriterRounds)
}
