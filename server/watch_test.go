package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// told is "TYPE name" of each event of a watch that has ended; bookmarks are "BOOKMARK" and "END".
func told(t *testing.T, a answer) string {
	t.Helper()
	var out []string
	d := json.NewDecoder(strings.NewReader(a.body))
	last := uint64(0)
	for d.More() {
		var e struct {
			Type   string
			Object struct {
				Metadata struct {
					Name            string
					ResourceVersion json.Number
					Annotations     map[string]string
				}
				Code int
			}
		}
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
		m := e.Object.Metadata
		switch {
		case e.Type == "ERROR":
			out = append(out, fmt.Sprint("ERROR ", e.Object.Code))
		case e.Type != "BOOKMARK":
			out = append(out, e.Type+" "+m.Name)
		case m.Annotations["k8s.io/initial-events-end"] == "true":
			out = append(out, "END")
		}
		if rev, err := m.ResourceVersion.Int64(); err == nil && e.Type != "ADDED" {
			if uint64(rev) < last {
				t.Errorf("revision %d after %d", rev, last)
			}
			last = uint64(rev)
		}
	}
	return strings.Join(out, ", ")
}

func TestWatch(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+base, configMap("a"))
	from := s.Store.Revision().String()
	ask(t, s, "POST "+base, configMap("b"))
	ask(t, s, "PATCH "+base+"/b", `{"metadata":{"labels":{"app":"other"}}}`, mergePatch)
	ask(t, s, "PATCH "+base+"/b", `{"metadata":{"labels":{"app":"b"}}}`, mergePatch)
	ask(t, s, "DELETE "+base+"/b", "")
	ask(t, s, "POST /api/v1/namespaces/elsewhere/configmaps", configMap("c"))
	for query, want := range map[string]string{
		"resourceVersion=" + from:                                      "ADDED b, MODIFIED b, MODIFIED b, DELETED b",
		"resourceVersion=" + from + "&labelSelector=app%3Db":           "ADDED b, DELETED b, ADDED b, DELETED b",
		"resourceVersion=" + from + "&labelSelector=app!%3Db":          "ADDED b, DELETED b",
		"resourceVersion=" + from + "&fieldSelector=metadata.name%3Da": "",
		"resourceVersion=0":                                            "ADDED a",
		"":                                                             "ADDED a",
		"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true": "ADDED a, END",
		"sendInitialEvents=false&resourceVersionMatch=NotOlderThan":                         "",
	} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			if got := told(t, ask(t, s, "GET "+base+"?watch=1&timeoutSeconds=1&"+query, "")); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// TestWatchOfPodsEnd watches pods that are deleted at once: they are seen to be marked before they are gone, as with
// upstream, and what is seen last is marked, too.
func TestWatchOfPodsEnd(t *testing.T) {
	const base = "/api/v1/namespaces/default/pods"
	s := open(t)
	ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap("a"))
	from := s.Store.Revision().String()
	ask(t, s, "POST "+base, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`)
	deleted := ask(t, s, "DELETE "+base+"/p?gracePeriodSeconds=0", "")
	a := ask(t, s, "GET "+base+"?watch=1&timeoutSeconds=1&resourceVersion="+from, "")
	if got, want := told(t, a), "ADDED p, MODIFIED p, DELETED p"; got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	events := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	for i, e := range append(events, string(deleted.body)) {
		for _, member := range []string{`"deletionTimestamp":"`, `"deletionGracePeriodSeconds":0`} {
			if has := strings.Contains(e, member); has != (i > 0) {
				t.Errorf("%s in %s: %v", member, e, has)
			}
		}
	}
}

// TestDeleteOvertaken has a pod removed by who saw the mark of its deletion, and one of its name made, before the server
// comes to remove it.
func TestDeleteOvertaken(t *testing.T) {
	const base = "/api/v1/namespaces/default/pods"
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	for _, remade := range []bool{false, true} {
		var s *Server
		s = open(t, func(c *Config) {
			c.Committed = func(ctx context.Context, _ *resource.Definition, rec *api.Record, deleted bool) error {
				if deleted || !rec.Is(api.Deleting) {
					return nil
				}
				_, err := s.Store.Commit(ctx, store.Delete(api.Pods, rec.Key(), rec.Revision()))
				if remade {
					ask(t, s, "POST "+base, pod)
				}
				return err
			}
		})
		first := ask(t, s, "POST "+base, pod).at(t, "metadata", "uid")
		if a := ask(t, s, "DELETE "+base+"/p?gracePeriodSeconds=0", ""); a.code != 200 || a.at(t, "metadata", "uid") != first {
			t.Errorf("delete: %d %s", a.code, a.body)
		}
		if a := ask(t, s, "GET "+base+"/p", ""); (a.code == 200) != remade {
			t.Errorf("get, remade %v: %d %s", remade, a.code, a.body)
		}
	}
}

