package pebble

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pintle.dev/api"
	"pintle.dev/store"
)

// A page of events ends when it has this many, or this many bytes.
const (
	pageEvents = 256
	pageBytes  = 4 << 20
)

// Events reads events back, each with the two versions it refers to.
func (b *Backend) Events(ctx context.Context, r api.Resource, after, through api.Revision) ([]api.Event, error) {
	leave, err := b.enter()
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", r, err)
	}
	defer leave()
	b.mu.RLock()
	id, ok := b.tables[r]
	b.mu.RUnlock()
	if uint64(after) < b.horizon.Load() {
		return nil, store.ErrExpired
	}
	if !ok || after >= through {
		return nil, nil
	}
	events, err := b.read(ctx, id, after, through)
	if uint64(after) < b.horizon.Load() {
		return nil, store.ErrExpired // what was read may have been compacted meanwhile
	}
	if err != nil {
		return nil, b.readError(fmt.Sprintf("read events of %s", r), err)
	}
	return events, nil
}

func (b *Backend) read(ctx context.Context, id tableID, after, through api.Revision) (events []api.Event, err error) {
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: eventKey(id, after+1), UpperBound: eventKey(id, through+1)})
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = e
		}
	}()
	size := 0
	newest := map[api.Key]*api.Record{} // the New of one event is the Old of a later one
	for ok := it.First(); ok && len(events) < pageEvents && size < pageBytes; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rev, e, err := parseEvent(it.Key(), it.Value())
		if err != nil {
			return nil, b.damaged(it.Key(), err)
		}
		ev := api.Event{Revision: rev}
		if e.old != 0 {
			if old := newest[e.key]; old != nil && old.Revision() == e.old {
				ev.Old = old
			} else if ev.Old, err = b.version(id, e.key, e.old); err != nil {
				return nil, err
			}
			size += ev.Old.Size()
		}
		if !e.deleted {
			if ev.New, err = b.version(id, e.key, rev); err != nil {
				return nil, err
			}
			size += ev.New.Size()
		}
		newest[e.key] = ev.New
		events = append(events, ev)
	}
	return events, it.Error()
}

func (b *Backend) version(id tableID, k api.Key, rev api.Revision) (*api.Record, error) {
	key := appendVersionKey(nil, id, k, rev)
	v, err := b.get(key)
	if err != nil {
		return nil, err
	}
	if len(v) == 0 {
		return nil, b.damaged(key, fmt.Errorf("the version at revision %d is missing", rev))
	}
	rec, err := api.DecodeRecord(v, rev)
	if err != nil {
		return nil, b.damaged(key, err)
	}
	return rec, nil
}
