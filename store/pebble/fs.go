package pebble

import (
	"fmt"
	"path"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// engineFS is where S3 is kept: once a write or sync of a log, a manifest or a directory has failed, the backend has
// failed, and the goroutine that was told by the file system goes no further. Pebble's own answers are many: to retry
// with a new file, which makes what was lost pass for synced, to ask for the end of the process, or to panic while it
// holds its locks. Errors of other files reach Pebble: the log still has what they should have held.
type engineFS struct {
	vfs.FS
	b *Backend
}

// Unwrap lets Pebble find the file system beneath.
func (f engineFS) Unwrap() vfs.FS { return f.FS }

func vital(name string) bool {
	name = path.Base(name)
	return strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST")
}

// stop fails the backend over an error and does not return. While the database is being opened, nothing has been
// acknowledged that could get lost, and Open reports the error.
func (f engineFS) stop(doing, name string, err error) {
	if err == nil || !f.b.opened.Load() {
		return
	}
	f.b.fail(fmt.Errorf("%s %s: %w", doing, name, plain(err)))
	select {}
}

// Create makes a file.
func (f engineFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	return f.wrap(name, file, err)
}

// ReuseForWrite makes a file of an old one.
func (f engineFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(old, name, c)
	return f.wrap(name, file, err)
}

// OpenReadWrite opens a file.
func (f engineFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.wrap(name, file, err)
}

// OpenDir opens a directory for syncing.
func (f engineFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return engineFile{file, f, name}, nil
}

func (f engineFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if !vital(name) {
		return file, err
	}
	f.stop("make", name, err)
	if err != nil {
		return nil, err
	}
	return engineFile{file, f, name}, nil
}

// engineFile is a file whose errors end the backend.
type engineFile struct {
	vfs.File
	fs   engineFS
	name string
}

// Write appends to the file.
func (f engineFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.fs.stop("write", f.name, err)
	return n, err
}

// WriteAt overwrites a part of the file.
func (f engineFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	f.fs.stop("write", f.name, err)
	return n, err
}

// Close closes the file.
func (f engineFile) Close() error {
	err := f.File.Close()
	f.fs.stop("close", f.name, err)
	return err
}

// Sync makes the file durable.
func (f engineFile) Sync() error {
	err := f.File.Sync()
	f.fs.stop("sync", f.name, err)
	return err
}

// SyncData makes the file's content durable.
func (f engineFile) SyncData() error {
	err := f.File.SyncData()
	f.fs.stop("sync", f.name, err)
	return err
}

// SyncTo begins to write the file's head to the disk.
func (f engineFile) SyncTo(length int64) (full bool, err error) {
	full, err = f.File.SyncTo(length)
	f.fs.stop("sync", f.name, err)
	return full, err
}
