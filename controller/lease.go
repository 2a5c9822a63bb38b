package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Election lets one of several candidates lead at a time, by holding a coordination.k8s.io Lease as client-go's leader
// election does; the two can take turns on one Lease. Clocks need not agree: a candidate takes the Lease over when it
// has not seen it renewed for the Lease's duration by its own clock.
type Election struct {
	Client   client.Client
	Lease    api.Key
	Identity string // of this candidate, unique among them

	Duration time.Duration // how long others wait after the last renewal; 15 s unless set
	Deadline time.Duration // the leader gives up when it could not renew for this long; 10 s unless set
	Period   time.Duration // between attempts; 2 s unless set
}

// ErrLost is wrapped by what Run returns when leadership was lost: the Lease could not be renewed, or another took it.
var ErrLost = errors.New("leadership lost")

// Run calls lead when this candidate has become leader, with a context that ends when it no longer is. It returns when
// ctx has ended or lead has returned (after the Lease has been released; the error is then lead's), or with ErrLost.
// A Lease that names this candidate's Identity is taken at once, so an Identity that outlives its process (that of a
// store which only one process can have open) need not wait after a crash.
func (e Election) Run(ctx context.Context, lead func(context.Context) error) error {
	e.Duration, e.Deadline, e.Period = orElse(e.Duration, 15*time.Second), orElse(e.Deadline, 10*time.Second), orElse(e.Period, 2*time.Second)
	if e.Deadline >= e.Duration || e.Period >= e.Deadline {
		return fmt.Errorf("leader election of %s: want Duration > Deadline > Period, have %v, %v, %v", e.Lease, e.Duration, e.Deadline, e.Period)
	}
	h := holding{Election: e}
	for waited := false; ; waited = true {
		held, err := h.try(ctx)
		if held {
			if waited {
				slog.Info("became leader", "lease", e.Lease, "identity", e.Identity)
			}
			break
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			slog.Warn("leader election failed, trying again", "lease", e.Lease, "err", err)
		case !waited:
			slog.Info("waiting until the leader gives its lease up or stops renewing it", "lease", e.Lease, "leader", *h.record.Spec.HolderIdentity)
		}
		// Spread out, so that candidates do not race each other again and again.
		if !sleep(ctx, e.Period+rand.N(e.Period/5+1)) {
			return nil
		}
	}
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- lead(leading) }()
	lost := h.keep(leading, done)
	stop()
	if lost != errEnded {
		h.ended = <-done
	}
	// Released with a context of its own: the caller's has usually ended.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.Deadline)
	defer cancel()
	if lost != nil && lost != errEnded {
		return lost
	}
	if err := h.release(last); err != nil {
		return fmt.Errorf("releasing lease %s: %w", e.Lease, err)
	}
	return h.ended
}

// Terms is Run again and again: a candidate that has lost its leadership stops and stands for the next term. It returns
// when ctx has ended or lead has returned by itself, as Run does.
func (e Election) Terms(ctx context.Context, lead func(context.Context) error) error {
	for {
		err := e.Run(ctx, lead)
		if !errors.Is(err, ErrLost) {
			return err
		}
		slog.Error("stopped, to go on when leading again", "lease", e.Lease, "err", err)
	}
}

func orElse(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// holding is a candidate's knowledge of the Lease.
type holding struct {
	Election
	record   *coordinationv1.Lease // as last seen
	observed time.Time             // when it was first seen so, by our clock
	ended    error                 // of lead
}

var errEnded = errors.New("the work ended")

// keep renews the Lease until ctx ends (nil), lead returns (errEnded), or leadership is lost.
func (h *holding) keep(ctx context.Context, done <-chan error) error {
	renewed := time.Now()
	for {
		select {
		case h.ended = <-done:
			return errEnded
		case <-ctx.Done():
			return nil
		case <-time.After(h.Period):
		}
		attempt, cancel := context.WithDeadline(ctx, renewed.Add(h.Deadline))
		held, err := h.try(attempt)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case held:
			renewed = time.Now()
		case err == nil:
			return fmt.Errorf("%w: lease %s was taken over by %s", ErrLost, h.Lease, *h.record.Spec.HolderIdentity)
		case time.Since(renewed) >= h.Deadline:
			return fmt.Errorf("%w: lease %s could not be renewed for %v: %w", ErrLost, h.Lease, h.Deadline, err)
		}
	}
}

// try takes or renews the Lease. Not held without an error means that someone else holds it.
func (h *holding) try(ctx context.Context) (held bool, err error) {
	now := metav1.NowMicro()
	old, err := client.Leases.Get(ctx, h.Client, h.Lease)
	if api.IsNotFound(err) {
		lease := &coordinationv1.Lease{
			TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
			ObjectMeta: metav1.ObjectMeta{Namespace: h.Lease.Namespace, Name: h.Lease.Name},
		}
		h.claim(lease, now)
		_, err := client.Leases.Create(ctx, h.Client, lease)
		return err == nil, err
	}
	if err != nil {
		return false, err
	}
	if h.record == nil || h.record.ResourceVersion != old.ResourceVersion {
		h.record, h.observed = old, now.Time
	}
	holder, duration := "", h.Duration
	if old.Spec.HolderIdentity != nil {
		holder = *old.Spec.HolderIdentity
	}
	if old.Spec.LeaseDurationSeconds != nil {
		duration = time.Duration(*old.Spec.LeaseDurationSeconds) * time.Second
	}
	if holder != "" && holder != h.Identity && h.observed.Add(duration).After(now.Time) {
		return false, nil
	}
	lease := old.DeepCopy()
	h.claim(lease, now)
	if holder == h.Identity {
		lease.Spec.AcquireTime = old.Spec.AcquireTime
	} else {
		transitions := int32(1)
		if old.Spec.LeaseTransitions != nil {
			transitions += *old.Spec.LeaseTransitions
		}
		lease.Spec.LeaseTransitions = &transitions
	}
	_, err = client.Leases.Update(ctx, h.Client, lease)
	return err == nil, err
}

func (h *holding) claim(lease *coordinationv1.Lease, now metav1.MicroTime) {
	seconds := int32(h.Duration / time.Second)
	none := int32(0)
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &h.Identity, &seconds
	lease.Spec.AcquireTime, lease.Spec.RenewTime = &now, &now
	if lease.Spec.LeaseTransitions == nil {
		lease.Spec.LeaseTransitions = &none
	}
}

// release leaves the Lease without a holder, so that the next candidate need not wait.
func (h *holding) release(ctx context.Context) error {
	lease, err := client.Leases.Get(ctx, h.Client, h.Lease)
	if err != nil {
		return err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != h.Identity {
		return nil
	}
	nobody, second, now := "", int32(1), metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &nobody, &second
	lease.Spec.AcquireTime, lease.Spec.RenewTime = &now, &now
	_, err = client.Leases.Update(ctx, h.Client, lease)
	return err
}
