package pebble

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/store"
)

// space watches how much of the disk is free (S9). Below the reserve writes are refused and the ballast is given back,
// so that what the engine still has to write in the background finds room. Writes that free space go on for longer: a
// deletion is a few hundred bytes, and for most users the only way to make room.
type space struct {
	dir, path        string
	fs               vfs.FS
	reserve, ballast uint64
	log              func(string)

	mu   sync.Mutex
	full bool
	held bool // the ballast is there
}

func newSpace(dir string, o Options) *space {
	s := &space{dir: dir, path: o.FS.PathJoin(dir, "ballast"), fs: o.FS, log: o.Log,
		reserve: uint64(max(o.Reserve, 0)), ballast: uint64(max(o.Ballast, 0))}
	if _, err := o.FS.Stat(s.path); err == nil {
		s.held = true
	}
	if free, ok := s.free(); ok && free >= s.reserve+s.ballast {
		s.hold()
	}
	return s
}

// free is what the disk has left; not ok where that cannot be found out.
func (s *space) free() (uint64, bool) {
	u, err := s.fs.GetDiskUsage(s.dir)
	if err != nil {
		if !errors.Is(err, vfs.ErrUnsupported) {
			s.log(fmt.Sprintf("find out the free space of %s: %v", s.dir, err))
		}
		return 0, false
	}
	return u.AvailBytes, true
}

// check refuses writes while less than the reserve is free, and those that free space below a quarter of it. It is asked
// before every group: a statfs costs a microsecond, a sync a thousand.
func (s *space) check(frees bool) error {
	if s.reserve == 0 {
		return nil
	}
	free, ok := s.free()
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.full && free >= s.reserve:
		return nil
	case !s.full:
		s.full = true
		s.log(fmt.Sprintf("%s has %d MiB left, of which %d MiB are kept free: writes other than deletions are refused", s.dir, free>>20, s.reserve>>20))
		s.release()
		if now, ok := s.free(); ok {
			free = now
		}
	case free >= s.enough():
		s.full = false
		s.hold()
		s.log(fmt.Sprintf("%s has %d MiB left: writes go on", s.dir, free>>20))
		return nil
	}
	if frees && free >= s.reserve/4 {
		return nil
	}
	return fmt.Errorf("%w (%s has %d MiB left and needs %d MiB)", store.ErrFull, s.dir, free>>20, s.enough()>>20)
}

// enough is the free space at which writes go on: the ballast is made again of it, and what remains is clear of the
// reserve.
func (s *space) enough() uint64 {
	return s.reserve + s.ballast + max(s.ballast/2, s.reserve/4)
}

// hold makes the ballast. Without it the reserve has to do.
func (s *space) hold() {
	if s.held || s.ballast == 0 {
		return
	}
	f, err := s.fs.Create(s.path, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, int64(s.ballast)), f.Close())
	}
	if err != nil {
		s.log(fmt.Sprintf("make %s: %v", s.path, err))
		return
	}
	s.held = true
}

func (s *space) release() {
	if !s.held {
		return
	}
	if err := s.fs.Remove(s.path); err != nil {
		s.log(fmt.Sprintf("give %s back: %v", s.path, err))
		return
	}
	s.held = false
}
