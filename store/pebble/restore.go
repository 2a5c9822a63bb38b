package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Restore makes a store in dir, which must not exist or be empty, of a backup. The store appears there only when all of
// the backup has been read and verified; until then it is in DIR.restoring. It returns the revision the store is at:
// cursors from before the backup was taken get ErrExpired.
func Restore(ctx context.Context, r io.Reader, dir string, options Options) (api.Revision, error) {
	o := options.withDefaults()
	names, err := o.FS.List(dir)
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("restore into %s: %w", dir, plain(err))
	}
	if len(names) > 0 {
		return 0, fmt.Errorf("restore into %s: the directory is not empty; choose another one", dir)
	}
	building := dir + ".restoring"
	if err := o.FS.RemoveAll(building); err != nil {
		return 0, fmt.Errorf("restore into %s: %w", dir, plain(err))
	}
	rev, err := build(ctx, r, building, o)
	if err == nil && exists {
		err = o.FS.Remove(dir)
	}
	if err == nil {
		err = o.FS.Rename(building, dir)
	}
	if err == nil {
		err = syncDir(o.FS, o.FS.PathDir(dir))
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("restore into %s: %w", dir, plain(err)), o.FS.RemoveAll(building))
	}
	return rev, nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// build writes a backup into a new store.
func build(ctx context.Context, r io.Reader, dir string, o Options) (rev api.Revision, err error) {
	o.Ballast = -1 // made when the store is opened for use
	b, err := Open(dir, o)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := b.Close(); err == nil {
			err = e
		}
	}()
	w := writer{batch: b.db.NewBatch(), backend: b}
	rev, err = store.ReadBackup(r, func(res api.Resource, rec *api.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, err := w.table(res)
		if err != nil {
			return err
		}
		w.key = appendVersionKey(w.key[:0], id, rec.Key(), rec.Revision())
		w.value = rec.AppendBinary(w.value[:0])
		if err := w.batch.Set(w.key, w.value, nil); err != nil || w.batch.Len() < compactBytes {
			return err
		}
		if err := b.space.check(false); err != nil {
			return err
		}
		if err := b.write(w.batch, pebble.NoSync); err != nil {
			return err
		}
		w.batch = b.db.NewBatch()
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, k := range [][]byte{keyRevision, keyHorizon} {
		if err := w.batch.Set(bytes.Clone(k), u64(rev), pebble.NoSync); err != nil {
			return 0, err
		}
	}
	if err := b.space.check(false); err != nil {
		return 0, err
	}
	return rev, b.apply(w.batch, rev) // its sync covers the batches before it
}
