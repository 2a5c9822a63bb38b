package cluster

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"pintle.dev/store"
	"pintle.dev/store/pebble"
)

// storeFigures are the metrics of the store and, where it is on disk, of its engine.
type storeFigures struct {
	store  *store.Store
	engine *pebble.Backend // nil: none
}

// figure is one number of the store.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(store.Stats) int64
}

func counted(name, help string, value func(store.Stats) int64) figure {
	return figure{prometheus.NewDesc("pintle_store_"+name+"_total", help, nil, nil), prometheus.CounterValue, value}
}

func gauged(name, help string, value func(store.Stats) int64) figure {
	return figure{prometheus.NewDesc("pintle_store_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

var (
	storeNumbers = []figure{
		counted("commits", "Commits that wrote something or held.", func(s store.Stats) int64 { return s.Commits }),
		counted("writes", "Objects written or deleted.", func(s store.Stats) int64 { return s.Writes }),
		counted("conflicts", "Commits refused because an expectation did not hold.", func(s store.Stats) int64 { return s.Conflicts }),
		counted("compactions", "Times that old events were forgotten.", func(s store.Stats) int64 { return s.Compactions }),
		counted("watch_wakes", "Times that a waiting cursor was woken.", func(s store.Stats) int64 { return s.Wakes }),
		counted("event_log_evictions", "Events that have left memory to keep the budget.", func(s store.Stats) int64 { return s.Evicted }),
		counted("event_log_reads", "Events read back from the backend.", func(s store.Stats) int64 { return s.ReadBack }),
		gauged("event_log_bytes", "Memory of all event logs.", func(s store.Stats) int64 { return s.LogBytes }),
		gauged("cursors", "Cursors that are open.", func(s store.Stats) int64 { return s.Cursors }),
		gauged("objects", "Objects stored, internal records included.", func(s store.Stats) int64 { return s.Objects }),
	}
	syncDurations = prometheus.NewDesc("pintle_store_sync_duration_seconds",
		"Time to make a group of commits durable, one sync each.", nil, nil)
	// Upstream's name and label.
	storedObjects = prometheus.NewDesc("apiserver_storage_objects", "Objects stored, by resource.", []string{"resource"}, nil)
	diskBytes     = prometheus.NewDesc("pintle_store_disk_bytes", "Size of the store's files.", nil, nil)
	writtenBytes  = prometheus.NewDesc("pintle_store_written_bytes_total", "Bytes written to the store's files.", []string{"by"}, nil)
)

// Describe lists the metrics.
func (f *storeFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, n := range storeNumbers {
		ch <- n.desc
	}
	for _, d := range []*prometheus.Desc{syncDurations, storedObjects, diskBytes, writtenBytes} {
		ch <- d
	}
}

// Collect reads the metrics.
func (f *storeFigures) Collect(ch chan<- prometheus.Metric) {
	s := f.store.Stats()
	for _, n := range storeNumbers {
		ch <- prometheus.MustNewConstMetric(n.desc, n.kind, float64(n.value(s)))
	}
	buckets, total := map[float64]uint64{}, uint64(0)
	for i, n := range s.Syncs {
		total += uint64(n)
		if i < len(store.SyncBounds) {
			buckets[store.SyncBounds[i].Seconds()] = total
		}
	}
	ch <- prometheus.MustNewConstHistogram(syncDurations, total, s.SyncTime.Seconds(), buckets)
	if v, err := f.store.View(context.Background(), 0); err == nil { // else the store has failed, which other figures show
		for r, n := range v.Sizes() {
			ch <- prometheus.MustNewConstMetric(storedObjects, prometheus.GaugeValue, float64(n), r.String())
		}
	}
	if f.engine == nil {
		return
	}
	e := f.engine.Stats()
	ch <- prometheus.MustNewConstMetric(diskBytes, prometheus.GaugeValue, float64(e.Disk))
	for by, n := range map[string]uint64{"log": e.Log, "flush": e.Flushed, "compaction": e.Compacted} {
		ch <- prometheus.MustNewConstMetric(writtenBytes, prometheus.CounterValue, float64(n), by)
	}
}
