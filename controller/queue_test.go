package controller

import (
	"testing"
	"testing/synctest"
	"time"
)

// script runs a queue and reports when each key was handed out, in time since the start.
type handed struct {
	key string
	at  time.Duration
}

func take(t *testing.T, q *Queue[string], start time.Time) handed {
	t.Helper()
	k, ok := q.Get()
	if !ok {
		t.Fatal("queue closed")
	}
	return handed{k, time.Since(start)}
}

func TestQueue(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		interval time.Duration
		run      func(q *Queue[string])
		work     time.Duration // each key is worked on for so long
		want     []handed
	}{
		{"deduplicates in order", 0, func(q *Queue[string]) { q.Add("a"); q.Add("b"); q.Add("a") }, 0,
			[]handed{{"a", 0}, {"b", 0}}},
		{"added during work comes again", 0, func(q *Queue[string]) {
			q.Add("a")
			time.AfterFunc(5*ms, func() { q.Add("a"); q.Add("a") })
		}, 10 * ms, []handed{{"a", 0}, {"a", 10 * ms}}},
		{"later", 0, func(q *Queue[string]) { q.AddAfter("a", 30*ms); q.AddAfter("b", 10*ms) }, 0,
			[]handed{{"b", 10 * ms}, {"a", 30 * ms}}},
		{"the earlier of two times, then the other", 0, func(q *Queue[string]) { q.AddAfter("a", 30*ms); q.AddAfter("a", 10*ms) }, 0,
			[]handed{{"a", 10 * ms}, {"a", 30 * ms}}},
		{"now does not cancel later", 0, func(q *Queue[string]) { q.AddAfter("a", 30*ms); q.Add("a") }, 0,
			[]handed{{"a", 0}, {"a", 30 * ms}}},
		{"later does not delay now", 0, func(q *Queue[string]) { q.Add("a"); q.AddAfter("a", 30*ms) }, 0,
			[]handed{{"a", 0}, {"a", 30 * ms}}},
		{"back-off doubles", 0, func(q *Queue[string]) {
			q.Retry("a")
			time.AfterFunc(6*ms, func() { q.Retry("a") })
			time.AfterFunc(20*ms, func() { q.Retry("a") })
			time.AfterFunc(50*ms, func() { q.Forget("a"); q.Retry("a") })
		}, 0, []handed{{"a", 5 * ms}, {"a", 16 * ms}, {"a", 40 * ms}, {"a", 55 * ms}}},
		{"coalesces: at once when idle, then one interval apart", 20 * ms, func(q *Queue[string]) {
			q.Add("a")
			time.AfterFunc(5*ms, func() { q.Add("a") })
			time.AfterFunc(9*ms, func() { q.Add("a") })
			time.AfterFunc(100*ms, func() { q.Add("a") })
		}, 0, []handed{{"a", 0}, {"a", 20 * ms}, {"a", 100 * ms}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := NewQueue[string](tt.interval)
				start := time.Now()
				var got []handed
				stop := make(chan struct{})
				go func() {
					defer close(stop)
					for {
						k, ok := q.Get()
						if !ok {
							return
						}
						got = append(got, handed{k, time.Since(start)})
						time.Sleep(tt.work)
						q.Done(k)
					}
				}()
				tt.run(q)
				time.Sleep(time.Minute)
				synctest.Wait()
				q.Close()
				<-stop
				if len(got) != len(tt.want) {
					t.Fatalf("got %v, want %v", got, tt.want)
				}
				for i := range got {
					if got[i] != tt.want[i] {
						t.Errorf("got %v, want %v", got, tt.want)
					}
				}
				for k, it := range q.items {
					if it.failures == 0 {
						t.Errorf("%s is still remembered", k)
					}
				}
			})
		})
	}
}

func TestQueueBackoffIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue[string](0)
		for range 100 {
			q.Retry("a")
			start := time.Now()
			if h := take(t, q, start); h.at > maxBackoff {
				t.Fatalf("delay %v exceeds %v", h.at, maxBackoff)
			}
			q.Done("a")
		}
		q.Close()
	})
}

// TestQueueRest adds a key that is to rest, while it is being worked on, after that, and when it need not rest any more.
func TestQueueRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQueue[string](20 * time.Millisecond)
		defer q.Close()
		start := time.Now()
		q.Add("a")
		for i, want := range []time.Duration{0, 70 * time.Millisecond, 140 * time.Millisecond, 160 * time.Millisecond} {
			if h := take(t, q, start); h.at != want {
				t.Fatalf("start %d came after %v, want %v", i, h.at, want)
			}
			rest := 70 * time.Millisecond
			if i == 2 {
				rest = 0
			}
			q.Rest("a", rest)
			if i == 0 {
				q.Add("a")
			}
			q.Done("a")
			if i != 0 {
				q.Add("a")
			}
		}
	})
}
