package http2

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// much is a handler that answers with n bytes at once.
func much(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Write(make([]byte, n))
	}
}

// sizes reads n bytes of bodies, and what DATA frames they come in.
func (p *peer) sizes(n int) (all []int) {
	p.t.Helper()
	for n > 0 {
		switch f := p.frame().(type) {
		case *http2.DataFrame:
			all = append(all, len(f.Data()))
			n -= len(f.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			p.t.Fatalf("%d bytes before the end of a body: %s", n, text(f))
		}
	}
	if n < 0 {
		p.t.Errorf("%d bytes too many in %v", -n, all)
	}
	return all
}

// TestStreamWindow: what is sent on a stream follows its window, which SETTINGS change amid it, also to below zero.
func TestStreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, false, much(100_000)).greeted(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		p.request(1, true, "GET", "/")
		for _, step := range []struct {
			do   func() error
			more int
		}{
			{func() error { return nil }, 10},
			{func() error { return p.WriteWindowUpdate(1, 5) }, 5},
			{func() error { return p.WriteWindowUpdate(0, 5) }, 0},
			{func() error { return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30}) }, 20},
			{func() error { return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) }, 0}, // -30
			{func() error { return p.WriteWindowUpdate(1, 25) }, 0},
			{func() error { return p.WriteWindowUpdate(1, 10) }, 5},
			{func() error {
				return p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7})
			}, 7},
		} {
			p.must(step.do())
			p.sizes(step.more)
			for _, f := range p.now() { // SETTINGS are acknowledged before or after
				if strings.Contains(f, "DATA") {
					t.Fatalf("beyond the window: %s", f)
				}
			}
		}
		p.must(p.WriteWindowUpdate(1, 1<<20))
		p.sizes(initialWindow + 5 - 47)
		p.quiet() // for want of the connection's
		p.must(p.WriteWindowUpdate(0, 1<<20))
		p.sizes(100_000 - initialWindow - 5)
	})
}

// TestConnectionWindow: streams share the connection's window, and one that its client does not let go on keeps none.
func TestConnectionWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/much" {
				much(1<<20)(w, r)
				return
			}
			io.WriteString(w, "little")
		})).greeted(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 40_000})
		p.request(1, true, "GET", "/much")
		p.sizes(40_000)
		p.request(3, true, "GET", "/much")
		p.sizes(initialWindow - 40_000)
		p.request(5, true, "GET", "/")
		if f := text(p.frame()); !strings.HasPrefix(f, "5 HEADERS") {
			t.Errorf("a header waits for a window: %s", f)
		}
		p.quiet()
		p.must(p.WriteWindowUpdate(3, 1<<20))
		p.quiet()
		p.must(p.WriteWindowUpdate(0, 100))
		p.sizes(100)
		p.quiet()
		p.must(p.WriteRSTStream(3, http2.ErrCodeCancel)) // which of the two was to have it
		p.must(p.WriteWindowUpdate(0, 1000))             // stream 1 has none of its own
		p.now()                                          // stream 5 may have waited for that
		p.request(7, true, "GET", "/")
		if got := p.answer(7); !strings.HasSuffix(got, `body "little", end`) {
			t.Errorf("beside a stream that its client does not read: %s", got)
		}
	})
}

// TestFrameSize: frames are as large as the client takes, or what others can bear to wait for.
func TestFrameSize(t *testing.T) {
	for _, c := range []struct{ said, largest int }{{0, minFrame}, {minFrame, minFrame}, {20_000, 20_000}, {1<<24 - 1, outMost / 2}} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Long", strings.Repeat("~", 100_000)) // of which Huffman's code makes more
				much(300_000)(w, r)
			}))
			var settings []http2.Setting
			if c.said > 0 {
				settings = append(settings, http2.Setting{ID: http2.SettingMaxFrameSize, Val: uint32(c.said)})
			}
			p := s.greeted(settings...)
			p.must(p.WriteWindowUpdate(0, 1<<20))
			p.ReadMetaHeaders = nil // they would come as one
			p.request(1, true, "GET", "/")
			p.must(p.WriteWindowUpdate(1, 1<<20))
			largest := map[http2.FrameType]int{}
			for n := 300_000; n > 0; {
				f := p.frame()
				largest[f.Header().Type] = max(largest[f.Header().Type], int(f.Header().Length))
				if d, ok := f.(*http2.DataFrame); ok {
					n -= len(d.Data())
				}
			}
			for _, typ := range []http2.FrameType{http2.FrameHeaders, http2.FrameContinuation, http2.FrameData} {
				if largest[typ] != c.largest {
					t.Errorf("with a frame size of %d: %v of %d bytes", c.said, typ, largest[typ])
				}
			}
		})
	}
}

