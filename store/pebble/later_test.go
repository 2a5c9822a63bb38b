package pebble_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
)

// TestDamageFoundLater damages what opening does not read: the events, which are read for watches that resume and when
// they are compacted. Whoever meets the damage is told in one line, gets no event that was not, and the store stops.
func TestDamageFoundLater(t *testing.T) {
	const commits = 400
	mem := vfs.NewCrashableMem()
	s := open(t, mem)
	rev := api.Revision(0)
	for i := range commits {
		var err error
		if rev, err = s.Commit(t.Context(), store.Put(things, record("only", fmt.Sprint("data-", i)), rev)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	open(t, mem).Close() // writes what is in the log into a table
	names := files(t, mem, ".sst")
	name := names[len(names)-1]
	whole := content(t, mem, name)
	found := map[string]int{}
	for at := 0; at < len(whole); at += 311 {
		bad := append([]byte{}, whole...)
		bad[at] ^= 1 << (at % 8)
		for doing, do := range map[string]func(*store.Store) error{"follow": readAll, "compact": func(s *store.Store) error {
			return s.Compact(context.Background(), s.Revision())
		}} {
			b, err := pebble.Open("data", pebble.Options{FS: withFile(t, mem, name, bad)})
			if err != nil {
				continue
			}
			s, err := store.Open(t.Context(), store.Config{Backend: b})
			if err != nil {
				b.Close()
				continue
			}
			if err = do(s); err == nil {
				s.Close()
				continue
			}
			found[doing]++
			<-s.Failed()
			for _, err := range []error{err, s.Err()} {
				if !strings.Contains(err.Error(), "the store in data is damaged") || !strings.Contains(err.Error(), "restore a backup") ||
					strings.Contains(err.Error(), "\n") {
					t.Errorf("%s with a flipped bit in byte %d: %q", doing, at, err)
				}
			}
			if _, err := s.View(t.Context(), 0); err == nil {
				t.Errorf("%s with a flipped bit in byte %d: the store goes on", doing, at)
			}
			s.Close()
		}
	}
	if found["follow"] < 5 || found["compact"] < 5 {
		t.Errorf("so many flipped bits were met later: %v", found)
	}
}

// readAll reads the events of things from the first to the last; each has its own revision.
func readAll(s *store.Store) error {
	c, err := s.Follow(things, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	for n := api.Revision(0); n < s.Revision(); {
		events, err := c.Next(context.Background())
		if err != nil {
			return err
		}
		for _, e := range events {
			if n++; e.Revision != n || e.New.Revision() != n {
				return fmt.Errorf("event %d has revision %d", n, e.Revision)
			}
		}
	}
	return nil
}
