package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pintle.dev/api"
	"pintle.dev/server/accept"
	"pintle.dev/server/http2"
)

// TestSlowBody: a client that stops in the middle of a body gets an answer and holds nothing, over either protocol.
func TestSlowBody(t *testing.T) {
	for _, protocol := range []int{1, 2} {
		s := open(t)
		s.bodyPatience = 50 * time.Millisecond
		srv := httptest.NewUnstartedServer(s)
		srv.EnableHTTP2 = protocol == 2
		if protocol == 2 {
			http2.Configure(srv.Config)
		}
		srv.StartTLS()
		defer srv.Close()
		pr, pw := io.Pipe()
		go io.WriteString(pw, `{"apiVersion":`)
		q, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/api/v1/namespaces/default/configmaps", pr)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", accept.TypeJSON)
		resp, err := srv.Client().Do(q)
		if err != nil {
			t.Fatalf("HTTP/%d: %v", protocol, err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusGatewayTimeout || !strings.Contains(string(text), "body did not arrive within 50ms") || resp.ProtoMajor != protocol {
			t.Errorf("HTTP/%d: %s %s (%v)", resp.ProtoMajor, resp.Status, text, err)
		}
		resp.Body.Close()
		pw.Close()
	}
}

// TestForbiddenBody: nothing is read of what a client may not send, as a body takes memory for as long as it arrives.
func TestForbiddenBody(t *testing.T) {
	s := open(t, func(c *Config) {
		c.Authorize = func(_ context.Context, r *api.Request) error {
			return api.Forbidden(r.Resource, r.Key.Name, errors.New("not you"))
		}
	})
	for _, method := range []string{"POST", "PATCH", "PUT", "DELETE"} {
		body := strings.NewReader(configMap("c"))
		path := "/api/v1/namespaces/default/configmaps"
		if method != "POST" {
			path += "/c"
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, path, body))
		if w.Code != http.StatusForbidden || int64(body.Len()) != body.Size() {
			t.Errorf("%s: %d %s, %d of %d bytes are not read", method, w.Code, w.Body, body.Len(), body.Size())
		}
	}
}

// TestDeepPatch: what a patch that does not fit is shown as costs memory in proportion to the patch; upstream's library
// takes the square.
func TestDeepPatch(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+base, configMap("c"))
	const levels = 4000
	deep := strings.Repeat(`{"data":`, levels) + "{}" + strings.Repeat("}", levels)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for typ, body := range map[string]string{
		"application/merge-patch+json": deep, "application/json-patch+json": `[{"op":"add","path":"/data","value":` + deep + `}]`,
	} {
		a := ask(t, s, "PATCH "+base+"/c", body, "Content-Type: "+typ)
		if a.code != http.StatusUnprocessableEntity || !strings.Contains(a.at(t, "message"), `Invalid value: "{\"`) {
			t.Errorf("%s: %d %.300s", typ, a.code, a.body)
		}
	}
	runtime.ReadMemStats(&after)
	if taken, most := after.TotalAlloc-before.TotalAlloc, uint64(500*len(deep)); taken > most {
		t.Errorf("two refusals of %d bytes took %d bytes, want at most %d", len(deep), taken, most)
	}
}

// TestLargeBodies: large bodies wait for each other, small ones for nobody.
func TestLargeBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const base = "POST /api/v1/namespaces/default/configmaps"
		s := open(t)
		large := strings.Replace(configMap("large"), `"v"`, `"`+strings.Repeat("v", largeBody)+`"`, 1)
		if !s.large.TryAcquire(largeBudget) {
			t.Fatal("the budget is taken")
		}
		if a := ask(t, s, base, large); a.code != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" {
			t.Errorf("a large body without room: %d %.300s", a.code, a.body)
		}
		if a := ask(t, s, base, configMap("small")); a.code != http.StatusCreated {
			t.Errorf("a small body beside large ones: %d %.300s", a.code, a.body)
		}
		s.large.Release(largeBudget)
		if a := ask(t, s, base, large); a.code != http.StatusCreated {
			t.Errorf("a large body with room: %d %.300s", a.code, a.body)
		}
		if !s.large.TryAcquire(largeBudget) {
			t.Error("a request kept its share")
		}
	})
}

