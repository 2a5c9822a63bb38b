package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A log that ends in garbage is what a crash in the middle of a write leaves, and Pebble drops the garbage. But when a
// synced part of the log has gone bad, what follows it is acknowledged and must not vanish in silence. Chunks name the
// offset up to which the log was synced when they were written, so a good chunk after a bad place tells the two cases
// apart. Pebble looks for one in later blocks of 32 KiB only; checkLogTail looks in the block itself. What remains
// undetectable is damage to the last synced write, with nothing after it. A log that is bad from its very beginning is
// found by the revision that the store had reached, which each clean stop and each compaction writes down (checkFloor).

// The chunks of a log, from Pebble's record format: a block has chunks that do not cross its end, each with a header of
// CRC-32C (masked, of what follows it), length (16 bits), encoding, log number (32 bits), synced offset (64 bits).
const (
	logBlock     = 32 << 10
	chunkHeader  = 19
	chunkFirst   = 9 // the encodings of chunks that have a synced offset
	chunkLast    = 12
	crcMaskDelta = 0xa282ead8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseChunk reads the chunk at the start of b, which ends with its block.
func parseChunk(b []byte, log uint32) (size int, synced uint64, ok bool) {
	if len(b) < chunkHeader || b[6] < chunkFirst || b[6] > chunkLast || binary.LittleEndian.Uint32(b[7:]) != log {
		return 0, 0, false
	}
	size = chunkHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return 0, 0, false
	}
	c := crc32.Checksum(b[6:size], castagnoli)
	if (c>>15|c<<17)+crcMaskDelta != binary.LittleEndian.Uint32(b) {
		return 0, 0, false
	}
	return size, binary.LittleEndian.Uint64(b[11:]), true
}

// lostInLog finds the first bad place of a log and reports whether something after it proves that it was synced.
func lostInLog(b []byte, log uint32) (at int, lost bool) {
	rest := func(at int) []byte { return b[at:min(len(b), at-at%logBlock+logBlock)] }
	for at < len(b) {
		if logBlock-at%logBlock < chunkHeader {
			at += logBlock - at%logBlock
			continue
		}
		size, _, ok := parseChunk(rest(at), log)
		if !ok {
			break
		}
		at += size
	}
	for i := at + 1; i < len(b); i++ {
		if _, synced, ok := parseChunk(rest(i), log); ok && synced > uint64(at) {
			return at, true
		}
	}
	return at, false
}

var (
	errLostInLog = errors.New("the log is damaged before its end")
	errNoLog     = errors.New("its log is missing")
)

// checkLogTail examines the newest log of a database that is about to be opened.
func checkLogTail(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	newest, tables := uint64(0), false
	for _, name := range names {
		tables = tables || strings.HasSuffix(name, ".sst")
		if number, ok := strings.CutSuffix(name, ".log"); ok {
			if n, err := strconv.ParseUint(number, 10, 64); err == nil {
				newest = max(newest, n)
			}
		}
	}
	if newest == 0 {
		if tables {
			return errNoLog // the engine would begin a new one, without what the old one held
		}
		return nil
	}
	name := fs.PathJoin(dir, fmt.Sprintf("%06d.log", newest))
	f, err := fs.Open(name, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if at, lost := lostInLog(b, uint32(newest)); lost {
		return fmt.Errorf("%w (%s at offset %d)", errLostInLog, name, at)
	}
	return nil
}
