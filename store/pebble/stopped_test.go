package pebble_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestStoppedDamage damages each file of a store that was closed: it is found when the store is opened, or nothing is lost.
func TestStoppedDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		reopen bool
	}{{"its objects in the log", false}, {"its objects in tables", true}} {
		mem := vfs.NewCrashableMem()
		write20(t, mem).Close()
		if c.reopen {
			open(t, mem).Close()
		}
		found := 0
		for _, name := range files(t, mem, "") {
			for what, damaged := range damages(content(t, mem, name)) {
				rev, ok := tryOpen(t, fmt.Sprintf("%s, %s %s", c.name, name, what), withFile(t, mem, name, damaged))
				if !ok {
					found++
				} else if rev != 40 {
					t.Errorf("%s, %s %s: revision %d and nothing is said", c.name, name, what, rev)
				}
			}
			without := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			if err := without.Remove(name); err != nil {
				t.Fatal(err)
			}
			if rev, ok := tryOpen(t, fmt.Sprintf("%s, without %s", c.name, name), without); !ok {
				found++
			} else if rev != 40 {
				t.Errorf("%s, without %s: revision %d and nothing is said", c.name, name, rev)
			}
		}
		if found < 30 {
			t.Errorf("%s: only %d damages were noticed", c.name, found)
		}
	}
}

// TestEmptyLog opens what a store leaves that is closed before it has written to its newest log, for which it took the file
// of an older one: the end that Pebble marks in it, and then what the older one held.
func TestEmptyLog(t *testing.T) {
	mem := vfs.NewCrashableMem()
	write20(t, mem).Close()
	logs := files(t, mem, ".log")
	var number uint32
	if _, err := fmt.Sscanf(logs[len(logs)-1], "data/%d.log", &number); err != nil {
		t.Fatal(err)
	}
	empty := content(t, mem, logs[len(logs)-1])
	number++
	// No checksum, no length, the encoding of a whole chunk, the number of the log that would be next.
	copy(empty, binary.LittleEndian.AppendUint32([]byte{6: 5}, number+1))
	if rev, ok := tryOpen(t, "with an empty log", withFile(t, mem, fmt.Sprintf("data/%06d.log", number), empty)); !ok || rev != 40 {
		t.Errorf("opened: %v, at revision %d, want 40", ok, rev)
	}
}

// damages are other bytes that a file may have in the place of its own.
func damages(whole []byte) map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, uint64(len(whole))))
	random := make([]byte, len(whole))
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	m := map[string][]byte{
		"replaced by random bytes": random,
		"replaced by zeros":        make([]byte, len(whole)),
		"emptied":                  nil,
		"cut in half":              whole[:len(whole)/2],
		"cut by a byte":            whole[:max(0, len(whole)-1)],
		"with bytes after its end": append(slices.Clone(whole), random...),
	}
	for range min(8, len(whole)) {
		bit := rnd.IntN(8 * len(whole))
		flipped := slices.Clone(whole)
		flipped[bit/8] ^= 1 << (bit % 8)
		m[fmt.Sprintf("with bit %d flipped", bit)] = flipped
	}
	return m
}
