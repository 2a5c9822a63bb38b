// Package expiry deletes Events an hour after they were last written.
//
// It needs neither a stream nor a decoded copy of the many events there are: once a minute it notes the store's
// revision, and what has not been written since the revision of an hour ago has expired. Only events older than the
// controller itself are asked for the times in them.
package expiry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	period = time.Minute
	// TTL is how long events are kept after they were last written (--event-ttl of kube-apiserver).
	TTL = time.Hour
	// parallel is how many events are deleted at a time.
	parallel = 64
)

type mark struct {
	at       time.Time
	revision api.Revision
}

type expirer struct {
	client client.Client
	ttl    time.Duration
	marks  []mark    // one a period, for as long as ttl
	early  time.Time // no event from before the first mark expires earlier
}

// New returns the controller that deletes Events after ttl.
func New(c client.Client, ttl time.Duration) *controller.Controller {
	e := &expirer{client: c, ttl: ttl}
	return controller.New("event-expiry", nil).Also(e.run)
}

func (e *expirer) run(ctx context.Context) error {
	for {
		if err := e.expire(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Warn("expiring events failed, trying again", "in", period, "err", err)
		}
		select {
		case <-time.After(period):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// expire deletes what has expired by now.
func (e *expirer) expire(ctx context.Context, now time.Time) error {
	v, err := e.client.View(ctx, 0)
	if err != nil {
		return err
	}
	e.marks = append(e.marks, mark{now, v.Revision()})
	// All up to this revision was written at least ttl ago.
	var old api.Revision
	for len(e.marks) > 1 && !e.marks[1].at.After(now.Add(-e.ttl)) {
		e.marks = e.marks[1:]
	}
	first := e.marks[0]
	if !first.at.After(now.Add(-e.ttl)) {
		old = first.revision
	}
	before := old == 0 && !now.Before(e.early) // events from before the first mark are looked into
	if before {
		e.early = now.Add(e.ttl)
	}
	var (
		wg       sync.WaitGroup
		slots    = make(chan struct{}, parallel)
		mu       sync.Mutex
		failures []error
	)
	for rec := range v.All(api.Events, "") {
		expired := rec.Revision() <= old
		if before && rec.Revision() <= first.revision {
			at, err := written(rec)
			if err != nil {
				return err
			}
			if at = at.Add(e.ttl); at.After(now) {
				e.early = minTime(e.early, at)
			} else {
				expired = true
			}
		}
		if !expired || rec.Is(api.Deleting) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := e.delete(ctx, rec); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
		})
	}
	wg.Wait()
	if len(failures) > 0 {
		return fmt.Errorf("%d events could not be deleted: %w", len(failures), errors.Join(failures[:min(3, len(failures))]...))
	}
	return nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// written is the latest time an Event states.
func written(rec *api.Record) (time.Time, error) {
	type event struct {
		Metadata struct {
			CreationTimestamp metav1.Time `json:"creationTimestamp"`
		} `json:"metadata"`
		LastTimestamp metav1.Time      `json:"lastTimestamp"`
		EventTime     metav1.MicroTime `json:"eventTime"`
		Series        struct {
			LastObservedTime metav1.MicroTime `json:"lastObservedTime"`
		} `json:"series"`
	}
	ev, err := client.Decode[event](rec)
	if err != nil {
		return time.Time{}, err
	}
	at := ev.Metadata.CreationTimestamp.Time
	for _, t := range []time.Time{ev.LastTimestamp.Time, ev.EventTime.Time, ev.Series.LastObservedTime.Time} {
		if t.After(at) {
			at = t
		}
	}
	return at, nil
}

// delete deletes an event unless it has been written again.
func (e *expirer) delete(ctx context.Context, rec *api.Record) error {
	uid, version := types.UID(rec.UID()), rec.Revision().String()
	_, err := client.Events.Delete(ctx, e.client, rec.Key(), &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("deleting event %s: %w", rec.Key(), err)
	}
	return nil
}
