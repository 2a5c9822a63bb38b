package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pintle.dev/api"
)

// Config says how a Store is opened. Zero fields stand for the defaults.
type Config struct {
	// Backend keeps the records. The Store closes it.
	Backend Backend
	// LogBudget bounds the memory of all event logs together, in bytes: superseded versions and the events that name
	// them. Default 64 MiB.
	LogBudget int64
	// LogFloor is the number of events of each table that stay in memory whatever the budget says. Default 32.
	LogFloor int
	// Retention is how long events can be read back after they happened, at least; it may be up to a tenth longer, and
	// starts anew with the Store. Default 5 minutes.
	Retention time.Duration
	// GroupBytes bounds the records that one group commit writes, in bytes. Default 2 MiB. A larger commit is a group
	// of its own.
	GroupBytes int
}

func (c Config) withDefaults() Config {
	if c.LogBudget == 0 {
		c.LogBudget = 64 << 20
	}
	if c.LogFloor == 0 {
		c.LogFloor = 32
	}
	if c.Retention == 0 {
		c.Retention = 5 * time.Minute
	}
	if c.GroupBytes == 0 {
		c.GroupBytes = 2 << 20
	}
	return c
}

// Store is the tables, the event logs and the committer in front of a Backend. Its methods may be called by any number
// of goroutines.
type Store struct {
	config  Config
	backend Backend
	noLog   bool
	loaded  api.Revision // when the Store was opened
	stats   counters

	// mu guards what a commit publishes. It is taken before an eventLog's.
	mu       sync.Mutex
	tables   tables
	gen      uint64 // the generation of nodes that no View has seen
	revision api.Revision
	budget   budget
	ahead    []*aheadView

	gens   atomic.Uint64        // generations handed out
	view   atomic.Pointer[View] // of the current revision, once somebody has asked for it
	logged atomic.Uint64        // the revision up to which all events are in the logs
	// horizon is the revision up to which the backend's events may be gone.
	horizon atomic.Uint64

	logMu   sync.RWMutex
	logs    map[api.Resource]*eventLog
	dropped map[api.Resource]api.Revision

	queueMu sync.Mutex
	queue   []*request
	leading bool
	closing bool

	heads map[object]api.Revision // empty; whoever leads has it

	waking sync.Mutex // keeps the wakes of different groups in order

	once    sync.Once
	failure error         // set before done is closed
	failed  chan struct{} // closed when the store fails
	done    chan struct{} // closed when the store fails or is closed
	workers sync.WaitGroup
}

// Open loads everything the backend holds. The context bounds the loading only.
func Open(ctx context.Context, config Config) (*Store, error) {
	s := &Store{config: config.withDefaults(), backend: config.Backend, gen: 1,
		logs: map[api.Resource]*eventLog{}, dropped: map[api.Resource]api.Revision{},
		failed: make(chan struct{}), done: make(chan struct{})}
	if s.backend == nil {
		return nil, errors.New("open the store: no backend")
	}
	s.gens.Store(s.gen)
	s.budget = budget{limit: s.config.LogBudget, floor: s.config.LogFloor}
	var t *table
	state, err := s.backend.Load(ctx, func(r api.Resource, rec *api.Record) {
		if t == nil || t.resource != r {
			t = s.tables.own(s.gen, r)
		}
		t.put(s.gen, rec)
	})
	if err != nil {
		return nil, fmt.Errorf("load the store: %w", err)
	}
	s.revision, s.loaded, s.noLog = state.Revision, state.Revision, state.NoLog
	s.logged.Store(uint64(state.Revision))
	s.horizon.Store(uint64(state.Horizon))
	for r, at := range state.Dropped {
		s.dropped[r] = at
	}
	if !s.noLog {
		opened := mark{time.Now(), state.Revision}
		s.workers.Go(func() { s.retain(opened) })
	}
	if state.Failed != nil {
		s.workers.Go(func() {
			select {
			case err := <-state.Failed:
				s.stop(fmt.Errorf("the backend failed: %w", err))
			case <-s.done:
			}
		})
	}
	return s, nil
}

// Close ends the store: commits that wait get ErrClosed, those under way are finished, cursors get ErrClosed.
func (s *Store) Close() error {
	s.queueMu.Lock()
	if s.closing {
		s.queueMu.Unlock()
		return nil
	}
	s.closing = true
	s.queueMu.Unlock()
	// What is ahead of this in the queue is still written.
	if _, err := s.submit(context.Background(), &request{close: true}); err != nil && !errors.Is(err, ErrClosed) {
		s.workers.Wait()
		return errors.Join(err, s.backend.Close())
	}
	s.workers.Wait()
	return s.backend.Close()
}

// Failed is closed when the store has failed: a write could not be made durable and its outcome is not known (S3).
// The process must end and start again; until then everything returns the error that Err has.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err is why the store serves no more: nil while it does, ErrClosed after Close, else what made it fail.
func (s *Store) Err() error {
	select {
	case <-s.done:
		return s.failure
	default:
		return nil
	}
}

