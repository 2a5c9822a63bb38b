package http2

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// asking is an ask whose request's body the test writes; then is called when the header of the answer has come.
func asking(method string, begin string, then func(n *notes, body *io.PipeWriter, resp *http.Response, cancel func())) func(*notes, *site) {
	return func(n *notes, s *site) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		pr, pw := io.Pipe()
		q, err := http.NewRequestWithContext(ctx, method, "https://site.test/", pr)
		if err != nil {
			n.asker("no request: %v", err)
			return
		}
		go io.WriteString(pw, begin)
		resp, err := s.transport().RoundTrip(q)
		if err != nil {
			n.asker("error %v", err)
			pw.Close()
			return
		}
		then(n, pw, resp, cancel)
		resp.Body.Close()
		pw.Close()
	}
}

// reading notes what a read of some bytes gives.
func reading(n *notes, r *http.Request) {
	b := make([]byte, 100)
	got, err := io.ReadAtLeast(r.Body, b, 5)
	n.handler("read %q, %s", b[:got], kind(err))
}

var bodies = []exchange{
	{name: "echo", ask: asking("POST", "ping 0", func(n *notes, body *io.PipeWriter, resp *http.Response, _ func()) {
		b := make([]byte, 6)
		for i := range 3 {
			_, err := io.ReadFull(resp.Body, b)
			n.asker("%s %v", b, err)
			io.WriteString(body, "ping "+string(rune('1'+i)))
		}
		body.Close()
		n.response(resp)
	}), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		n.handler("full duplex: %s", kind(http.NewResponseController(w).EnableFullDuplex()))
		b := make([]byte, 6)
		for {
			got, err := io.ReadFull(r.Body, b)
			if err != nil {
				n.handler("read %d, %s", got, kind(err))
				return
			}
			w.Write(b)
			w.(http.Flusher).Flush()
		}
	}},
	{name: "answer before the body", method: "POST", body: strings.Repeat("b", 2<<20), handle: write(0, nil, "hello")},
	{name: "refusal before the body", method: "POST", body: strings.Repeat("b", 2<<20), stream: true, handle: write(413, nil, "too much")},
	{name: "answer amid the body", ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "content-length", "100")
		p.data(1, false, "hello")
	}), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		reading(n, r)
		write(0, nil, "enough")(n, w, r)
	}},
	{name: "body closed", method: "POST", body: strings.Repeat("b", 2<<20), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		reading(n, r)
		n.handler("close: %s %s", kind(r.Body.Close()), kind(r.Body.Close()))
		reading(n, r)
		write(0, nil, "hello")(n, w, r)
	}},
	{name: "body read twice to its end", method: "POST", body: "hello", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		say(n, w, r)
		reading(n, r)
		n.handler("close: %s", kind(r.Body.Close()))
	}},
	{name: "no body read", handle: func(n *notes, _ http.ResponseWriter, r *http.Request) {
		reading(n, r)
	}},
	{name: "body limited", method: "POST", body: strings.Repeat("b", 2<<20), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000))
		n.handler("%d %v", len(b), err)
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
	}},
	{name: "read deadline", ask: asking("POST", "hello", func(n *notes, _ *io.PipeWriter, resp *http.Response, _ func()) {
		n.response(resp)
	}), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		n.handler("%s", kind(http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))))
		reading(n, r)
		began := time.Now()
		reading(n, r)
		n.handler("after %v", time.Since(began))
		w.WriteHeader(http.StatusRequestTimeout)
	}},
	{name: "read deadline that has passed", method: "POST", body: "hello", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		synctest.Wait()
		n.handler("%s", kind(http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second))))
		w.WriteHeader(http.StatusRequestTimeout)
	}},
	{name: "read deadline taken back", ask: asking("POST", "hello", func(n *notes, body *io.PipeWriter, resp *http.Response, _ func()) {
		time.Sleep(time.Minute)
		io.WriteString(body, "later")
		body.Close()
		n.response(resp)
	}), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		n.handler("%s", kind(control.SetReadDeadline(time.Now().Add(time.Second))))
		reading(n, r)
		n.handler("%s", kind(control.SetReadDeadline(time.Time{})))
		control.Flush()
		reading(n, r)
		reading(n, r)
	}},
	{name: "write deadline", ask: frames(func(p *peer) {
		p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
		p.request(1, true, "GET", "/")
	}), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		n.handler("%s", kind(http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Second))))
		began := time.Now()
		_, err := w.Write(make([]byte, 1<<20))
		n.handler("%v after %v", err != nil, time.Since(began))
		<-r.Context().Done()
		n.handler("%v", r.Context().Err())
	}},
	{name: "write deadline taken back", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		n.handler("%s %s", kind(control.SetWriteDeadline(time.Now().Add(time.Second))), kind(control.SetWriteDeadline(time.Time{})))
		time.Sleep(time.Minute)
		write(0, nil, "hello")(n, w, r)
	}},
	{name: "write deadline after the answer", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Second))
		write(0, fieldsOf("Content-Length", "5"), "hello")(n, w, r)
	}},
}

var ends = []exchange{
	{name: "panic", handle: func(*notes, http.ResponseWriter, *http.Request) { panic("on purpose") }},
	{name: "panic amid the answer", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		panic("on purpose")
	}},
	{name: "panic before the answer is sent", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		panic("on purpose")
	}},
	{name: "panic after the answer", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		write(0, fieldsOf("Content-Length", "5"), "hello", "flush")(n, w, r)
		panic("on purpose")
	}},
	{name: "abort", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{name: "exit", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		runtime.Goexit()
	}},
	{name: "client gone", ask: asking("POST", "hello", func(n *notes, body *io.PipeWriter, resp *http.Response, cancel func()) {
		cancel()
		body.CloseWithError(context.Canceled) // net/http's client resets no stream while it waits for a body
		_, err := io.ReadAll(resp.Body)
		n.asker("%s", kind(err))
	}), handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		reading(n, r)
		w.(http.Flusher).Flush()
		reading(n, r)
		<-r.Context().Done()
		n.handler("%v", r.Context().Err())
		_, err := w.Write(make([]byte, 1<<20))
		n.handler("%v", err != nil)
	}},
	{name: "connection gone", ask: func(n *notes, s *site) {
		p := s.greeted()
		p.request(1, false, "POST", "/")
		p.data(1, false, "hello")
		synctest.Wait()
		p.conn.NetConn().Close()
	}, handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		reading(n, r)
		reading(n, r)
		<-r.Context().Done()
		n.handler("%v", r.Context().Err())
		_, err := w.Write(make([]byte, 1<<20))
		n.handler("%v", err != nil)
	}},
	{name: "reset", ask: func(n *notes, s *site) {
		p := s.greeted()
		p.request(1, false, "POST", "/")
		p.data(1, false, "hello")
		synctest.Wait()
		p.must(p.WriteRSTStream(1, http2.ErrCodeCancel))
		synctest.Wait()
		p.request(3, true, "GET", "/second")
		n.asker("%s", p.answer(3))
	}, handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/second" {
			return
		}
		reading(n, r)
		reading(n, r)
		n.handler("%v", r.Context().Err())
	}},
	{name: "context after the answer", ask: func(n *notes, s *site) {
		p := s.greeted()
		p.request(1, true, "GET", "/")
		n.asker("%s", p.answer(1))
		synctest.Wait()
	}, handle: func(n *notes, _ http.ResponseWriter, r *http.Request) {
		context.AfterFunc(r.Context(), func() { n.handler("then %v", r.Context().Err()) })
	}},
}
