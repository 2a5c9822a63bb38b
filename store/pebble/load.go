package pebble

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"pintle.dev/api"
	"pintle.dev/store"
)

// loadError says why what is in the directory cannot be read, in one sentence.
func (b *Backend) loadError(err error) error {
	if pebble.IsCorruptionError(err) {
		return openError(b.dir, err)
	}
	return fmt.Errorf("load the store in %s: %w", b.dir, plain(err))
}

// Load reads everything. Key ranges are read and decoded side by side and handed over in order.
func (b *Backend) Load(ctx context.Context, put func(api.Resource, *api.Record)) (store.State, error) {
	state, names, err := b.loadState()
	if err != nil {
		return state, b.loadError(err)
	}
	if err := b.loadMarks(); err != nil {
		return state, b.loadError(err)
	}
	if err := b.checkFloor(state.Revision); err != nil {
		return state, err
	}
	b.durable.Store(uint64(state.Revision))
	ranges, err := b.ranges()
	if err != nil {
		return state, b.loadError(err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1) // one starts the others
	out := make([]chan []loaded, len(ranges))
	for i := range out {
		out[i] = make(chan []loaded, 4)
	}
	g.Go(func() error {
		for i := range ranges {
			r := rangeLoader{backend: b, bounds: ranges[i], out: out[i], names: names, newest: state.Revision}
			g.Go(func() error { return r.run(ctx) })
		}
		return nil
	})
	for _, c := range out {
		for open := true; open; {
			var recs []loaded
			select {
			case recs, open = <-c:
			case <-ctx.Done():
				open = false
			}
			for _, l := range recs {
				put(names[l.table], l.record)
			}
		}
	}
	if err := g.Wait(); err != nil {
		return state, b.loadError(err)
	}
	if err := b.err(); err != nil {
		return state, err
	}
	b.horizon.Store(uint64(state.Horizon))
	return state, nil
}

// loadState reads all but the objects.
func (b *Backend) loadState() (state store.State, names map[tableID]api.Resource, err error) {
	state = store.State{Dropped: map[api.Resource]api.Revision{}, Failed: b.failed}
	names = map[tableID]api.Resource{}
	err = b.scan([]byte{spaceMeta}, func(k, v []byte) (err error) {
		switch {
		case bytes.Equal(k, keyRevision):
			state.Revision, err = parseU64(v)
		case bytes.Equal(k, keyHorizon):
			state.Horizon, err = parseU64(v)
		case bytes.Equal(k, keyTables):
			b.last, err = parseU32(v)
		}
		return err
	})
	if err != nil {
		return state, nil, err
	}
	err = b.scan([]byte{spaceTable}, func(k, v []byte) error {
		r, err := parseResourceKey(k)
		if err != nil {
			return err
		}
		id, err := parseU32(v)
		if err != nil {
			return err
		}
		b.tables[r], names[id] = id, r
		return nil
	})
	if err != nil {
		return state, nil, err
	}
	err = b.scan([]byte{spaceDropped}, func(k, v []byte) error {
		r, err := parseResourceKey(k)
		if err != nil {
			return err
		}
		state.Dropped[r], err = parseU64(v)
		return err
	})
	return state, names, err
}

type bounds struct{ lower, upper []byte }

// ranges cuts the versions into ranges of about equal size along the boundaries of Pebble's files, never between two
// versions of an object.
func (b *Backend) ranges() ([]bounds, error) {
	levels, err := b.db.SSTables()
	if err != nil {
		return nil, err
	}
	first := []byte{spaceVersion}
	end := successor(first)
	var cuts [][]byte
	for _, files := range levels {
		for _, f := range files {
			k := f.Smallest.UserKey
			if _, object, _, err := parseVersionKey(k); err == nil && k[0] == spaceVersion {
				cuts = append(cuts, bytes.Clone(k[:1+len(object)]))
			}
		}
	}
	slices.SortFunc(cuts, bytes.Compare)
	cuts = slices.CompactFunc(cuts, bytes.Equal)
	const most = 32
	var rs []bounds
	lower := first
	for i := 1; i < min(most, len(cuts)); i++ {
		cut := cuts[i*len(cuts)/min(most, len(cuts))]
		rs = append(rs, bounds{lower, cut})
		lower = cut
	}
	return append(rs, bounds{lower, end}), nil
}

type loaded struct {
	table  tableID
	record *api.Record
}

// rangeLoader decodes the newest version of every object in a range.
type rangeLoader struct {
	backend *Backend
	bounds  bounds
	names   map[tableID]api.Resource
	newest  api.Revision // no record may be newer
	out     chan []loaded
}

func (l *rangeLoader) run(ctx context.Context) (err error) {
	defer close(l.out)
	it, err := l.backend.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: l.bounds.lower, UpperBound: l.bounds.upper})
	if err != nil {
		return err
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = e
		}
	}()
	const page = 256
	recs := make([]loaded, 0, page)
	var last []byte
	for ok := it.First(); ok; ok = it.Next() {
		id, object, rev, err := parseVersionKey(it.Key())
		if err != nil {
			return l.backend.damaged(it.Key(), err)
		}
		if bytes.Equal(object, last) {
			continue
		}
		last = append(last[:0], object...)
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if len(v) == 0 {
			continue
		}
		rec, err := api.DecodeRecord(v, rev)
		if err == nil && rev > l.newest {
			err = fmt.Errorf("revision %d is later than the last commit's, %d", rev, l.newest)
		}
		if _, ok := l.names[id]; err == nil && !ok {
			err = fmt.Errorf("table %d has no name", id)
		}
		if err == nil && string(appendObject(nil, rec.Key())) != string(object[4:]) {
			err = fmt.Errorf("the record is of %q", rec.Key())
		}
		if err != nil {
			return l.backend.damaged(it.Key(), err)
		}
		if recs = append(recs, loaded{id, rec}); len(recs) == page {
			if err := l.send(ctx, recs); err != nil {
				return err
			}
			recs = make([]loaded, 0, page)
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	return l.send(ctx, recs)
}

func (l *rangeLoader) send(ctx context.Context, recs []loaded) error {
	select {
	case l.out <- recs:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
