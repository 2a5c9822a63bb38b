package controller

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// stats are a controller's counters.
type stats struct {
	succeeded, requeued, requeuedAfter, failed, panics atomic.Uint64
	nanoseconds                                        atomic.Uint64 // spent in Reconcile
}

func (s *stats) observe(d time.Duration, res Result, err error) {
	s.nanoseconds.Add(uint64(d))
	switch {
	case err != nil:
		s.failed.Add(1)
	case res.RequeueAfter > 0:
		s.requeuedAfter.Add(1)
	case res.Requeue:
		s.requeued.Add(1)
	default:
		s.succeeded.Add(1)
	}
}

// The names are controller-runtime's and client-go's, so that existing dashboards fit.
var (
	descReconciles = prometheus.NewDesc("controller_runtime_reconcile_total", "Total number of reconciliations per controller", []string{"controller", "result"}, nil)
	descPanics     = prometheus.NewDesc("controller_runtime_reconcile_panics_total", "Total number of reconciliation panics per controller", []string{"controller"}, nil)
	descTime       = prometheus.NewDesc("controller_runtime_reconcile_time_seconds_total", "Time spent in reconciliations per controller", []string{"controller"}, nil)
	descDepth      = prometheus.NewDesc("workqueue_depth", "Current depth of workqueue", []string{"name"}, nil)
	descAdds       = prometheus.NewDesc("workqueue_adds_total", "Total number of adds handled by workqueue", []string{"name"}, nil)
	descRetries    = prometheus.NewDesc("workqueue_retries_total", "Total number of retries handled by workqueue", []string{"name"}, nil)
)

// Describe implements prometheus.Collector.
func (s *Set) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReconciles, descPanics, descTime, descDepth, descAdds, descRetries} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Set) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, c := range s.controllers {
		count(descReconciles, c.stats.succeeded.Load(), c.name, "success")
		count(descReconciles, c.stats.requeued.Load(), c.name, "requeue")
		count(descReconciles, c.stats.requeuedAfter.Load(), c.name, "requeue_after")
		count(descReconciles, c.stats.failed.Load(), c.name, "error")
		count(descPanics, c.stats.panics.Load(), c.name)
		ch <- prometheus.MustNewConstMetric(descTime, prometheus.CounterValue, time.Duration(c.stats.nanoseconds.Load()).Seconds(), c.name)
		ch <- prometheus.MustNewConstMetric(descDepth, prometheus.GaugeValue, float64(c.queue.Len()), c.name)
		adds, retries := c.queue.counts()
		count(descAdds, adds, c.name)
		count(descRetries, retries, c.name)
	}
}

func (q *Queue[K]) counts() (adds, retries uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.adds, q.retries
}
