package http2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// notes are what the sides of an exchange have seen, each in its own order.
type notes struct {
	mu             sync.Mutex
	server, client strings.Builder
}

func (n *notes) handler(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(&n.server, "  handler: "+format+"\n", args...)
}

func (n *notes) asker(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(&n.client, "  client:  "+format+"\n", args...)
}

// kind is what may be compared of an error that a handler gets.
func kind(err error) string {
	for _, known := range []error{io.EOF, http.ErrBodyNotAllowed, os.ErrDeadlineExceeded, context.Canceled} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return "an error"
	}
	return "nil"
}

func fields(h http.Header) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(h)) {
		if k == "Date" {
			_, err := http.ParseTime(h.Get(k))
			fmt.Fprintf(&b, " Date (%d, %v)", len(h[k]), err)
			continue
		}
		for _, v := range h[k] {
			fmt.Fprintf(&b, " %s=%s", k, brief([]byte(v)))
		}
		if len(h[k]) == 0 {
			fmt.Fprintf(&b, " %s none", k)
		}
	}
	return b.String()
}

// An exchange is a request and how it is answered.
type exchange struct {
	name   string
	method string   // else GET
	path   string   // else /
	pairs  []string // of the request's header
	body   string
	stream bool // the body's length is not declared
	adjust func(*http.Request)
	handle func(n *notes, w http.ResponseWriter, r *http.Request)
	ask    func(n *notes, s *site) // instead of the request
	// Where this package is to differ, ours is in what is seen of it, theirs in what is seen of net/http.
	ours, theirs string
}

// do makes the request of x and notes what comes of it.
func (x *exchange) do(n *notes, tr http.RoundTripper) {
	method, path := x.method, x.path
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = "/"
	}
	var body io.Reader
	if x.body != "" {
		if body = strings.NewReader(x.body); x.stream {
			body = io.MultiReader(body)
		}
	}
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			n.asker("%d%s", code, fields(http.Header(h)))
			return nil
		},
	})
	q, err := http.NewRequestWithContext(ctx, method, "https://site.test"+path, body)
	if err != nil {
		n.asker("no request: %v", err)
		return
	}
	for i := 0; i < len(x.pairs); i += 2 {
		q.Header[x.pairs[i]] = append(q.Header[x.pairs[i]], x.pairs[i+1])
	}
	if x.adjust != nil {
		x.adjust(q)
	}
	resp, err := tr.RoundTrip(q)
	if err != nil {
		n.asker("error %v", err)
		return
	}
	n.response(resp)
}

func (n *notes) response(resp *http.Response) {
	n.asker("%s %s length %d,%s", resp.Proto, resp.Status, resp.ContentLength, fields(resp.Header))
	n.asker("announced%s", fields(resp.Trailer))
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	n.asker("body %s, error %v", brief(b), err)
	n.asker("trailer%s", fields(resp.Trailer))
}

// TestSame has the same requests answered by the same handlers over this package and over net/http's own HTTP/2: clients
// and handlers see the same.
func TestSame(t *testing.T) {
	for _, x := range slices.Concat(requests, answers, bodies, ends) {
		t.Run(strings.ReplaceAll(x.name, " ", "-"), func(t *testing.T) {
			var seen [2]string
			for i := range seen {
				t.Run([]string{"this", "theirs"}[i], inBubble(func(t *testing.T) {
					n := &notes{}
					var running sync.WaitGroup
					s := open(t, i == 1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						running.Add(1)
						defer running.Done()
						x.handle(n, w, r)
					}))
					if x.ask != nil {
						x.ask(n, s)
					} else {
						x.do(n, s.transport())
					}
					synctest.Wait() // a handler that begins has begun
					running.Wait()
					_, reason, panicked := strings.Cut(s.logged(), "panic serving ")
					_, reason, _ = strings.Cut(reason, ": ")
					reason, _, _ = strings.Cut(reason, "\n")
					if x.method == http.MethodHead {
						n.server.Reset() // net/http has writes fail once the header is sent, for no reason that a handler could know
					}
					seen[i] = fmt.Sprintf("%s%s  panic: %v %s", &n.server, &n.client, panicked, reason)
				}))
			}
			switch {
			case x.ours != "":
				if !strings.Contains(seen[0], x.ours) || !strings.Contains(seen[1], x.theirs) {
					t.Errorf("this package, which should have %q:\n%s\nnet/http, which should have %q:\n%s", x.ours, seen[0], x.theirs, seen[1])
				}
			case seen[0] != seen[1]:
				t.Errorf("this package:\n%s\nnet/http:\n%s", seen[0], seen[1])
			}
			if testing.Verbose() {
				t.Logf("\n%s", seen[0])
			}
		})
	}
}

