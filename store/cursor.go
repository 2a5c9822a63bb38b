package store

import (
	"context"
	"fmt"
	"slices"

	"pintle.dev/api"
)

// pageSize bounds the events one Next looks at, so that a cursor far behind shows progress and holds a log's lock
// only briefly.
const pageSize = 512

// Cursor follows the events of one table at its own pace (S6). It keeps no events for its owner: a slow one costs
// nothing, and is told ErrExpired when the log has moved past it. A Cursor is for one goroutine at a time.
type Cursor struct {
	store *Store
	log   *eventLog
	match []api.Index
	rev   api.Revision // everything up to here has been delivered
	page  []api.Event
	wake  chan struct{}
	// waiting is guarded by log.mu: whether the cursor is registered for its next event. While it is, no event past
	// rev matches it.
	waiting bool
	closed  bool
}

// Follow returns a cursor over the events of a resource after a revision, or ErrExpired. With match, only events are
// delivered, and only those wake the cursor, whose Old or New has all of the index entries; IndexNamespace and
// IndexName need not be declared. After may lie in the future: what is not later than it will not be delivered.
func (s *Store) Follow(res api.Resource, after api.Revision, match ...api.Index) (*Cursor, error) {
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("follow %s: %w", res, err)
	}
	c := &Cursor{store: s, log: s.log(res), match: slices.Clone(match), rev: after, wake: make(chan struct{}, 1)}
	// The most telling entry comes first: it is the one the cursor waits under.
	slices.SortStableFunc(c.match, func(a, b api.Index) int { return breadth(a) - breadth(b) })
	c.log.mu.RLock()
	behind := after < c.log.horizon
	c.log.mu.RUnlock()
	if behind {
		if oldest := s.Oldest(res); after < oldest {
			return nil, fmt.Errorf("follow %s after %d: %w", res, after, ErrExpired)
		}
	}
	s.stats.cursors.Add(1)
	return c, nil
}

func breadth(x api.Index) int {
	switch x.Name {
	case IndexNamespace:
		return 2
	case IndexName:
		return 0
	}
	return 1
}

// Revision is the revision up to which everything has been delivered. It advances with events of other tables, and
// with events that do not match, each time Next returns, be it with an error of its context.
func (c *Cursor) Revision() api.Revision { return c.rev }

// Close ends the cursor.
func (c *Cursor) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.unregister()
	c.store.stats.cursors.Add(-1)
}

// Next waits for events and returns them in order; the slice is the caller's until the next call. It returns none and
// no error when it has passed events that do not match, ErrExpired when the log no longer reaches back to the cursor or
// the table was dropped, and the context's error when that ends: then everything up to Revision, which is as new as the
// store, has been delivered, so a context with a timeout is how to send bookmarks.
func (c *Cursor) Next(ctx context.Context) ([]api.Event, error) {
	if c.closed {
		return nil, fmt.Errorf("read events of %s: %w", c.log.resource, ErrClosed)
	}
	for {
		if err := c.store.Err(); err != nil {
			return nil, fmt.Errorf("read events of %s: %w", c.log.resource, err)
		}
		events, state, err := c.read(ctx)
		if err != nil {
			return nil, fmt.Errorf("read events of %s after %d: %w", c.log.resource, c.rev, err)
		}
		if len(events) > 0 || state == advanced {
			return events, nil
		}
		c.release()
		select {
		case <-c.wake:
		case <-c.store.done:
			c.unregister()
		case <-ctx.Done():
			c.unregister()
			return nil, ctx.Err()
		}
	}
}

// release lets go of the records of the last page before a wait that may be long.
func (c *Cursor) release() {
	if cap(c.page) > 8 {
		c.page = nil
	} else {
		clear(c.page[:cap(c.page)])
	}
}

type progress int

const (
	waiting  progress = iota // at the end of the log and registered
	advanced                 // there is more to look at
)

// read returns the next page of events, or registers the cursor when there is none.
func (c *Cursor) read(ctx context.Context) ([]api.Event, progress, error) {
	// Read before the log: by the time a revision is published, all events up to it are in the logs.
	published := c.store.published()
	l := c.log
	l.mu.RLock()
	if l.closed != nil {
		defer l.mu.RUnlock()
		return nil, advanced, l.closed
	}
	if c.rev < l.horizon {
		through := l.horizon
		l.mu.RUnlock()
		return c.readBack(ctx, through)
	}
	i := l.after(c.rev)
	if i < l.n {
		end := min(l.n, i+pageSize)
		c.page = c.page[:0]
		for ; i < end; i++ {
			e := l.at(i)
			c.rev = e.Revision
			if c.matches(e) {
				c.page = append(c.page, *e)
			}
		}
		l.mu.RUnlock()
		return c.page, advanced, nil
	}
	l.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return nil, advanced, l.closed
	}
	if l.last > c.rev && l.after(c.rev) < l.n || c.rev < l.horizon {
		return nil, advanced, nil // an event came between the two locks
	}
	c.rev = max(c.rev, published)
	l.register(c)
	return nil, waiting, nil
}

