package http2

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// TestPreface: a connection that does not begin as RFC 9113 has it ends, and soon.
func TestPreface(t *testing.T) {
	for _, c := range []struct {
		name  string
		begin func(p *peer)
		said  []string
		after time.Duration
	}{
		{"nothing", func(*peer) {}, nil, prefaceWait},
		{"half", func(p *peer) { io.WriteString(p.conn, http2.ClientPreface[:10]) }, nil, prefaceWait},
		{"another protocol", func(p *peer) { io.WriteString(p.conn, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n") }, []string{"GOAWAY 0 PROTOCOL_ERROR"}, lingerWait},
		{"no settings", func(p *peer) { io.WriteString(p.conn, http2.ClientPreface) }, nil, prefaceWait},
		{"another frame", func(p *peer) {
			io.WriteString(p.conn, http2.ClientPreface)
			p.must(p.WritePing(false, [8]byte{}))
		}, []string{"GOAWAY 0 PROTOCOL_ERROR"}, lingerWait},
		{"an acknowledgement", func(p *peer) {
			io.WriteString(p.conn, http2.ClientPreface)
			p.must(p.WriteSettingsAck())
		}, []string{"GOAWAY 0 PROTOCOL_ERROR"}, lingerWait},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), inBubble(func(t *testing.T) {
			p := open(t, false, much(0)).connect()
			began := time.Now()
			c.begin(p)
			if said := p.ends(); !slices.Equal(said, c.said) {
				t.Errorf("it says %q", said)
			}
			p.gone()
			if after := time.Since(began); after < c.after || after > c.after+10*time.Millisecond {
				t.Errorf("it ends after %v", after)
			}
		}))
	}
}

// gone waits until nobody reads what p writes.
func (p *peer) gone() {
	p.t.Helper()
	for range 20_000 {
		p.conn.SetWriteDeadline(time.Now().Add(time.Minute)) // else Write fails
		if _, err := p.conn.Write(make([]byte, 1)); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	p.t.Error("the connection stays")
}

// TestIdle: a connection without a request for IdleTimeout ends, also while its client pings; one with a handler does not.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				time.Sleep(time.Hour)
			}
		}), func(s *http.Server) { s.IdleTimeout = time.Minute })
		p := s.greeted()
		for i := range uint32(5) {
			time.Sleep(50 * time.Second)
			p.request(2*i+1, true, "GET", "/")
			p.answer(2*i + 1)
		}
		p.request(11, true, "GET", "/long")
		time.Sleep(time.Hour)
		p.answer(11)
		began := time.Now()
		time.Sleep(59 * time.Second)
		p.must(p.WritePing(false, [8]byte{'p', 'i', 'n', 'g', 'p', 'i', 'n', 'g'}))
		if said := p.now(); !slices.Equal(said, []string{"PING pingping"}) {
			t.Errorf("before its time it says %q", said)
		}
		if said := p.ends(); !slices.Equal(said, []string{"GOAWAY 11 NO_ERROR"}) {
			t.Errorf("it says %q", said)
		}
		if after := time.Since(began); after < time.Minute || after > time.Minute+15*time.Second {
			t.Errorf("it ends after %v", after)
		}
		again := s.greeted() // the watch over idle connections begins anew
		time.Sleep(30 * time.Second)
		if said := again.ends(); !slices.Equal(said, []string{"GOAWAY 0 NO_ERROR"}) {
			t.Errorf("a later one says %q", said)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := open(t, false, much(0)).greeted()
		time.Sleep(24 * time.Hour)
		p.request(1, true, "GET", "/")
		if got := p.answer(1); !strings.Contains(got, `:status="200"`) {
			t.Errorf("without IdleTimeout: %s", got)
		}
	})
}

// TestRetire: whoever wants a connection to end, streams that are open are answered and no others, and then it ends.
func TestRetire(t *testing.T) {
	for name, retire := range map[string]func(p *peer, s *site) (done func()){
		"client": func(p *peer, _ *site) func() {
			p.must(p.WriteGoAway(0, http2.ErrCodeNo, nil))
			return func() {}
		},
		"shutdown": func(p *peer, s *site) func() {
			done := make(chan error)
			go func() { done <- s.http.Shutdown(context.Background()) }()
			synctest.Wait()
			return func() {
				if err := <-done; err != nil {
					p.t.Error(err)
				}
			}
		},
		"handler": func(p *peer, _ *site) func() {
			p.request(3, true, "GET", "/close")
			p.answer(3)
			return func() {}
		},
	} {
		for _, streams := range []bool{false, true} {
			if !streams && name == "handler" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", name, streams), inBubble(func(t *testing.T) {
				s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/close" {
						w.Header().Set("Connection", "close")
						return
					}
					b, err := io.ReadAll(r.Body)
					time.Sleep(time.Hour)
					fmt.Fprintf(w, "%s %v %v", b, err, r.Context().Err())
				}))
				p := s.greeted()
				if streams {
					p.request(1, false, "POST", "/")
					p.data(1, false, "first, ")
				}
				done := retire(p, s)
				if streams {
					if said := p.now(); len(said) != 1 || !strings.HasSuffix(said[0], "NO_ERROR") || !strings.HasPrefix(said[0], "GOAWAY") {
						t.Errorf("at first it says %q", said)
					}
					p.request(5, true, "GET", "/")
					p.data(1, true, "last")
					p.quiet()
					time.Sleep(time.Hour)
					if got := p.answer(1); !strings.HasSuffix(got, `body "first, last <nil> <nil>", end`) {
						t.Errorf("the open stream gets %s", got)
					}
				}
				began := time.Now()
				if said := p.ends(); len(said) > 1 || streams && len(said) > 0 {
					t.Errorf("at last it says %q", said)
				}
				p.conn.Close()
				done()
				if after := time.Since(began); after > time.Second {
					t.Errorf("it ends after %v", after)
				}
			}))
		}
	}
}

// TestLinger: a client that stays after the last frame is left a second to close, and some to read it.
func TestLinger(t *testing.T) {
	for reads, wait := range map[bool]time.Duration{true: lingerWait, false: leaveWait} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, false, much(0))
			p := s.greeted()
			if reads {
				go p.ends()
			}
			began := time.Now()
			if err := s.http.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if after := time.Since(began); after < wait || after > wait+time.Second {
				t.Errorf("if it reads, %v: it ends after %v", reads, after)
			}
			p.gone()
		})
	}
}

// TestShutdownBefore: a connection that comes to a server that shuts down is told so.
func TestShutdownBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, false, much(0))
		raw := make(chan *peer)
		go func() { raw <- s.connect() }()
		p := <-raw
		go s.http.Shutdown(t.Context())
		io.WriteString(p.conn, http2.ClientPreface)
		p.WriteSettings()
		if said := p.ends(); len(said) != 1 || said[0] != "GOAWAY 0 NO_ERROR" {
			t.Errorf("it says %q", said)
		}
	})
}

// TestClose: closing the server ends connections at once, and what handlers do for them.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			ended <- r.Context().Err()
		}))
		p := s.greeted()
		p.request(1, true, "GET", "/")
		p.frame()
		go s.http.Close()
		if said := p.ends(); len(said) > 0 {
			t.Errorf("it says %q", said)
		}
		if err := <-ended; err != context.Canceled {
			t.Error(err)
		}
	})
}
