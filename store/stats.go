package store

import (
	"iter"
	"sync/atomic"
	"time"

	"pintle.dev/api"
)

type counters struct {
	commits, writes, groups, conflicts, wakes, readBack, compactions, cursors, logBytes, evicted atomic.Int64

	syncTime atomic.Int64 // nanoseconds
	syncs    [len(SyncBounds) + 1]atomic.Int64
}

// SyncBounds are the upper bounds of Stats.Syncs; the last count has none.
var SyncBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, time.Second, 5 * time.Second,
}

// synced counts a group that the backend took so long to make durable.
func (c *counters) synced(took time.Duration) {
	i := 0
	for i < len(SyncBounds) && took > SyncBounds[i] {
		i++
	}
	c.syncs[i].Add(1)
	c.syncTime.Add(int64(took))
	c.groups.Add(1)
}

// Stats are counts since the store was opened, and sizes now.
type Stats struct {
	Commits     int64 // commits that wrote something or held
	Writes      int64 // objects written or deleted
	Groups      int64 // syncs of the backend: commits that came together share one
	Conflicts   int64 // commits refused because an expectation did not hold
	Wakes       int64 // cursors woken
	ReadBack    int64 // events read from the backend because they had left memory
	Evicted     int64 // events that have left memory
	Compactions int64
	Cursors     int64 // open now
	LogBytes    int64 // what the event logs hold in memory now
	Objects     int64 // stored now

	Syncs    [len(SyncBounds) + 1]int64 // groups by how long the backend took, each within the bound of SyncBounds
	SyncTime time.Duration              // of all groups
}

// Stats returns the store's counts.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	objects := 0
	for t := range s.tables.all() {
		objects += t.records.len()
	}
	s.mu.Unlock()
	c := &s.stats
	st := Stats{
		Commits: c.commits.Load(), Writes: c.writes.Load(), Groups: c.groups.Load(), Conflicts: c.conflicts.Load(),
		Wakes: c.wakes.Load(), ReadBack: c.readBack.Load(), Compactions: c.compactions.Load(),
		Cursors: c.cursors.Load(), LogBytes: c.logBytes.Load(), Objects: int64(objects),
		Evicted: c.evicted.Load(), SyncTime: time.Duration(c.syncTime.Load()),
	}
	for i := range c.syncs {
		st.Syncs[i] = c.syncs[i].Load()
	}
	return st
}

// Sizes yields every resource and how many objects it has.
func (v View) Sizes() iter.Seq2[api.Resource, int] {
	return func(yield func(api.Resource, int) bool) {
		for t := range v.tables.all() {
			if !yield(t.resource, t.records.len()) {
				return
			}
		}
	}
}
