package pebble_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
	"pintle.dev/store/storetest"
)

// TestS1_BackupAndRestore takes a backup under load and restores it: one revision of all tables, moved by 2^32.
func TestS1_BackupAndRestore(t *testing.T) {
	s := open(t, vfs.NewMem())
	for i := range 300 {
		if _, err := s.Commit(t.Context(), store.Put(things, record(fmt.Sprint(i), strings.Repeat("x", i*20)), 0), store.Put(api.Pods, record(fmt.Sprint(i), ""), 0)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 300; ctx.Err() == nil; i++ {
			_, err := s.Commit(ctx, store.Put(things, record(fmt.Sprint(i), "late"), 0), store.Put(api.Pods, record(fmt.Sprint(i), ""), 0))
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	var backup bytes.Buffer
	rev, err := s.Backup(t.Context(), &backup)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	wg.Wait()
	before, err := s.At(t.Context(), things, rev)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for rec := range before.All(things, "") {
		want[rec.Name()] = fmt.Sprint(rec.Revision()+store.RestoreShift, storetest.Data(rec), rec.Owners())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	disk := vfs.NewMem()
	restored, err := pebble.Restore(t.Context(), bytes.NewReader(backup.Bytes()), "data", pebble.Options{FS: disk})
	if err != nil || restored != rev+1<<32 {
		t.Fatalf("restored at %d of %d: %v", restored, rev, err)
	}
	s = open(t, disk)
	defer s.Close()
	v, err := s.View(t.Context(), 0)
	if err != nil || v.Revision() != restored || v.Len(api.Pods, "") != v.Len(things, "") || v.Len(things, "") != len(want) {
		t.Fatalf("%v: %d pods and %d things at %d, want %d at %d", err, v.Len(api.Pods, ""), v.Len(things, ""), v.Revision(), len(want), restored)
	}
	for rec := range v.All(things, "") {
		if got := fmt.Sprint(rec.Revision(), storetest.Data(rec), rec.Owners()); got != want[rec.Name()] {
			t.Fatalf("%q is %s, want %s", rec.Key(), got, want[rec.Name()])
		}
	}
	for _, after := range []api.Revision{0, rev, rev + 1000, restored - 1} {
		if _, err := s.Follow(things, after); !errors.Is(err, store.ErrExpired) {
			t.Errorf("Follow after %d, from before the restore: %v", after, err)
		}
	}
	if next, err := s.Commit(t.Context(), store.Put(things, record("next", ""), 0)); err != nil || next != restored+1 {
		t.Errorf("the next revision is %d: %v", next, err)
	}
}

// TestRestoreRefuses restores damaged backups, and into places it must not touch: nothing is left behind.
func TestRestoreRefuses(t *testing.T) {
	s := open(t, vfs.NewMem())
	for i := range 20 {
		if _, err := s.Commit(t.Context(), store.Put(things, record(fmt.Sprint(i), fmt.Sprint("data-", i*7919)), 0)); err != nil {
			t.Fatal(err)
		}
	}
	var backup bytes.Buffer
	if _, err := s.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole := backup.Bytes()
	restore := func(b []byte) (vfs.FS, error) {
		disk := vfs.NewMem()
		_, err := pebble.Restore(t.Context(), bytes.NewReader(b), "data", pebble.Options{FS: disk})
		return disk, err
	}
	refused := func(what string, b []byte) bool {
		disk, err := restore(b)
		if err == nil {
			return false
		}
		says := err.Error()
		named := strings.Contains(says, "the backup is damaged or cut short (") || strings.Contains(says, "this is not a Pintle backup")
		if !named || strings.Contains(says, "\n") {
			t.Errorf("%s: %q", what, says)
		}
		if names, _ := disk.List(""); len(names) != 0 {
			t.Errorf("%s: %q are left behind", what, names)
		}
		return true
	}
	for n := 0; n < len(whole); n += 1 + n/40 {
		if !refused(fmt.Sprintf("%d of %d bytes", n, len(whole)), whole[:n]) {
			t.Errorf("%d of %d bytes are taken for a backup", n, len(whole))
		}
	}
	if !refused("more", append(bytes.Clone(whole), 0)) {
		t.Error("what follows the end is not noticed")
	}
	harmless := 0
	for at := 0; at < len(whole); at += 7 {
		bad := bytes.Clone(whole)
		bad[at] ^= 4
		if refused(fmt.Sprintf("a bit of byte %d", at), bad) {
			continue
		}
		if harmless++; harmless > 2 { // a window size in the stream's header does not matter
			t.Errorf("a flipped bit of byte %d is not noticed", at)
		}
	}
	disk, err := restore(whole)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Restore(t.Context(), bytes.NewReader(whole), "data", pebble.Options{FS: disk}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restoring over a store: %v", err)
	}
	open(t, disk).Close()
	dir := t.TempDir()
	if _, err := pebble.Restore(t.Context(), bytes.NewReader(whole), dir, pebble.Options{}); err != nil {
		t.Errorf("restoring into an empty directory: %v", err)
	}
}
