package http2

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// settled returns what the server says until it has dealt with all that has been sent to it.
func (p *peer) settled() (said []string) {
	p.t.Helper()
	p.must(p.WritePing(false, [8]byte{}))
	for {
		f := p.frame()
		if f.Header().Type == http2.FramePing {
			return said
		}
		said = append(said, text(f))
	}
}

// TestMistakes: after some mistakes the two sides may not agree on the state of compression, or on which streams there
// are.
func TestMistakes(t *testing.T) {
	for name, mistake := range map[string]func(p *peer) error{
		"a header block that cannot be parsed": func(p *peer) error {
			return p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded, 1, []byte{9, 0x82})
		},
		"an update of an idle stream": func(p *peer) error { return p.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4)) },
		"an idle stream that depends on itself": func(p *peer) error {
			return p.WritePriority(1, http2.PriorityParam{StreamDep: 1})
		},
		"a malformed request of an even number": func(p *peer) error {
			p.request(2, true, "GET", "/", "Upper", "x")
			return nil
		},
	} {
		t.Run(name, inBubble(func(t *testing.T) {
			p := open(t, false, http.HandlerFunc(held)).greeted()
			p.must(mistake(p))
			if got := p.ends(); !slices.Equal(got, []string{"GOAWAY 0 PROTOCOL_ERROR"}) {
				t.Errorf("it is told %q", got)
			}
		}))
	}
}

// TestRefusedBody: what comes for a stream after it has been refused is passed over, and counts in the window.
func TestRefusedBody(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(held)).greeted()
		p.request(1, false, "POST", "/", "connection", "x")
		for range window / 2 / minFrame {
			p.data(1, false, string(make([]byte, minFrame)))
		}
		if got := p.settled(); !slices.Equal(got, []string{"1 RST_STREAM PROTOCOL_ERROR", "0 WINDOW_UPDATE 524288"}) {
			t.Errorf("%q", got)
		}
	})(t)
}

// TestBeyondGoAway: streams that GOAWAY leaves out are passed over, and no later GOAWAY takes them in.
func TestBeyondGoAway(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(held)).greeted()
		p.request(1, true, "GET", "/")
		p.must(p.WriteGoAway(0, http2.ErrCodeNo, nil))
		p.request(3, false, "POST", "/")
		p.data(3, false, "body")
		p.must(p.WriteWindowUpdate(5, 1))
		p.must(p.WriteRSTStream(7, http2.ErrCodeCancel))
		p.request(9, true, "GET", "/", "connection", "x")
		if got := p.settled(); !slices.Equal(got, []string{"GOAWAY 1 NO_ERROR"}) {
			t.Errorf("%q", got)
		}
		p.must(p.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8)))
		if got := p.ends(); !slices.Equal(got, []string{"GOAWAY 1 PROTOCOL_ERROR"}) {
			t.Errorf("%q", got)
		}
	})(t)
}

// TestUnreadBody: a body that nobody reads leaves the others their share of the connection's window.
func TestUnreadBody(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" {
				held(w, r)
				return
			}
			io.Copy(io.Discard, r.Body)
		})).greeted()
		part := string(make([]byte, minFrame))
		p.request(1, false, "POST", "/held")
		for range 40 {
			p.data(1, false, part)
		}
		p.request(3, false, "POST", "/")
		for range window/minFrame - 40 {
			p.data(3, false, part)
		}
		for given, rest := 0, window-40*minFrame; given < rest/2; {
			if f, ok := p.frame().(*http2.WindowUpdateFrame); ok && f.StreamID == 0 {
				given += int(f.Increment)
			}
		}
	})(t)
}

// TestLate100: 100 Continue is not sent after the answer's header.
func TestLate100(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.Copy(w, r.Body)
		})).greeted()
		p.request(1, false, "POST", "/", "expect", "100-continue")
		p.frame()
		p.data(1, true, "body")
		if f := p.frame(); text(f) != `1 DATA "body" end` {
			t.Errorf("after the header: %s", text(f))
		}
	})(t)
}

// TestHopByHop: what a handler says of an HTTP/1 connection is not sent, in informational headers and trailers neither.
func TestHopByHop(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, k := range []string{"Connection", "keep-alive", http.TrailerPrefix + "Upgrade"} {
				w.Header()[k] = []string{"x"}
			}
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, "body")
		})).greeted()
		p.request(1, true, "GET", "/")
		const want = "1 HEADERS :status=\"103\"\n1 HEADERS :status=\"200\" content-length=\"4\" content-type=\"text/plain; charset=utf-8\"\nbody \"body\", end"
		if got := p.answer(1); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	})(t)
}

// TestShutdownBeforeGreeting: a connection that has not begun when the server is shut down begins in order, and ends
// though its client keeps it open.
func TestShutdownBeforeGreeting(t *testing.T) {
	inBubble(func(t *testing.T) {
		s := open(t, false, http.HandlerFunc(held))
		raw, err := s.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		down := make(chan error)
		go func() { down <- s.http.Shutdown(t.Context()) }()
		synctest.Wait()
		p := s.over(raw)
		for _, want := range []string{"SETTINGS", "0 WINDOW_UPDATE 983041", "GOAWAY 0 NO_ERROR"} {
			if got := text(p.frame()); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		io.WriteString(p.conn, http2.ClientPreface)
		p.must(p.WriteSettings())
		select {
		case err := <-down:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the connection keeps the server from ending")
		}
	})(t)
}
