package store

import (
	"context"
	"fmt"

	"pintle.dev/api"
)

// At returns one table as it was at an earlier revision, by undoing events from its current state (S5): the pages of a
// list after the first. The other tables are empty in it. ErrExpired when the log does not reach back that far. A
// revision still to come is waited for.
func (s *Store) At(ctx context.Context, res api.Resource, rev api.Revision) (View, error) {
	now, err := s.View(ctx, rev)
	if err != nil {
		return View{}, err
	}
	if now.revision == rev {
		return now, nil
	}
	c, err := s.Follow(res, rev)
	if err != nil {
		return View{}, err
	}
	defer c.Close()
	past := &table{gen: s.gens.Add(1), resource: res}
	if t, ok := now.tables.get(res); ok {
		past.records, past.postings = t.records, t.postings
	}
	undone := map[api.Key]bool{}
	for c.rev < now.revision {
		events, state, err := c.read(ctx)
		if err != nil {
			return View{}, fmt.Errorf("read %s at revision %d: %w", res, rev, err)
		}
		for _, e := range events {
			k := e.Record().Key()
			if e.Revision > now.revision || undone[k] {
				continue // the first event of a key says what it was before all of them
			}
			undone[k] = true
			if e.Old != nil {
				past.put(past.gen, e.Old)
			} else {
				past.remove(past.gen, k)
			}
		}
		if state == waiting {
			break
		}
	}
	v := View{revision: rev}
	v.tables.set(past.gen, past)
	return v, nil
}
