package cluster_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// outcome is what a client was told of a write.
type outcome int

const (
	unknown outcome = iota // the connection ended without an answer
	acked
	refused
)

// write is one attempt to change an object. Each but a deletion carries a token of its own into the object, by which it
// is found again in events.
type write struct {
	table, name string
	token       string // "": a deletion
	outcome     outcome
	after       uint64 // the newest revision that anyone had been acknowledged before the attempt began
	pinned      uint64 // the revision that the object must have had; 0: any
	revision    uint64 // acknowledged; 0: not told
	uid         string // acknowledged
	body        string // acknowledged
}

// change is an event of a watch.
type change struct {
	kind             string // ADDED, MODIFIED, DELETED
	revision         uint64
	name, uid, token string
}

// version is an object as a list shows it.
type version struct {
	revision   uint64
	uid, token string
}

// history holds what clients were told against what the server shows after each crash. record is for any goroutine; the
// rest is for the auditor, between crashes.
type history struct {
	newest atomic.Uint64 // acknowledged to anyone

	mu        sync.Mutex
	open      map[string]*write // by token: not audited yet
	deletions []*write          // not audited yet

	settled map[string]string // token: why it must not appear (again)
	owner   map[uint64]string // of each revision ever seen
	floor   uint64            // every revision from now on is above
	changes map[string][]change
	state   map[string]map[string]version // by table and name: the fold of changes
}

func newHistory(floor uint64) *history {
	return &history{
		open: map[string]*write{}, settled: map[string]string{}, owner: map[uint64]string{}, floor: floor,
		changes: map[string][]change{}, state: map[string]map[string]version{},
	}
}

// record keeps a write that has ended.
func (h *history) record(w *write) {
	for old := h.newest.Load(); w.revision > old && !h.newest.CompareAndSwap(old, w.revision); old = h.newest.Load() {
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.token == "" {
		h.deletions = append(h.deletions, w)
	} else {
		h.open[w.token] = w
	}
}

// audit takes the events of every table since the last audit, as they are read back after a crash while nobody writes,
// and returns what contradicts what clients were told.
func (h *history) audit(since map[string][]change) (wrong []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	deleted := map[string]uint64{} // revision, by uid
	unexplained := map[string]int{}
	highest := h.floor
	for table, changes := range since {
		if h.state[table] == nil {
			h.state[table] = map[string]version{}
		}
		last := h.floor
		for _, c := range changes {
			id := table + "/" + c.name
			if c.revision <= last {
				bad("%s: event at revision %d after %d", id, c.revision, last)
			}
			last = max(last, c.revision)
			if other, ok := h.owner[c.revision]; ok {
				bad("%s: revision %d was given to %s before", id, c.revision, other)
			}
			h.owner[c.revision] = id
			old, existed := h.state[table][c.name]
			if existed != (c.kind != "ADDED") {
				bad("%s: %s at %d of an object that existed: %v", id, c.kind, c.revision, existed)
			}
			if existed && c.uid != old.uid {
				bad("%s: %s at %d has uid %s, the object has %s", id, c.kind, c.revision, c.uid, old.uid)
			}
			if c.kind == "DELETED" {
				delete(h.state[table], c.name)
				deleted[c.uid] = c.revision
				unexplained[id]++
				continue
			}
			h.state[table][c.name] = version{c.revision, c.uid, c.token}
			h.match(c, id, old.revision, bad)
		}
		highest = max(highest, last)
		h.changes[table] = append(h.changes[table], changes...)
	}
	for token, w := range h.open {
		if w.outcome == acked {
			bad("%s/%s: write %s was acknowledged at revision %d and is lost", w.table, w.name, token, w.revision)
		}
		h.settled[token] = "did not survive the crash, or was refused, before"
	}
	clear(h.open)
	h.matchDeletions(deleted, unexplained, bad)
	h.floor = max(highest, h.newest.Load())
	return wrong
}

// match finds the write behind an event and holds one against the other.
func (h *history) match(c change, id string, before uint64, bad func(string, ...any)) {
	w := h.open[c.token]
	switch {
	case w == nil && h.settled[c.token] != "":
		bad("%s: the event at %d shows write %s, which %s", id, c.revision, c.token, h.settled[c.token])
		return
	case w == nil:
		bad("%s: the event at %d shows write %q, which nobody made", id, c.revision, c.token)
		return
	}
	delete(h.open, c.token)
	h.settled[c.token] = "has been shown by an event before"
	switch {
	case w.outcome == refused:
		bad("%s: write %s was refused and took effect at revision %d", id, c.token, c.revision)
	case w.table+"/"+w.name != id:
		bad("%s: write %s was of %s/%s", id, c.token, w.table, w.name)
	case w.revision != 0 && w.revision != c.revision:
		bad("%s: write %s was acknowledged at revision %d and stands at %d", id, c.token, w.revision, c.revision)
	case w.uid != "" && w.uid != c.uid:
		bad("%s: write %s was acknowledged for uid %s and stands for %s", id, c.token, w.uid, c.uid)
	case c.revision <= w.after:
		bad("%s: write %s took revision %d, but %d was acknowledged before it began", id, c.token, c.revision, w.after)
	case w.pinned != 0 && w.pinned != before:
		bad("%s: write %s named revision %d and replaced %d", id, c.token, w.pinned, before)
	}
}

// matchDeletions holds the deletions of a round against its DELETED events: revision by uid, and number by object.
func (h *history) matchDeletions(deleted map[string]uint64, unexplained map[string]int, bad func(string, ...any)) {
	attempts := map[string]int{}
	for _, w := range h.deletions {
		id := w.table + "/" + w.name
		switch w.outcome {
		case unknown:
			attempts[id]++
		case acked:
			rev, ok := deleted[w.uid]
			if !ok {
				bad("%s: the deletion of uid %s was acknowledged and is lost", id, w.uid)
				continue
			}
			if rev <= w.after {
				bad("%s: deleted at revision %d, but %d was acknowledged before it began", id, rev, w.after)
			}
			delete(deleted, w.uid)
			unexplained[id]--
		}
	}
	for id, n := range unexplained {
		if n > attempts[id] {
			bad("%s: deleted %d times more than anybody may have asked", id, n-attempts[id])
		}
	}
	h.deletions = nil
}

// compare holds a list of a table against the fold of its events.
func (h *history) compare(table string, list map[string]version) (wrong []string) {
	for name, v := range list {
		if want, ok := h.state[table][name]; !ok || want != v {
			wrong = append(wrong, fmt.Sprintf("%s/%s: the list shows %v, the events %v", table, name, v, want))
		}
	}
	for name, want := range h.state[table] {
		if _, ok := list[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s/%s: the list does not show %v", table, name, want))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// follows holds what one watcher saw against the audited events of its table: all of them in order, once, up to where
// it got.
func (h *history) follows(table string, seen []change) string {
	audited := h.changes[table]
	for i, c := range seen {
		if i == len(audited) {
			return fmt.Sprintf("%s: a watcher saw %v, which is not in the history", table, c)
		}
		if c != audited[i] {
			return fmt.Sprintf("%s: a watcher's event %d is %v, the history has %v", table, i, c, audited[i])
		}
	}
	return ""
}
