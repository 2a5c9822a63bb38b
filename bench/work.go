package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// basicRun is the basic work of one kind; it is run against the target first, which tells the sizes for the floor.
type basicRun struct {
	c       *Config
	k       kind
	sizes   Sizes
	onFloor bool
	empty   int64 // memory of the server before there were objects, in bytes
}

// Sizes are the answers of the target in bytes, for the floor to answer with as many: objects grow with their managers.
type Sizes struct {
	One     int // an object as it was created
	List    int // all of them
	Patched int // one after a merge patch
	Applied int // one after server-side apply by another manager
	Frame   int // an event of the fan-out
}

func (b *basicRun) all(ctx context.Context, e *endpoint) ([]Figure, error) {
	var out []Figure
	for _, w := range []struct {
		name string
		do   func(context.Context, *endpoint) ([]Figure, error)
	}{
		{"create", b.create}, {"create, serial", b.serial}, {"get", b.get}, {"list", b.list}, {"get beside large lists", b.getBeside}, {"list with gzip", b.listGzip},
		{"list, selector matching a tenth", b.listSelector}, {"list as a Table and as initial events", b.listForms}, {"merge patch", b.mergePatch}, {"server-side apply", b.serverApply}, {"fan-out", b.fanOut},
		{"churn", b.churn}, // which leaves larger objects than the floor answers with
	} {
		b.c.Progress("%s: %s", b.k.name, w.name)
		fs, err := w.do(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		out = append(out, fs...)
	}
	return out, nil
}

func (b *basicRun) collection() string { return b.k.path(b.k.namespace) }

func (b *basicRun) one(i int) string { return b.collection() + "/" + objectName(i%b.c.Objects) }

// each calls f n times from the given number of goroutines and returns how long each call took, sorted.
func each(n, workers int, f func(i int) error) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				start := time.Now()
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	slices.Sort(took)
	return took, nil
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(float64(len(sorted))*p), len(sorted)-1)]
}

