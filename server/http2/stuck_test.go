package http2

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// stuck asks for an answer that does not end and reads none of it, until its handler writes to a socket that takes no
// more. cut passes its write deadline; done is closed when the handler returns.
func stuck(t *testing.T) (p *peer, cut func(), done chan struct{}) {
	var controller *http.ResponseController
	done = make(chan struct{})
	p = open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			return
		}
		defer close(done)
		controller = http.NewResponseController(w)
		for part := make([]byte, 8<<10); ; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})).greeted()
	p.request(1, true, "GET", "/endless")
	synctest.Wait()
	return p, func() {
		if err := controller.SetWriteDeadline(time.Now()); err != nil {
			t.Error(err)
		}
	}, done
}

// TestStuckAndReset: a handler that writes to a client that does not read is let go at its deadline also when the client
// has reset the stream.
func TestStuckAndReset(t *testing.T) {
	inBubble(func(t *testing.T) {
		p, cut, done := stuck(t)
		p.must(p.WriteRSTStream(1, http2.ErrCodeCancel))
		synctest.Wait()
		cut()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("the handler still writes")
		}
	})(t)
}

// TestSlowNotStuck: a client that reads on has only the stream reset whose deadline has passed.
func TestSlowNotStuck(t *testing.T) {
	inBubble(func(t *testing.T) {
		p, cut, done := stuck(t)
		cut()
		if got := p.answer(1); !strings.HasSuffix(got, "RST_STREAM INTERNAL_ERROR") {
			t.Errorf("at its deadline the stream ends with %s", got)
		}
		<-done
		p.request(3, true, "GET", "/")
		if got := p.answer(3); !strings.Contains(got, "200") {
			t.Error(got)
		}
	})(t)
}

// TestDeadlineAfterAnswer: a deadline that passes when all of an answer is said changes nothing.
func TestDeadlineAfterAnswer(t *testing.T) {
	inBubble(func(t *testing.T) {
		p := open(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(2*pieceMost))
			w.Write(make([]byte, 2*pieceMost)) // which is declared to be all
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now()); err != nil {
				t.Error(err)
			}
			held(w, r)
		})).greeted()
		p.request(1, true, "GET", "/")
		if got := p.answer(1); !strings.HasSuffix(got, ", end") {
			t.Error(got)
		}
		p.quiet()
	})(t)
}
