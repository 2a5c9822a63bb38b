package replicaset

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestConcurrently sees every call made once, writers at a time, and the first error.
func TestConcurrently(t *testing.T) {
	for _, n := range []int{0, 1, 2, writers - 1, writers, writers + 1, 500} {
		synctest.Test(t, func(t *testing.T) {
			var running, most atomic.Int64
			var mu sync.Mutex
			calls := map[int]int{}
			errLast := errors.New("the last")
			err := concurrently(n, func(i int) error {
				now := running.Add(1)
				defer running.Add(-1)
				mu.Lock()
				calls[i]++
				most.Store(max(most.Load(), now))
				mu.Unlock()
				time.Sleep(time.Millisecond)
				if i == n-1 {
					return errLast
				}
				return nil
			})
			if n > 0 != errors.Is(err, errLast) {
				t.Errorf("%d calls: error %v", n, err)
			}
			if len(calls) != n || most.Load() != int64(min(n, writers)) {
				t.Errorf("%d different calls of %d, %d at a time", len(calls), n, most.Load())
			}
			for i, times := range calls {
				if times != 1 || i < 0 || i >= n {
					t.Errorf("call %d of %d was made %d times", i, n, times)
				}
			}
		})
	}
}
