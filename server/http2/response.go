package http2

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// response is the http.ResponseWriter of a stream. It is its handler's, not safe for use by several goroutines at once
// but for what sets deadlines.
type response struct {
	st      *stream
	request *http.Request
	header  http.Header

	status  int                 // 0: not yet decided
	fields  []hpack.HeaderField // what header said when it was
	typed   bool                // fields has a Content-Type, or must not
	dated   bool
	length  int64    // of the body, as the handler has declared; -1: it has not
	trailer []string // names that the header announces
	closing bool     // "Connection: close"

	sent    bool    // fields are
	written int64   // bytes of the body
	small   *[]byte // those of them that wait for more, one of pieces
}

// pieces gather what handlers write in small parts.
var pieces = sync.Pool{New: func() any { b := make([]byte, 0, pieceMost); return &b }}

const pieceMost = 4 << 10

// run answers the request.
func (w *response) run(h http.Handler) {
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				stack := make([]byte, 64<<10)
				w.st.conn.server.logf("http2: panic serving %s: %v\n%s", w.st.conn.remote, p, stack[:runtime.Stack(stack, false)])
			}
		}
		w.close()
	}()
	h.ServeHTTP(w, w.request)
	w.complete()
	returned = true
}

// complete sends what is left.
func (w *response) complete() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.sent && w.length < 0 && bodyAllowed(w.status) && (w.written > 0 || w.request.Method != http.MethodHead) {
		w.fields = append(w.fields, hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(w.written, 10)})
	}
	w.send(nil, true) // an error would be that there is nobody to tell
}

// close ends the stream, whatever has become of the answer.
func (w *response) close() {
	st, c := w.st, w.st.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.ended != nil:
	case !st.sentEnd:
		st.cut(http2.ErrCodeInternal, errReturned)
	case !st.received:
		st.cut(http2.ErrCodeNo, errReturned) // all is said: the rest of the request need not be sent
	default:
		st.end(errReturned)
	}
	st.forgetBody(errReturned)
	for _, t := range []*time.Timer{st.readLimit, st.writeLimit} {
		if t != nil {
			t.Stop()
		}
	}
	if c.handlers--; c.handlers == 0 {
		c.idle = time.Now()
	}
	if w.closing {
		c.goAway()
	}
	c.leave()
	c.flush(nil)
}

func (w *response) Header() http.Header { return w.header }

// WriteHeader decides the status and takes up the header. Informational ones are sent at once, and another follows.
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("http2: invalid status code %d", status))
	}
	if w.status != 0 {
		return
	}
	if status < 200 {
		w.inform(status)
		return
	}
	w.status = status
	w.fields = append(make([]hpack.HeaderField, 0, len(w.header)+4), hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	for k, vv := range w.header {
		if !strings.HasPrefix(k, http.TrailerPrefix) && w.note(k, vv) {
			w.fields = appendFields(w.fields, k, vv)
		}
	}
	if w.typed = w.typed || !bodyAllowed(status); !w.dated {
		w.fields = append(w.fields, hpack.HeaderField{Name: "date", Value: date()})
	}
}

// note takes up what k and its values mean to this package, and reports whether they are to be sent.
func (w *response) note(k string, vv []string) bool {
	switch k {
	case "Content-Type", "Content-Encoding":
		w.typed = true // of encoded bytes nothing can be guessed
	case "Date":
		w.dated = true
	case "Content-Length":
		if len(vv) != 1 {
			return false
		}
		n, err := strconv.ParseUint(vv[0], 10, 63)
		if err != nil {
			return false
		}
		w.length = int64(n)
	case "Trailer":
		for _, names := range vv {
			for name := range strings.SplitSeq(names, ",") {
				if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); httpguts.ValidTrailerHeader(name) {
					w.trailer = append(w.trailer, name)
				}
			}
		}
	case "Connection":
		w.closing = len(vv) > 0 && strings.EqualFold(vv[0], "close")
	}
	return true
}

// inform sends an informational status.
func (w *response) inform(status int) {
	fields := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}
	for k, vv := range w.header {
		if k != "Content-Length" {
			fields = appendFields(fields, k, vv)
		}
	}
	st, c := w.st, w.st.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if status == http.StatusContinue {
		st.expects = false
	}
	if st.ended == nil {
		c.appendHeaders(st.id, fields, false)
		c.flush(st)
	}
}

// appendFields appends what k and its values are in HTTP/2, if they are anything there.
func appendFields(fields []hpack.HeaderField, k string, vv []string) []hpack.HeaderField {
	name, ok := lowered[k]
	if !ok {
		if name = strings.ToLower(k); !httpguts.ValidHeaderFieldName(name) || ofHTTP1(name) {
			return fields
		}
	}
	for _, v := range vv {
		if httpguts.ValidHeaderFieldValue(v) {
			fields = append(fields, hpack.HeaderField{Name: name, Value: v})
		}
	}
	return fields
}

