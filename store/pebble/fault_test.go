package pebble_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
	"pintle.dev/store/storetest"
)

// failAt makes the nth operation that changes the disk fail, and every later one on the same file.
type failAt struct {
	n     atomic.Int64 // counts down; inert while negative
	with  error
	match func(errorfs.Op) bool
	mu    sync.Mutex
	path  string
}

func (f *failAt) MaybeError(op errorfs.Op) error {
	if !f.match(op) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path != "" && f.path == op.Path || f.n.Add(-1) == 0 {
		f.path = op.Path
		return &fs.PathError{Op: "write", Path: op.Path, Err: f.with}
	}
	return nil
}

func (f *failAt) String() string { return "failAt" }

func changesDisk(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename:
		return true
	}
	return false
}

func isLog(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") && changesDisk(op) }

// TestS3_FailedWriteStops makes the nth write or sync fail, for many n. Nothing that fails is acknowledged, the store
// stops and says so, and what was acknowledged is there after a crash.
func TestS3_FailedWriteStops(t *testing.T) {
	for _, c := range []struct {
		name  string
		match func(errorfs.Op) bool
		with  error
		upTo  int
		step  int
		size  int
	}{
		{"EIO on the log", isLog, syscall.EIO, 40, 1, 100},
		{"ENOSPC on the log", isLog, syscall.ENOSPC, 40, 1, 100},
		{"EIO anywhere", changesDisk, syscall.EIO, 250, 23, 200000},
		{"ENOSPC anywhere", changesDisk, syscall.ENOSPC, 250, 23, 200000},
	} {
		t.Run(c.name, func(t *testing.T) {
			stopped := 0
			for n := 1; n <= c.upTo; n += c.step {
				if failAtOperation(t, n, c.match, c.with, c.size) {
					stopped++
				}
			}
			if stopped == 0 { // how many do is a matter of when the engine flushes
				t.Error("none of the stores met the error")
			}
		})
	}
}

func failAtOperation(t *testing.T, n int, match func(errorfs.Op) bool, with error, size int) (stopped bool) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	f := &failAt{with: with, match: match}
	b, err := pebble.Open("data", pebble.Options{FS: errorfs.Wrap(mem, f)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Backend: b, LogBudget: 1, LogFloor: 1})
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := s.Follow(api.Pods, 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := cursor.Next(context.Background())
		ended <- err
	}()
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	data := make([]byte, size) // does not compress, so that it fills files
	for j := range data {
		data[j] = byte(' ' + 2 + rnd.IntN(80))
	}
	f.n.Store(int64(n))
	var acknowledged atomic.Uint64 // may grow until a leader that is stuck lets go
	failed := make(chan error, 1)
	go func() { // as a goroutine: a leader may be stuck in the engine once that has failed
		for i := range 50 {
			rev, err := s.Commit(context.Background(), store.Put(things, record(fmt.Sprint(i%7), string(data)), api.Revision(max(0, i-6))))
			if err != nil {
				failed <- err
				return
			}
			acknowledged.Store(uint64(rev))
		}
		failed <- nil
	}()
	select {
	case err := <-failed:
		if err == nil {
			// The error hit nothing, or what the engine can do again without harm.
			if e := s.Err(); e != nil && with != syscall.ENOSPC && acknowledged.Load() != 50 {
				t.Errorf("n=%d: all was acknowledged by a store that failed: %v", n, e)
			}
			if s.Err() == nil {
				if err := s.Close(); err != nil && !errors.Is(err, with) {
					t.Errorf("n=%d: close: %v", n, err)
				}
			}
			cursor.Close()
			checkAcknowledged(t, n, mem, api.Revision(acknowledged.Load()))
			return false
		}
		if !errors.Is(err, store.ErrUnknown) && s.Err() == nil {
			t.Errorf("n=%d: a failed write is reported as %v", n, err)
		}
	case <-s.Failed():
	}
	select {
	case <-s.Failed():
	case <-time.After(2 * time.Minute):
		t.Fatalf("n=%d: the store goes on after a failed write", n)
	}
	if err := <-ended; err == nil || errors.Is(err, store.ErrClosed) {
		t.Errorf("n=%d: a waiting cursor of a store that failed: %v", n, err)
	}
	if _, err := s.View(t.Context(), 0); err == nil || strings.Count(err.Error(), "\n") > 0 {
		t.Errorf("n=%d: a view of a store that failed: %v", n, err)
	}
	if _, err := s.Commit(t.Context(), store.Put(things, record("later", ""), 0)); err == nil {
		t.Errorf("n=%d: a store that failed takes writes", n)
	}
	if err := s.Err(); !errors.Is(err, with) {
		t.Errorf("n=%d: the reason is %v, want %v", n, err, with)
	}
	checkAcknowledged(t, n, mem, api.Revision(acknowledged.Load()))
	return true
}

