package bench

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func (b *basicRun) collection() string { return b.k.path(b.k.namespace) }

func (b *basicRun) one(i int) string { return b.collection() + "/" + objectName(i%b.c.Objects) }

// each calls f n times, with 0 to n-1, from the given number of goroutines and returns how long each call took, sorted.
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

// measured does a round's share of n operations and reports CPU per operation and rate.
func (b *basicRun) measured(e *endpoint, work string, n, round int, f func(i int) error) ([]Figure, error) {
	from, to := share(n, round)
	cpu, start := e.cpu(), time.Now()
	took, err := each(to-from, b.c.Writers, func(i int) error { return f(from + i) })
	if err != nil {
		return nil, err
	}
	wall := time.Since(start)
	return []Figure{
		{Work: work + ", CPU per op", Unit: "us", Value: micros(e.cpu()-cpu) / float64(to-from)},
		{Work: work + ", rate", Unit: "op/s", Value: float64(to-from) / wall.Seconds(), MoreIsBetter: true},
		{Work: work + ", p99", Unit: "ms", Value: micros(percentile(took, 0.99)) / 1000},
	}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
func mib(n int64) float64            { return float64(n) / (1 << 20) }

func (b *basicRun) create(ctx context.Context, e *endpoint, round int) ([]Figure, error) {
	if e == b.target && round == 0 {
		b.before, b.empty = e.written(), e.data()
	}
	return b.measured(e, "create", b.c.Objects, round, func(i int) error {
		n, err := e.do(ctx, call{method: "POST", path: b.collection(), body: b.k.object(objectName(i), i)})
		if i == 0 && e == b.target {
			b.sizes.One = n
		}
		return err
	})
}

// created measures what the objects take.
func (b *basicRun) created(ctx context.Context) ([]Figure, error) {
	time.Sleep(restTime)
	grown := b.target.data() - b.empty
	var err error
	if b.sizes.List, err = b.target.do(ctx, call{method: "GET", path: b.collection()}); err != nil {
		return nil, err
	}
	return []Figure{
		{Work: "memory grown by the objects, but for pages of the program", Unit: "MiB", Value: mib(grown)},
		{Work: "the same, of their JSON on the wire", Unit: "x", Value: float64(grown) / float64(b.sizes.List)},
		b.disk("create"),
	}, nil
}

// churns is how often each object is written during churn.
const churns = 3

// churn writes every object anew some times, and finds the most memory the server takes meanwhile: what it holds of
// former states, its event log included, and what it allocates faster than it collects.
func (b *basicRun) churn(ctx context.Context) ([]Figure, error) {
	e := b.target
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
		_, err := e.do(ctx, call{method: "PATCH", path: b.one(i), body: b.k.patch("churn" + strconv.Itoa(i)), contentType: mergePatchType})
		return err
	})
	close(done)
	<-sampled
	if err != nil {
		return nil, err
	}
	fs := []Figure{{Work: "peak memory grown while each is written 3 times", Unit: "MiB", Value: mib(peak - b.empty)}}
	if log, ok := e.metric(ctx, "pintle_store_event_log_bytes"); ok { // it has a budget of its own
		fs = append(fs, Figure{Work: "of it the event log, which has a budget of its own", Unit: "MiB", Value: log / (1 << 20)})
		peak -= int64(log)
	}
	now, err := e.do(ctx, call{method: "GET", path: b.collection()}) // their managers have become more
	return append(fs, Figure{Work: "the rest, of their JSON on the wire then", Unit: "x", Value: float64(peak-b.empty) / float64(now)}), err
}

// disk is what a write of every object had written to disk, of their JSON.
func (b *basicRun) disk(work string) Figure {
	return Figure{Work: work + ", disk bytes written of their JSON", Unit: "x", Value: float64(b.target.settled().since(b.before)) / float64(b.sizes.List)}
}

