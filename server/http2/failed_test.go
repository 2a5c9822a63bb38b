package http2

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestNoStreamAfterFailure: a request that has been received when writing fails is not begun, as nobody would end it.
func TestNoStreamAfterFailure(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	here, there := net.Pipe()
	client := tls.Client(here, &tls.Config{InsecureSkipVerify: true})
	go io.Copy(io.Discard, client)
	tc := tls.Server(there, s.TLS)
	var frames, block bytes.Buffer
	fr, e := http2.NewFramer(&frames, nil), hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "h"}} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	fr.WriteSettings()
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: block.Bytes()})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		client.Write(frames.Bytes()) // one record: the second frame is there when the first has been read
	}()
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := newConn(&server{http: s.Config}, tc, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it is answered") }), t.Context())
	if err := c.next(); err != nil {
		t.Fatal(err)
	}
	<-sent
	failure := errors.New("failure")
	c.mu.Lock()
	c.fail(failure)
	c.mu.Unlock()
	if err := c.next(); err != failure || c.handlers > 0 {
		t.Errorf("next: %v, %d handlers", err, c.handlers)
	}
}