// checkAcknowledged opens what a crash now leaves on the disk.
func checkAcknowledged(t *testing.T, n int, mem *vfs.MemFS, acknowledged api.Revision) {
	t.Helper()
	s := open(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	defer s.Close()
	if rev := s.Revision(); rev < acknowledged || rev > acknowledged+1 {
		t.Errorf("n=%d: the store is at revision %d after a crash, %d was acknowledged", n, rev, acknowledged)
	}
}

// TestS2_SyncBeforeAcknowledgement traces the log: between the call and the return of every commit its file is written
// and then synced.
func TestS2_SyncBeforeAcknowledgement(t *testing.T) {
	var mu sync.Mutex
	var trace []string
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if isLog(op) {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind == errorfs.OpFileWrite {
				trace = append(trace, "write")
			} else {
				trace = append(trace, "sync")
			}
		}
		return nil
	}))
	s := open(t, fs)
	defer s.Close()
	for i := range 50 {
		mu.Lock()
		trace = nil
		mu.Unlock()
		if _, err := s.Commit(t.Context(), store.Put(things, record(fmt.Sprint(i), strings.Repeat("x", i*1000)), 0)); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		got := strings.Join(trace, " ")
		mu.Unlock()
		if !strings.HasPrefix(got, "write") || !strings.HasSuffix(got, "sync") {
			t.Fatalf("commit %d was acknowledged after %q", i, got)
		}
	}
}

// TestS9_RefusesBeforeFull lets the free space shrink and grow.
func TestS9_RefusesBeforeFull(t *testing.T) {
	const mib = 1 << 20
	mem := vfs.NewMem()
	free := func(n uint64) { mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n, TotalBytes: 1 << 40}) }
	free(1000 * mib)
	b, err := pebble.Open("data", pebble.Options{FS: mem, Reserve: 64 * mib, Ballast: 32 * mib})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ballast := func() bool { _, err := mem.Stat("data/ballast"); return err == nil }
	put := func(name string) error {
		_, err := s.Commit(t.Context(), store.Put(things, record(name, ""), 0))
		return err
	}
	for i, step := range []struct {
		free    uint64
		full    bool
		ballast bool
	}{
		{1000, false, true}, {64, false, true}, {63, true, false}, {95, true, false}, // 63 and the ballast
		{111, true, false}, {112, false, true}, {80, false, true}, {0, true, false}, {1000, false, true},
	} {
		free(step.free * mib)
		err := put(fmt.Sprint(i))
		if full := errors.Is(err, store.ErrFull); full != step.full || err != nil && !full {
			t.Errorf("step %d, %d MiB free: %v, want refused: %v", i, step.free, err, step.full)
		}
		if ballast() != step.ballast {
			t.Errorf("step %d, %d MiB free: ballast: %v", i, step.free, ballast())
		}
		if s.Err() != nil {
			t.Fatalf("step %d: the store failed: %v", i, s.Err())
		}
		v, err := s.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if there := v.Get(things, api.Key{Namespace: "ns", Name: fmt.Sprint(i)}) != nil; there == step.full {
			t.Errorf("step %d: the object is there: %v", i, there)
		}
	}
}