// TestArrivingBodies: no more of a large body is read than there is room for, and none of its share is kept.
func TestArrivingBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t)
		large := strings.Replace(configMap("large"), `"v"`, `"`+strings.Repeat("v", 2*largeBody)+`"`, 1)
		for _, tt := range []struct {
			name     string
			declared int64
			room     int64 // that it takes
		}{
			{"declared", int64(len(large)), int64(len(large))},
			{"of unknown length", -1, maxBody},
		} {
			send := func() (code, left int) {
				body := strings.NewReader(large)
				r := httptest.NewRequest("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", body)
				r.ContentLength = tt.declared
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				return w.Code, body.Len()
			}
			if !s.arriving.TryAcquire(arrivingBudget - tt.room + 1) {
				t.Fatal("the budget is taken")
			}
			if code, left := send(); code != http.StatusTooManyRequests || left != len(large)-largeBody {
				t.Errorf("%s, without room: %d, %d bytes are not read", tt.name, code, left)
			}
			s.arriving.Release(1)
			if code, _ := send(); code != http.StatusCreated {
				t.Errorf("%s, with room: %d", tt.name, code)
			}
			if !s.arriving.TryAcquire(tt.room) {
				t.Errorf("%s: a request kept its share", tt.name)
			}
			s.arriving.Release(arrivingBudget)
		}
	})
}

// stallingBody is a request's body whose rest does not arrive, and the writer of its answer, which can break it off.
type stallingBody struct {
	*httptest.ResponseRecorder
	*io.PipeReader
}

func (b stallingBody) SetReadDeadline(time.Time) error {
	return b.CloseWithError(os.ErrDeadlineExceeded)
}

// TestStalledBodies: large bodies that stall take all the room there is, and others wait for it no longer than for a part
// of a body.
func TestStalledBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const path = "/api/v1/namespaces/default/configmaps"
		s := open(t)
		large := strings.Replace(configMap("large"), `"v"`, `"`+strings.Repeat("v", 2*largeBody)+`"`, 1)
		var ended sync.WaitGroup
		for range arrivingBudget / maxBody {
			pr, pw := io.Pipe()
			go io.WriteString(pw, large[:largeBody+10])
			w := stallingBody{httptest.NewRecorder(), pr}
			ended.Go(func() {
				r := httptest.NewRequest("POST", path, pr)
				r.ContentLength = maxBody
				s.ServeHTTP(w, r)
				if w.Code != http.StatusGatewayTimeout || !strings.Contains(w.Body.String(), "bytes 262144 to 524288 of the request's body did not arrive within 5s") {
					t.Errorf("a body that stalls: %d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		if s.arriving.TryAcquire(maxBody) {
			t.Fatal("bodies that stall have left room")
		}
		began := time.Now()
		if a := ask(t, s, "POST "+path, large); a.code != http.StatusCreated {
			t.Errorf("a body beside those that stall: %d %.300s", a.code, a.body)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it waited for %s", d)
		}
		ended.Wait()
		if !s.arriving.TryAcquire(arrivingBudget) {
			t.Error("a request kept its share")
		}
	})
}

// TestSlowReader: a client that does not read its answer is broken off, and gives its place to others.
func TestSlowReader(t *testing.T) {
	s := open(t, func(c *Config) { c.MaxReads = 1 })
	const base = "/api/v1/namespaces/default/configmaps"
	// More than the buffers of a connection hold.
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		large := strings.Replace(strings.Replace(configMap("c"), `"c"`, `"`+name+`"`, 1), `"v"`, `"`+strings.Repeat("v", 1<<20-100)+`"`, 1)
		if a := ask(t, s, "POST "+base, large); a.code != http.StatusCreated {
			t.Fatalf("%d %.300s", a.code, a.body)
		}
	}
	s.bodyPatience = 200 * time.Millisecond // not before: the bodies above may take their time
	srv := httptest.NewUnstartedServer(s)
	srv.EnableHTTP2 = true
	http2.Configure(srv.Config)
	srv.StartTLS()
	defer srv.Close()
	q, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+base, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept-Encoding", "identity")
	began := time.Now()
	resp, err := srv.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for end := began.Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a := ask(t, s, "GET "+base+"/a", "")
		if a.code == http.StatusOK {
			if took := time.Since(began); took < s.bodyPatience {
				t.Errorf("%v after an answer was begun that is not read: %d", took, a.code)
			}
			break
		}
		if a.code != http.StatusTooManyRequests {
			t.Errorf("beside an answer that is not read: %d %.100s", a.code, a.body)
		}
		if time.Now().After(end) {
			t.Fatalf("after the answer should have been broken off: %d %.100s", a.code, a.body)
		}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the answer that was broken off looks complete")
	}
}
