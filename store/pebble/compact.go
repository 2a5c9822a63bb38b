package pebble

import (
	"bytes"
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pintle.dev/api"
)

// compactBytes bounds the batches that a compaction writes.
const compactBytes = 512 << 10

// Compact forgets events up to and including a revision and the versions that only they show. Its batches need no sync:
// the horizon is written first, so what a crash leaves behind is found by the next compaction and never served.
func (b *Backend) Compact(ctx context.Context, through api.Revision) error {
	leave, err := b.enter()
	if err != nil {
		return err
	}
	defer leave()
	b.horizon.Store(uint64(max(api.Revision(b.horizon.Load()), through)))
	if err := b.compact(ctx, through); err != nil {
		return b.readError("compact the store", err)
	}
	b.saveFloor()
	return nil
}

func (b *Backend) compact(ctx context.Context, through api.Revision) error {
	batch := b.db.NewBatch()
	if err := batch.Set(keyHorizon, u64(through), nil); err != nil {
		return err
	}
	if err := b.forgetDrops(batch, through); err != nil {
		return err
	}
	b.mu.RLock()
	ids := make([]tableID, 0, len(b.tables))
	for _, id := range b.tables {
		ids = append(ids, id)
	}
	b.mu.RUnlock()
	slices.Sort(ids)
	for _, id := range ids {
		var err error
		if batch, err = b.compactTable(ctx, batch, id, through); err != nil {
			return err
		}
	}
	return b.write(batch, pebble.NoSync)
}

func (b *Backend) compactTable(ctx context.Context, batch *pebble.Batch, id tableID, through api.Revision) (_ *pebble.Batch, err error) {
	first, end := tablePrefix(spaceEvent, id), eventKey(id, through+1)
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end})
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = e
		}
	}()
	var key []byte
	done := false
	for ok := it.First(); ok; ok = it.Next() {
		rev, e, err := parseEvent(it.Key(), it.Value())
		if err != nil {
			return nil, b.damaged(it.Key(), err)
		}
		done = true
		if e.old != 0 {
			key = appendVersionKey(key[:0], id, e.key, e.old)
			if err := batch.Delete(key, nil); err != nil {
				return nil, err
			}
		}
		if e.deleted {
			key = appendVersionKey(key[:0], id, e.key, rev)
			if err := batch.Delete(key, nil); err != nil {
				return nil, err
			}
		}
		if batch.Len() < compactBytes {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := batch.DeleteRange(first, eventKey(id, rev+1), nil); err != nil {
			return nil, err
		}
		if err := b.write(batch, pebble.NoSync); err != nil {
			return nil, err
		}
		batch, done = b.db.NewBatch(), false
	}
	if done {
		err = batch.DeleteRange(first, end, nil)
	}
	return batch, err
}

// forgetDrops removes the marks of drops that the horizon has passed.
func (b *Backend) forgetDrops(batch *pebble.Batch, through api.Revision) error {
	return b.scan([]byte{spaceDropped}, func(k, v []byte) error {
		at, err := parseU64(v)
		if err != nil || at > through {
			return err
		}
		return batch.Delete(bytes.Clone(k), nil)
	})
}

// scan calls fn for every key with a prefix.
func (b *Backend) scan(prefix []byte, fn func(k, v []byte) error) error {
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: successor(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			err = b.damaged(it.Key(), err)
			if e := it.Close(); e != nil {
				return e
			}
			return err
		}
	}
	return it.Close()
}
