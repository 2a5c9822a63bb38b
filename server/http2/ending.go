package http2

import (
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// A connection ends in one of three ways. It is left: goAway, then leave when no handler runs, then farewell when all is
// sent, then the client closes or has had its time. Or reading it ends, by the client or by its mistake: finish. Or writing
// fails, or one who writes is stuck: fail, to which the other ways lead in the end, and of which reading learns as well.

// goAway tells the client to open no more streams.
func (c *conn) goAway() {
	if !c.retiring {
		c.retiring = true
		c.out = appendGoAway(c.out, c.last, http2.ErrCodeNo)
	}
}

// beyond reports whether a stream is none that GOAWAY has promised to answer: what comes for it is passed over.
func (c *conn) beyond(id uint32) bool { return c.retiring && id > c.last }

// retire ends the connection once its streams have ended.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAway()
	c.flushAside()
	c.leave()
}

// leave ends a retiring connection that has nothing more to do: what is to be sent is sent, and then the client has a
// moment to read it and close, see farewell.
func (c *conn) leave() {
	if c.retiring && c.handlers == 0 && c.failed == nil && !c.leaving {
		c.leaving = true
		if err := c.tls.SetDeadline(time.Now().Add(leaveWait)); err != nil {
			c.fail(err)
		}
		c.flushAside()
	}
}

// farewell says that there will be no more, once all has been sent.
func (c *conn) farewell() {
	if !c.leaving || c.left || c.failed != nil {
		return
	}
	c.left = true
	c.mu.Unlock()
	err := c.tls.CloseWrite()
	if err == nil {
		// Closing under unread frames of the client would take back what it has not read.
		err = c.tls.SetReadDeadline(time.Now().Add(lingerWait))
	}
	c.mu.Lock()
	if err != nil {
		c.fail(err)
	}
}

// idleFor reports whether no handler has run for d.
func (c *conn) idleFor(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handlers == 0 && time.Since(c.idle) >= d
}

// fail ends the connection: nothing more is sent, whoever waits is told.
func (c *conn) fail(err error) {
	if c.failed != nil {
		return
	}
	c.failed = err
	for _, st := range c.streams {
		st.end(err)
	}
	c.cancel()
	c.tls.NetConn().Close() // whoever reads or writes stops; that it fails would not matter
}

// finish ends the connection for the reason that reading it ended for. What a client did wrong it is told.
func (c *conn) finish(err error) {
	code, told := http2.ErrCodeNo, false
	if ce, ok := errors.AsType[http2.ConnectionError](err); ok {
		code, told = http2.ErrCode(ce), true
	} else if errors.Is(err, http2.ErrFrameTooLarge) {
		code, told = http2.ErrCodeFrameSize, true
	}
	c.mu.Lock()
	if told {
		c.server.logf("http2: connection from %s ended: %v", c.remote, err)
		c.out = appendGoAway(c.out, c.last, code)
		c.retiring, c.leaving = true, true
		c.flushAside()
	}
	for _, st := range c.streams {
		st.end(errConnEnded)
	}
	c.mu.Unlock()
	if told {
		c.drain()
	}
	c.mu.Lock()
	c.fail(errConnEnded)
	c.mu.Unlock()
}

// drain passes over what a client still sends, so that closing does not take back the frame that says why.
func (c *conn) drain() {
	if c.tls.SetDeadline(time.Now().Add(lingerWait)) == nil { // reading may have to answer, see TLS's KeyUpdate
		io.Copy(io.Discard, c.tls) // until the client closes or the time is over: nothing is to be learnt from which
	}
}

var errConnEnded = errors.New("the connection has ended")
