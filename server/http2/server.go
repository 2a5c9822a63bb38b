package http2

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"sync"
	"time"
)

// Limits of a connection. Those that a client is told are net/http's own.
const (
	maxStreams   = 250     // requests in flight, those whose client no longer waits included
	window       = 1 << 20 // bytes of bodies in flight, of one stream and of all
	headerMost   = 1 << 20 // bytes of a request's header, names, values and 32 for each field
	outMost      = 64 << 10
	controlMost  = 1 << 20
	settingsMost = 100              // in one frame
	prefaceWait  = 10 * time.Second // for a connection's first SETTINGS
	writeWait    = time.Second      // for a write that is under way when its deadline passes
	leaveWait    = 10 * time.Second // for the client to read what is left when a connection ends
	lingerWait   = time.Second      // for the client to close after the last frame
)

// Configure makes s answer HTTP/2 by this package. It is to be called before s serves. Idle connections end after s's
// IdleTimeout, or a quarter longer; shutting s down lets the streams that are open finish.
func Configure(s *http.Server) {
	v := &server{http: s, conns: map[*conn]struct{}{}}
	if s.TLSNextProto == nil {
		s.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	s.TLSNextProto["h2"] = v.serve
	s.RegisterOnShutdown(v.shutdown)
}

// server is what the connections of an http.Server share.
type server struct {
	http *http.Server

	mu      sync.Mutex
	conns   map[*conn]struct{}
	closing bool
	sweeper *time.Timer // nil while there are no connections, or if they may be idle for ever
}

// serve is what net/http calls with a connection that has agreed on HTTP/2; it closes the connection when this returns.
func (v *server) serve(_ *http.Server, tc *tls.Conn, h http.Handler) {
	base := context.Background()
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		base = b.BaseContext() // says what a connection is, see http.Server's ConnContext
	}
	c := newConn(v, tc, h, base)
	v.mu.Lock()
	v.conns[c] = struct{}{}
	closing := v.closing
	if v.sweeper == nil && v.http.IdleTimeout > 0 {
		v.sweeper = time.AfterFunc(v.http.IdleTimeout/4, v.sweep)
	}
	v.mu.Unlock()
	if closing {
		c.retire()
	}
	c.serve()
	v.mu.Lock()
	delete(v.conns, c)
	v.mu.Unlock()
}

// sweep ends connections that have been idle. One timer for all of them costs a request nothing.
func (v *server) sweep() {
	v.mu.Lock()
	if len(v.conns) == 0 {
		v.sweeper = nil
	} else {
		v.sweeper.Reset(v.http.IdleTimeout / 4)
	}
	conns := v.all()
	v.mu.Unlock()
	for _, c := range conns {
		if c.idleFor(v.http.IdleTimeout) {
			c.retire()
		}
	}
}

// shutdown lets every connection end once its streams have.
func (v *server) shutdown() {
	v.mu.Lock()
	v.closing = true
	conns := v.all()
	v.mu.Unlock()
	for _, c := range conns {
		c.retire()
	}
}

func (v *server) all() []*conn {
	conns := make([]*conn, 0, len(v.conns))
	for c := range v.conns {
		conns = append(conns, c)
	}
	return conns
}

func (v *server) logf(format string, args ...any) {
	if v.http.ErrorLog != nil {
		v.http.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}
