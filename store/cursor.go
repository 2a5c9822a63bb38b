package store

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"pintle.dev/api"
)

// pageSize bounds the events one Next looks at, so that a cursor far behind shows progress and holds a log's lock
// only briefly.
const pageSize = 512

// Cursor follows the events of one table at its own pace (S6). A cursor that keeps up is handed each event as it is
// published, without a lock; one that does not reads the log, and is told ErrExpired when that has moved past it. It
// keeps no more than one event for its owner: a slow one costs nothing. A Cursor is for one goroutine at a time.
type Cursor struct {
	store *Store
	log   *eventLog
	match []api.Index
	rev   api.Revision // everything up to here has been delivered
	page  []api.Event
	// behind: there may be events past rev that will not come through wake, so the log is to be read.
	behind bool
	// wake has the next event, or one without records that tells to read the log after its revision. Publishers fill it
	// in the order of the log, and once they have found it full, which they note in lost, no more until that is cleared:
	// what is received misses nothing between it and what was received before.
	wake   chan api.Event
	lost   atomic.Bool
	group  *group // nil until the end of the log has been reached
	closed bool
}

// Follow returns a cursor over the events of a resource after a revision, or ErrExpired. With match, only events are
// delivered, and only those wake the cursor, whose Old or New has all of the index entries; IndexNamespace and
// IndexName need not be declared. After may lie in the future: what is not later than it will not be delivered.
func (s *Store) Follow(res api.Resource, after api.Revision, match ...api.Index) (*Cursor, error) {
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("follow %s: %w", res, err)
	}
	c := &Cursor{store: s, log: s.log(res), match: slices.Clone(match), rev: after, behind: true, wake: make(chan api.Event, 1)}
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
	if c.group != nil {
		c.log.mu.Lock()
		c.log.leave(c)
		c.log.mu.Unlock()
	}
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
		if c.lost.Load() {
			// What is in wake came before what was lost; it is taken while lost still keeps others out. To a cursor
			// that has not reached the end of the log it says nothing.
			select {
			case e := <-c.wake:
				if !c.behind {
					c.skip(e)
				}
			default:
			}
			c.lost.Store(false)
			c.behind = true
		}
		if c.behind {
			events, state, err := c.read(ctx)
			if err != nil {
				return nil, fmt.Errorf("read events of %s after %d: %w", c.log.resource, c.rev, err)
			}
			if len(events) > 0 || state == advanced {
				return events, nil
			}
		}
		c.release()
		select {
		case e := <-c.wake:
			switch {
			case e.New == nil && e.Old == nil:
				c.skip(e)
				c.behind = true
			case e.Revision > c.rev: // else it was read from the log, or is not asked for
				c.rev = e.Revision
				c.page = append(c.page[:0], e)
				return c.page, nil
			}
		case <-ctx.Done():
			c.catchUp()
			return nil, ctx.Err()
		}
	}
}

// skip notes that everything before an event, or up to one without records, has been delivered.
func (c *Cursor) skip(e api.Event) {
	if e.New != nil || e.Old != nil {
		e.Revision--
	}
	c.rev = max(c.rev, e.Revision)
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
	waiting  progress = iota // at the end of the log: what comes is put into wake
	advanced                 // there is more to look at
)

// read returns the next page of events, or makes sure that later ones come through wake when there is none.
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
	if c.group != nil { // whoever publishes from now on finds the cursor there
		c.rev, c.behind = max(c.rev, published), false
		l.mu.RUnlock()
		return nil, waiting, nil
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
	c.rev, c.behind = max(c.rev, published), false
	l.join(c)
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

func (c *Cursor) matches(e *api.Event) bool { return matches(c.match, e) }

// matches reports whether the old or the new version has all entries.
func matches(match []api.Index, e *api.Event) bool {
	return len(match) == 0 || hasAll(match, e.Old) || hasAll(match, e.New)
}

func hasAll(match []api.Index, rec *api.Record) bool {
	if rec == nil {
		return false
	}
	for _, x := range match {
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

// catchUp moves the cursor past events that do not match, if all that do have been delivered.
func (c *Cursor) catchUp() {
	published := c.store.published()
	l := c.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	if c.group.last <= c.rev {
		c.rev = max(c.rev, published)
	}
}