// readBack reads events that have left memory.
func (c *Cursor) readBack(ctx context.Context, through api.Revision) ([]api.Event, progress, error) {
	if c.rev < c.store.Oldest(c.log.resource) {
		return nil, advanced, ErrExpired
	}
	events, err := c.store.backend.Events(ctx, c.log.resource, c.rev, through)
	if err != nil {
		return nil, advanced, err
	}
	c.store.stats.readBack.Add(int64(len(events)))
	c.page = c.page[:0]
	for _, e := range events {
		if c.matches(&e) {
			c.page = append(c.page, e)
		}
	}
	if len(events) == 0 {
		c.rev = through
	} else {
		c.rev = events[len(events)-1].Revision
	}
	return c.page, advanced, nil
}

func (c *Cursor) matches(e *api.Event) bool {
	return len(c.match) == 0 || c.has(e.Old) || c.has(e.New)
}

func (c *Cursor) has(rec *api.Record) bool {
	if rec == nil {
		return false
	}
	for _, x := range c.match {
		if !hasEntry(rec, x) {
			return false
		}
	}
	return true
}

func hasEntry(rec *api.Record, x api.Index) bool {
	switch x.Name {
	case IndexNamespace:
		return rec.Namespace() == x.Value
	case IndexName:
		return rec.Name() == x.Value
	}
	return rec.Indexed(x)
}

// unregister takes the cursor out of the waiting ones. When no event woke it meanwhile, it has seen all there is.
func (c *Cursor) unregister() {
	published := c.store.published()
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.waiting {
		c.rev = max(c.rev, published)
		l.remove(c)
		return
	}
	select {
	case <-c.wake:
	default:
	}
}

// register makes the next event that matches wake the cursor.
func (l *eventLog) register(c *Cursor) {
	if c.waiting {
		return // a wake-up that was sent before the last wait ended came late
	}
	c.waiting = true
	if len(c.match) == 0 {
		l.all = append(l.all, c)
		return
	}
	x := c.match[0]
	l.waiting[x] = append(l.waiting[x], c)
	l.names[x.Name]++
}

func (l *eventLog) remove(c *Cursor) {
	c.waiting = false
	if len(c.match) == 0 {
		l.all = without(l.all, c)
		return
	}
	x := c.match[0]
	if rest := without(l.waiting[x], c); len(rest) == 0 {
		delete(l.waiting, x)
	} else {
		l.waiting[x] = rest
	}
	l.countDown(x.Name)
}

func (l *eventLog) countDown(name string) {
	if l.names[name]--; l.names[name] == 0 {
		delete(l.names, name)
	}
}

func without(cs []*Cursor, c *Cursor) []*Cursor {
	if i := slices.Index(cs, c); i >= 0 {
		cs[i] = cs[len(cs)-1]
		cs[len(cs)-1] = nil
		cs = cs[:len(cs)-1]
	}
	return cs
}

// wakers takes the cursors that an event is for out of the waiting ones and appends them to woken, for their wake
// channel to be filled once all locks are released. The others stay as they are: only the entries the event has are
// looked up.
func (l *eventLog) wakers(e *api.Event, woken []*Cursor) []*Cursor {
	for i, c := range l.all {
		c.waiting = false
		woken = append(woken, c)
		l.all[i] = nil
	}
	l.all = l.all[:0]
	if len(l.names) == 0 {
		return woken
	}
	for _, rec := range [...]*api.Record{e.Old, e.New} {
		if rec == nil {
			continue
		}
		if l.names[IndexNamespace] > 0 {
			woken = l.take(api.Index{Name: IndexNamespace, Value: rec.Namespace()}, e, woken)
		}
		if l.names[IndexName] > 0 {
			woken = l.take(api.Index{Name: IndexName, Value: rec.Name()}, e, woken)
		}
		for name, value := range rec.Indexes() {
			if l.names[name] > 0 {
				woken = l.take(api.Index{Name: name, Value: value}, e, woken)
			}
		}
	}
	return woken
}

func (l *eventLog) take(x api.Index, e *api.Event, woken []*Cursor) []*Cursor {
	cs, ok := l.waiting[x]
	if !ok {
		return woken
	}
	rest := cs[:0]
	for _, c := range cs {
		if !c.matches(e) {
			rest = append(rest, c)
			continue
		}
		// It has waited through everything before this event.
		c.waiting, c.rev = false, max(c.rev, e.Revision-1)
		woken = append(woken, c)
		l.countDown(x.Name)
	}
	clear(cs[len(rest):])
	if len(rest) == 0 {
		delete(l.waiting, x)
	} else {
		l.waiting[rest[0].match[0]] = rest // not x, whose strings would keep the record alive as the map's key
	}
	return woken
}
