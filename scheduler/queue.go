package scheduler

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"pintle.dev/api"
)

// Times of D3.
const (
	minBackoff = time.Second
	maxBackoff = 10 * time.Second
	maxWait    = 5 * time.Minute
)

// queued is a pod that waits to be scheduled.
type queued struct {
	rec      *api.Record
	priority int32
	since    time.Time // when it came in; earlier ones go first among equals
	attempts int
	ready    time.Time // the end of its back-off
	due      time.Time // when it leaves the later heap: ready, or when parked long after
	parked   bool      // fits nowhere: is in later, but activate takes it out
	in       *podHeap  // nil while it is being worked on
	at       int       // position in that heap
}

// queue orders the pods that wait: those that may be tried by priority, then age, the others by when they may. It hands
// each to one worker at a time.
type queue struct {
	mu      sync.Mutex
	active  podHeap
	later   podHeap
	all     map[string]*queued // by UID, those being worked on included
	changed chan struct{}      // closed and replaced when there may be a pod to try earlier than was waited for
	moves   int                // how often activate was called, to see a change during an attempt
}

func newQueue() *queue {
	return &queue{
		all: map[string]*queued{}, changed: make(chan struct{}),
		active: podHeap{before: func(a, b *queued) bool {
			if a.priority != b.priority {
				return a.priority > b.priority
			}
			return a.since.Before(b.since)
		}},
		later: podHeap{before: func(a, b *queued) bool { return a.due.Before(b.due) }},
	}
}

// podHeap is a heap whose pods know where they are.
type podHeap struct {
	pods   []*queued
	before func(a, b *queued) bool
}

func (h *podHeap) Len() int           { return len(h.pods) }
func (h *podHeap) Less(i, j int) bool { return h.before(h.pods[i], h.pods[j]) }
func (h *podHeap) Swap(i, j int) {
	h.pods[i], h.pods[j] = h.pods[j], h.pods[i]
	h.pods[i].at, h.pods[j].at = i, j
}
func (h *podHeap) Push(x any) {
	p := x.(*queued)
	p.in, p.at = h, len(h.pods)
	h.pods = append(h.pods, p)
}
func (h *podHeap) Pop() any {
	last := len(h.pods) - 1
	p := h.pods[last]
	h.pods[last], h.pods, p.in = nil, h.pods[:last], nil
	return p
}

// place puts a pod where it belongs now.
func (q *queue) place(p *queued, now time.Time) {
	if p.in != nil {
		heap.Remove(p.in, p.at)
	}
	switch {
	case p.parked:
		p.due = now.Add(maxWait)
	case p.ready.After(now):
		p.due = p.ready
	default:
		heap.Push(&q.active, p)
		return
	}
	heap.Push(&q.later, p)
}

func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// add puts a new pod in, or takes over a new version of one that waits. A changed pod may fit where it did not.
func (q *queue) add(rec *api.Record, priority int32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	p := q.all[rec.UID()]
	switch {
	case p == nil:
		p = &queued{rec: rec, priority: priority, since: now}
		q.all[rec.UID()] = p
	case p.parked:
		p.rec, p.parked = rec, false
	default:
		p.rec = rec
		return
	}
	q.place(p, now)
	q.signal()
}

// remove forgets a pod that was bound or is gone.
func (q *queue) remove(uid string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(uid)
}

func (q *queue) drop(uid string) {
	if p := q.all[uid]; p != nil {
		delete(q.all, uid)
		if p.in != nil {
			heap.Remove(p.in, p.at)
		}
	}
}

// keep forgets all pods but the given ones.
func (q *queue) keep(uids map[string]bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for uid := range q.all {
		if !uids[uid] {
			q.drop(uid)
		}
	}
}

// trial is a pod that has been taken out of the queue to be tried.
type trial struct {
	*queued
	rec   *api.Record // the version to decide about; a newer one may come in meanwhile
	moves int         // for park
}

// next waits for the pod to try next.
func (q *queue) next(ctx context.Context) (trial, error) {
	for {
		q.mu.Lock()
		now := time.Now()
		for q.later.Len() > 0 && !q.later.pods[0].due.After(now) {
			p := q.later.pods[0]
			p.parked = false
			q.place(p, now)
		}
		if q.active.Len() > 0 {
			p := heap.Pop(&q.active).(*queued)
			t := trial{p, p.rec, q.moves}
			q.mu.Unlock()
			return t, nil
		}
		wait := maxWait
		if q.later.Len() > 0 {
			wait = q.later.pods[0].due.Sub(now)
		}
		changed := q.changed
		q.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-changed:
			timer.Stop()
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return trial{}, ctx.Err()
		}
	}
}

// park sets a pod aside that fits nowhere. When something changed since next returned it, it is only held back for its
// back-off.
func (q *queue) park(t trial) { q.put(t.queued, t.moves) }

// retry returns a pod to the queue whose attempt failed for a reason that may pass.
func (q *queue) retry(t trial) { q.put(t.queued, -1) }

func (q *queue) put(p *queued, moves int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	p.ready = now.Add(min(minBackoff<<min(p.attempts, 10), maxBackoff))
	p.attempts++
	if q.all[p.rec.UID()] == p {
		p.parked = q.moves == moves
		q.place(p, now)
		q.signal()
	}
}

// activate lets all parked pods be tried again, after their back-off: a node came or changed, or room became free.
func (q *queue) activate() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.moves++
	now := time.Now()
	for _, p := range q.all {
		if p.parked {
			p.parked = false
			q.place(p, now)
		}
	}
	q.signal()
}
