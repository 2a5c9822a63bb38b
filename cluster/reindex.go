package cluster

import (
	"context"
	"errors"
	"fmt"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// One commit stores so many objects anew, or as many as reach this size in bytes.
const (
	reindexObjects = 256
	reindexBytes   = 1 << 20
)

// reindex stores anew the objects of built-in kinds that another Pintle has stored, which declared other indexes for them:
// controllers and authorizers look there alone. Custom resources are looked at one by one instead, as their definitions
// change while they are served. Each object says what it was indexed under, so what is broken off goes on at the next
// start. An object that cannot be read or a disk without room must not keep the rest of the cluster down.
func (s *System) reindex(ctx context.Context) error {
	for _, d := range s.registry.All() {
		n, err := s.reindexKind(ctx, d)
		if n > 0 {
			s.log.Info("objects were stored anew, for their indexes have changed", "resource", d.Resource, "objects", n)
		}
		if errors.Is(err, store.ErrFull) {
			s.log.Error("objects cannot be found by their new indexes until there is room to store them anew and a restart", "resource", d.Resource, "err", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("index %s anew: %w", d.Resource, err)
		}
	}
	return nil
}

// reindexKind returns how many objects it has stored. It holds no view longer than for a batch, so that the superseded
// objects of a large table can go.
func (s *System) reindexKind(ctx context.Context, d *resource.Definition) (stored int, err error) {
	var after api.Key
	for {
		v, err := s.store.View(ctx, 0)
		if err != nil {
			return stored, err
		}
		var ws []store.Write
		size := 0
		for rec := range v.From(d.Resource, "", after) {
			if rec.Definition() == d.Generation {
				continue
			}
			after = rec.Key()
			again, err := resource.Reseal(d, rec)
			if err != nil {
				s.log.Error("a stored object cannot be read to index it anew", "resource", d.Resource, "object", after, "err", err)
				continue
			}
			size += again.Size()
			if ws = append(ws, store.Put(d.Resource, again, rec.Revision())); len(ws) == reindexObjects || size >= reindexBytes {
				break
			}
		}
		if len(ws) == 0 {
			return stored, nil
		}
		if _, err := s.store.Commit(ctx, ws...); err != nil {
			return stored, err
		}
		stored += len(ws)
	}
}
