package http2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn is one connection. What follows mu is guarded by it.
type conn struct {
	server  *server
	tls     *tls.Conn
	handler http.Handler
	state   *tls.ConnectionState // shared by all its requests
	remote  string
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	frames  *http2.Framer // reads only

	mu       sync.Mutex
	streams  map[uint32]*stream // those that the client or we may still send on
	last     uint32             // the highest stream a client has opened
	handlers int                // running, also those whose streams are gone
	idle     time.Time          // since when there is no handler
	settings int                // of ours that the client has not acknowledged
	greeted  bool               // the client's first SETTINGS have come
	retiring bool               // GOAWAY is sent: no new streams
	cut      []uint32           // streams that we have ended before the client had, the newest maxStreams
	cuts     int                // how many there have been
	failed   error              // why nothing more is sent

	output
	sendWindow    int64 // what the client lets us send, on all streams
	streamWindow  int64 // the same for a stream that begins
	maxFrame      int   // of the client
	receiveWindow int64 // what the client may still send
	consumed      int64 // read, but not yet given back to the client
}

func newConn(v *server, tc *tls.Conn, h http.Handler, base context.Context) *conn {
	state := tc.ConnectionState()
	c := &conn{
		server: v, tls: tc, handler: h, state: &state, remote: tc.RemoteAddr().String(),
		streams: map[uint32]*stream{}, idle: time.Now(),
		sendWindow: initialWindow, streamWindow: initialWindow, maxFrame: minFrame, receiveWindow: window,
	}
	c.ctx, c.cancel = context.WithCancel(base)
	c.frames = http2.NewFramer(nil, tc) // crypto/tls holds what is left of a record
	c.frames.SetMaxReadFrameSize(minFrame)
	c.frames.SetReuseFrames()
	c.frames.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	c.frames.MaxHeaderListSize = headerMost
	c.output.init()
	c.out = appendSettings(nil, // before anything else, GOAWAY too
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: headerMost})
	c.out = appendWindowUpdate(c.out, 0, window-initialWindow)
	c.settings++
	return c
}

// What RFC 9113 has hold before SETTINGS.
const (
	initialWindow = 1<<16 - 1
	minFrame      = 1 << 14
	tableSize     = 4096
	maxWindow     = 1<<31 - 1
)

// serve reads frames until the connection ends.
func (c *conn) serve() {
	err := c.greet()
	for err == nil {
		err = c.next()
	}
	c.finish(err)
}

// greet sends our SETTINGS and reads the client's preface.
func (c *conn) greet() error {
	c.mu.Lock()
	c.flushAside()
	err := c.allow(time.Now().Add(prefaceWait))
	c.mu.Unlock()
	if err != nil {
		return err
	}
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.tls, preface[:]); err != nil {
		return err
	}
	if string(preface[:]) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// allow lets the client take until t to send more, or as long as it likes if t is zero. A connection that is being left
// has a limit of its own.
func (c *conn) allow(t time.Time) error {
	if c.leaving {
		return nil
	}
	return c.tls.SetReadDeadline(t)
}

