// Package growthtest tells in tests whether work grows with its input or with the square of it, also on a busy machine.
package growthtest

import (
	"math"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Square is a growth that is nearer to a square's than to a proportion's.
const Square = 10

// Of is how many times as much CPU what prepare returns takes for 4n as for n: 4 when it goes by n, 16 when it goes by its
// square. It is the CPU of one thread, the least of a few runs, so that other work on the machine hardly counts.
func Of(t testing.TB, n int, prepare func(n int) (run func())) float64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() int64 {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
			t.Fatal(err)
		}
		return at.Nano()
	}
	least := func(n int) int64 {
		best := int64(math.MaxInt64)
		for range 3 {
			run := prepare(n)
			start := used()
			run()
			best = min(best, used()-start)
		}
		return best
	}
	return float64(least(4*n)) / float64(least(n))
}