// measured runs n operations and reports CPU per operation and rate.
func (b *basicRun) measured(e *endpoint, work string, n int, f func(i int) error) ([]Figure, error) {
	cpu, start := e.cpu(), time.Now()
	took, err := each(n, b.c.Writers, f)
	if err != nil {
		return nil, err
	}
	wall := time.Since(start)
	return []Figure{
		{Work: work + ", CPU per op", Unit: "us", Value: micros(e.cpu()-cpu) / float64(n)},
		{Work: work + ", rate", Unit: "op/s", Value: float64(n) / wall.Seconds(), MoreIsBetter: true},
		{Work: work + ", p99", Unit: "ms", Value: micros(percentile(took, 0.99)) / 1000},
	}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
func mib(n int64) float64            { return float64(n) / (1 << 20) }

func (b *basicRun) create(ctx context.Context, e *endpoint) ([]Figure, error) {
	written := e.written()
	b.empty = e.data()
	fs, err := b.measured(e, "create", b.c.Objects, func(i int) error {
		_, err := e.do(ctx, call{method: "POST", path: b.collection(), body: b.k.object(objectName(i), i)})
		return err
	})
	if err != nil {
		return nil, err
	}
	if !b.onFloor {
		time.Sleep(restTime)
	}
	grown := e.data() - b.empty
	if b.sizes.One == 0 {
		if b.sizes.One, err = e.do(ctx, call{method: "GET", path: b.one(0)}); err != nil {
			return nil, err
		}
		if b.sizes.List, err = e.do(ctx, call{method: "GET", path: b.collection()}); err != nil {
			return nil, err
		}
	}
	return append(fs,
		Figure{Work: "memory grown by the objects, but for pages of the program", Unit: "MiB", Value: mib(grown), NoFloor: true},
		Figure{Work: "the same, of their JSON on the wire", Unit: "x", Value: float64(grown) / float64(b.sizes.List), NoFloor: true},
		b.disk(e, "create", written),
	), nil
}

// churns is how often each object is written during churn.
const churns = 3

// churn writes every object anew some times, and finds the most memory the server takes meanwhile: what it holds of
// former states, its event log included, and what it allocates faster than it collects.
func (b *basicRun) churn(ctx context.Context, e *endpoint) ([]Figure, error) {
	if b.onFloor {
		return make([]Figure, 2), nil // it keeps nothing
	}
	var peak int64
	done, sampled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sampled)
		for {
			peak = max(peak, e.data())
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	_, err := each(churns*b.c.Objects, b.c.Writers, func(i int) error {
		_, err := e.do(ctx, call{method: "PATCH", path: b.one(i), body: b.k.patch("churn" + strconv.Itoa(i)), contentType: "application/merge-patch+json"})
		return err
	})
	close(done)
	<-sampled
	if err != nil {
		return nil, err
	}
	now, err := e.do(ctx, call{method: "GET", path: b.collection()}) // their managers have become more
	return []Figure{
		{Work: "peak memory grown while each is written 3 times", Unit: "MiB", Value: mib(peak - b.empty), NoFloor: true},
		{Work: "the same, of their JSON on the wire then", Unit: "x", Value: float64(peak-b.empty) / float64(now), NoFloor: true},
	}, err
}

// disk is what a write of every object had written to disk, of their JSON.
func (b *basicRun) disk(e *endpoint, work string, before written) Figure {
	return Figure{Work: work + ", disk bytes written of their JSON", Unit: "x", Value: float64(e.settled().since(before)) / float64(b.sizes.List), NoFloor: true}
}

func (b *basicRun) serial(ctx context.Context, e *endpoint) ([]Figure, error) {
	n := min(b.c.Objects, 1000)
	took, err := each(n, 1, func(i int) error {
		_, err := e.do(ctx, call{method: "POST", path: b.collection(), body: b.k.object(fmt.Sprintf("serial-%07d", i), i)})
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range n {
		if _, err := e.do(ctx, call{method: "DELETE", path: b.collection() + fmt.Sprintf("/serial-%07d", i)}); err != nil {
			return nil, err
		}
	}
	return []Figure{{Work: "create, serial, p50", Unit: "ms", Value: micros(percentile(took, 0.5)) / 1000}}, nil
}

func (b *basicRun) get(ctx context.Context, e *endpoint) ([]Figure, error) {
	return b.measured(e, "get", 2*b.c.Objects, func(i int) error {
		_, err := e.do(ctx, call{method: "GET", path: b.one(i)})
		return err
	})
}

// besideBytes is how much the client reads that get has beside it.
const besideBytes = 1 << 30

// getBeside compares gets, one after another, on a quiet server with those while another client lists everything again
// and again, on a connection of its own.
func (b *basicRun) getBeside(ctx context.Context, e *endpoint) ([]Figure, error) {
	get := func(i int) error {
		_, err := e.do(ctx, call{method: "GET", path: b.one(i)})
		return err
	}
	quiet, err := each(min(b.c.Objects, 2000), 1, get)
	if err != nil {
		return nil, err
	}
	lists, stop := context.WithCancel(ctx)
	defer stop() // when a get fails the lists must not go on beside what is measured next
	listing := make(chan error, 1)
	go func() {
		client := e.connection()
		defer client.CloseIdleConnections()
		for read := int64(0); read < besideBytes; {
			resp, err := e.open(lists, client, call{method: "GET", path: b.collection()})
			if err != nil {
				listing <- err
				return
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil {
				listing <- err
				return
			}
			read += n
		}
		listing <- nil
	}()
	var beside []time.Duration
	for i := 0; ; i++ {
		select {
		case err := <-listing:
			if err != nil {
				return nil, fmt.Errorf("the lists beside it: %w", err)
			}
			slices.Sort(beside)
			p99 := percentile(beside, 0.99)
			return []Figure{
				{Work: "get beside lists of 1 GB, p99", Unit: "ms", Value: micros(p99) / 1000},
				{Work: "the same, of the quiet p99", Unit: "x", Value: float64(p99) / float64(max(percentile(quiet, 0.99), 1))},
			}, nil
		default:
		}
		start := time.Now()
		if err := get(i); err != nil {
			return nil, err
		}
		beside = append(beside, time.Since(start))
	}
}

func (b *basicRun) lists(ctx context.Context, e *endpoint, work string, c call) ([]Figure, error) {
	const times = 10
	cpu := e.cpu()
	took, err := each(times, 1, func(int) error {
		_, err := e.do(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []Figure{
		{Work: work + ", CPU", Unit: "ms", Value: micros(e.cpu()-cpu) / 1000 / times},
		{Work: work + ", p50", Unit: "ms", Value: micros(percentile(took, 0.5)) / 1000},
	}, nil
}

func (b *basicRun) list(ctx context.Context, e *endpoint) ([]Figure, error) {
	return b.lists(ctx, e, "list of all", call{method: "GET", path: b.collection()})
}

func (b *basicRun) listGzip(ctx context.Context, e *endpoint) ([]Figure, error) {
	return b.lists(ctx, e, "list of all, gzip", call{method: "GET", path: b.collection(), gzip: true})
}

func (b *basicRun) listSelector(ctx context.Context, e *endpoint) ([]Figure, error) {
	return b.lists(ctx, e, "list, selector matching a tenth", call{method: "GET", path: b.collection() + "?labelSelector=tenth%3Dt3"})
}

const applyType = "application/apply-patch+yaml"

// serverApply applies whole objects in which one member changes.
func (b *basicRun) serverApply(ctx context.Context, e *endpoint) ([]Figure, error) {
	return b.measured(e, "server-side apply", b.c.Objects, func(i int) error {
		body := bytes.Replace(b.k.object(objectName(i), i), []byte(b.k.changes), []byte(b.k.changes+patchMark+strconv.Itoa(i)+`",`), 1)
		n, err := e.do(ctx, call{method: "PATCH", path: b.one(i) + "?fieldManager=bench&force=true", body: body, contentType: applyType})
		if i == 0 {
			b.sizes.Applied = n
		}
		return err
	})
}

func (b *basicRun) mergePatch(ctx context.Context, e *endpoint) ([]Figure, error) {
	written := e.written()
	fs, err := b.measured(e, "merge patch", b.c.Objects, func(i int) error {
		n, err := e.do(ctx, call{method: "PATCH", path: b.one(i), body: b.k.patch(strconv.Itoa(i)), contentType: "application/merge-patch+json"})
		if i == 0 {
			b.sizes.Patched = n
		}
		return err
	})
	return append(fs, b.disk(e, "merge patch", written)), err
}
