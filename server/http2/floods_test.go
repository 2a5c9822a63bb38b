package http2

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// batch is the frames that write writes.
func batch(p *peer, write func(f *http2.Framer) error) []byte {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	f.AllowIllegalWrites = true
	p.must(write(f))
	return b.Bytes()
}

// TestFlood (H1, H2): frames of a client that reads nothing. Those that want answers end the connection when there are too
// many, and the client is told; others cost nothing.
func TestFlood(t *testing.T) {
	for _, c := range []struct {
		name   string
		frames func(f *http2.Framer, p *peer, id uint32) error
		answer int // bytes of the output for each, 0 if it ends nothing
	}{
		{"ping", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WritePing(false, [8]byte{}) }, 17},
		{"settings", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WriteSettings() }, 9},
		{"malformed requests", func(f *http2.Framer, p *peer, id uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: p.encode(":method", "GET")})
		}, 13},
		{"data after a reset", func(f *http2.Framer, _ *peer, _ uint32) error {
			if err := f.WriteRSTStream(3, http2.ErrCodeCancel); err != nil {
				return err
			}
			return f.WriteData(3, false, nil)
		}, 13},
		{"data after the end", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WriteData(3, false, nil) }, 0},
		{"empty data", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WriteData(1, false, nil) }, 0},
		{"pongs", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WritePing(true, [8]byte{}) }, 0},
		{"windows", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WriteWindowUpdate(0, 1) }, 0},
		{"windows of the stream", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WriteWindowUpdate(1, 1) }, 0},
		{"priorities", func(f *http2.Framer, _ *peer, id uint32) error {
			return f.WritePriority(id, http2.PriorityParam{Weight: 1})
		}, 0},
		{"unknown", func(f *http2.Framer, _ *peer, _ uint32) error { return f.WriteRawFrame(0xfa, 0, 0, nil) }, 0},
		{"requests reset", func(f *http2.Framer, p *peer, id uint32) error {
			b := p.encode(":method", "GET", ":scheme", "https", ":path", "/")
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: b}); err != nil {
				return err
			}
			return f.WriteRSTStream(id, http2.ErrCodeCancel)
		}, 0},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), inBubble(func(t *testing.T) {
			s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			p := s.greeted()
			p.request(1, false, "POST", "/")
			p.request(3, true, "POST", "/") // reset, so that it has ended
			p.must(p.WriteRSTStream(3, http2.ErrCodeCancel))
			p.must(p.WritePing(false, [8]byte{}))
			synctest.Wait() // the answer to that is being written: what follows gathers behind it
			const lot = 1000
			id, limit := uint32(5), 10*lot
			if c.answer > 0 {
				limit = controlMost / c.answer
			}
			send := func() {
				_, err := p.conn.Write(batch(p, func(f *http2.Framer) error {
					for range lot {
						if err := c.frames(f, p, id); err != nil {
							return err
						}
						id += 2
					}
					return nil
				}))
				p.must(err)
			}
			for n := 0; n < limit-2*lot; n += lot {
				send()
			}
			synctest.Wait()
			if log := s.logged(); log != "" {
				t.Fatalf("it ends early: %s", log)
			}
			if c.answer == 0 {
				p.must(p.WritePing(false, [8]byte{'s', 't', 'i', 'l', 'l', ' ', 'u', 'p'}))
				if said := p.now(); !slices.Contains(said, "PING still up") {
					t.Errorf("it says %q", said)
				}
				return
			}
			for range 5 {
				send()
			}
			synctest.Wait()
			if log := s.logged(); !strings.Contains(log, "ENHANCE_YOUR_CALM") {
				t.Errorf("it does not end: %s", log)
			}
			if said := p.ends(); len(said) == 0 || !strings.HasSuffix(said[len(said)-1], "ENHANCE_YOUR_CALM") {
				t.Errorf("it says %q", said[max(0, len(said)-3):])
			}
		}))
	}
}

// TestHandlers (H3): a client that resets its streams gets no more handlers than twice those it may have at once, and more
// when they have returned.
func TestHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		release := make(chan bool)
		s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-release // it does not heed its context
			running.Add(-1)
		}))
		p := s.greeted()
		id := uint32(1)
		ask := func(n int, reset bool) {
			for range n {
				p.request(id, true, "GET", "/")
				if reset {
					p.must(p.WriteRSTStream(id, http2.ErrCodeCancel))
				}
				id += 2
			}
			synctest.Wait()
		}
		refused := func() (n int) {
			for _, said := range p.now() {
				if strings.HasSuffix(said, "RST_STREAM REFUSED_STREAM") {
					n++
				}
			}
			return n
		}
		ask(maxStreams, false)
		if n := refused(); n != 0 || running.Load() != maxStreams {
			t.Errorf("%d requests: %d run, %d are refused", maxStreams, running.Load(), n)
		}
		ask(10, false)
		if n := refused(); n != 10 || running.Load() != maxStreams {
			t.Errorf("10 more: %d run, %d are refused", running.Load(), n)
		}
		for i := range uint32(maxStreams) {
			p.must(p.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
		}
		ask(2000, true)
		if n := refused(); n != 2000-maxStreams || most.Load() != 2*maxStreams {
			t.Errorf("2000 that are reset: %d run, %d are refused", most.Load(), n)
		}
		close(release)
		time.Sleep(time.Second)
		ask(100, false)
		if n := refused(); n != 0 {
			t.Errorf("when all have returned, %d are refused", n)
		}
	})
}

// TestAnsweredInFull: a stream counts no more for what a client may have open once all is said on it, though its handler
// has not returned.
func TestAnsweredInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		defer close(release)
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			w.Write(make([]byte, 5000))
			<-release
		})).greeted()
		for i := range uint32(maxStreams + 1) {
			p.request(2*i+1, true, "GET", "/")
			if got := p.answer(2*i + 1); !strings.HasSuffix(got, "end") {
				t.Fatalf("request %d: %s", i, got)
			}
		}
	})
}
