package pebble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Options say how a directory is opened. Zero fields stand for the defaults.
type Options struct {
	// FS is the file system the directory is on. Default: the operating system's.
	FS vfs.FS
	// Reserve is the free space below which writes are refused, in bytes. Default 64 MiB; negative: never refuse. What
	// frees space itself, as deleting objects does, may use three quarters of it.
	Reserve int64
	// Ballast is the size in bytes of the file that is removed when free space falls below Reserve, so that the engine
	// can still do its own work. Default 32 MiB; negative: none.
	Ballast int64
	// Log is told what the engine has to say. Default: nobody.
	Log func(message string)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Reserve == 0 {
		o.Reserve = 64 << 20
	}
	if o.Ballast == 0 {
		o.Ballast = 32 << 20
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	return o
}

// Backend is a store.Backend in a directory.
type Backend struct {
	dir   string
	lock  *pebble.Lock
	db    *pebble.DB
	space *space
	log   func(string)

	// Written by Load, Commit and Drop, which are not called at the same time; Events reads it.
	mu      sync.RWMutex
	tables  map[api.Resource]tableID
	last    tableID
	horizon atomic.Uint64
	marks   []uint64      // of log files, ascending
	current atomic.Uint64 // the log file in use
	durable atomic.Uint64 // the revision of the last commit

	fs      vfs.FS
	floorMu sync.Mutex
	floor   uint64 // what the file of that name holds

	life   sync.RWMutex // held for reading by what may run beside Close
	closed bool

	opened  atomic.Bool
	failing sync.Once
	failure atomic.Pointer[error]
	failed  chan error    // gets the failure
	broken  chan struct{} // closed after the failure is known
}

// Open opens the directory and makes it if there is none. Errors are one sentence that names the directory, what is
// wrong and what to do.
func Open(dir string, options Options) (*Backend, error) {
	o := options.withDefaults()
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	// Nothing is looked at before the lock is had: what another process is writing looks like damage.
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, openError(dir, err)
	}
	b, err := open(dir, lock, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return b, nil
}

// open opens a directory that is locked.
func open(dir string, lock *pebble.Lock, o Options) (*Backend, error) {
	b := &Backend{lock: lock, dir: dir, fs: o.FS, log: o.Log, tables: map[api.Resource]tableID{}, failed: make(chan error, 1), broken: make(chan struct{})}
	for {
		db, err := b.openEngine(o.FS)
		if err != nil {
			return nil, openError(dir, err)
		}
		b.db = db
		fresh, err := b.checkFormat()
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if !fresh {
			break
		}
		// A new database's first log is in Pebble's oldest format, which does not tell damage from a torn end. The
		// next one is not.
		if err := db.Close(); err != nil {
			return nil, openError(dir, err)
		}
	}
	b.opened.Store(true)
	b.space = newSpace(dir, o)
	return b, nil
}

// openEngine opens Pebble, which may decide that it cannot go on even then.
func (b *Backend) openEngine(f vfs.FS) (*pebble.DB, error) {
	type result struct {
		db  *pebble.DB
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{nil, fmt.Errorf("%v", p)}
			}
		}()
		if err := checkLogTail(f, b.dir); err != nil {
			done <- result{nil, err}
			return
		}
		db, err := pebble.Open(b.dir, b.engineOptions(engineFS{f, b}))
		done <- result{db, err}
	}()
	select {
	case r := <-done:
		return r.db, r.err
	case <-b.broken:
		return nil, b.err()
	}
}

// engineOptions keep Pebble small: the Store holds all objects in memory, so Pebble's cache serves only what it reads
// back. The memtable starts at 256 KiB and grows to its size only under load. The smaller it is, the more files a
// compaction has to wait for: what is written to the disk depends on the product of the two.
func (b *Backend) engineOptions(f vfs.FS) *pebble.Options {
	o := &pebble.Options{
		FS:                          f,
		Lock:                        b.lock,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		CacheSize:                   1 << 20,
		MemTableSize:                1 << 20,
		MemTableStopWritesThreshold: 8,
		L0CompactionThreshold:       128,
		L0StopWritesThreshold:       400,
		LBaseMaxBytes:               256 << 20,
		MaxManifestFileSize:         4 << 20,
		MaxOpenFiles:                200,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		Logger:                      logger{b},
	}
	o.Experimental.FileCacheShards = 1
	o.EventListener = &pebble.EventListener{
		BackgroundError: b.backgroundError,
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			b.fail(&damageError{b.dir, plain(i.Details)})
		},
		WALCreated: func(i pebble.WALCreateInfo) {
			if i.Err == nil {
				b.current.Store(uint64(i.FileNum))
			}
		},
		DiskSlow: func(i pebble.DiskSlowInfo) { b.log(i.String()) },
	}
	return o
}

// logger passes on what Pebble says. Pebble calls Fatalf when it cannot go on, and does not expect it to return: the
// calling goroutine ends there, and the process has to.
type logger struct{ b *Backend }

func (l logger) Infof(string, ...any)           {}
func (l logger) Errorf(format string, a ...any) { l.b.log(fmt.Sprintf(format, a...)) }
func (l logger) Fatalf(format string, a ...any) {
	cause := fmt.Errorf(format, a...)
	for _, x := range a {
		if err, ok := x.(error); ok {
			cause = err
		}
	}
	l.b.fail(fmt.Errorf("the storage engine in %s cannot go on: %w", l.b.dir, plain(cause)))
	select {}
}