func TestWatchOfForgottenRevisionSaysGone(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	for i := range 100 {
		ask(t, s, "POST "+base, configMap(fmt.Sprintf("c%d", i)))
	}
	if err := s.Store.Compact(t.Context(), s.Store.Revision()); err != nil {
		t.Fatal(err)
	}
	if got := told(t, ask(t, s, "GET "+base+"?watch=1&timeoutSeconds=1&resourceVersion=1", "")); got != "ERROR 410" {
		t.Errorf("watch: %s", got)
	}
	run(t, s, []step{
		{"GET " + base + "?resourceVersion=1&resourceVersionMatch=Exact", "", nil, 410, []string{"too old", `"reason":"Expired"`}, nil},
		{"GET " + base + "?limit=1&continue=" + encodeContinue(1, "default", api.Key{Namespace: "default", Name: "c1"}, 1), "", nil, 410,
			[]string{"inconsistent list", `"continue":"`}, nil},
	})
}

// TestPages: the pages of a list are one revision, whatever is written between them (W1).
func TestPages(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	for i := range 5 {
		ask(t, s, "POST "+base, configMap(fmt.Sprintf("c%d", i)))
	}
	var names []string
	next, version := "", ""
	for page := 0; ; page++ {
		a := ask(t, s, "GET "+base+"?limit=2&continue="+next, "")
		if a.code != 200 {
			t.Fatalf("page %d: %d %s", page, a.code, a.body)
		}
		for _, item := range a.json(t)["items"].([]any) {
			names = append(names, item.(map[string]any)["metadata"].(map[string]any)["name"].(string))
		}
		if v := a.at(t, "metadata", "resourceVersion"); version == "" {
			version = v
		} else if v != version {
			t.Errorf("page %d is revision %s, the first was %s", page, v, version)
		}
		if want := []string{"3", "1", ""}[page]; a.at(t, "metadata", "remainingItemCount") != want {
			t.Errorf("page %d: %s remain, want %s", page, a.at(t, "metadata", "remainingItemCount"), want)
		}
		if next = a.at(t, "metadata", "continue"); next == "" {
			break
		}
		ask(t, s, "DELETE "+base+"/c4", "")
		ask(t, s, "POST "+base, configMap(fmt.Sprintf("c0-%d", page)))
		ask(t, s, "POST "+base, configMap(fmt.Sprintf("c3-%d", page)))
	}
	if got := strings.Join(names, " "); got != "c0 c1 c2 c3 c4" {
		t.Errorf("the pages have %s", got)
	}
}

// deadlineRecorder is a connection whose write deadline can be set.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	deadlines int
}

func (d *deadlineRecorder) SetWriteDeadline(time.Time) error {
	d.deadlines++
	return nil
}

// TestStalledWatch: the write of a client that does not read is broken off after a while, that of one which reads slowly
// is not.
func TestStalledWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w watches
		writer := func() (*frameWriter, *deadlineRecorder) {
			r := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
			fw := &frameWriter{x: &exchange{w: r}, q: &request{d: new(resource.Definition)}}
			fw.turns.Store(1) // a write is under way
			w.add(fw)
			return fw, r
		}
		stalled, cut := writer()
		slow, kept := writer()
		for range 4 {
			time.Sleep(writePatience / 2)
			synctest.Wait() // for the round of this moment
			slow.turns.Add(2)
		}
		if cut.deadlines == 0 || kept.deadlines != 0 {
			t.Errorf("%d deadlines were set for the client that does not read, %d for the slow one", cut.deadlines, kept.deadlines)
		}
		slow.events.Add(3)
		w.remove(stalled)
		w.remove(slow)
		if w.count() != 0 || w.events() != 3 {
			t.Errorf("%d are open, %d events were sent", w.count(), w.events())
		}
		time.Sleep(2 * slowWriterRounds) // the timer sees that there is nothing to do
		synctest.Wait()
		if w.timer != nil {
			t.Error("the timer goes on with no watch open")
		}
	})
}

// TestFrames: the newest are kept within the budget, and no other event's bytes are given for one's own.
func TestFrames(t *testing.T) {
	f := frames{budget: 5 * (frameCost + 20)}
	made := 0
	get := func(rev api.Revision, typ string) string {
		b, err := f.get(frameKey{rev: rev, typ: typ}, func() ([]byte, error) {
			made++
			return fmt.Appendf(make([]byte, 0, 20), "%-20s", fmt.Sprint(rev, typ)), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	for rev := api.Revision(1); rev <= 40; rev++ {
		for range 2 {
			for _, typ := range []string{eventAdded, eventModified} { // two forms of a revision share a place
				if got, want := get(rev, typ), fmt.Sprint(rev, typ); got != want {
					t.Fatalf("got the frame of %s, want %s", got, want)
				}
			}
		}
	}
	if made != 80 {
		t.Errorf("%d frames were made, want 80", made)
	}
	held := 0
	for i := range f.newest {
		if f.newest[i].Load() != nil {
			held++
		}
	}
	if f.size > f.budget || len(f.byKey) != 5 || held > 5 {
		t.Errorf("%d bytes with %d frames are kept, %d found without the lock", f.size, len(f.byKey), held)
	}
}

// TestRefusedWatch: a watch that is refused after it was opened leaves no cursor behind, as one that has ended does.
func TestRefusedWatch(t *testing.T) {
	s := open(t)
	for query, code := range map[string]int{
		"sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true": 406, "resourceVersion=0": 200,
	} {
		a := ask(t, s, "GET /api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1&"+query, "", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io")
		if a.code != code {
			t.Errorf("%s: %d, want %d: %s", query, a.code, code, a.body)
		}
	}
	if n := s.Store.Stats().Cursors; n != 0 {
		t.Errorf("%d cursors are left", n)
	}
}
