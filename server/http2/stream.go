package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stream is one request and its answer. All but ctx is guarded by the connection's mutex.
type stream struct {
	conn   *conn
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc

	changed sync.Cond // body, windows, room or end: what the handler may wait for
	ended   error     // why the client neither hears nor says more: reset, or the handler has returned
	writing int       // goroutines of the handler that wait to write

	sendWindow int64
	sentEnd    bool

	body          []byte // received and not yet read
	bodyErr       error  // what follows body: io.EOF when all of it has been received
	received      bool   // the client has ended its side
	expects       bool   // the client waits for 100 Continue
	declared      int64  // the body's length, -1 if the client has not said
	got           int64
	receiveWindow int64
	consumed      int64 // read, but not yet given back to the client
	trailer       http.Header

	readLimit, writeLimit *time.Timer
}

// end has the stream end here: the client has been told or knows.
func (st *stream) end(err error) {
	if st.ended != nil {
		return
	}
	st.ended = err
	delete(st.conn.streams, st.id)
	if st.bodyErr == nil { // else all has been received and may still be read
		st.forgetBody(err)
	}
	st.cancel()
	st.changed.Broadcast()
}

// cut ends a stream and tells the client so, who may go on sending until it hears of it.
func (st *stream) cut(code http2.ErrCode, err error) {
	c := st.conn
	c.out = appendReset(c.out, st.id, code)
	if !st.received {
		c.noteCut(st.id)
	}
	st.end(err)
}

// drop forgets bytes of the body that nobody will read.
func (st *stream) drop(n int) {
	st.conn.giveBack(int64(n))
	if st.received || st.ended != nil {
		return
	}
	if st.consumed += int64(n); st.consumed >= window/2 {
		st.conn.out = appendWindowUpdate(st.conn.out, st.id, uint32(st.consumed))
		st.receiveWindow += st.consumed
		st.consumed = 0
	}
}

func (st *stream) takeData(f *http2.DataFrame) error {
	size, data := int64(f.Length), f.Data()
	if size > st.receiveWindow {
		st.conn.giveBack(size)
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	st.receiveWindow -= size
	if st.got += int64(len(data)); st.declared >= 0 && st.got > st.declared {
		st.conn.giveBack(size)
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.drop(int(size) - len(data)) // padding
	switch {
	case len(data) == 0:
	case st.bodyErr != nil:
		st.drop(len(data))
	default:
		if st.body == nil && st.declared > 0 { // in proportion to what has come: what is declared costs the client nothing
			st.body = make([]byte, 0, min(int(st.declared), 4*len(data)))
		}
		st.body = append(st.body, data...)
		st.changed.Broadcast()
	}
	if f.StreamEnded() {
		return st.takeEnd()
	}
	return nil
}

// takeEnd notes that the client has sent all.
func (st *stream) takeEnd() error {
	if st.declared >= 0 && st.got != st.declared {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.received = true
	if st.bodyErr == nil {
		st.bodyErr = io.EOF
	}
	if st.sentEnd {
		delete(st.conn.streams, st.id)
	}
	st.changed.Broadcast()
	return nil
}

func (st *stream) takeTrailers(f *http2.MetaHeadersFrame) error {
	if st.received {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	}
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	for _, field := range f.RegularFields() {
		if k := http.CanonicalHeaderKey(field.Name); st.trailer[k] != nil { // what the header has announced
			st.trailer[k] = append(st.trailer[k], field.Value)
		}
	}
	return st.takeEnd()
}

// body is what a handler reads of a request.
type body struct {
	st      *stream
	request *http.Request
}

func (b body) Read(p []byte) (int, error) {
	st := b.st
	st.conn.mu.Lock()
	defer st.conn.mu.Unlock()
	if st.expects && st.ended == nil {
		st.expects = false
		st.conn.appendHeaders(st.id, []hpack.HeaderField{{Name: ":status", Value: "100"}}, false)
		st.conn.flush(st)
	}
	if len(p) == 0 {
		return 0, nil
	}
	for len(st.body) == 0 && st.bodyErr == nil {
		st.changed.Wait()
	}
	n := copy(p, st.body)
	if n == 0 {
		if st.bodyErr == io.EOF {
			b.trailers()
		}
		return 0, st.bodyErr
	}
	st.body = st.body[n:]
	if len(st.body) == 0 {
		st.body = nil
	}
	st.drop(n)
	st.conn.flushAside()
	return n, nil
}

// trailers gives the request what has followed its body.
func (b body) trailers() {
	for k, vv := range b.st.trailer {
		if len(vv) > 0 {
			b.request.Trailer[k] = vv
		}
	}
	b.st.trailer = nil
}

func (b body) Close() error {
	b.st.conn.mu.Lock()
	defer b.st.conn.mu.Unlock()
	b.st.forgetBody(http.ErrBodyReadAfterClose)
	b.st.conn.flushAside()
	return nil
}

// forgetBody has reads of the body fail with err from now on.
func (st *stream) forgetBody(err error) {
	n := len(st.body)
	st.body, st.bodyErr = nil, err
	st.drop(n)
	st.changed.Broadcast()
}

// room waits until something can be sent and returns how much of want, in bytes.
func (st *stream) room(want int) (int, error) {
	c := st.conn
	for st.ended == nil {
		n := min(int64(want), int64(c.maxFrame), st.sendWindow, c.sendWindow)
		if n > 0 && len(c.out) < outMost {
			return int(n), nil
		}
		if len(c.out) > 0 && !c.flushing {
			c.flush(st)
			continue
		}
		st.writing++
		c.writers++
		st.changed.Wait()
		st.writing--
		c.writers--
	}
	return 0, st.ended
}

// limitRead has reads of what has not been received by t fail, or if t is zero, no more.
func (st *stream) limitRead(t time.Time) {
	st.limit(&st.readLimit, t, func() {
		if st.bodyErr == nil {
			st.bodyErr = os.ErrDeadlineExceeded
			st.changed.Broadcast()
		}
	})
}

// limitWrite has the stream reset at t if it is not said in full, or if t is zero, no more. A handler that is writing to the
// socket has writeWait to finish, whether its stream has ended by then or not: the connection is not to end for a client
// that is only slow.
func (st *stream) limitWrite(t time.Time) {
	c := st.conn
	st.limit(&st.writeLimit, t, func() {
		if st.ended == nil && !st.sentEnd {
			st.cut(http2.ErrCodeInternal, os.ErrDeadlineExceeded)
			c.flushAside()
		}
		if c.leader == st {
			time.AfterFunc(writeWait, func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.leader == st {
					c.fail(os.ErrDeadlineExceeded)
				}
			})
		}
	})
}

// limit has f called at t, or at once when that has passed.
func (st *stream) limit(timer **time.Timer, t time.Time, f func()) {
	mu := &st.conn.mu
	mu.Lock()
	defer mu.Unlock()
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		f()
		return
	}
	var set *time.Timer
	set = time.AfterFunc(left, func() {
		mu.Lock()
		defer mu.Unlock()
		if *timer == set { // else another time has been set since
			f()
		}
	})
	*timer = set
}

var errReturned = errors.New("the handler has returned")
