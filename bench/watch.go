package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// fanOut patches one object at a fixed rate while many watch it, each on a connection of its own.
func (b *basicRun) fanOut(ctx context.Context, e *endpoint, _ int) ([]Figure, error) {
	n := int(b.c.Duration.Seconds() * float64(b.c.Rate) / rounds)
	began := time.Now().UnixNano()
	watching, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	var took []time.Duration
	var delivered, size atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	errs := make(chan error, b.c.Watchers)
	path := b.collection() + "?watch=true&resourceVersion=0&fieldSelector=metadata.name%3D" + objectName(0)
	for range b.c.Watchers {
		client := e.connection()
		resp, err := e.open(watching, client, call{method: "GET", path: path})
		if err != nil {
			return nil, fmt.Errorf("watch: %w", err)
		}
		wg.Go(func() {
			defer client.CloseIdleConnections()
			defer resp.Body.Close()
			var mine []time.Duration
			r := bufio.NewReaderSize(resp.Body, 64<<10)
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					if watching.Err() == nil {
						errs <- fmt.Errorf("a watch ended: %w", err)
					}
					break
				}
				// The initial event carries what patches before this work left there.
				if sent, ok := sentAt(line); ok && sent >= began {
					mine = append(mine, time.Duration(time.Now().UnixNano()-sent))
					delivered.Add(1)
					size.Store(int64(len(line)))
				}
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	time.Sleep(200 * time.Millisecond)
	cpu := e.cpu()
	tick := time.NewTicker(time.Second / time.Duration(b.c.Rate))
	defer tick.Stop()
	for range n {
		<-tick.C
		body := b.k.patch(strconv.FormatInt(time.Now().UnixNano(), 10))
		if _, err := e.do(ctx, call{method: "PATCH", path: b.one(0), body: body, contentType: mergePatchType}); err != nil {
			return nil, err
		}
	}
	want := int64(n * b.c.Watchers)
	for deadline := time.Now().Add(5 * time.Second); delivered.Load() < want && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	used := e.cpu() - cpu
	stop()
	wg.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
	}
	if got := delivered.Load(); got != want {
		return nil, errors.New("of " + strconv.FormatInt(want, 10) + " events " + strconv.FormatInt(got, 10) + " were delivered")
	}
	if e == b.target {
		b.sizes.Frame = int(size.Load())
	}
	slices.Sort(took)
	return []Figure{
		{Work: "fan-out, CPU per event delivered", Unit: "us", Value: micros(used) / float64(want)},
		{Work: "fan-out, update sent to event read, p99", Unit: "ms", Value: micros(percentile(took, 0.99)) / 1000},
	}, nil
}

// sentAt finds the time a patch carried in an event.
func sentAt(line []byte) (int64, bool) {
	i := bytes.Index(line, []byte(patchMark))
	if i < 0 {
		return 0, false
	}
	rest := line[i+len(patchMark):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	return n, err == nil
}

const asTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

// listForms lists everything as a Table, as kubectl does, and as the initial events of a watch, as informers do, and
// compares both with the plain list. The floor knows neither.
func (b *basicRun) listForms(ctx context.Context) ([]Figure, error) {
	const times = 5
	e := b.target
	plain := func() error {
		_, err := e.do(ctx, call{method: "GET", path: b.collection()})
		return err
	}
	table := func() error {
		_, err := e.do(ctx, call{method: "GET", path: b.collection(), accept: asTable})
		return err
	}
	watch := func() error {
		n, err := b.initialEvents(ctx, e)
		if err == nil && n < b.c.Objects { // there may be others, such as kube-root-ca.crt
			return fmt.Errorf("of %d objects %d were among the initial events", b.c.Objects, n)
		}
		return err
	}
	var used [3]time.Duration
	for range times { // in turns, so that all meet the same machine
		for i, f := range []func() error{plain, table, watch} {
			cpu := e.cpu()
			if err := f(); err != nil {
				return nil, err
			}
			used[i] += e.cpu() - cpu
		}
	}
	var fs []Figure
	for i, work := range []string{"list of all as a Table", "list of all as initial events of a watch"} {
		fs = append(fs,
			Figure{Work: work + ", CPU", Unit: "ms", Value: micros(used[i+1]) / 1000 / times},
			Figure{Work: "the same, of the plain list", Unit: "x", Value: float64(used[i+1]) / float64(max(used[0], 1))})
	}
	return fs, nil
}

// initialEvents opens a watch, reads to the end of the initial events and returns how many there were.
func (b *basicRun) initialEvents(ctx context.Context, e *endpoint) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := e.open(ctx, e.client, call{method: "GET",
		path: b.collection() + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 256<<10)
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return n, fmt.Errorf("after %d initial events: %w", n, err)
		}
		if bytes.HasPrefix(line, []byte(`{"type":"BOOKMARK"`)) {
			return n, nil
		}
	}
}

