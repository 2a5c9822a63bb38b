package bench

import (
	"context"
	"fmt"
)

// basicRun is the basic work of one kind, done by the target and by a floor that answers with as many bytes.
type basicRun struct {
	c             *Config
	k             kind
	target, floor *endpoint
	sizes         Sizes   // of the target's answers, as far as known
	empty         int64   // memory of the target before there were objects, in bytes
	before        written // by the target before the work at hand
}

// Sizes are the answers of the target in bytes, for the floor to answer with as many: objects grow with their managers.
type Sizes struct {
	One     int // an object as it was created
	List    int // all of them
	Patched int // one after a merge patch
	Applied int // one after server-side apply by another manager
	Frame   int // an event of the fan-out
}

// work is a part of the basic work.
type work struct {
	name string
	// round does one of the rounds of the work, which is done by the target and by the floor in turns: the machine may
	// become faster or slower in the meantime, as it often has other guests. nil: the floor does not know such work.
	round func(ctx context.Context, e *endpoint, round int) ([]Figure, error)
	// rest measures what only the target has, after the rounds. nil: nothing.
	rest func(ctx context.Context) ([]Figure, error)
}

// rounds is in how many rounds each work is done.
const rounds = 4

// share returns the part of n that is of a round.
func share(n, round int) (from, to int) { return n * round / rounds, n * (round + 1) / rounds }

func (b *basicRun) works() []work {
	return []work{
		{"create", b.create, b.created},
		{"create, serial", b.serial, nil},
		{"get", b.get, nil},
		{"list", b.list, nil},
		{"get beside large lists", b.getBeside, nil},
		{"list with gzip", b.listGzip, nil},
		{"list, selector matching a tenth", b.listSelector, nil},
		{"list as a Table and as initial events", nil, b.listForms},
		{"merge patch", b.mergePatch, b.mergePatched},
		{"server-side apply", b.serverApply, nil},
		{"fan-out", b.fanOut, nil},
		{"churn", nil, b.churn}, // which leaves larger objects than the floor answers with
	}
}

// basic is the work of one kind, by the target and by a floor.
func basic(ctx context.Context, c *Config, target *endpoint, k kind, r *Report) error {
	c.Progress("%s: preparing", k.name)
	ns, cleanup, err := k.prepare(ctx, target)
	if err != nil {
		return err
	}
	defer cleanup()
	k.namespace = ns
	floor, err := startFloor(ctx, c.Command)
	if err != nil {
		return err
	}
	defer floor.close()
	b := &basicRun{c: c, k: k, target: target, floor: floor}
	for _, w := range b.works() {
		c.Progress("%s: %s", k.name, w.name)
		fs, err := b.do(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		for _, f := range fs {
			f.Kind = k.name
			r.add(f)
		}
	}
	return nil
}

// do does all rounds of a work and returns the means of their figures, and what only the target has.
func (b *basicRun) do(ctx context.Context, w work) ([]Figure, error) {
	var got, base []Figure
	for n := 0; w.round != nil && n < rounds; n++ {
		fs, err := w.round(ctx, b.target, n)
		if err != nil {
			return nil, err
		}
		got = addMeans(got, fs)
		if err := b.floor.resize(ctx, b.sizes); err != nil {
			return nil, fmt.Errorf("floor: %w", err)
		}
		if fs, err = w.round(ctx, b.floor, n); err != nil {
			return nil, fmt.Errorf("floor: %w", err)
		}
		base = addMeans(base, fs)
	}
	for i := range got {
		got[i].setFloor(base[i])
	}
	if w.rest == nil {
		return got, nil
	}
	rest, err := w.rest(ctx)
	return append(got, rest...), err
}

// addMeans adds a round's figures to the means of all.
func addMeans(means, round []Figure) []Figure {
	if means == nil {
		means = make([]Figure, len(round))
	}
	for i, f := range round {
		f.Value = means[i].Value + f.Value/rounds
		means[i] = f
	}
	return means
}
