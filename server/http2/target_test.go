package http2

import (
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// TestTarget: a request says where it goes in one way only.
func TestTarget(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Host != "" || strings.Contains(r.Host, "@") {
				t.Errorf("a handler is asked for %s of %s", r.URL, r.Host)
			}
		})).greeted()
		for i, c := range []struct{ method, path, host, want string }{
			{"GET", "/", "h", "200"},
			{"GET", "//other/", "h", "200"},
			{"GET", "https://other/", "h", "PROTOCOL_ERROR"},
			{"GET", "other", "h", "PROTOCOL_ERROR"},
			{"GET", "/", "somebody@h", "PROTOCOL_ERROR"},
			{"OPTIONS", "*", "h", "200"},
			{"GET", "*", "h", "PROTOCOL_ERROR"},
		} {
			id := uint32(2*i + 1)
			p.headers(id, true, ":method", c.method, ":scheme", "https", ":path", c.path, ":authority", c.host)
			if got := p.answer(id); !strings.Contains(got, c.want) {
				t.Errorf("%s %s of %s: %s, want %s", c.method, c.path, c.host, got, c.want)
			}
		}
	})(t)
}

// TestManyCookies: what joining cookies that are sent one by one takes is in proportion to them. A compressed cookie is
// one byte on the wire.
func TestManyCookies(t *testing.T) {
	const cookies = 10_000
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header["Cookie"]; len(got) != 1 || strings.Count(got[0], "; ") != cookies-1 {
				t.Errorf("%d cookie fields, the first of %d bytes", len(got), len(got[0]))
			}
		})).greeted()
		var fields []string
		for range cookies {
			fields = append(fields, "cookie", strings.Repeat("c", 50))
		}
		taken := allocated(func() {
			p.request(1, true, "GET", "/", fields...)
			p.answer(1)
		})
		if taken > 50<<20 {
			t.Errorf("%d cookies of 50 bytes took %d bytes", cookies, taken)
		}
	})(t)
}

// TestDeclaredBodies: what a body takes is in proportion to what has come of it, not to what is declared.
func TestDeclaredBodies(t *testing.T) {
	const streams = 200
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(held)).greeted()
		taken := allocated(func() {
			for i := range uint32(streams) {
				p.request(2*i+1, false, "POST", "/", "content-length", "1000000")
				p.data(2*i+1, false, "b")
			}
			p.settled()
		})
		if taken > streams*30<<10 {
			t.Errorf("%d bodies of a byte took %d bytes", streams, taken)
		}
	})(t)
}

// held is a handler that ends when its request does.
func held(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// allocated is how many bytes are allocated while f runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
