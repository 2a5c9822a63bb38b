package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A large heap of records that live long may grow by a quarter before it is collected; a small one by heapSlack bytes,
// as collecting a few megabytes over and over would cost more than it frees.
const (
	heapSlack    = 12 << 20
	leastPercent = 25
	mostPercent  = 400
)

// tuneCollector makes the garbage collector's target follow the size of the live heap, unless GOGC or GOMEMLIMIT says
// that the user knows better.
func tuneCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := 100
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var adjust func(*[16]byte)
	adjust = func(*[16]byte) {
		metrics.Read(sample)
		if want := gcPercent(sample[0].Value.Uint64()); want*10 < percent*9 || want*9 > percent*10 {
			percent = want
			debug.SetGCPercent(want)
		}
		// An object without references is finalized once in every collection: the next one comes back here.
		runtime.SetFinalizer(new([16]byte), adjust)
	}
	adjust(nil)
}

func gcPercent(live uint64) int {
	if live == 0 {
		return mostPercent
	}
	return int(min(max(heapSlack*100/live, leastPercent), mostPercent))
}
