package scheduler

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pintle.dev/api"
)

func waiting(t *testing.T, name string) *api.Record {
	t.Helper()
	js := `{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":` + api.Slot + `}}`
	r, err := api.NewRecord(api.Parts{Key: api.Key{Name: name}, UID: name, JSON: []byte(js), Slot: strings.Index(js, api.Slot),
		Metadata: api.Span{Start: strings.Index(js, `{"res`), End: len(js) - 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		for i, name := range []string{"first", "second", "urgent"} {
			q.add(waiting(t, name), int32(i/2))
			time.Sleep(time.Millisecond)
		}
		for _, want := range []string{"urgent", "first", "second"} {
			p, err := q.next(t.Context())
			if err != nil || p.rec.Name() != want {
				t.Fatalf("got %v, %v; want %s", p.rec.Name(), err, want)
			}
		}
	})
}

// TestTrialKeepsItsVersion changes a pod while it is being tried: what was decided about must be what is bound.
func TestTrialKeepsItsVersion(t *testing.T) {
	q := newQueue()
	old := waiting(t, "p")
	q.add(old, 0)
	p, err := q.next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := waiting(t, "p")
	q.add(changed, 0)
	if p.rec != old || p.queued.rec != changed {
		t.Errorf("the trial is of %p and would be tried again as %p, want %p and %p", p.rec, p.queued.rec, old, changed)
	}
}

// TestQueueD3 follows a pod that fits nowhere: it is tried again after a change and its back-off, or after five minutes.
func TestQueueD3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(waiting(t, "p"), 0)
		start := time.Now()
		try := func() (trial, time.Duration) {
			p, err := q.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return p, time.Since(start)
		}
		p, _ := try()
		q.park(p)
		p, took := try()
		if took != maxWait {
			t.Errorf("without a change it was tried after %v, want %v", took, maxWait)
		}
		start = time.Now()
		q.park(p)
		q.activate()
		if p, took = try(); took != 2*time.Second {
			t.Errorf("after a change it was tried after %v, want its back-off of 2s", took)
		}
		q.activate() // while it is being worked on
		start = time.Now()
		q.park(p)
		if p, took = try(); took != 4*time.Second {
			t.Errorf("after a change during the attempt it was tried after %v, want 4s", took)
		}
		q.remove("p")
		q.retry(p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if p, err := q.next(ctx); err == nil {
			t.Errorf("a pod that is gone was tried again: %v", p.rec.Name())
		}
	})
}

func TestGateOf(t *testing.T) {
	for spec, want := range map[string]gate{
		`{"schedulerName":"default-scheduler","priority":-7}`:                                      {mine: true, priority: -7},
		`{"containers":[{"name":"},{"}],"schedulerName":"default-scheduler","schedulingGates":[]}`: {mine: true},
		`{"priority":2000001000,"schedulerName":"other"}`:                                          {priority: 2000001000},
		`{"schedulerName":"default-scheduler","schedulingGates":[{"name":"a/b"}]}`:                 {mine: true, closed: true},
		`{}`: {},
	} {
		meta := `{"metadata":{"resourceVersion":` + api.Slot + `},`
		js := meta + `"spec":` + spec + `,"status":{"schedulerName":"none"}}`
		r, err := api.NewRecord(api.Parts{JSON: []byte(js), Slot: strings.Index(js, api.Slot), Metadata: api.Span{Start: len(`{"metadata":`), End: len(meta) - 1}})
		if err != nil {
			t.Fatal(err)
		}
		r.Stamp(7)
		if got, err := gateOf(r); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", spec, got, err, want)
		}
	}
}
