package http2

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// clog has the server stuck in writing to p, which does not read, with more behind it than the output holds.
func clog(p *peer, id uint32) {
	p.t.Helper()
	p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow}))
	p.must(p.WriteWindowUpdate(0, maxWindow-initialWindow))
	p.request(id, true, "GET", "/clog")
	synctest.Wait()
}

// TestHandlersDoNotWait (H1, H5): whatever a handler waits for, it ends when its stream is reset, its connection ends, or
// its deadline passes; the goroutine that reads hears it in each case.
func TestHandlersDoNotWait(t *testing.T) {
	waits := map[string]struct {
		prepare func(p *peer)
		wait    func(w http.ResponseWriter, r *http.Request) error
	}{
		"body": {func(*peer) {}, func(_ http.ResponseWriter, r *http.Request) error {
			_, err := r.Body.Read(make([]byte, 1))
			return err
		}},
		"window": {func(p *peer) {
			p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
			p.now()
		}, func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(make([]byte, 1<<20))
			return err
		}},
		"room": {func(p *peer) { clog(p, 1) }, func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(make([]byte, 1<<20))
			return err
		}},
		"socket": {func(p *peer) {
			p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow}))
			p.now()
		}, func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(make([]byte, 1<<20))
			return err
		}},
	}
	ends := map[string]struct {
		deadline bool
		end      func(p *peer, s *site)
	}{
		"reset":    {false, func(p *peer, _ *site) { p.must(p.WriteRSTStream(3, http2.ErrCodeCancel)) }},
		"gone":     {false, func(p *peer, _ *site) { p.conn.NetConn().Close() }},
		"close":    {false, func(_ *peer, s *site) { s.http.Close() }},
		"deadline": {true, func(*peer, *site) {}},
	}
	for what, wait := range waits {
		for how, end := range ends {
			if what == "socket" && how == "reset" {
				continue // one who writes to the socket waits for TCP
			}
			t.Run(what+"/"+how, inBubble(func(t *testing.T) {
				var running, stuck sync.WaitGroup
				var waited time.Duration
				var err error
				running.Add(1)
				s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/clog" {
						stuck.Add(1)
						defer stuck.Done()
						w.Write(make([]byte, 1<<20))
						return
					}
					defer running.Done()
					if end.deadline {
						control := http.NewResponseController(w)
						control.SetReadDeadline(time.Now().Add(time.Second))
						control.SetWriteDeadline(time.Now().Add(time.Second))
					}
					began := time.Now()
					err = wait.wait(w, r)
					waited = time.Since(began)
				}))
				p := s.greeted()
				wait.prepare(p)
				p.request(3, false, "POST", "/")
				synctest.Wait()
				if what == "window" {
					p.now() // the header
				}
				if !end.deadline {
					time.Sleep(time.Second)
					end.end(p, s)
				}
				running.Wait()
				expected := time.Second
				switch {
				case how == "close" && (what == "body" || what == "window"):
					expected += 5 * time.Second // crypto/tls has a goodbye wait for a client that does not read
				case how == "deadline" && what == "socket":
					expected += writeWait
				}
				if err == nil || waited.Truncate(10*time.Millisecond) != expected {
					t.Errorf("after %v: %v", waited, err)
				}
				p.conn.NetConn().Close()
				stuck.Wait()
			}))
		}
	}
}

// TestDeadlineOfOther: a deadline that passes for one who waits behind another's write ends its own stream alone.
func TestDeadlineOfOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Second))
			}
			much(1<<20)(w, r)
		}))
		p := s.greeted()
		clog(p, 1)
		p.request(3, true, "GET", "/")
		time.Sleep(time.Minute)
		if got := p.answer(3); !strings.HasSuffix(got, "3 RST_STREAM INTERNAL_ERROR") {
			t.Errorf("behind another: %s", got)
		}
		p.request(5, true, "GET", "/clog")
		if got := p.answer(5); !strings.Contains(got, "body 1048576 bytes") {
			t.Errorf("another goes on: %s", got)
		}
	})
}