// next reads one frame. Errors are those that end the connection.
func (c *conn) next() error {
	f, err := c.frames.ReadFrame()
	if se, ok := errors.AsType[http2.StreamError](err); ok && se.Cause == nil {
		// Only what is wrong with a header block that has been decoded has a cause. After a frame that could not even be
		// parsed, the two sides may differ on the state of compression.
		err = http2.ConnectionError(se.Code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed // no stream begins that nobody would end
	}
	if err == nil {
		err = c.take(f)
	}
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		err = c.refuse(se)
	}
	if err == nil && len(c.out) > controlMost {
		// Others wait for room long before: these are answers to a client that asks and does not read.
		err = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	if err == nil {
		err = c.failed
	}
	c.flushAside()
	return err
}

// take does what f says.
func (c *conn) take(f http2.Frame) error {
	if !c.greeted {
		s, ok := f.(*http2.SettingsFrame)
		if !ok || s.IsAck() {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.greeted = true
		if err := c.allow(time.Time{}); err != nil {
			return err
		}
	}
	if _, data := f.(*http2.DataFrame); c.beyond(f.Header().StreamID) && !data {
		return nil
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.takeHeaders(f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.out = appendPingAck(c.out, f.Data)
		}
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if st := c.streams[f.StreamID]; st != nil {
			st.end(http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode, Cause: errClientReset})
		} else if i := slices.Index(c.cut[:], f.StreamID); i >= 0 {
			c.cut[i] = 0 // the client knows now
		}
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.ConnectionError(http2.ErrCodeProtocol) // the stream may not have begun
		}
	case *http2.GoAwayFrame:
		c.goAway()
		c.leave()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // frames of other types are to be passed over
}

var errClientReset = errors.New("the client has reset the stream")

func (c *conn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if c.settings--; c.settings < 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	if f.NumSettings() > settingsMost {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	initial := c.streamWindow
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.encoder.SetMaxDynamicTableSize(s.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(min(s.Val, outMost/2)) // larger ones would only keep others waiting
		case http2.SettingInitialWindowSize:
			initial = int64(s.Val)
		}
		return nil
	})
	if more := initial - c.streamWindow; err == nil && more != 0 { // once, however often it is said: it is work for each stream
		c.streamWindow = initial
		for _, st := range c.streams {
			if st.sendWindow += more; st.sendWindow > maxWindow {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
		}
		c.wakeWriters()
	}
	c.out = appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	return err
}

func (c *conn) takeWindow(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.sendWindow += int64(f.Increment); c.sendWindow > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.wakeWriters()
		return nil
	}
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil // it has ended in between
	}
	if st.sendWindow += int64(f.Increment); st.sendWindow > maxWindow {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	if st.writing > 0 {
		st.changed.Broadcast()
	}
	return nil
}

func (c *conn) takeHeaders(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if st := c.streams[id]; st != nil {
		return st.takeTrailers(f)
	}
	switch {
	case id%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case id > c.last:
		c.last = id
	case c.wasCut(id):
		return nil
	case id == c.last:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	default:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if f.HasPriority() && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	if len(c.streams) >= maxStreams || c.handlers >= 2*maxStreams {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	return c.open(f)
}

// open begins a stream and runs the handler for it.
func (c *conn) open(f *http2.MetaHeadersFrame) error {
	st := &stream{conn: c, id: f.StreamID, sendWindow: c.streamWindow, receiveWindow: window, declared: -1}
	st.changed.L = &c.mu
	r, err := st.request(f)
	if err != nil {
		return err
	}
	h := c.handler
	if f.Truncated {
		h = http.HandlerFunc(headerTooLarge)
	}
	c.streams[st.id] = st
	c.handlers++
	w := &response{st: st, request: r, header: http.Header{}, length: -1}
	go w.run(h)
	return nil
}

func headerTooLarge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	fmt.Fprintf(w, "the request's header has more than %d bytes\n", headerMost)
}

func (c *conn) takeData(f *http2.DataFrame) error {
	size := int64(f.Length) // with its padding, as windows count
	st := c.streams[f.StreamID]
	beyond := c.beyond(f.StreamID)
	if f.StreamID > c.last && !beyond {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if size > c.receiveWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.receiveWindow -= size
	if st == nil || st.received {
		c.giveBack(size)
		if beyond || c.wasCut(f.StreamID) {
			return nil
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	return st.takeData(f)
}

// giveBack lets the client send as much more as has been read, once it is worth a frame: when that is as much as the
// client may still send. Half of the window would not do, as a handler that does not read may hold the other half.
func (c *conn) giveBack(n int64) {
	if c.consumed += n; c.consumed > 0 && c.consumed >= c.receiveWindow {
		c.out = appendWindowUpdate(c.out, 0, uint32(c.consumed))
		c.receiveWindow += c.consumed
		c.consumed = 0
	}
}

// refuse ends a stream that the client has made a mistake with, whether it has begun or not, and tells the client.
func (c *conn) refuse(se http2.StreamError) error {
	id := se.StreamID
	switch st := c.streams[id]; {
	case !c.greeted || id%2 == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case st != nil:
		st.cut(se.Code, se)
	case !c.beyond(id):
		c.last = max(c.last, id)
		c.out = appendReset(c.out, id, se.Code)
		c.noteCut(id)
	}
	return nil
}

// noteCut notes that we have ended a stream, which the client may not know yet.
func (c *conn) noteCut(id uint32) {
	if len(c.cut) < maxStreams {
		c.cut = append(c.cut, id)
	} else {
		c.cut[c.cuts%maxStreams] = id
	}
	c.cuts++
}

// wasCut reports whether the client may not know yet that a stream has ended, so that what it still sends is passed over.
func (c *conn) wasCut(id uint32) bool { return slices.Contains(c.cut, id) }
