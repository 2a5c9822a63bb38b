package store_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/mem"
	"pintle.dev/store/pebble"
	"pintle.dev/store/storetest"
)

func openDir(tb testing.TB, dir string) *store.Store {
	tb.Helper()
	b, err := pebble.Open(dir, pebble.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return openBackend(tb, b)
}

func openBackend(tb testing.TB, b store.Backend) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Config{Backend: b})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// jsonish is data that compresses about as well as an object's JSON does.
func jsonish(i, n int) string {
	var b strings.Builder
	for j := 0; b.Len() < n; j++ {
		fmt.Fprintf(&b, `{"name":"item-%d","value":%d,"labels":{"app":"web-%d"}},`, j, i*7919+j*104729, i%97)
	}
	return b.String()[:n]
}

func BenchmarkCommit(b *testing.B) {
	for _, kind := range []string{"mem", "pebble"} {
		for _, writers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/writers=%d", kind, writers), func(b *testing.B) {
				var s *store.Store
				if kind == "mem" {
					s = open(b, store.Config{Backend: mem.New()})
				} else {
					s = openDir(b, b.TempDir())
					defer s.Close()
				}
				data := jsonish(1, 1300)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for {
							i := next.Add(1)
							if i > int64(b.N) {
								return
							}
							if _, err := s.Commit(context.Background(), store.Put(things, record("ns", fmt.Sprint("name-", i), data), 0)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(s.Stats().Commits)/float64(s.Stats().Groups), "commits/sync")
			})
		}
	}
}

func filled(tb testing.TB, s *store.Store, n int, data string) {
	tb.Helper()
	for i := 0; i < n; {
		var ws []store.Write
		for range min(1000, n-i) {
			ws = append(ws, store.Put(things, record(fmt.Sprint("ns-", i%10), fmt.Sprint("name-", i), data), 0))
			i++
		}
		if _, err := s.Commit(context.Background(), ws...); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkViewGet(b *testing.B) {
	s := open(b, store.Config{})
	const n = 100000
	filled(b, s, n, "x")
	keys := make([]api.Key, n)
	for i := range keys {
		keys[i] = api.Key{Namespace: fmt.Sprint("ns-", i%10), Name: fmt.Sprint("name-", i)}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		v, err := s.View(context.Background(), 0)
		if err != nil || v.Get(things, keys[i*7919%n]) == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFollow writes with many cursors waiting, each for another index value, or all for everything.
func BenchmarkFollow(b *testing.B) {
	for _, c := range []struct {
		cursors int
		match   bool
	}{{1, true}, {1000, true}, {1, false}, {100, false}} {
		b.Run(fmt.Sprintf("cursors=%d/match=%v", c.cursors, c.match), func(b *testing.B) {
			s := open(b, store.Config{})
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			var delivered atomic.Int64
			node := func(i int) api.Index { return api.Index{Name: "spec.nodeName", Value: fmt.Sprint("node-", i)} }
			for i := range c.cursors {
				var match []api.Index
				if c.match {
					match = append(match, node(i))
				}
				cur, err := s.Follow(things, 0, match...)
				if err != nil {
					b.Fatal(err)
				}
				wg.Go(func() {
					defer cur.Close()
					for {
						es, err := cur.Next(ctx)
						if err != nil {
							return
						}
						delivered.Add(int64(len(es)))
					}
				})
			}
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Commit(context.Background(), store.Put(things, record("ns", fmt.Sprint("n-", i), "x", node(i%1000)), 0)); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			cancel()
			wg.Wait()
			b.ReportMetric(float64(delivered.Load())/float64(b.N), "events/op")
		})
	}
}

// BenchmarkMemory reports what 100,000 small records hold beyond their JSON.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		s := open(b, store.Config{})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const n = 100000
		filled(b, s, n, jsonish(1, 800))
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		v, err := s.View(context.Background(), 0)
		if err != nil {
			b.Fatal(err)
		}
		size, js := 0, 0
		for r := range v.All(things, "") {
			size += r.Size()
			js += len(r.JSON())
		}
		heap := float64(after.HeapAlloc - before.HeapAlloc)
		b.ReportMetric(heap/n, "heap-B/record")
		b.ReportMetric(float64(js)/n, "json-B/record")
		b.ReportMetric((heap-float64(size))/n, "overhead-B/record")
	}
}

// BenchmarkLoad opens a directory with 100,000 records.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	s := openDir(b, dir)
	filled(b, s, 100000, jsonish(1, 2800))
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		start := time.Now()
		s := openDir(b, dir)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/open")
		if n := s.Stats().Objects; n != 100000 {
			b.Fatalf("%d objects", n)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDisk creates and updates objects with random names from 32 writers and reports what the disk has to take for
// a byte of their JSON as clients see it.
func BenchmarkDisk(b *testing.B) {
	var fields strings.Builder
	for i := range 40 {
		fmt.Fprintf(&fields, `,"f:field-%d":{}`, i)
	}
	owners := api.Owners{{Manager: "kubectl", Operation: "Update", APIVersion: "v1", Fields: "{" + fields.String()[1:] + "}", Time: 17}}
	for b.Loop() {
		backend, err := pebble.Open(b.TempDir(), pebble.Options{})
		if err != nil {
			b.Fatal(err)
		}
		s := openBackend(b, backend)
		const n = 20000
		var js atomic.Int64
		revs := make([]api.Revision, n)
		for range 3 {
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 32 {
				wg.Go(func() {
					for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
						k := api.Key{Namespace: "ns", Name: fmt.Sprintf("o-%x", uint32(i)*2654435761)}
						rec := storetest.Object{Key: k, Data: jsonish(int(i), 1100), UID: fmt.Sprint(i), Owners: owners}.Record()
						js.Add(int64(len(rec.AppendJSON(nil))))
						rev, err := s.Commit(context.Background(), store.Put(things, rec, revs[i]))
						if err != nil {
							b.Error(err)
							return
						}
						revs[i] = rev
					}
				})
			}
			wg.Wait()
		}
		st := backend.Stats()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(st.Log+st.Flushed+st.Compacted)/float64(js.Load()), "written/json")
		b.ReportMetric(float64(st.Disk)/float64(js.Load()/3), "kept/json")
	}
}