// TestOutput (H2): what handlers may write to a client that does not read is little, whatever their number.
func TestOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var accepted atomic.Int64
		s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				n, err := w.Write(make([]byte, pieceMost+1))
				if err != nil {
					return
				}
				accepted.Add(int64(n))
			}
		}))
		p := s.greeted(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		p.must(p.WriteWindowUpdate(0, maxWindow-initialWindow))
		for i := range uint32(100) {
			p.request(2*i+1, true, "GET", "/")
		}
		synctest.Wait()
		if n := accepted.Load(); n == 0 || n > 2*(outMost+minFrame) { // being written, and behind it
			t.Errorf("%d bytes are held for a client that does not read", n)
		}
		p.conn.NetConn().Close()
	})
}

// TestGathers: what handlers answer while another's write lasts goes out in one write after it, header blocks in the order
// in which they were compressed (H4).
func TestGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Path", r.URL.Path)
			io.WriteString(w, r.URL.Path)
		}))
		p := s.greeted()
		p.request(1, true, "GET", "/1")
		synctest.Wait() // its write waits for p to read
		for i := uint32(3); i < 41; i += 2 {
			p.request(i, true, "GET", fmt.Sprintf("/%d", i))
		}
		synctest.Wait()
		before := s.writes.Load()
		for left := 20; left > 0; {
			switch f := p.frame().(type) {
			case *http2.MetaHeadersFrame:
				if got := text(f); !strings.Contains(got, fmt.Sprintf(`x-path="/%d"`, f.StreamID)) {
					t.Errorf("a header of another: %s", got)
				}
			case *http2.DataFrame:
				if f.StreamEnded() {
					left--
				}
			}
		}
		if n := s.writes.Load() - before; n != 1 {
			t.Errorf("19 answers are written in %d writes", n)
		}
	})
}

// TestStreamCut: what a client still sends on a stream that has ended here is passed over, and counts; once it says that
// it knows, it is a mistake.
func TestStreamCut(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		first   string
	}{
		{"answered", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "early") }, "RST_STREAM NO_ERROR"},
		{"panicked", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "RST_STREAM INTERNAL_ERROR"},
	} {
		t.Run(c.name, inBubble(func(t *testing.T) {
			p := open(t, false, c.handler).greeted()
			p.request(1, false, "POST", "/")
			if said := p.now(); len(said) == 0 || !strings.HasSuffix(said[len(said)-1], c.first) {
				t.Fatalf("it says %q", said)
			}
			p.data(1, false, "late")
			p.must(p.WriteWindowUpdate(1, 10))
			p.headers(1, true, "x-late", "trailer")
			p.quiet()
			for range window / 2 / minFrame {
				p.data(1, false, strings.Repeat("l", minFrame))
			}
			if got := p.given(); got[0] < window/2 || got[1] != 0 {
				t.Errorf("of what is passed over it gives back %v", got)
			}
			p.must(p.WriteRSTStream(1, http2.ErrCodeCancel))
			p.quiet()
			p.data(1, false, "later")
			if said := p.now(); !slices.Equal(said, []string{"1 RST_STREAM STREAM_CLOSED"}) {
				t.Errorf("after a reset it says %q", said)
			}
			p.request(3, false, "POST", "/")
			if said := p.now(); len(said) == 0 || !strings.HasSuffix(said[len(said)-1], c.first) {
				t.Errorf("on the next stream it says %q", said)
			}
		}))
	}
}

// TestHeaderTooLarge: a request whose header is too large is told so, and the connection goes on; one that goes on with it
// for frames ends the connection.
func TestHeaderTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, false, much(0)).greeted()
		pairs := []string{":method", "GET", ":scheme", "https", ":path", "/", ":authority", "site.test"}
		for range headerMost / 1000 {
			pairs = append(pairs, "x-long", strings.Repeat("h", 1000)) // in a byte, from the second on
		}
		p.headers(1, true, pairs...)
		if got := p.answer(1); !strings.Contains(got, `:status="431"`) || !strings.HasSuffix(got, "end") {
			t.Errorf("it says %s", got)
		}
		p.request(3, true, "GET", "/")
		if got := p.answer(3); !strings.Contains(got, `:status="200"`) {
			t.Errorf("then it says %s", got)
		}
		p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, EndStream: true, BlockFragment: p.encode(pairs...)}))
		p.must(p.WriteContinuation(5, false, p.encode("x-more", "1")))
		if said := p.ends(); !slices.Equal(said, []string{"GOAWAY 3 PROTOCOL_ERROR"}) {
			t.Errorf("at last it says %q", said)
		}
	})
}