func (b *basicRun) serial(ctx context.Context, e *endpoint, round int) ([]Figure, error) {
	from, to := share(min(b.c.Objects, 1000), round)
	took, err := each(to-from, 1, func(i int) error {
		_, err := e.do(ctx, call{method: "POST", path: b.collection(), body: b.k.object(fmt.Sprintf("serial-%07d", from+i), i)})
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := from; i < to; i++ {
		if _, err := e.do(ctx, call{method: "DELETE", path: b.collection() + fmt.Sprintf("/serial-%07d", i)}); err != nil {
			return nil, err
		}
	}
	return []Figure{{Work: "create, serial, p50", Unit: "ms", Value: micros(percentile(took, 0.5)) / 1000}}, nil
}

func (b *basicRun) get(ctx context.Context, e *endpoint, round int) ([]Figure, error) {
	return b.measured(e, "get", 2*b.c.Objects, round, func(i int) error {
		_, err := e.do(ctx, call{method: "GET", path: b.one(i)})
		return err
	})
}

// besideBytes is how much another client reads beside the gets of a round.
const besideBytes = 1 << 30 / rounds

// getBeside compares gets, one after another, on a quiet server with those while another client, a process of its own,
// lists everything again and again.
func (b *basicRun) getBeside(ctx context.Context, e *endpoint, _ int) ([]Figure, error) {
	get := func(i int) error {
		_, err := e.do(ctx, call{method: "GET", path: b.one(i)})
		return err
	}
	quiet, err := each(min(b.c.Objects, 2000), 1, get)
	if err != nil {
		return nil, err
	}
	listing, err := startLister(ctx, b.c.Command, e, b.collection(), besideBytes)
	if err != nil {
		return nil, err
	}
	defer listing.stop() // when a get fails the lists must not go on beside what is measured next
	var beside []time.Duration
	for i := 0; ; i++ {
		select {
		case err := <-listing.ended:
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

// lists measures a list, as often as it takes for CPU that is counted in hundredths of a second.
func (b *basicRun) lists(ctx context.Context, e *endpoint, work string, times int, c call) ([]Figure, error) {
	cpu := e.cpu()
	took, err := each(times, 1, func(int) error {
		_, err := e.do(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []Figure{
		{Work: work + ", CPU", Unit: "ms", Value: micros(e.cpu()-cpu) / 1000 / float64(times)},
		{Work: work + ", p50", Unit: "ms", Value: micros(percentile(took, 0.5)) / 1000},
	}, nil
}

func (b *basicRun) list(ctx context.Context, e *endpoint, _ int) ([]Figure, error) {
	return b.lists(ctx, e, "list of all", 5, call{method: "GET", path: b.collection()})
}

func (b *basicRun) listGzip(ctx context.Context, e *endpoint, _ int) ([]Figure, error) {
	return b.lists(ctx, e, "list of all, gzip", 5, call{method: "GET", path: b.collection(), gzip: true})
}

func (b *basicRun) listSelector(ctx context.Context, e *endpoint, _ int) ([]Figure, error) {
	return b.lists(ctx, e, "list, selector matching a tenth", 25, call{method: "GET", path: b.collection() + "?labelSelector=tenth%3Dt3"})
}

const (
	applyType      = "application/apply-patch+yaml"
	mergePatchType = "application/merge-patch+json"
)

// serverApply applies whole objects, each with a member that was not there or had another value.
func (b *basicRun) serverApply(ctx context.Context, e *endpoint, round int) ([]Figure, error) {
	return b.measured(e, "server-side apply", b.c.Objects, round, func(i int) error {
		body := bytes.Replace(b.k.object(objectName(i), i), []byte(b.k.changes), []byte(b.k.changes+patchMark+"applied-"+strconv.Itoa(i)+`",`), 1)
		n, err := e.do(ctx, call{method: "PATCH", path: b.one(i) + "?fieldManager=bench&force=true", body: body, contentType: applyType})
		if i == 0 && e == b.target {
			b.sizes.Applied = n
		}
		return err
	})
}

func (b *basicRun) mergePatch(ctx context.Context, e *endpoint, round int) ([]Figure, error) {
	if e == b.target && round == 0 {
		b.before = e.written()
	}
	return b.measured(e, "merge patch", b.c.Objects, round, func(i int) error {
		n, err := e.do(ctx, call{method: "PATCH", path: b.one(i), body: b.k.patch(strconv.Itoa(i)), contentType: mergePatchType})
		if i == 0 && e == b.target {
			b.sizes.Patched = n
		}
		return err
	})
}

func (b *basicRun) mergePatched(context.Context) ([]Figure, error) {
	return []Figure{b.disk("merge patch")}, nil
}