// given sums up what the server gives back, until it says no more.
func (p *peer) given() map[uint32]int {
	p.t.Helper()
	all := map[uint32]int{}
	for {
		synctest.Wait()
		p.must(p.conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
		f, err := p.ReadFrame()
		if err != nil {
			return all
		}
		w, ok := f.(*http2.WindowUpdateFrame)
		if !ok {
			p.t.Fatalf("instead of WINDOW_UPDATE: %s", text(f))
		}
		all[w.StreamID] += int(w.Increment)
	}
}

// TestBodyWindow (H2): a client may send what handlers have not read up to the window, whatever the frames; it gets back
// what is read, padding, and what nobody will read.
func TestBodyWindow(t *testing.T) {
	const half = window / 2
	read := make(chan int64)
	handler := func(w http.ResponseWriter, r *http.Request) {
		for n := range read {
			if n < 0 {
				r.Body.Close()
			} else if _, err := io.CopyN(io.Discard, r.Body, n); err != nil {
				return
			}
		}
	}
	fill := func(p *peer, id uint32, n int) {
		for ; n > minFrame; n -= minFrame {
			p.data(id, false, strings.Repeat("f", minFrame))
		}
		p.data(id, false, strings.Repeat("f", n))
	}
	for _, c := range []struct {
		name   string
		do     func(p *peer)
		stream int // what it gives back
		read   int // what of it handlers have read, of which it keeps no more than half
	}{
		{"nothing is read", func(p *peer) { fill(p, 1, window) }, 0, 0},
		{"little is read", func(p *peer) { fill(p, 1, window); read <- half - 1 }, 0, half - 1},
		{"half is read", func(p *peer) { fill(p, 1, window); read <- half }, half, half},
		{"the body is closed", func(p *peer) { fill(p, 1, window); synctest.Wait(); read <- -1 }, window, window},
		{"more comes for a closed body", func(p *peer) { read <- -1; synctest.Wait(); fill(p, 1, window) }, window, window},
		{"padding", func(p *peer) {
			for range half / 256 {
				p.must(p.WriteDataPadded(1, false, []byte("x"), make([]byte, 255)))
			}
		}, half, half},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), inBubble(func(t *testing.T) {
			read = make(chan int64)
			p := open(t, false, http.HandlerFunc(handler)).greeted()
			p.request(1, false, "POST", "/")
			defer func() { close(read) }()
			c.do(p)
			if got := p.given(); got[1] != c.stream || got[0] < c.read/2 || got[0] > c.read {
				t.Errorf("it gives back %v", got)
			}
		}))
	}
	t.Run("too-much", inBubble(func(t *testing.T) {
		read = make(chan int64)
		defer func() { close(read) }()
		p := open(t, false, http.HandlerFunc(handler)).greeted()
		p.request(1, false, "POST", "/")
		fill(p, 1, window)
		p.quiet()
		p.data(1, false, "x")
		if said := p.ends(); len(said) != 1 || said[0] != "GOAWAY 1 FLOW_CONTROL_ERROR" {
			t.Errorf("it says %q", said)
		}
	}))
	t.Run("too-much-of-a-stream", inBubble(func(t *testing.T) {
		rest := make(chan bool)
		defer close(rest)
		p := open(t, false, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 300_000)
			<-rest
		})).greeted()
		for _, id := range []uint32{1, 3} {
			p.request(id, false, "POST", "/")
			fill(p, id, 300_000)
		}
		if got := p.given(); got[0] < 300_000 || len(got) != 1 {
			t.Errorf("it gives back %v", got)
		}
		fill(p, 1, window-300_000)
		p.quiet()
		p.data(1, false, "x")
		if f := text(p.frame()); f != "1 RST_STREAM FLOW_CONTROL_ERROR" {
			t.Errorf("it says %s", f)
		}
	}))
}