// say answers with what the handler was asked.
func say(n *notes, w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	n.handler("%s %s %q host %q, length %d %v,%s", r.Method, r.RequestURI, r.URL.String(), r.Host, r.ContentLength, r.TransferEncoding, fields(r.Header))
	n.handler("%s %d.%d close %v, body %s, %s, trailer%s", r.Proto, r.ProtoMajor, r.ProtoMinor, r.Close, brief(b), kind(err), fields(r.Trailer))
	io.WriteString(w, "asked")
}

// frames is an ask that sends frames and notes what comes on stream 1.
func frames(send func(p *peer)) func(*notes, *site) {
	return func(n *notes, s *site) {
		p := s.greeted()
		send(p)
		n.asker("%s", p.answer(1))
	}
}

var requests = []exchange{
	{name: "get", handle: say, path: "/a%2Fb/c?d=e%20f&g", pairs: []string{"X-One", "1", "X-Two", "a", "X-Two", "b", "X-Empty", ""}},
	{name: "head", method: "HEAD", handle: say},
	{name: "head by frames", method: "HEAD", handle: write(0, nil, "hello", "flush", "hello"), ask: frames(func(p *peer) { p.request(1, true, "HEAD", "/") })},
	{name: "delete", method: "DELETE", handle: say},
	{name: "odd method", method: "FETCH", handle: say},
	{name: "post", method: "POST", body: "payload", handle: say},
	{name: "post undeclared", method: "POST", body: "payload", stream: true, handle: say},
	{name: "post nothing", method: "POST", handle: say},
	{name: "put", method: "PUT", body: strings.Repeat("p", 3<<20), handle: say},
	{name: "put undeclared", method: "PUT", body: strings.Repeat("p", 3<<20), stream: true, handle: say},
	{name: "options", method: "OPTIONS", handle: say},
	{name: "options of the server", handle: say, ask: frames(func(p *peer) { p.request(1, true, "OPTIONS", "*") })},
	{name: "get of the server", ours: `1 RST_STREAM PROTOCOL_ERROR`, theirs: `:status="200"`, handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "*") })},
	{name: "host", handle: say, adjust: func(q *http.Request) { q.Host = "other.test:8443" }},
	{name: "cookies", handle: say, pairs: []string{"Cookie", "a=1; b=2", "Cookie", "c=3"}},
	{name: "agent", handle: say, pairs: []string{"User-Agent", "test"}},
	{name: "close", handle: say, adjust: func(q *http.Request) { q.Close = true }},
	{name: "te", handle: say, pairs: []string{"Te", "trailers"}},
	{name: "long header", handle: say, pairs: []string{"X-Long", strings.Repeat("l", 100<<10)}},
	{name: "trailers", method: "POST", body: "payload", stream: true, handle: say, adjust: func(q *http.Request) {
		q.Trailer = http.Header{"X-After": {"1", "2"}, "X-Other": {"3"}}
	}},
	{name: "trailers before the body is read", method: "POST", body: "payload", stream: true, adjust: func(q *http.Request) {
		q.Trailer = http.Header{"X-After": {"1"}}
	}, handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		n.handler("before%s", fields(r.Trailer))
		say(n, w, r)
	}},
	{name: "expect", method: "POST", body: "payload", pairs: []string{"Expect", "100-continue"}, handle: say},
	{name: "expect in vain", method: "POST", body: "payload", pairs: []string{"Expect", "100-continue"}, handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too much", http.StatusRequestEntityTooLarge)
	}},
	{name: "expect and be told", method: "POST", body: "payload", pairs: []string{"Expect", "100-continue"}, handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusContinue)
		say(n, w, r)
	}},
	{name: "connect", handle: say, ask: frames(func(p *peer) { p.headers(1, true, ":method", "CONNECT", ":authority", "other.test:80") })},
	{name: "connect with a path", handle: say, ask: frames(func(p *peer) { p.request(1, true, "CONNECT", "/") })},
	{name: "no authority", ours: `host "by.test", length 0 [],`, theirs: `Host="by.test"`, handle: say, ask: frames(func(p *peer) {
		p.headers(1, true, ":method", "GET", ":scheme", "https", ":path", "/", "host", "by.test")
	})},
	{name: "two hosts", ours: `host "site.test", length 0 [],`, theirs: `Host="by.test"`, handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "/", "host", "by.test") })},
	{name: "no host", handle: say, ask: frames(func(p *peer) { p.headers(1, true, ":method", "GET", ":scheme", "https", ":path", "/") })},
	{name: "whole address", ours: `1 RST_STREAM PROTOCOL_ERROR`, theirs: `:status="200"`, handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "https://other.test/x?y") })},
	{name: "no slash", handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "x") })},
	{name: "bad escape", handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "/%zz") })},
	{name: "scheme", handle: say, ask: frames(func(p *peer) { p.headers(1, true, ":method", "GET", ":scheme", "ftp", ":path", "/") })},
	{name: "upgrade", ours: `1 RST_STREAM PROTOCOL_ERROR`, theirs: `:status="400"`, handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "/", "upgrade", "websocket") })},
	{name: "te gzip", ours: `1 RST_STREAM PROTOCOL_ERROR`, theirs: `:status="400"`, handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "/", "te", "gzip") })},
	{name: "bare trailers", handle: say, ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "trailer", "x-known, x-missing")
		p.data(1, false, "payload")
		p.headers(1, true, "x-known", "1", "x-unknown", "2")
	})},
	{name: "cookies in pieces", handle: say, ask: frames(func(p *peer) { p.request(1, true, "GET", "/", "cookie", "a=1", "x", "y", "cookie", "b=2") })},
	{name: "too little", ours: `1 RST_STREAM PROTOCOL_ERROR`, theirs: `:status="200"`, handle: say, ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "content-length", "10")
		p.data(1, true, "five5")
	})},
	{name: "too much", handle: say, ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "content-length", "3")
		p.data(1, true, "five5")
	})},
	{name: "too much before the end", handle: say, ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "content-length", "3")
		p.data(1, false, "five5")
	})},
	{name: "declared and nothing", ours: `1 RST_STREAM PROTOCOL_ERROR`, theirs: `:status="200"`, handle: say, ask: frames(func(p *peer) { p.request(1, true, "POST", "/", "content-length", "3") })},
	{name: "declared nothing", handle: say, ask: frames(func(p *peer) { p.request(1, true, "POST", "/", "content-length", "0") })},
	{name: "declared nothing and an end", handle: say, ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "content-length", "0")
		p.data(1, true, "")
	})},
	{name: "padded", handle: say, ask: frames(func(p *peer) {
		p.request(1, false, "POST", "/", "content-length", "5")
		p.must(p.WriteDataPadded(1, true, []byte("five5"), make([]byte, 200)))
	})},
	{name: "who asks", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
		addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		n.handler("server %v, address %v, tag %v", server != nil && server.ErrorLog != nil, addr, r.Context().Value(tagKey{}))
		n.handler("from %s, TLS %x %q %v, canceled %v", r.RemoteAddr, r.TLS.Version, r.TLS.NegotiatedProtocol, r.TLS.HandshakeComplete, r.Context().Err())
	}},
}
