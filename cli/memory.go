package cli

import (
	"debug/elf"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A large heap of records that live long may grow by a quarter before it is collected, and by half, up to busyRoom bytes,
// in a burst of writes, which is when one collection follows another within busyTime; a small one by heapSlack bytes, as
// collecting a few megabytes over and over would cost more than it frees. A collection also looks through all stacks, which
// takes as long as stackWeight times their bytes of heap: a thousand watches, which wait, would make each write of others
// dearer if collections did not become fewer. What only a burst needed goes back to the system once there has been no
// collection for calmTime.
const (
	heapSlack     = 12 << 20
	stackWeight   = 3
	mostForStacks = 16 << 20 // more room than that is not worth the memory
	leastPercent  = 25
	busyPercent   = 50
	busyRoom      = 20 << 20
	busyTime      = time.Second
	calmTime      = 2 * time.Second
	mostPercent   = 400
	startPercent  = 100 // the least while a server starts: what it loads stays, as collecting would find out over and over
)

// tuneCollector makes the garbage collector's target follow the size of the live heap, unless GOGC or GOMEMLIMIT says
// that the user knows better. started is to be called once the server has loaded what it has; it gives back to the system
// what loading took.
func tuneCollector() (started func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	var loaded atomic.Bool
	percent := 100
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	var last time.Time
	calm := time.AfterFunc(calmTime, debug.FreeOSMemory)
	calm.Stop()
	var adjust func(*[16]byte)
	adjust = func(*[16]byte) {
		now := time.Now()
		metrics.Read(sample)
		live := sample[0].Value.Uint64()
		least, busy := leastPercent, false
		switch {
		case !loaded.Load():
			least = startPercent
		case now.Sub(last) < busyTime:
			busy = true
			least = max(leastPercent, min(busyPercent, int(busyRoom*100/max(live, 1))))
		}
		last = now
		if calm.Stop() || busy { // one that ran out is the collection that it asked for
			calm.Reset(calmTime)
		}
		want := gcPercent(least, live, sample[1].Value.Uint64(), sample[2].Value.Uint64())
		if want*10 < percent*9 || want*9 > percent*10 {
			percent = want
			debug.SetGCPercent(want)
		}
		// An object without references is finalized once in every collection: the next one comes back here.
		runtime.SetFinalizer(new([16]byte), adjust)
	}
	adjust(nil)
	return func() {
		loaded.Store(true)
		debug.FreeOSMemory()
	}
}

// gcPercent is how much may be allocated before the next collection, in percent of what is looked through in each, which
// is what GOGC relates to.
func gcPercent(least int, live, stacks, globals uint64) int {
	room := heapSlack + min(stackWeight*stacks, mostForStacks)
	return max(int(min(room*100/max(live+stacks+globals, 1), mostPercent)), least)
}

// forgetStart unmaps the program's own code and constants, the pages of which are the greater part of what a server at
// rest has in memory. Starting runs the initialization of a thousand packages, once; with each page that it touches the
// kernel maps those around it, and 50 MiB stay mapped of which a server at rest uses one. What is used again is mapped
// again from the page cache, 64 KiB in about a microsecond.
//
// A program that is linked with C, as for the race detector, is left alone: some of its constants are addresses that
// differ from the file, written when it was loaded.
func forgetStart() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if relocated, err := isRelocated(program); relocated || err != nil {
		return err
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read what this process has mapped: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		mapped, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasSuffix(what, " "+program) || !strings.HasPrefix(what, "r-xp ") && !strings.HasPrefix(what, "r--p ") {
			continue // what can be written may differ from the file
		}
		var start, end uintptr
		if _, err := fmt.Sscanf(mapped, "%x-%x", &start, &end); err != nil {
			return fmt.Errorf("read the mapping %q: %w", mapped, err)
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("unmap %s: %w", mapped, errno)
		}
	}
	return nil
}

// isRelocated reports whether constants of a program are written when it is loaded.
func isRelocated(program string) (bool, error) {
	f, err := elf.Open(program)
	if err != nil {
		return false, fmt.Errorf("read how this program is loaded: %w", err)
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_GNU_RELRO }), nil
}
