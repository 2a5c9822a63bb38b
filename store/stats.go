package store

import "sync/atomic"

type counters struct {
	commits, writes, groups, conflicts, wakes, readBack, compactions, cursors, logBytes atomic.Int64
}

// Stats are counts since the store was opened, and sizes now.
type Stats struct {
	Commits     int64 // commits that wrote something or held
	Writes      int64 // objects written or deleted
	Groups      int64 // syncs of the backend: commits that came together share one
	Conflicts   int64 // commits refused because an expectation did not hold
	Wakes       int64 // events handed to cursors; those of one commit count as one
	ReadBack    int64 // events read from the backend because they had left memory
	Compactions int64
	Cursors     int64 // open now
	LogBytes    int64 // what the event logs hold in memory now
	Objects     int64 // stored now
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
	return Stats{
		Commits: c.commits.Load(), Writes: c.writes.Load(), Groups: c.groups.Load(), Conflicts: c.conflicts.Load(),
		Wakes: c.wakes.Load(), ReadBack: c.readBack.Load(), Compactions: c.compactions.Load(),
		Cursors: c.cursors.Load(), LogBytes: c.logBytes.Load(), Objects: int64(objects),
	}
}
