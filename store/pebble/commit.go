package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Commit writes a group as one batch with one sync.
func (b *Backend) Commit(_ context.Context, group []store.Batch) error {
	frees := !slices.ContainsFunc(group, func(changes store.Batch) bool { return !changes.Frees() })
	if err := b.space.check(frees); err != nil {
		return err
	}
	size := 0
	for _, changes := range group {
		for _, c := range changes {
			size += 160 + 2*(len(c.Key.Namespace)+len(c.Key.Name))
			if c.Record != nil {
				size += c.Record.Size() + 1024 // the ownership is not part of Size
			}
		}
	}
	w := writer{batch: b.db.NewBatchWithSize(size), backend: b}
	last := api.Revision(0)
	for _, changes := range group {
		for i := range changes {
			if err := w.change(&changes[i]); err != nil {
				return err
			}
			last = changes[i].Revision
		}
	}
	if err := w.batch.Set(keyRevision, u64(last), nil); err != nil {
		return err
	}
	if err := b.apply(w.batch, last); err != nil {
		return err
	}
	w.done()
	return nil
}

// apply makes a batch durable, which brings the store to a revision.
func (b *Backend) apply(batch *pebble.Batch, to api.Revision) error {
	if err := b.err(); err != nil {
		return err
	}
	marked, err := b.mark(batch)
	if err != nil {
		return err
	}
	if err := b.write(batch, pebble.Sync); err != nil {
		return err
	}
	marked()
	b.durable.Store(uint64(to))
	return nil
}

// write hands a batch to the engine. Where Pebble cannot go on it does not return: it asks its logger to end the
// process, or panics with its locks in any state. So it works on a goroutine of its own, which is given up when the
// backend fails.
func (b *Backend) write(batch *pebble.Batch, sync *pebble.WriteOptions) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				b.fail(fmt.Errorf("the storage engine in %s cannot go on: %w", b.dir, plain(fmt.Errorf("%v", p))))
			}
		}()
		done <- batch.Commit(sync)
	}()
	select {
	case err := <-done:
		if err != nil {
			err = fmt.Errorf("write to the log in %s: %w", b.dir, plain(err))
			b.fail(err)
			return err
		}
		if err := b.err(); err != nil {
			return err
		}
		return batch.Close()
	case <-b.broken:
		return b.err()
	}
}

// writer puts changes into a batch.
type writer struct {
	batch   *pebble.Batch
	backend *Backend
	fresh   map[api.Resource]tableID // tables the batch makes
	key     []byte
	value   []byte
}

func (w *writer) table(r api.Resource) (tableID, error) {
	// Only the committer writes these, and that is who reads here.
	if id, ok := w.backend.tables[r]; ok {
		return id, nil
	}
	if id, ok := w.fresh[r]; ok {
		return id, nil
	}
	id := w.backend.last + tableID(len(w.fresh)) + 1
	if w.fresh == nil {
		w.fresh = map[api.Resource]tableID{}
	}
	w.fresh[r] = id
	v := binary.BigEndian.AppendUint32(nil, uint32(id))
	if err := w.batch.Set(keyTables, v, nil); err != nil {
		return 0, err
	}
	return id, w.batch.Set(resourceKey(spaceTable, r), v, nil)
}

func (w *writer) change(c *store.Change) error {
	id, err := w.table(c.Resource)
	if err != nil {
		return err
	}
	w.key = appendVersionKey(w.key[:0], id, c.Key, c.Revision)
	w.value = w.value[:0]
	if c.Record != nil {
		w.value = c.Record.AppendBinary(w.value)
	}
	if err := w.batch.Set(w.key, w.value, nil); err != nil {
		return err
	}
	w.value = event{c.Key, c.Old, c.Record == nil}.append(w.value[:0])
	return w.batch.Set(eventKey(id, c.Revision), w.value, nil)
}

// done makes the tables of a durable batch known.
func (w *writer) done() {
	if len(w.fresh) == 0 {
		return
	}
	b := w.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	for r, id := range w.fresh {
		b.tables[r] = id
		b.last = max(b.last, id)
	}
}
