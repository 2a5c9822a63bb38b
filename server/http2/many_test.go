package http2

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo sends back what comes as it comes, and in a trailer how much there was.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Name", r.Header.Get("X-Name"))
	w.Header().Set("Trailer", "X-Length")
	control := http.NewResponseController(w)
	control.Flush()
	all := int64(0)
	b := make([]byte, 8<<10)
	for {
		n, err := r.Body.Read(b)
		all += int64(n)
		w.Write(b[:n])
		if err != nil {
			w.Header().Set("X-Length", fmt.Sprint(all))
			return
		}
		control.Flush()
	}
}

// TestMany: many requests at once over one connection, each with what it has asked for; some leave before their end.
func TestMany(t *testing.T) {
	for name, proxied := range map[string]bool{"direct": false, "proxied": true} {
		t.Run(name, inBubble(func(t *testing.T) {
			s := open(t, false, http.HandlerFunc(echo))
			if proxied {
				behind := s.transport()
				s = open(t, false, &httputil.ReverseProxy{
					Transport: behind,
					ErrorLog:  log.New(io.Discard, "", 0), // of clients that leave
					Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: "behind.test"}) },
				})
			}
			tr := s.transport()
			tr.MaxConnsPerHost = 1
			var all sync.WaitGroup
			for i := range 60 {
				all.Go(func() {
					random := rand.New(rand.NewPCG(uint64(i), 0))
					for j := range 2 {
						if err := exchangeMuch(tr, fmt.Sprintf("%d-%d", i, j), random); err != nil {
							t.Errorf("request %d of %d: %v", j, i, err)
						}
					}
				})
			}
			all.Wait()
			if log := s.logged(); strings.Contains(log, "panic") {
				t.Error(log)
			}
		}))
	}
}

// exchangeMuch has a body of some length echoed, or a part of it.
func exchangeMuch(tr http.RoundTripper, name string, random *rand.Rand) error {
	body := bytes.Repeat([]byte(name+"/"), random.IntN(10_000))
	q, err := http.NewRequest("POST", "https://site.test/", io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	q.Header.Set("X-Name", name)
	resp, err := tr.RoundTrip(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Name"); got != name {
		return fmt.Errorf("the answer is for %s", got)
	}
	if random.IntN(5) == 0 {
		return nil // resets it
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, body) {
		return fmt.Errorf("%d bytes of %d, %v", len(got), len(body), err)
	}
	if n := resp.Trailer.Get("X-Length"); n != fmt.Sprint(len(body)) {
		return fmt.Errorf("trailer %s after %d bytes", n, len(body))
	}
	return nil
}

// TestProxy: a proxy in front of another passes on what comes when it comes, both ways.
func TestProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behind := open(t, false, http.HandlerFunc(echo)).transport()
		front := open(t, false, &httputil.ReverseProxy{
			Transport: behind,
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: "behind.test"}) },
		})
		pr, pw := io.Pipe()
		q, err := http.NewRequest("POST", "https://front.test/", pr)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		resp, err := front.transport().RoundTrip(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i := range 3 {
			time.Sleep(time.Minute)
			said := fmt.Sprintf("ping %d", i)
			io.WriteString(pw, said)
			b := make([]byte, len(said))
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != said {
				t.Fatalf("%q, %v", b, err)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || resp.Trailer.Get("X-Length") != "18" {
			t.Errorf("%q, %v, trailer %v", rest, err, resp.Trailer)
		}
		if took := time.Since(began); took != 3*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}