// lowered are names that answers have all the time.
var lowered = map[string]string{
	"Content-Type": "content-type", "Content-Length": "content-length", "Date": "date", "Cache-Control": "cache-control",
	"Audit-Id": "audit-id", "Content-Encoding": "content-encoding", "Vary": "vary", "Etag": "etag", "Warning": "warning",
}

// bodyAllowed reports whether an answer of the status may have a body: RFC 9110, section 6.4.1.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Write sends p, or keeps it for more to come. What is as long as the header has said is the end: trailers that only
// http.TrailerPrefix names must be set before, unlike with net/http.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	w.written += int64(len(p))
	if w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if w.small == nil && len(p) <= pieceMost {
		w.small = pieces.Get().(*[]byte)
	}
	if w.small != nil && len(*w.small)+len(p) <= pieceMost {
		*w.small = append(*w.small, p...)
		return len(p), nil
	}
	if err := w.send(p, w.written == w.length && w.trailer == nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush sends what has been written.
func (w *response) Flush() { w.FlushError() } // http.Flusher cannot say that it failed; the next Write does

// FlushError is what http.ResponseController calls.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.send(nil, false)
}

// SetReadDeadline is what http.ResponseController calls.
func (w *response) SetReadDeadline(t time.Time) error {
	w.st.limitRead(t)
	return nil
}

// SetWriteDeadline is what http.ResponseController calls.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.st.limitWrite(t)
	return nil
}

// EnableFullDuplex is what http.ResponseController calls. HTTP/2 always is.
func (w *response) EnableFullDuplex() error { return nil }

// send sends the header, if it has not been, what waits in small, and p; end says that there is no more.
func (w *response) send(p []byte, end bool) error {
	st, c := w.st, w.st.conn
	var small []byte
	if w.small != nil {
		small = *w.small
		defer func() {
			*w.small = small[:0]
			pieces.Put(w.small)
			w.small = nil
		}()
	}
	trailer := w.trailerFields(end)
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.ended != nil {
		return st.ended
	}
	if st.sentEnd {
		return nil
	}
	end = end && trailer == nil
	if !w.sent {
		w.sent, st.expects = true, false // a 100 after the header would be taken for trailers
		if !w.typed && len(small)+len(p) > 0 {
			first := small
			if len(first) == 0 {
				first = p
			}
			w.fields = append(w.fields, hpack.HeaderField{Name: "content-type", Value: http.DetectContentType(first)})
		}
		if w.request.Method == http.MethodHead { // what would follow has been looked at
			small, p, trailer, end = nil, nil, nil, true
		}
		if end && len(small)+len(p) == 0 {
			st.sentEnd = true
		}
		c.appendHeaders(st.id, w.fields, st.sentEnd)
		w.fields = nil
	}
	if err := st.sendData(small, end && len(p) == 0); err != nil {
		return err
	}
	if err := st.sendData(p, end); err != nil {
		return err
	}
	switch {
	case trailer != nil:
		c.appendHeaders(st.id, trailer, true)
	case end && !st.sentEnd:
		c.out = appendFrame(c.out, http2.FrameData, http2.FlagDataEndStream, st.id, 0)
	}
	if st.sentEnd = st.sentEnd || end || trailer != nil; st.sentEnd && st.received {
		delete(c.streams, st.id)
	}
	c.flush(st)
	return nil
}

// sendData gathers p as frames in the output, waiting for windows and room. With end, the last of them ends the stream.
func (st *stream) sendData(p []byte, end bool) error {
	for len(p) > 0 {
		n, err := st.room(len(p))
		if err != nil {
			return err
		}
		c := st.conn
		c.gather()
		var flags http2.Flags
		if end && n == len(p) {
			flags, st.sentEnd = http2.FlagDataEndStream, true
		}
		c.out = append(appendFrame(c.out, http2.FrameData, flags, st.id, n), p[:n]...)
		c.sendWindow -= int64(n)
		st.sendWindow -= int64(n)
		p = p[n:]
	}
	return nil
}

// trailerFields is what follows a body: what the header has announced, and what is named with http.TrailerPrefix.
func (w *response) trailerFields(end bool) []hpack.HeaderField {
	if !end {
		return nil
	}
	var fields []hpack.HeaderField
	for _, k := range w.trailer {
		fields = appendFields(fields, k, w.header[k])
	}
	for k, vv := range w.header {
		if name, ok := strings.CutPrefix(k, http.TrailerPrefix); ok && httpguts.ValidTrailerHeader(name) {
			fields = appendFields(fields, http.CanonicalHeaderKey(name), vv)
		}
	}
	return fields
}

// dated is the time that answers are sent at, by the second.
type dated struct {
	second int64
	text   string
}

var newest atomic.Pointer[dated]

func date() string {
	now := time.Now()
	if d := newest.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
	newest.Store(d)
	return d.text
}
