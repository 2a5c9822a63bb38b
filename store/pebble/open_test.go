package pebble_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	enginepkg "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pintle.dev/store/pebble"
)

// TestMain makes the test binary a second process that opens a directory, for TestSecondProcess.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_OPEN"); dir != "" {
		b, err := pebble.Open(dir, pebble.Options{})
		if err != nil {
			os.Stdout.WriteString(err.Error())
			os.Exit(3)
		}
		b.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	b, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	try := func() string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_OPEN="+dir)
		out, err := cmd.Output()
		if len(out) == 0 && err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	want := "the store in " + dir + " is in use by another process: stop that one, or choose another directory"
	if got := try(); got != want {
		t.Errorf("a second process says %q, want %q", got, want)
	}
	if _, err := pebble.Open(dir, pebble.Options{}); err == nil || err.Error() != want {
		t.Errorf("the same process says %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := try(); got != "" {
		t.Errorf("after the first has ended a second process says %q", got)
	}
}

// TestLockComesFirst fails the lock: nothing of the directory may have been read by then, as another process may be
// writing it.
func TestLockComesFirst(t *testing.T) {
	var before []string
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLock {
			return &fs.PathError{Op: "lock", Path: op.Path, Err: syscall.EAGAIN}
		}
		if op.Kind != errorfs.OpMkdirAll {
			before = append(before, op.Path)
		}
		return nil
	}))
	_, err := pebble.Open("data", pebble.Options{FS: fs})
	if want := "the store in data is in use by another process: stop that one, or choose another directory"; err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	if before != nil {
		t.Errorf("before the lock: %q", before)
	}
}

// TestOpenRefuses opens what cannot be a store: one line says where and why.
func TestOpenRefuses(t *testing.T) {
	mem := func(fill func(*enginepkg.DB) error) vfs.FS {
		m := vfs.NewMem()
		db, err := enginepkg.Open("data", &enginepkg.Options{FS: m})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(fill(db), db.Close()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	failing := func(with error) vfs.FS {
		return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpLock {
				return &fs.PathError{Op: "open", Path: op.Path, Err: with}
			}
			return nil
		}))
	}
	for _, c := range []struct {
		name, want string
		fs         vfs.FS
	}{
		{"read-only", "the data directory data cannot be written (open", failing(syscall.EROFS)},
		{"no permission", "the data directory data cannot be written (open", failing(syscall.EACCES)},
		{"no space", "no space left on device", failing(syscall.ENOSPC)},
		{"later format", `the store in data has format version "7", this Pintle reads version 1`,
			mem(func(db *enginepkg.DB) error { return db.Set([]byte("m format"), []byte("7"), enginepkg.Sync) })},
		{"another database", "the database in data is not a Pintle store",
			mem(func(db *enginepkg.DB) error { return db.Set([]byte("x"), nil, enginepkg.Sync) })},
	} {
		_, err := pebble.Open("data", pebble.Options{FS: c.fs})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(file, pebble.Options{}); err == nil || err.Error() != "the data directory "+file+" cannot be made (mkdir "+file+": not a directory): choose another" {
		t.Errorf("a file as the directory: %v", err)
	}
	nowhere := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file+"-gone", nowhere); err != nil {
		t.Fatal(err)
	}
	if _, err := pebble.Open(filepath.Join(nowhere, "data"), pebble.Options{}); err == nil || !strings.Contains(err.Error(), "cannot be made (mkdir "+nowhere) {
		t.Errorf("below a link that leads nowhere: %v", err)
	}
}
