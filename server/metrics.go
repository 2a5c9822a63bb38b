package server

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pintle.dev/api"
)

// metrics are what /metrics shows, under upstream's names where upstream has them.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	cache    sync.Map // seriesKey -> *series: a vector's own lookup hashes every label value anew
	panics   atomic.Int64
	registry *prometheus.Registry
	handler  http.Handler
}

type seriesKey struct {
	verb                 api.Verb
	resource             api.Resource
	version, subresource string
	code                 int
}

type series struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_request_total", Help: "Requests for resources, by what was asked and how it was answered.",
		}, []string{"verb", "group", "version", "resource", "subresource", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_request_duration_seconds", Help: "Time to answer a request, watches left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"verb", "group", "version", "resource", "subresource"}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	counter := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	r := prometheus.NewRegistry()
	r.MustRegister(
		m.requests, m.duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("apiserver_longrunning_requests", "Watches that are open.", func() float64 { return float64(s.watches.count()) }),
		gauge("apiserver_current_inflight_requests", "Requests from the network being served.", func() float64 {
			return float64(len(s.reads) + len(s.writes))
		}),
		gauge("pintle_store_revision", "Revision of the last commit.", func() float64 { return float64(s.Store.Revision()) }),
		counter("apiserver_watch_events_total", "Events sent to watchers.", s.watches.events),
		counter("apiserver_request_panics_total", "Requests that panicked.", m.panics.Load),
	)
	m.registry, m.handler = r, promhttp.HandlerFor(r, promhttp.HandlerOpts{})
	return m
}

// Register adds figures of what runs beside the server (the controllers) to /metrics. It fails when a name is taken.
func (s *Server) Register(c prometheus.Collector) error {
	if err := s.metrics.registry.Register(c); err != nil {
		return fmt.Errorf("adding to /metrics: %w", err)
	}
	return nil
}

// observe counts a request that has been answered.
func (m *metrics) observe(q *request, code int, took time.Duration) {
	key := seriesKey{q.Verb, q.Resource, q.Version, q.Subresource, code}
	if q.d == nil {
		key.resource, key.version, key.subresource = api.Resource{}, "", "" // whatever clients invent must not become series
	}
	e, ok := m.cache.Load(key)
	if !ok {
		r := key.resource
		e, _ = m.cache.LoadOrStore(key, &series{
			m.requests.WithLabelValues(string(key.verb), r.Group, key.version, r.Name, key.subresource, strconv.Itoa(code)),
			m.duration.WithLabelValues(string(key.verb), r.Group, key.version, r.Name, key.subresource),
		})
	}
	s := e.(*series)
	s.count.Inc()
	if q.Verb != api.Watch {
		s.duration.Observe(took.Seconds())
	}
}

// Forget drops what was counted of a resource that is no longer served. Definitions come and go under ever new names,
// whose series would stay for ever.
func (s *Server) Forget(r api.Resource) {
	m := s.metrics
	m.cache.Range(func(k, _ any) bool {
		if key := k.(seriesKey); key.resource == r {
			m.cache.Delete(k)
			m.requests.DeleteLabelValues(string(key.verb), r.Group, key.version, r.Name, key.subresource, strconv.Itoa(key.code))
			m.duration.DeleteLabelValues(string(key.verb), r.Group, key.version, r.Name, key.subresource)
		}
		return true
	})
}