// watchAll opens watches whose events are read and dropped, perConnection of them on a connection of their own.
// stop ends them.
func watchAll(ctx context.Context, e *endpoint, perConnection int, paths []string) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var clients []*http.Client
	var wg sync.WaitGroup
	stop = func() {
		cancel()
		wg.Wait()
		for _, client := range clients {
			client.CloseIdleConnections()
		}
	}
	for i, path := range paths {
		if i%perConnection == 0 {
			clients = append(clients, e.connection())
		}
		resp, err := e.open(ctx, clients[len(clients)-1], call{method: "GET", path: path})
		if err != nil {
			stop()
			return nil, fmt.Errorf("watch: %w", err)
		}
		wg.Go(func() {
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body) // it ends with ctx
		})
	}
	return stop, nil
}

// idleWatches measures what watches without events hold in the server's memory, each on a connection of its own.
func idleWatches(ctx context.Context, c *Config, target *endpoint, r *Report) error {
	n := c.IdleWatches
	c.Progress("%d idle watches", n)
	floor, err := startFloor(ctx, c.Command)
	if err != nil {
		return err
	}
	defer floor.close()
	measure := func(e *endpoint) (Figure, error) {
		before := e.memory()
		stop, err := watchAll(ctx, e, 1, slices.Repeat([]string{"/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0"}, n))
		if err != nil {
			return Figure{}, err
		}
		defer stop()
		time.Sleep(time.Second)
		return Figure{Work: "memory per idle watch, one to a connection", Unit: "KiB", Value: float64(e.memory()-before) / float64(n) / 1024}, nil
	}
	got, err := measure(target)
	if err != nil {
		return err
	}
	base, err := measure(floor)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	got.setFloor(base)
	r.add(got)
	return nil
}

// nodeWatchers writes the status of one node's pods, with a watcher for that node only and with watchers for a thousand
// nodes: what the others select should not matter.
func nodeWatchers(ctx context.Context, c *Config, e *endpoint, r *Report) error {
	const watchers, pods, writes = 1000, 8, 2000
	c.Progress("%d watchers, each of another node's pods", watchers)
	ns, cleanup, err := configMaps().prepare(ctx, e)
	if err != nil {
		return err
	}
	defer cleanup()
	if err := await(ctx, e, "/api/v1/namespaces/"+ns+"/serviceaccounts/default", func([]byte) bool { return true }); err != nil {
		return err
	}
	path := "/api/v1/namespaces/" + ns + "/pods"
	for i := range pods {
		body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-%d"},"spec":{"nodeName":"bench-0","containers":[{"name":"main","image":"example/bench:1"}]}}`, i)
		if _, err := e.do(ctx, call{method: "POST", path: path, body: body}); err != nil {
			return err
		}
	}
	defer func() { // no kubelet confirms that they have stopped
		for i := range pods {
			e.do(context.WithoutCancel(ctx), call{method: "DELETE", path: path + "/pod-" + strconv.Itoa(i) + "?gracePeriodSeconds=0"})
		}
	}()
	made := 0
	measure := func() (float64, error) {
		first := made
		made += writes
		cpu := e.cpu()
		_, err := each(writes, pods, func(i int) error {
			body := fmt.Appendf(nil, `{"status":{"message":"%d"}}`, first+i)
			_, err := e.do(ctx, call{method: "PATCH", path: path + "/pod-" + strconv.Itoa(i%pods) + "/status", body: body, contentType: mergePatchType})
			return err
		})
		return micros(e.cpu()-cpu) / writes, err
	}
	paths := make([]string, watchers)
	for i := range paths {
		paths[i] = "/api/v1/pods?watch=true&resourceVersion=0&fieldSelector=spec.nodeName%3Dbench-" + strconv.Itoa(i)
	}
	stop, err := watchAll(ctx, e, 1, paths[:1])
	if err != nil {
		return err
	}
	defer stop()
	if _, err := measure(); err != nil { // the first writes of a kind cost more
		return err
	}
	var one, all float64
	for range 2 {
		v, err := measure()
		if err != nil {
			return err
		}
		one += v / 2
		stopOthers, err := watchAll(ctx, e, 100, paths[1:])
		if err != nil {
			return err
		}
		v, err = measure()
		stopOthers()
		if err != nil {
			return err
		}
		all += v / 2
	}
	r.add(Figure{Kind: "pods", Work: "patch of a pod's status, one watcher of its node, CPU per op", Unit: "us", Value: one})
	r.add(Figure{Kind: "pods", Work: fmt.Sprintf("the same, with %d watchers of other nodes", watchers-1), Unit: "us", Value: all})
	r.add(Figure{Kind: "pods", Work: "the second, of the first", Unit: "x", Value: all / max(one, 1)})
	return nil
}