// backgroundError is told of failed flushes and compactions. Nothing acknowledged is lost, it is all in the log. A full
// disk is waited out; anything else will not go away by itself.
func (b *Backend) backgroundError(err error) {
	if errors.Is(err, syscall.ENOSPC) {
		b.log(fmt.Sprintf("the disk of %s is full: %v", b.dir, err))
		return
	}
	if errors.Is(err, pebble.ErrCancelledCompaction) {
		return
	}
	b.fail(fmt.Errorf("write data files in %s: %w", b.dir, plain(err)))
}

// fail ends all writing.
func (b *Backend) fail(err error) {
	b.failing.Do(func() {
		b.failure.Store(&err)
		b.failed <- err
		close(b.broken)
	})
}

func (b *Backend) err() error {
	if p := b.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Close ends the backend. After a failure it leaves the engine alone, whose state is not known.
func (b *Backend) Close() error {
	if b.err() != nil {
		return nil
	}
	b.life.Lock()
	defer b.life.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("close the store in %s: %w", b.dir, errors.Join(plain(err), b.lock.Close()))
	}
	b.saveFloor()
	if err := b.lock.Close(); err != nil {
		return fmt.Errorf("unlock the store in %s: %w", b.dir, plain(err))
	}
	return nil
}

// enter keeps the engine open until leave is called, unless it has been closed or has failed.
func (b *Backend) enter() (leave func(), err error) {
	if err := b.err(); err != nil {
		return nil, err
	}
	b.life.RLock()
	if b.closed {
		b.life.RUnlock()
		return nil, store.ErrClosed
	}
	return b.life.RUnlock, nil
}

// checkFormat writes the format version into an empty database and compares it in any other.
func (b *Backend) checkFormat() (fresh bool, err error) {
	got, err := b.get(keyFormat)
	switch {
	case err != nil:
		return false, openError(b.dir, err)
	case got != nil:
		if string(got) != formatVersion {
			return false, fmt.Errorf("the store in %s has format version %q, this Pintle reads version %s: use the Pintle that wrote it, or restore a backup into another directory", b.dir, got, formatVersion)
		}
		return false, nil
	}
	it, err := b.db.NewIter(nil)
	if err != nil {
		return false, openError(b.dir, err)
	}
	foreign := it.First()
	if err := it.Close(); err != nil {
		return false, openError(b.dir, err)
	}
	if foreign {
		return false, fmt.Errorf("the database in %s is not a Pintle store, or is damaged: choose another directory, or restore a backup into one with pintle restore", b.dir)
	}
	if err := b.db.Set(keyFormat, []byte(formatVersion), pebble.Sync); err != nil {
		return false, openError(b.dir, err)
	}
	return true, b.err()
}

// get returns a copy of a value, nil when there is none.
func (b *Backend) get(k []byte) ([]byte, error) {
	v, closer, err := b.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

// openError says why a directory cannot be opened, in one sentence.
func openError(dir string, err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) && strings.Contains(err.Error(), "LOCK") && !errors.Is(err, fs.ErrPermission),
		strings.Contains(err.Error(), "lock held by current process"):
		return fmt.Errorf("the store in %s is in use by another process: stop that one, or choose another directory", dir)
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the data directory %s cannot be written (%w): check its owner, its mode and its mount", dir, plain(err))
	case errors.Is(err, syscall.ENOTDIR), errors.As(err, &path) && path.Op == "mkdir":
		return fmt.Errorf("the data directory %s cannot be made (%w): choose another", dir, plain(err))
	case pebble.IsCorruptionError(err) || errors.Is(err, errLostInLog) || errors.Is(err, errNoLog) || errors.Is(err, fs.ErrNotExist),
		errors.Is(err, pebble.ErrDBNotPristine), strings.Contains(err.Error(), "object size mismatch"):
		return &damageError{dir, plain(err)}
	}
	return fmt.Errorf("open the store in %s: %w", dir, plain(err))
}

// plain keeps an error's chain but shows only its first line: Pebble's errors can carry stack traces.
func plain(err error) error { return plainError{err} }

type plainError struct{ err error }

func (e plainError) Unwrap() error { return e.err }
func (e plainError) Error() string {
	line, _, _ := strings.Cut(e.err.Error(), "\n")
	return line
}

var _ store.Backend = (*Backend)(nil)

// Drop durably forgets a resource.
func (b *Backend) Drop(_ context.Context, r api.Resource, at api.Revision) error {
	if err := b.space.check(true); err != nil {
		return err
	}
	batch := b.db.NewBatch()
	b.mu.RLock()
	id, ok := b.tables[r]
	b.mu.RUnlock()
	if ok {
		for _, space := range []byte{spaceVersion, spaceEvent} {
			prefix := tablePrefix(space, id)
			if err := batch.DeleteRange(prefix, successor(prefix), nil); err != nil {
				return err
			}
		}
		if err := batch.Delete(resourceKey(spaceTable, r), nil); err != nil {
			return err
		}
	}
	if err := batch.Set(resourceKey(spaceDropped, r), u64(at), nil); err != nil {
		return err
	}
	if err := batch.Set(keyRevision, u64(at), nil); err != nil {
		return err
	}
	if err := b.apply(batch, at); err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.tables, r)
	b.mu.Unlock()
	return nil
}
