package controller

import (
	"container/heap"
	"sync"
	"time"
)

// The delay before the nth retry of a key is minBackoff * 2^(n-1), at most maxBackoff.
const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Minute
)

// Queue holds keys that await work. A key is in it at most once, is handed to one worker at a time (what is added while
// it is being worked on comes again after Done), may be added for later, and has a back-off of its own.
type Queue[K comparable] struct {
	interval time.Duration // least time between two starts of one key

	mu      sync.Mutex
	ready   []*item[K] // in order of arrival, from head on
	head    int
	later   itemHeap[K]
	items   map[K]*item[K]
	work    *sync.Cond
	timer   *time.Timer
	closed  bool
	adds    uint64
	retries uint64
}

type itemState uint8

const (
	idle    itemState = iota // remembered for its failures only
	waiting                  // in later, until due
	ready
	running
)

type item[K comparable] struct {
	key      K
	state    itemState
	wanted   bool      // waiting: is work, not just the memory of a recent start; running: again after Done
	due      time.Time // of waiting
	after    time.Time // also wanted at this time; zero for none
	started  time.Time
	rest     time.Duration // least time to the next start, when it is longer than the queue's
	failures int
	index    int // in later
}

// NewQueue returns an empty queue whose keys are handed out at least interval apart, each.
func NewQueue[K comparable](interval time.Duration) *Queue[K] {
	q := &Queue[K]{interval: interval, items: map[K]*item[K]{}}
	q.work = sync.NewCond(&q.mu)
	return q
}

// Add makes the key be worked on as soon as possible.
func (q *Queue[K]) Add(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.adds++
	q.want(q.item(k), time.Now())
}

// AddAfter makes the key be worked on after a delay, unless it already will be earlier.
func (q *Queue[K]) AddAfter(k K, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.adds++
	now := time.Now()
	it := q.item(k)
	if d <= 0 {
		q.want(it, now)
		return
	}
	q.wantAt(it, now, now.Add(d))
}

// Retry adds the key after its back-off delay, which doubles with every Retry until Forget.
func (q *Queue[K]) Retry(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.retries++
	it := q.item(k)
	d := maxBackoff
	if it.failures < 14 { // beyond, the shift exceeds maxBackoff
		d = min(maxBackoff, minBackoff<<it.failures)
	}
	it.failures++
	now := time.Now()
	q.wantAt(it, now, now.Add(d))
}

// Forget resets the key's back-off.
func (q *Queue[K]) Forget(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[k]; it != nil {
		it.failures = 0
		if it.state == idle {
			delete(q.items, k)
		}
	}
}

// Get waits for a key to work on; ok is false when the queue is closed. Done must follow.
func (q *Queue[K]) Get() (k K, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.ready) && !q.closed {
		q.work.Wait()
	}
	if q.closed {
		return k, false
	}
	it := q.ready[q.head]
	q.ready[q.head] = nil
	if q.head++; q.head == len(q.ready) {
		q.ready, q.head = q.ready[:0], 0
	} else if q.head > 1024 && q.head > len(q.ready)/2 {
		q.ready = q.ready[:copy(q.ready, q.ready[q.head:])]
		q.head = 0
	}
	it.state, it.wanted, it.started = running, false, time.Now()
	if !it.after.After(it.started) {
		it.after = time.Time{}
	}
	return it.key, true
}

// Done says that the work on a key has ended.
func (q *Queue[K]) Done(k K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[k]
	if it == nil || it.state != running {
		panic("controller: Done of a key that is not being worked on")
	}
	now := time.Now()
	again := it.wanted
	it.state, it.wanted = idle, false
	switch recent := q.earliest(it); {
	case again:
		q.want(it, now)
	case !it.after.IsZero():
		q.wantAt(it, now, it.after)
	case it.failures > 0:
	case recent.After(now):
		it.state, it.due = waiting, recent
		heap.Push(&q.later, it)
		q.arm(now)
	default:
		delete(q.items, k)
	}
}

// Rest makes the key, which is being worked on, start again no sooner than d after it did.
func (q *Queue[K]) Rest(k K, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.items[k]; it != nil {
		it.rest = d
	}
}

// earliest is when the item may start again.
func (q *Queue[K]) earliest(it *item[K]) time.Time { return it.started.Add(max(q.interval, it.rest)) }

// Len is how many keys could be worked on now.
func (q *Queue[K]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready) - q.head
}

// Close makes every Get return. What is in the queue is dropped.
func (q *Queue[K]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.work.Broadcast()
}

func (q *Queue[K]) item(k K) *item[K] {
	it := q.items[k]
	if it == nil {
		it = &item[K]{key: k}
		q.items[k] = it
	}
	return it
}

// want schedules the item as early as the interval since its last start allows.
func (q *Queue[K]) want(it *item[K], now time.Time) {
	q.schedule(it, now, q.earliest(it))
}

// wantAt schedules the item at t. When it is to be worked on before, t is remembered.
func (q *Queue[K]) wantAt(it *item[K], now, t time.Time) {
	if it.state == ready || it.state == running || it.state == waiting && it.wanted && it.due.Before(t) {
		if it.after.IsZero() || t.Before(it.after) {
			it.after = t
		}
		return
	}
	if earliest := q.earliest(it); t.Before(earliest) {
		t = earliest
	}
	q.schedule(it, now, t)
}

func (q *Queue[K]) schedule(it *item[K], now, due time.Time) {
	switch it.state {
	case ready:
		return
	case running:
		it.wanted = true
		return
	case waiting:
		if it.wanted && !due.Before(it.due) {
			return
		}
		if it.wanted { // the later time is still wanted
			if it.after.IsZero() || it.due.Before(it.after) {
				it.after = it.due
			}
		}
		heap.Remove(&q.later, it.index)
	}
	it.wanted = true
	if !due.After(now) {
		q.push(it)
		return
	}
	it.state, it.due = waiting, due
	heap.Push(&q.later, it)
	q.arm(now)
}

func (q *Queue[K]) push(it *item[K]) {
	it.state = ready
	q.ready = append(q.ready, it)
	q.work.Signal()
}

// arm sets the timer for the first item of later.
func (q *Queue[K]) arm(now time.Time) {
	if len(q.later) == 0 || q.closed {
		return
	}
	d := q.later[0].due.Sub(now)
	if q.timer == nil {
		q.timer = time.AfterFunc(d, q.elapsed)
		return
	}
	q.timer.Reset(d)
}

// elapsed moves what is due from later to ready.
func (q *Queue[K]) elapsed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.later) > 0 && !q.later[0].due.After(now) {
		it := heap.Pop(&q.later).(*item[K])
		it.state = idle
		if it.wanted {
			q.push(it)
		} else {
			delete(q.items, it.key)
		}
	}
	q.arm(now)
}

type itemHeap[K comparable] []*item[K]

func (h itemHeap[K]) Len() int           { return len(h) }
func (h itemHeap[K]) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h itemHeap[K]) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i, j }
func (h *itemHeap[K]) Push(x any)        { it := x.(*item[K]); it.index = len(*h); *h = append(*h, it) }
func (h *itemHeap[K]) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return it
}
