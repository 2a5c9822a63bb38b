package client

// recent remembers what was added or looked up last, at most eventsRemembered things, by a hash of their key. Two keys
// with one hash among so few are less likely than a bit that flips. The zero recent is empty.
type recent[V any] struct {
	entries map[uint64]*recentEntry[V]
	ring    *recentEntry[V] // the newest; the oldest is before it
}

type recentEntry[V any] struct {
	key          uint64
	newer, older *recentEntry[V]
	value        V
}

// get finds the value of a key, nil when there is none, and makes it the newest.
func (r *recent[V]) get(key uint64) *V {
	e := r.entries[key]
	if e == nil {
		return nil
	}
	r.unlink(e)
	r.link(e)
	return &e.value
}

// add puts a zero value under a key that has none, in place of the oldest when there are too many.
func (r *recent[V]) add(key uint64) *V {
	if r.entries == nil {
		r.entries = map[uint64]*recentEntry[V]{}
	}
	if len(r.entries) == eventsRemembered {
		oldest := r.ring.newer
		r.unlink(oldest)
		delete(r.entries, oldest.key)
	}
	e := &recentEntry[V]{key: key}
	r.entries[key] = e
	r.link(e)
	return &e.value
}

// link makes e the newest. The ring is closed: newer than the newest is the oldest.
func (r *recent[V]) link(e *recentEntry[V]) {
	if r.ring == nil {
		e.newer, e.older = e, e
	} else {
		e.older, e.newer = r.ring, r.ring.newer
		e.older.newer, e.newer.older = e, e
	}
	r.ring = e
}

func (r *recent[V]) unlink(e *recentEntry[V]) {
	if e.newer == e {
		r.ring = nil
		return
	}
	e.older.newer, e.newer.older = e.newer, e.older
	if r.ring == e {
		r.ring = e.older
	}
}
