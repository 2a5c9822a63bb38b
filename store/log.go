package store

import (
	"sort"
	"sync"
	"unsafe"

	"pintle.dev/api"
)

// eventLog is the recent events of one table, and the cursors that wait for the next. Old events leave it when all
// logs together exceed the budget; cursors behind it read from the backend.
type eventLog struct {
	resource api.Resource

	mu      sync.RWMutex
	ring    []api.Event // capacity a power of two; events are at [first, first+n) modulo it
	first   int
	n       int
	horizon api.Revision // revision of the last event that has left the ring: it is complete after this
	last    api.Revision // revision of the last event ever
	// incarnation is when the table was last dropped: what came before is another table's.
	incarnation api.Revision
	closed      error // why no cursor can go on: ErrExpired after a drop

	all    group                  // the cursors without a match
	groups map[api.Index][]*group // the others, by the first entry of their match
	names  map[string]int         // how many groups are under each index name
}

// newEventLog makes a log that has all events after the Store was opened and the table was dropped.
func newEventLog(r api.Resource, opened, dropped api.Revision) *eventLog {
	horizon := max(opened, dropped)
	return &eventLog{resource: r, horizon: horizon, last: horizon, incarnation: dropped,
		groups: map[api.Index][]*group{}, names: map[string]int{}}
}

func (l *eventLog) at(i int) *api.Event { return &l.ring[(l.first+i)&(len(l.ring)-1)] }

// after finds the position of the first event past a revision; n when there is none.
func (l *eventLog) after(rev api.Revision) int {
	return sort.Search(l.n, func(i int) bool { return l.at(i).Revision > rev })
}

func (l *eventLog) append(e api.Event) {
	if l.n == len(l.ring) {
		l.resize(max(16, 2*len(l.ring)))
	}
	l.n++
	*l.at(l.n - 1) = e
	l.last = e.Revision
}

func (l *eventLog) resize(size int) {
	ring := make([]api.Event, size)
	for i := range l.n {
		ring[i] = *l.at(i)
	}
	l.ring, l.first = ring, 0
}

// evict drops the oldest event and returns what it weighed.
func (l *eventLog) evict() int64 {
	e := l.at(0)
	w := weight(*e)
	l.horizon = e.Revision
	*e = api.Event{}
	l.first = (l.first + 1) & (len(l.ring) - 1)
	l.n--
	if len(l.ring) > 64 && l.n < len(l.ring)/4 {
		l.resize(len(l.ring) / 2)
	}
	return w
}

// sharedOwnership is up to what size, in bytes, field ownership is taken to be shared with other objects.
const sharedOwnership = 2 << 10

// weight is what an event holds in memory: its place and the version it superseded, with the field ownership where that is
// so large that hardly another object shares it: thousands of managers of one object make each version half a megabyte.
// The new version is held by the table, or weighs in the event that superseded it.
func weight(e api.Event) int64 {
	w := int64(unsafe.Sizeof(e))
	if e.Old == nil {
		return w
	}
	w += int64(e.Old.Size())
	if owned := e.Old.Ownership(); owned.Size() > sharedOwnership && (e.New == nil || e.New.Ownership() != owned) {
		w += int64(owned.Size())
	}
	return w
}

// budget decides which events leave memory: the oldest of all logs first, but none of a log's last floor events.
//
// The queue has one entry for every event when it was appended. A log's entries in the queue are always at least its
// events less the floor: appending adds one to both, and an entry is spent only on evicting an event or on a log that
// has no more than the floor. So an empty queue means that no log has more than the floor.
type budget struct {
	limit int64 // bytes
	floor int
	used  int64
	queue []*eventLog
	head  int
}

func (b *budget) add(l *eventLog, e api.Event) {
	b.used += weight(e)
	b.queue = append(b.queue, l)
}

// enforce evicts until the budget is kept and returns how many events. Logs that a cursor reads are locked one at a time.
func (b *budget) enforce() (evicted int64) {
	for b.used > b.limit && b.head < len(b.queue) {
		l := b.queue[b.head]
		b.queue[b.head] = nil
		b.head++
		l.mu.Lock()
		if l.n > b.floor {
			b.used -= l.evict()
			evicted++
		}
		l.mu.Unlock()
	}
	if b.head > 64 && b.head > len(b.queue)/2 {
		b.queue = append(make([]*eventLog, 0, len(b.queue)), b.queue[b.head:]...)
		b.head = 0
	}
	return evicted
}

// expire evicts what is not newer than a revision, keeping the floor.
func (b *budget) expire(l *eventLog, through api.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.n > b.floor && l.at(0).Revision <= through {
		b.used -= l.evict()
	}
}

// forget empties a log whose table is dropped.
func (b *budget) forget(l *eventLog) {
	for l.n > 0 {
		b.used -= l.evict()
	}
}
