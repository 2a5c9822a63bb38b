package http2

import (
	"bytes"
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// output is what a connection is about to send. It is guarded by the connection's mutex, but for what is being written.
type output struct {
	out      []byte  // frames, whole; nil when there are none
	box      *[]byte // what out was taken from and goes back to, if it is one of buffers
	flushing bool    // somebody writes what was here before
	leader   *stream // whose handler that is, if it is one
	leaving  bool    // when all is sent, say that there will be no more
	left     bool    // that is said
	writers  int     // handlers that wait for room or a window
	encoder  *hpack.Encoder
	block    bytes.Buffer // the encoder's
}

func (o *output) init() { o.encoder = hpack.NewEncoder(&o.block) }

// buffers are what outputs gather in: a connection at rest has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// gather makes ready for more than a few bytes of output.
func (o *output) gather() {
	if o.out == nil {
		o.box = buffers.Get().(*[]byte)
		o.out = (*o.box)[:0]
	}
}

// flush has what has gathered written: by the caller, unless somebody is at it, who then takes it along. The caller is
// st's handler, whose deadline holds for it, or st is nil.
// What others add meanwhile is written by a goroutine of its own, so that nobody is kept for the sake of others.
func (c *conn) flush(st *stream) {
	if c.flushing || len(c.out) == 0 || c.failed != nil || c.left {
		return
	}
	c.flushing, c.leader = true, st
	c.write()
	c.leader = nil
	if len(c.out) > 0 {
		go c.flushRest()
		return
	}
	c.flushing = false
	c.farewell()
}

// flushAside is flush for those who must not wait for the client.
func (c *conn) flushAside() {
	switch {
	case c.flushing || c.failed != nil || c.left:
	case len(c.out) > 0:
		c.flushing = true
		go c.flushRest()
	default:
		c.farewell()
	}
}

func (c *conn) flushRest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 && c.failed == nil {
		c.write()
	}
	c.flushing = false
	c.farewell()
}

// write writes what has gathered, the mutex released meanwhile.
func (c *conn) write() {
	b, box := c.out, c.box
	c.out, c.box = nil, nil
	c.mu.Unlock()
	_, err := c.tls.Write(b)
	if box != nil && cap(b) <= 4*outMost {
		*box = b[:0]
		buffers.Put(box)
	}
	c.mu.Lock()
	if err != nil {
		c.fail(err)
		return
	}
	c.wakeWriters()
}

// wakeWriters lets those go on who wait for room or a window.
func (c *conn) wakeWriters() {
	if c.writers == 0 {
		return
	}
	for _, st := range c.streams {
		if st.writing > 0 {
			st.changed.Broadcast()
		}
	}
}

// appendHeaders appends a header block of fields, which goes through the encoder now and so must not be taken back.
func (c *conn) appendHeaders(id uint32, fields []hpack.HeaderField, end bool) {
	c.block.Reset()
	c.gather()
	for i := range fields {
		c.encoder.WriteField(fields[i]) // into memory
	}
	block, typ := c.block.Bytes(), http2.FrameHeaders
	var flags http2.Flags
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		part := block[:min(len(block), c.maxFrame)]
		block = block[len(part):]
		if len(block) == 0 {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.out = append(appendFrame(c.out, typ, flags, id, len(part)), part...)
		if len(block) == 0 {
			break
		}
		typ, flags = http2.FrameContinuation, 0
	}
	if c.block.Cap() > outMost {
		c.block = bytes.Buffer{}
	}
}

// appendFrame appends the header of a frame whose payload, of n bytes, follows.
func appendFrame(b []byte, typ http2.FrameType, flags http2.Flags, id uint32, n int) []byte {
	b = append(b, byte(n>>16), byte(n>>8), byte(n), byte(typ), byte(flags))
	return binary.BigEndian.AppendUint32(b, id)
}

func appendSettings(b []byte, settings ...http2.Setting) []byte {
	b = appendFrame(b, http2.FrameSettings, 0, 0, 6*len(settings))
	for _, s := range settings {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(s.ID)), s.Val)
	}
	return b
}

func appendWindowUpdate(b []byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameWindowUpdate, 0, id, 4), n)
}

func appendPingAck(b []byte, data [8]byte) []byte {
	return append(appendFrame(b, http2.FramePing, http2.FlagPingAck, 0, 8), data[:]...)
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameRSTStream, 0, id, 4), uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = appendFrame(b, http2.FrameGoAway, 0, 0, 8)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, last), uint32(code))
}
