package node

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Watcher takes what Follow reads.
type Watcher interface {
	// Observe takes one event.
	Observe(api.Event)
	// Settle ends the initial list, which had these objects and no others.
	Settle(present map[types.UID]bool)
}

// streamRetry is the pause before a broken stream is opened again.
const streamRetry = time.Second

// Follow gives a Watcher the pods that o selects, from a list on through every change, until ctx ends. A broken stream
// is taken up where it ended, or, past the log, begun anew.
func Follow(ctx context.Context, c client.Client, o client.Options, w Watcher) {
	var after api.Revision
	for ctx.Err() == nil {
		o.Initial = after == 0
		s, err := c.Follow(ctx, api.Pods, after, o)
		if err == nil {
			after, err = pump(ctx, s, w, o.Initial, after)
			s.Close()
		}
		if api.IsExpired(err) {
			after = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		slog.Warn("the stream of pods broke", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(streamRetry):
		}
	}
}

// pump drains one stream. It returns the revision to continue after, 0 when the initial list was cut short.
func pump(ctx context.Context, s api.Stream, w Watcher, initial bool, after api.Revision) (api.Revision, error) {
	var present map[types.UID]bool
	if initial {
		present = map[types.UID]bool{}
	}
	for {
		if present != nil && !s.Initial() {
			w.Settle(present)
			present = nil
		}
		evs, err := s.Next(ctx)
		if err != nil {
			return after, err
		}
		for _, ev := range evs {
			if present != nil && ev.New != nil {
				present[types.UID(ev.New.UID())] = true
			}
			w.Observe(ev)
		}
		if present == nil || !s.Initial() {
			after = s.Revision()
		}
	}
}
