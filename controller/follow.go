package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Watcher receives a resource's objects and events, from one goroutine.
type Watcher struct {
	// Listed gets a snapshot: first of all, and again whenever events have been lost.
	Listed func(client.View)
	// Event gets every event after the last snapshot, in order.
	Event func(api.Event)
}

// Follow keeps w informed of a resource until ctx ends, through restarts of the server and lost histories. It returns
// only ctx's error, or a 404 when the resource is not served (any more).
func Follow(ctx context.Context, c client.Client, r api.Resource, w Watcher) error {
	const first, most = 50 * time.Millisecond, 10 * time.Second
	var at api.Revision
	listed := false
	for delay := first; ; {
		start := time.Now()
		err := follow(ctx, c, r, w, &at, &listed)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case api.IsExpired(err):
			listed = false
			continue
		case api.IsNotFound(err):
			return err
		}
		if time.Since(start) > most {
			delay = first
		}
		slog.Warn("following a resource failed, trying again", "resource", r, "delay", delay, "err", err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
		delay = min(most, 2*delay)
	}
}

func follow(ctx context.Context, c client.Client, r api.Resource, w Watcher, at *api.Revision, listed *bool) error {
	if !*listed {
		v, err := c.View(ctx, 0)
		if err != nil {
			return fmt.Errorf("listing %s: %w", r, err)
		}
		w.Listed(v)
		*at, *listed = v.Revision(), true
	}
	s, err := c.Follow(ctx, r, *at, client.Options{})
	if err != nil {
		return fmt.Errorf("following %s after %s: %w", r, *at, err)
	}
	defer s.Close()
	for {
		evs, err := s.Next(ctx)
		if err != nil {
			return fmt.Errorf("following %s after %s: %w", r, *at, err)
		}
		for _, e := range evs {
			w.Event(e)
		}
		*at = s.Revision()
	}
}
