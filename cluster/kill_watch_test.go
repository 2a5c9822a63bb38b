package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// watcher follows one table through all crashes, always from the last revision it was told.
type watcher struct {
	k        *killing
	table    string
	restless bool // leaves by itself now and then
	http     *http.Client

	mu       sync.Mutex
	position uint64
	seen     []change
}

func (w *watcher) events() []change {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.seen)
}

func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		position := w.position
		w.mu.Unlock()
		err := w.k.watch(ctx, w.http, w.table, position, func(c change) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			if c.revision < w.position || c.revision == w.position && c.kind != "BOOKMARK" {
				w.k.t.Errorf("watch of %s: %v after revision %d", w.table, c, w.position)
			}
			w.position = c.revision
			if c.kind != "BOOKMARK" {
				w.seen = append(w.seen, c)
			}
			return !w.restless || rand.N(200) > 0
		})
		if err != nil {
			w.k.t.Errorf("watch of %s from revision %d: %v", w.table, position, err)
			return
		}
		w.k.reconnects.Add(1)
		time.Sleep(10 * time.Millisecond)
	}
}

// watch calls fn with what happens in a table after a revision, until fn returns false or the connection ends. An error
// is an answer that no crash explains.
func (k *killing) watch(ctx context.Context, hc *http.Client, table string, after uint64, fn func(change) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s%s?watch=1&allowWatchBookmarks=true&resourceVersion=%d", *k.base.Load(), tables[table], after), nil)
	if err != nil {
		return err
	}
	resp, err := hc.Do(q)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %s", resp.Status)
	}
	for d := json.NewDecoder(resp.Body); ; {
		var frame struct {
			Type   string
			Object json.RawMessage
		}
		if d.Decode(&frame) != nil {
			return nil
		}
		var o object
		if err := json.Unmarshal(frame.Object, &o); err != nil || o.Metadata.ResourceVersion == "" {
			return fmt.Errorf("%s %s (%v)", frame.Type, frame.Object, err)
		}
		if o.Metadata.Name == foreign {
			continue
		}
		v := o.version()
		if !fn(change{frame.Type, v.revision, o.Metadata.Name, v.uid, v.token}) {
			return nil
		}
	}
}

// events reads what happened in a table after a revision, up to a write that is known to be the last.
func (k *killing) events(table string, after uint64, fence string) (since []change) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), crashPatience)
	defer cancel()
	done := false
	err := k.watch(ctx, k.clients[rand.N(2)], table, after, func(c change) bool {
		if c.kind != "BOOKMARK" {
			since = append(since, c)
		}
		done = c.token == fence
		return !done
	})
	if err != nil || !done {
		k.t.Fatalf("round %d: reading %s back from revision %d: the last write was not among %d events (%v)", k.round, table, after, len(since), err)
	}
	return since
}

// catchUp waits until every watcher has seen everything.
func (k *killing) catchUp() {
	deadline := time.Now().Add(crashPatience)
	for _, w := range k.watchers {
		want := k.history.changes[w.table]
		for len(w.events()) < len(want) && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if wrong := k.history.follows(w.table, w.events()[:min(len(want), len(w.events()))]); wrong != "" {
			k.t.Error(wrong)
		}
		if n := len(w.events()); n < len(want) {
			k.t.Errorf("a watcher of %s saw %d events of %d", w.table, n, len(want))
		}
	}
}