// TestS9_DeletesWhenFull deletes objects where nothing else can be written, also in one group with what is refused.
func TestS9_DeletesWhenFull(t *testing.T) {
	const mib = 1 << 20
	mem := vfs.NewMem()
	free := func(n uint64) { mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: n * mib, TotalBytes: 1 << 40}) }
	free(1000)
	b, err := pebble.Open("data", pebble.Options{FS: mem, Reserve: 64 * mib, Ballast: 32 * mib})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := func(i int) api.Key { return api.Key{Namespace: "ns", Name: fmt.Sprint(i)} }
	revs := make([]api.Revision, 20)
	for i := range revs {
		if revs[i], err = s.Commit(t.Context(), store.Put(things, record(key(i).Name, ""), 0)); err != nil {
			t.Fatal(err)
		}
	}
	free(20)
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			if _, err := s.Commit(t.Context(), store.Delete(things, key(i), revs[i])); err != nil {
				t.Errorf("deleting object %d: %v", i, err)
			}
		})
		all.Go(func() {
			if _, err := s.Commit(t.Context(), store.Put(things, record(fmt.Sprint("new", i), ""), 0)); !errors.Is(err, store.ErrFull) {
				t.Errorf("creating object %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if _, err := s.Commit(t.Context(), store.Delete(things, key(10), revs[10]), store.Put(things, record("new", ""), 0)); !errors.Is(err, store.ErrFull) {
		t.Errorf("deleting one object for another: %v", err)
	}
	free(15)
	if _, err := s.Commit(t.Context(), store.Delete(things, key(10), revs[10])); !errors.Is(err, store.ErrFull) {
		t.Errorf("deleting with next to nothing left: %v", err)
	}
	free(1000)
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range revs {
		if there := v.Get(things, key(i)) != nil; there != (i >= 10) {
			t.Errorf("object %d is there: %v", i, there)
		}
	}
	if _, err := s.Commit(t.Context(), store.Put(things, record("new", ""), 0)); err != nil || s.Err() != nil {
		t.Errorf("with space again: %v, store: %v", err, s.Err())
	}
}

// files lists the files of a directory that have a suffix.
func files(t *testing.T, fs vfs.FS, suffix string) []string {
	t.Helper()
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, suffix) {
			out = append(out, fs.PathJoin("data", n))
		}
	}
	return out
}

// withFile is a copy of a disk in which one file has other bytes.
func withFile(t *testing.T, mem *vfs.MemFS, name string, content []byte) *vfs.MemFS {
	t.Helper()
	c := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	f, err := c.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return c
}

func content(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	st, err := fs.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, st.Size())
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(b, 0); err != nil && len(b) > 0 {
		t.Fatal(err)
	}
	return b
}

// tryOpen opens a damaged store. What it shows must be the state after some commit; otherwise it says in one line that
// something is wrong.
func tryOpen(t *testing.T, what string, fs vfs.FS) (rev api.Revision, ok bool) {
	t.Helper()
	b, err := pebble.Open("data", pebble.Options{FS: fs})
	var s *store.Store
	if err == nil {
		s, err = store.Open(t.Context(), store.Config{Backend: b})
		if err != nil {
			b.Close()
		}
	}
	if err != nil {
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %q", what, err)
		}
		return 0, false
	}
	defer s.Close()
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s.Revision()%2 != 0 {
		t.Errorf("%s: revision %d is in the middle of a commit", what, s.Revision())
	}
	for i := range int(s.Revision()) / 2 {
		for _, half := range []string{"a", "b"} {
			rec := v.Get(things, api.Key{Namespace: "ns", Name: fmt.Sprint(half, i)})
			if rec == nil || storetest.Data(rec) != fmt.Sprint("data-", i) {
				t.Fatalf("%s: commit %d of %d is lost or changed", what, i, s.Revision()/2)
			}
		}
	}
	if v.Len(things, "") != int(s.Revision()) {
		t.Errorf("%s: %d objects at revision %d", what, v.Len(things, ""), s.Revision())
	}
	return s.Revision(), true
}

// written is a disk with 20 commits of two objects.
func written(t *testing.T) *vfs.MemFS {
	mem := vfs.NewCrashableMem()
	s := write20(t, mem)
	crashed := mem.CrashClone(vfs.CrashCloneCfg{})
	s.Close()
	return crashed
}

