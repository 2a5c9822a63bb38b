package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/api"
)

// Pebble replays the log files it finds. One that somebody has removed it does not miss, as their numbers have gaps and
// it keeps no list of them. Two records tell:
//
//   - A mark for every log file, written by the first group that finds it in use, names the log marked before it. It is
//     in that log and then in the table that the log was flushed to, so a mark that another one names and that is not
//     there has gone with its log. The group with which Pebble begins a log comes before the mark: what is removed before
//     the second group is written goes unnoticed.
//   - The file "revision" holds a revision that the store has reached. It is written when the store is closed and when it
//     is compacted, and shows that the newest log has been removed or shortened since.
const (
	spaceLog   = 'l'
	keptMarks  = 64 // several times the logs that Pebble has not flushed yet
	floorFile  = "revision"
	floorBytes = 32 // more than any number has
)

var errLogMissing = errors.New("a log file is missing")

func logKey(log uint64) []byte { return binary.BigEndian.AppendUint64([]byte{spaceLog}, log) }

// mark adds the mark of the log in use to a batch, unless it has one. It returns what is to be called once the batch is
// durable.
func (b *Backend) mark(batch *pebble.Batch) (done func(), err error) {
	log := b.current.Load()
	before := uint64(0)
	if n := len(b.marks); n > 0 {
		before = b.marks[n-1]
	}
	if log == before {
		return func() {}, nil
	}
	if err := batch.Set(logKey(log), u64(api.Revision(before)), nil); err != nil {
		return nil, err
	}
	keep := append(b.marks[:len(b.marks):len(b.marks)], log)
	for len(keep) > keptMarks {
		if err := batch.Delete(logKey(keep[0]), nil); err != nil {
			return nil, err
		}
		keep = keep[1:]
	}
	return func() { b.marks = keep }, nil
}

// loadMarks reads the marks and finds out whether one is missing.
func (b *Backend) loadMarks() error {
	b.marks = nil
	first := uint64(0) // the mark before the first
	err := b.scan([]byte{spaceLog}, func(k, v []byte) error {
		if len(k) != 9 {
			return errBadKey
		}
		before, err := parseU64(v)
		if err != nil {
			return err
		}
		if n := len(b.marks); n == 0 {
			first = uint64(before)
		} else if b.marks[n-1] != uint64(before) {
			return fmt.Errorf("%w, %06d.log", errLogMissing, before)
		}
		b.marks = append(b.marks, binary.BigEndian.Uint64(k[1:]))
		return nil
	})
	if err == nil && first != 0 && len(b.marks) < keptMarks {
		err = b.damaged([]byte{spaceLog}, fmt.Errorf("%w, %06d.log", errLogMissing, first))
	}
	return err
}

// saveFloor writes down how far the store has come. Without it a loss would go unnoticed, nothing more.
func (b *Backend) saveFloor() {
	rev := b.durable.Load()
	b.floorMu.Lock()
	defer b.floorMu.Unlock()
	if rev <= b.floor {
		return
	}
	name := b.fs.PathJoin(b.dir, floorFile)
	if err := writeFile(b.fs, b.dir, name, []byte(strconv.FormatUint(rev, 10)+"\n")); err != nil {
		b.log(fmt.Sprintf("write %s: %v", name, plain(err)))
		return
	}
	b.floor = rev
}

// writeFile puts a file in the place of what has its name.
func writeFile(fs vfs.FS, dir, name string, content []byte) error {
	f, err := fs.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(fs, dir)
}

// checkFloor compares what was loaded with how far the store had come.
func (b *Backend) checkFloor(loaded api.Revision) error {
	name := b.fs.PathJoin(b.dir, floorFile)
	f, err := b.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, floorBytes))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	floor, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return &damageError{b.dir, fmt.Errorf("%s holds %q, no revision", name, text)}
	}
	if uint64(loaded) < floor {
		return &damageError{b.dir, fmt.Errorf("it ends at revision %d and had reached %d: a log file is missing or cut short", loaded, floor)}
	}
	b.floor = floor
	return nil
}
