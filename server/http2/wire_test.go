package http2

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// These tests run in bubbles of testing/synctest over connections that are pipes: nothing is held between the sides, so
// that a client that does not read is stuck at once, time passes when nobody has anything to do, and a goroutine that is
// left at the end, or that waits for ever, fails its test.

// certificate is one that costs little to show.
var certificate = func() tls.Certificate {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}()

// A wire is a network of one server.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	writes atomic.Int64 // the server's, of all connections
}

type writeCounter struct {
	net.Conn
	w *wire
}

func (c writeCounter) Write(p []byte) (int, error) {
	c.w.writes.Add(1)
	return c.Conn.Write(p)
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

func (w *wire) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case w.conns <- writeCounter{server, w}:
		return client, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// A site is a server and what it has logged.
type site struct {
	*wire
	t    *testing.T
	http *http.Server

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

type tagKey struct{}

// open serves h on a wire until the test ends: by this package, or with theirs by net/http.
func open(t *testing.T, theirs bool, h http.Handler, with ...func(*http.Server)) *site {
	t.Helper()
	s := &site{wire: &wire{conns: make(chan net.Conn), closed: make(chan struct{})}, t: t}
	s.http = &http.Server{
		Handler:     h,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{certificate}, SessionTicketsDisabled: true},
		ErrorLog:    log.New(s, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, tagKey{}, "tag") },
	}
	for _, f := range with {
		f(s.http)
	}
	if !theirs {
		Configure(s.http)
	}
	served := make(chan error)
	go func() { served <- s.http.ServeTLS(s.wire, "", "") }()
	t.Cleanup(func() {
		s.http.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serving ended with %v", err)
		}
	})
	return s
}

// transport is net/http's client.
func (s *site) transport() *http.Transport {
	tr := &http.Transport{
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:     true,
		DialContext:           s.dial,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Hour,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// A peer is a client that speaks in frames, and reads when it is told to.
type peer struct {
	*http2.Framer
	t     *testing.T
	conn  *tls.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

// connect opens a connection, and says nothing.
func (s *site) connect() *peer {
	s.t.Helper()
	raw, err := s.dial(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	return s.over(raw)
}

// over is connect once it has a connection.
func (s *site) over(raw net.Conn) *peer {
	s.t.Helper()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := conn.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	p := &peer{Framer: http2.NewFramer(conn, conn), t: s.t, conn: conn}
	p.AllowIllegalWrites = true
	p.SetMaxReadFrameSize(1<<24 - 1)
	p.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	p.ReadMetaHeaders.SetMaxStringLength(1 << 24)
	p.MaxHeaderListSize = 1 << 24
	p.enc = hpack.NewEncoder(&p.block)
	s.t.Cleanup(func() { raw.Close() })
	return p
}

// greeted opens a connection and exchanges SETTINGS.
func (s *site) greeted(settings ...http2.Setting) *peer {
	s.t.Helper()
	p := s.connect()
	io.WriteString(p.conn, http2.ClientPreface)
	p.must(p.WriteSettings(settings...))
	for acked, window := false, false; !acked || !window; {
		switch f := p.frame().(type) {
		case *http2.SettingsFrame:
			if acked = acked || f.IsAck(); !f.IsAck() {
				p.must(p.WriteSettingsAck())
			}
			window = window || s.http.TLSNextProto["h2"] == nil
		case *http2.WindowUpdateFrame:
			window = true
		default:
			p.t.Fatalf("greeted with %v", f)
		}
	}
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// frame is the next one from the server.
func (p *peer) frame() http2.Frame {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatalf("instead of a frame: %v", err)
	}
	return f
}

// next waits for a frame for a minute, in which nothing of a test happens by itself.
func (p *peer) next() (http2.Frame, error) {
	p.must(p.conn.SetReadDeadline(time.Now().Add(time.Minute)))
	return p.ReadFrame()
}

// now is what the server says without being asked for more.
func (p *peer) now() (all []string) {
	for {
		synctest.Wait()
		p.must(p.conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
		f, err := p.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return all
		}
		if err != nil {
			return append(all, err.Error())
		}
		all = append(all, text(f))
	}
}

// quiet fails the test if the server says anything now.
func (p *peer) quiet() {
	p.t.Helper()
	if all := p.now(); len(all) > 0 {
		p.t.Errorf("it should say nothing: %q", all)
	}
}

// headers sends a request's header, or with names that have no colon, trailers.
func (p *peer) headers(id uint32, end bool, pairs ...string) {
	p.t.Helper()
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: end, EndHeaders: true, BlockFragment: p.encode(pairs...)}))
}

func (p *peer) encode(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.must(p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return slices.Clone(p.block.Bytes())
}

// request is the header of a request for path.
func (p *peer) request(id uint32, end bool, method, path string, pairs ...string) {
	p.t.Helper()
	p.headers(id, end, append([]string{":method", method, ":scheme", "https", ":path", path, ":authority", "site.test"}, pairs...)...)
}

func (p *peer) data(id uint32, end bool, data string) {
	p.t.Helper()
	p.must(p.WriteData(id, end, []byte(data)))
}

// ends reads until the connection ends, and returns what it said, without answers.
func (p *peer) ends() (said []string) {
	for {
		f, err := p.next()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.t.Error("the connection does not end")
			}
			return said
		}
		switch f.(type) {
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			said = append(said, text(f))
		}
	}
}