func write20(t *testing.T, mem *vfs.MemFS) *store.Store {
	t.Helper()
	s := open(t, mem)
	for i := range 20 {
		d := fmt.Sprint("data-", i)
		if _, err := s.Commit(t.Context(), store.Put(things, record(fmt.Sprint("a", i), d), 0), store.Put(things, record(fmt.Sprint("b", i), d), 0)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestS8_TornLog cuts the log anywhere: whole commits are left, or the store says that it is damaged.
func TestS8_TornLog(t *testing.T) {
	mem := written(t)
	logs := files(t, mem, ".log")
	name := logs[len(logs)-1]
	whole := content(t, mem, name)
	shorter := 0
	for n := len(whole); n >= 0; n -= 53 {
		rev, ok := tryOpen(t, fmt.Sprintf("%d of %d bytes", n, len(whole)), withFile(t, mem, name, whole[:n]))
		if n == len(whole) && rev != 40 {
			t.Errorf("the whole log has %d revisions, want 40", rev)
		}
		if ok && rev < 40 {
			shorter++
		}
	}
	if shorter < 20 {
		t.Errorf("only %d of the torn logs were opened", shorter)
	}
}

// TestBitFlips changes single bits: the store says that it is damaged, or shows whole commits. Only the log's last
// commit may be lost unnoticed, which is not to be told from one that was being written.
func TestBitFlips(t *testing.T) {
	flushed := written(t)
	open(t, flushed).Close() // writes what is in the log into a table
	for _, c := range []struct {
		suffix string
		mem    *vfs.MemFS
		step   int
	}{{".log", written(t), 41}, {".sst", flushed, 29}} {
		names := files(t, c.mem, c.suffix)
		if len(names) == 0 {
			t.Fatalf("there is no %s file", c.suffix)
		}
		detected := 0
		for _, name := range names {
			whole := content(t, c.mem, name)
			const end = 8 * 16 // the last bits of a table say how to read it: each is flipped
			for at := 0; at < 8*len(whole); at++ {
				if at%(8*c.step+1) != 0 && (c.suffix != ".sst" || at < 8*len(whole)-end) {
					continue
				}
				bad := append([]byte{}, whole...)
				bad[at/8] ^= 1 << (at % 8)
				what := fmt.Sprintf("bit %d of byte %d of %d of %s", at%8, at/8, len(whole), name)
				rev, ok := tryOpen(t, what, withFile(t, c.mem, name, bad))
				switch {
				case !ok:
					detected++
				case rev < 38 && c.suffix == ".log" || rev < 40 && c.suffix == ".sst":
					t.Errorf("%s: %d revisions are left and nothing is said", what, rev)
				}
			}
		}
		if detected < 20 {
			t.Errorf("%s: only %d flips were noticed", c.suffix, detected)
		}
	}
}

// TestMissingLog: a store whose log is gone is damaged. The engine would begin a new one and say nothing.
func TestMissingLog(t *testing.T) {
	mem := written(t)
	open(t, mem).Close() // writes what is in the log into a table
	if len(files(t, mem, ".sst")) == 0 {
		t.Fatal("there is no .sst file")
	}
	for _, name := range files(t, mem, ".log") {
		if err := mem.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	_, err := pebble.Open("data", pebble.Options{FS: mem})
	if err == nil || !strings.Contains(err.Error(), "the store in data is damaged (its log is missing): restore a backup") {
		t.Errorf("opening a store without a log: %v", err)
	}
}

// TestMissingLogFiles removes log files: the store says that one is missing.
func TestMissingLogFiles(t *testing.T) {
	mem := vfs.NewCrashableMem()
	flushing := make(chan struct{})
	s := open(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") && len(files(t, mem, ".sst")) > 0 {
			<-flushing // the first is made by opening
		}
		return nil
	})))
	big := strings.Repeat("0123456789abcdef", 4096)
	for i, more := 0, 2; more > 0; i++ {
		if _, err := s.Commit(t.Context(), store.Put(things, record(fmt.Sprint("a", i), big), 0)); err != nil {
			t.Fatal(err)
		}
		if len(files(t, mem, ".log")) > 2 {
			more-- // a log's mark comes with its second group
		}
	}
	c := mem.CrashClone(vfs.CrashCloneCfg{})
	logs := files(t, c, ".log")
	for _, name := range logs[:len(logs)-1] {
		if !openWithout(t, c, name) {
			t.Errorf("that %s is missing was not noticed", name)
		}
	}
	close(flushing)
	s.Close()
	logs = files(t, mem, ".log")
	b, err := pebble.Open("data", pebble.Options{FS: withFile(t, mem, logs[len(logs)-1], nil)})
	if err == nil {
		_, err = store.Open(t.Context(), store.Config{Backend: b})
		b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "a log file is missing or cut short") {
		t.Errorf("with an empty newest log of a store that was closed: %v", err)
	}
}

// openWithout opens a copy from which a log file was removed, and reports whether it was noticed. It may go unnoticed only
// when nothing is lost.
func openWithout(t *testing.T, fs *vfs.MemFS, log string) (noticed bool) {
	without := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := without.Remove(log); err != nil {
		t.Fatal(err)
	}
	b, err := pebble.Open("data", pebble.Options{FS: without})
	if err == nil {
		var again *store.Store
		if again, err = store.Open(t.Context(), store.Config{Backend: b}); err == nil {
			defer again.Close()
			// It had been flushed: each commit made one object.
			v, err := again.View(t.Context(), 0)
			if n := v.Len(things, ""); err != nil || n != int(again.Revision()) {
				t.Errorf("without %s: %d objects at revision %d and nothing is said (%v)", log, n, again.Revision(), err)
			}
			return false
		}
		b.Close()
	}
	if !strings.Contains(err.Error(), "a log file is missing, "+fs.PathBase(log)) {
		t.Errorf("without %s: %v", log, err)
	}
	return true
}