// stop ends all work with the reason.
func (s *Store) stop(reason error) {
	s.once.Do(func() {
		s.failure = reason
		if reason != ErrClosed {
			close(s.failed)
		}
		close(s.done)
		s.logMu.RLock()
		defer s.logMu.RUnlock()
		for _, l := range s.logs {
			l.mu.Lock()
			woken := l.close(reason)
			l.mu.Unlock()
			for i := range woken {
				woken[i].send()
			}
		}
	})
}

// Revision is the revision of the last commit.
func (s *Store) Revision() api.Revision { return s.published() }

// published is a revision up to which the logs are complete.
func (s *Store) published() api.Revision { return api.Revision(s.logged.Load()) }

// Oldest is the earliest revision of a resource that Follow and At still reach.
func (s *Store) Oldest(res api.Resource) api.Revision {
	l := s.log(res)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if s.noLog {
		return l.horizon
	}
	return min(l.horizon, max(api.Revision(s.horizon.Load()), l.incarnation))
}

// log returns the event log of a resource, made if there is none.
func (s *Store) log(res api.Resource) *eventLog {
	s.logMu.RLock()
	l := s.logs[res]
	s.logMu.RUnlock()
	if l != nil {
		return l
	}
	s.logMu.Lock()
	defer s.logMu.Unlock()
	if l = s.logs[res]; l == nil {
		l = newEventLog(res, s.loaded, s.dropped[res])
		l.closed = s.Err()
		s.logs[res] = l
	}
	return l
}

// aheadView is a View that waits for a revision still to come.
type aheadView struct {
	atLeast api.Revision
	reached chan struct{}
}

// View returns a snapshot of all tables at the newest revision, waiting until that is at least the given one.
func (s *Store) View(ctx context.Context, atLeast api.Revision) (View, error) {
	if err := s.Err(); err != nil {
		return View{}, fmt.Errorf("take a view: %w", err)
	}
	if v := s.view.Load(); v != nil && v.revision >= atLeast {
		return *v, nil
	}
	for {
		v, wait := s.snapshot(atLeast)
		if wait == nil {
			return v, nil
		}
		select {
		case <-wait.reached:
		case <-s.done:
			return View{}, fmt.Errorf("take a view: %w", s.Err())
		case <-ctx.Done():
			s.forgetAhead(wait)
			return View{}, fmt.Errorf("wait for revision %d, now at %d: %w", atLeast, s.Revision(), ctx.Err())
		}
	}
}

func (s *Store) snapshot(atLeast api.Revision) (View, *aheadView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision < atLeast {
		w := &aheadView{atLeast, make(chan struct{})}
		s.ahead = append(s.ahead, w)
		return View{}, w
	}
	v := s.view.Load()
	if v == nil {
		v = &View{s.tables, s.revision}
		s.gen = s.gens.Add(1) // from now on these nodes are the view's
		s.view.Store(v)
	}
	return *v, nil
}

func (s *Store) forgetAhead(w *aheadView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.ahead {
		if x == w {
			s.ahead = append(s.ahead[:i], s.ahead[i+1:]...)
			return
		}
	}
}

// mark is when the store was at a revision: what is not later is at least that old.
type mark struct {
	at       time.Time
	revision api.Revision
}

// retain compacts the backend's log and the ones in memory as events outlive their retention.
func (s *Store) retain(opened mark) {
	marks := []mark{opened}
	tick := time.NewTicker(s.config.Retention / 10)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-tick.C:
		}
		now := time.Now()
		var through api.Revision
		for len(marks) > 0 && now.Sub(marks[0].at) >= s.config.Retention {
			through, marks = marks[0].revision, marks[1:]
		}
		if len(marks) == 0 || marks[len(marks)-1].revision != s.published() {
			marks = append(marks, mark{now, s.published()})
		}
		if through > s.published() || through <= api.Revision(s.horizon.Load()) {
			continue
		}
		if err := s.Compact(context.Background(), through); err != nil && !errors.Is(err, ErrFull) {
			s.stop(fmt.Errorf("compact the event log: %w", err))
			return
		}
	}
}

// Compact forgets events up to and including a revision: Follow and At reach back to it no more, unless the events are
// among the last few of their table. It is done without being asked as events outlive Config.Retention.
func (s *Store) Compact(ctx context.Context, through api.Revision) error {
	through = min(through, s.published())
	// Refused first and forgotten then, so that nobody starts on what is going away.
	for {
		h := s.horizon.Load()
		if uint64(through) <= h {
			return nil
		}
		if s.horizon.CompareAndSwap(h, uint64(through)) {
			break
		}
	}
	s.logMu.RLock()
	logs := make([]*eventLog, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	s.logMu.RUnlock()
	s.mu.Lock()
	for _, l := range logs {
		s.budget.expire(l, through)
	}
	s.mu.Unlock()
	if err := s.backend.Compact(ctx, through); err != nil {
		return fmt.Errorf("compact the store through revision %d: %w", through, err)
	}
	s.stats.compactions.Add(1)
	return nil
}