// answer reads what a stream has until it ends, frames of the connection passed over.
func (p *peer) answer(id uint32) string {
	p.t.Helper()
	var b strings.Builder
	var body int
	var sum []byte
	for {
		f, err := p.next()
		if err != nil {
			fmt.Fprintf(&b, "connection: %v\n", err)
			return b.String()
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			return b.String() + text(f) + "\n"
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			body += len(f.Data())
			sum = append(sum, f.Data()...)
			if n := uint32(f.Length); n > 0 {
				p.must(p.WriteWindowUpdate(0, n))
				if !f.StreamEnded() {
					p.must(p.WriteWindowUpdate(id, n))
				}
			}
			if f.StreamEnded() {
				fmt.Fprintf(&b, "body %s, end", brief(sum))
				return b.String()
			}
		case *http2.MetaHeadersFrame:
			if len(sum) > 0 {
				fmt.Fprintf(&b, "body %s\n", brief(sum))
				sum = nil
			}
			b.WriteString(text(f) + "\n")
			if f.StreamEnded() {
				return b.String()
			}
		case *http2.RSTStreamFrame:
			return b.String() + fmt.Sprintf("body %s\n", brief(sum)) + text(f)
		}
	}
}

// text is a frame in a line.
func text(f http2.Frame) string {
	switch f := f.(type) {
	case nil:
		return "nothing"
	case *http2.MetaHeadersFrame:
		fields := map[string]string{}
		for _, h := range f.Fields {
			if h.Name != "date" {
				fields[h.Name] += " " + h.Value
			}
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%d HEADERS", f.StreamID)
		for _, k := range slices.Sorted(maps.Keys(fields)) {
			b.WriteString(" " + k + "=" + brief([]byte(fields[k][1:])))
		}
		if f.StreamEnded() {
			b.WriteString(" end")
		}
		return b.String()
	case *http2.DataFrame:
		end := ""
		if f.StreamEnded() {
			end = " end"
		}
		return fmt.Sprintf("%d DATA %s%s", f.StreamID, brief(f.Data()), end)
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("%d RST_STREAM %v", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("%d WINDOW_UPDATE %d", f.StreamID, f.Increment)
	case *http2.PingFrame:
		return fmt.Sprintf("PING %s", f.Data[:])
	default:
		return f.Header().Type.String()
	}
}

// brief is b, or if it is long, its length, beginning and sum.
func brief(b []byte) string {
	if len(b) <= 200 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%d bytes from %q with sum %08x", len(b), b[:8], crc32.ChecksumIEEE(b))
}

// inBubble runs f where time is the test's own.
func inBubble(f func(t *testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}
