package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"

	"github.com/klauspost/compress/gzip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/yaml"

	"pintle.dev/api"
	"pintle.dev/server/accept"
)

// chunkSize is how much of a list is gathered before it goes out, in bytes: each write takes the connection's lock and, when
// nobody else is writing, a write to the socket.
const chunkSize = 512 << 10

// Header values that never change are shared: net/http only reads them.
var (
	headerNoCache = []string{"no-cache, private"}
	headerGzip    = []string{"gzip"}
	headerVary    = []string{"Accept-Encoding"}
	headerTypes   = [...][]string{{accept.TypeJSON}, {accept.TypeYAML}, {accept.TypeProtobuf}}
)

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// takeBuffer returns an empty buffer, giveBuffer takes it back; large ones are left to the garbage collector.
func takeBuffer() *[]byte { return buffers.Get().(*[]byte) }

func giveBuffer(b *[]byte) {
	if cap(*b) <= 2*chunkSize {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

var gzips = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(fmt.Sprintf("gzip level %d: %v", gzip.BestSpeed, err))
	}
	return w
}}

// body writes an answer whose size is not known beforehand: what fits one chunk goes out with its length, more goes
// out in chunks, compressed if the client takes gzip.
type body struct {
	w    http.ResponseWriter
	code int
	buf  []byte
	gzip bool // the client takes it
	zip  *gzip.Writer
	sent bool
	err  error
}

// room sends what has been gathered once it fills a chunk.
func (b *body) room() {
	if len(b.buf) >= chunkSize && b.err == nil {
		b.flush()
	}
}

// pass sends dst, all that has been gathered, once it fills a chunk, and returns what to go on with. Without a body
// nothing is sent.
func (b *body) pass(dst []byte) ([]byte, error) {
	if b == nil || len(dst) < chunkSize {
		return dst, nil
	}
	b.buf = dst
	b.room()
	return b.buf, b.err
}

func (b *body) flush() {
	if !b.sent {
		b.sent = true
		if b.gzip {
			h := b.w.Header()
			h["Content-Encoding"], h["Vary"] = headerGzip, headerVary
			b.zip = gzips.Get().(*gzip.Writer)
			b.zip.Reset(b.w)
		}
		b.w.WriteHeader(b.code)
	}
	if b.zip != nil {
		_, b.err = b.zip.Write(b.buf)
	} else {
		_, b.err = b.w.Write(b.buf)
	}
	b.buf = b.buf[:0]
}

// close sends the rest. An error is the connection's: there is nobody left to tell.
func (b *body) close() error {
	if !b.sent && (!b.gzip || len(b.buf) < accept.GzipAbove) {
		b.w.Header()["Content-Length"] = []string{strconv.Itoa(len(b.buf))}
		b.w.WriteHeader(b.code)
		_, err := b.w.Write(b.buf)
		return err
	}
	if b.err == nil {
		b.flush()
	}
	if b.zip != nil {
		if err := b.zip.Close(); b.err == nil {
			b.err = err
		}
		b.zip.Reset(nil)
		gzips.Put(b.zip)
	}
	return b.err
}

// exchange is one HTTP request and the answer to it.
type exchange struct {
	s    *Server
	w    http.ResponseWriter
	r    *http.Request
	form form
	code int // sent, for the metrics; 0 before
	// rest is what may take long, a watch. It runs once all that prepared it has returned: waiting under deep calls would
	// keep the goroutine's stack large for as long as the watch is open.
	rest func()
}

// newBody starts an answer in the exchange's media type.
func (x *exchange) newBody(code int, buf *[]byte) *body {
	h := x.w.Header()
	h["Content-Type"] = headerTypes[x.form.media]
	x.code = code
	return &body{w: x.w, code: code, buf: (*buf)[:0], gzip: accept.Gzip(x.r.Header.Get("Accept-Encoding"))}
}

// write sends a response of any kind but a stream.
func (x *exchange) write(q *request, resp *api.Response) error {
	code := resp.Code
	if code == 0 {
		code = http.StatusOK
	}
	addWarnings(x.w.Header(), resp.Warnings)
	switch {
	case resp.Record != nil:
		return x.writeRecord(q, code, resp.Record)
	case resp.List != nil:
		return x.writeList(q, code, resp.List)
	}
	if x.form.shape != asObject {
		shaped, err := shapedScale(resp.Object, q.d.Custom, x.form)
		if err != nil {
			return err
		}
		return x.writeObject(code, shaped)
	}
	return x.writeObject(code, resp.Object)
}

// writeRecord sends one object.
func (x *exchange) writeRecord(q *request, code int, rec *api.Record) error {
	buf := takeBuffer()
	defer giveBuffer(buf)
	b, err := x.appendRecord((*buf)[:0], q, rec)
	*buf = b
	if err != nil {
		return err
	}
	return x.send(code, buf)
}

// send writes an answer that is complete, in JSON, converting it to YAML or indenting it if that is asked for. As on
// upstream a line ends JSON unless it is indented.
func (x *exchange) send(code int, buf *[]byte) error {
	b := *buf
	switch {
	case x.form.media == accept.YAML:
		y, err := yaml.JSONToYAML(b)
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		b = y
	case x.form.media == accept.JSON && x.pretty():
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			return fmt.Errorf("indenting JSON: %w", err)
		}
		b = out.Bytes()
	case x.form.media == accept.JSON:
		b = append(b, '\n')
		*buf = b
	}
	out := x.newBody(code, buf)
	out.buf = b
	return out.close()
}

// pretty reports whether a person reads the answer: by Accept, by the query, or, as upstream guesses, by the client.
func (x *exchange) pretty() bool { return x.form.pretty || accept.Pretty(x.r) }

// appendRecord appends an object in the shape that was asked for.
func (x *exchange) appendRecord(dst []byte, q *request, rec *api.Record) ([]byte, error) {
	switch {
	case x.form.shape == asMetadataList:
		return dst, accept.NotAcceptable(fmt.Sprintf("you requested PartialObjectMetadataList, but the requested object is not a list (%s)", q.upstreamType(q.kind())))
	case x.form.media == accept.Protobuf:
		return x.s.appendProtobuf(dst, q, x.form, rec)
	case x.form.shape == asTable:
		return x.s.appendTable(dst, q, x.form, &api.RecordList{Records: []*api.Record{rec}, Revision: rec.Revision()}, nil)
	case x.form.shape == asMetadata:
		return x.s.appendPartial(dst, q, x.form, rec, rec.Revision())
	}
	return x.s.appendObject(dst, q.d, q.v, rec, rec.Revision(), false)
}

// appendPartial appends rec as a PartialObjectMetadata.
func (s *Server) appendPartial(dst []byte, q *request, f form, rec *api.Record, rev api.Revision) ([]byte, error) {
	dst = append(append(append(dst, `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/`...), f.version...), `","metadata":`...)
	dst, err := s.appendMetadata(dst, q.d, q.v, rec, rev)
	return append(dst, '}'), err
}

// writeList sends a page of objects, in chunks when it is long.
func (x *exchange) writeList(q *request, code int, l *api.RecordList) error {
	buf := takeBuffer()
	defer func() { giveBuffer(buf) }()
	if x.form.media != accept.JSON || x.pretty() {
		b, err := x.appendList((*buf)[:0], q, l, nil)
		*buf = b
		if err != nil {
			return err
		}
		return x.send(code, buf)
	}
	out := x.newBody(code, buf)
	var err error
	out.buf, err = x.appendList(out.buf, q, l, out)
	if err != nil && !out.sent {
		return err
	}
	if err != nil {
		// The answer is half out: the only way to say that it is not whole is to break it off.
		x.s.Log.Error("list broken off", "path", x.r.URL.Path, "err", err)
		panic(http.ErrAbortHandler)
	}
	out.buf = append(out.buf, '\n')
	err = out.close()
	*buf = out.buf
	return err
}

// upstreamType is what upstream's messages call the Go type of a kind of the request's group.
func (q *request) upstreamType(kind string) string {
	switch {
	case !q.d.Custom:
		return "*" + internalGroup(q.v.Group) + "." + kind
	case kind == q.d.Kind:
		return "*unstructured.Unstructured"
	}
	return "*unstructured.UnstructuredList"
}

// appendList appends the list document; with out, what fills a chunk is sent on the way.
func (x *exchange) appendList(dst []byte, q *request, l *api.RecordList, out *body) ([]byte, error) {
	switch {
	case x.form.shape == asMetadata:
		return dst, accept.NotAcceptable(fmt.Sprintf("you requested PartialObjectMetadata, but the requested object is a list (%s)", q.upstreamType(q.listKind())))
	case x.form.media == accept.Protobuf:
		return x.s.appendProtobufList(dst, q, x.form, l)
	case x.form.shape == asTable:
		return x.s.appendTable(dst, q, x.form, l, out)
	}
	partial := x.form.shape == asMetadataList
	if partial {
		dst = append(append(append(dst, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/`...), x.form.version...), `","metadata":`...)
	} else {
		dst = append(append(dst, `{"kind":"`...), q.listKind()...)
		dst = append(append(append(dst, `","apiVersion":"`...), q.v.APIVersion()...), `","metadata":`...)
	}
	dst = appendListMeta(dst, l, q.d.Custom && !partial)
	if partial && len(l.Records) == 0 {
		return append(dst, `,"items":null}`...), nil
	}
	dst = append(dst, `,"items":[`...)
	var owned lastOwners
	ahead := 0
	for i, rec := range l.Records {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if ahead, err = x.s.aheadOf(q, l.Records, i, ahead); err != nil {
			return dst, err
		}
		if partial {
			dst, err = x.s.appendPartial(dst, q, x.form, rec, rec.Revision())
		} else {
			dst, err = x.s.appendObjectOf(dst, q.d, q.v, shown{rec, rec.Revision(), !q.d.Custom, &owned})
		}
		if err == nil {
			dst, err = out.pass(dst)
		}
		if err != nil {
			return dst, err
		}
	}
	return append(dst, "]}"...), nil
}

// appendListMeta appends a list's metadata; lists of custom resources name continue even when it is empty.
func appendListMeta(dst []byte, l *api.RecordList, custom bool) []byte {
	dst = append(dst, `{"resourceVersion":"`...)
	dst = append(strconv.AppendUint(dst, uint64(l.Revision), 10), '"')
	if l.Continue != "" || custom {
		dst = api.AppendString(append(dst, `,"continue":`...), l.Continue)
	}
	if l.Remaining != nil {
		dst = strconv.AppendInt(append(dst, `,"remainingItemCount":`...), *l.Remaining, 10)
	}
	return append(dst, '}')
}

// listKind is the kind of a list in the requested version.
func (q *request) listKind() string {
	if q.v.Kind != "" || q.d.ListKind == "" {
		return q.kind() + "List"
	}
	return q.d.ListKind
}

// writeObject sends what is not stored: a Status, a Scale, a token.
func (x *exchange) writeObject(code int, o any) error {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("writing %T: %w", o, err)
	}
	if x.form.media == accept.Protobuf {
		if b, err = protobufObject(o); err != nil {
			return err
		}
	}
	return x.send(code, &b)
}

// fail sends an error as a Status. What went wrong inside is logged, not shown.
func (x *exchange) fail(err error) {
	if err == errPage {
		if err := x.text(http.StatusNotFound, "404 page not found\n"); err != nil {
			x.s.Log.Debug("error not delivered", "path", x.r.URL.Path, "err", err)
		}
		return
	}
	var texts []string
	for w := (*warned)(nil); errors.As(err, &w); err = w.error {
		texts = append(texts, w.warnings...)
	}
	addWarnings(x.w.Header(), texts)
	e := api.AsError(err)
	if e.Err != nil || e.Status.Code >= http.StatusInternalServerError && e.Status.Code != http.StatusGatewayTimeout {
		level := slog.LevelError
		if x.r.Context().Err() != nil {
			level = slog.LevelDebug // the client has gone, and with it what was being sent
		}
		x.s.Log.Log(context.WithoutCancel(x.r.Context()), level, "request failed", "method", x.r.Method, "path", x.r.URL.Path, "code", e.Status.Code, "err", err)
	}
	st := e.Status
	st.Kind, st.APIVersion = "Status", "v1"
	if st.Status == "" {
		st.Status = metav1.StatusFailure
	}
	if d := st.Details; d != nil && d.RetryAfterSeconds > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int(d.RetryAfterSeconds)))
	}
	code := int(st.Code)
	if code == 0 {
		code = http.StatusInternalServerError
	}
	if x.form.shape != asObject {
		x.form = statusForm(x.r.Header.Get("Accept"))
	}
	if err := x.writeObject(code, &st); err != nil {
		x.s.Log.Debug("error not delivered", "path", x.r.URL.Path, "err", err)
	}
}

// statusForm is the form of a Status, which has one shape: it goes out as if only that had been asked for, and where the
// client takes no such thing, as JSON indented for whoever looks into that.
func statusForm(header string) form {
	f, err := negotiate(header, endpoint{})
	if err != nil {
		f.pretty = true
	}
	return f
}

// The bounds of upstream's warning recorder, in runes: of all warnings, and of each once they are too long together.
const (
	warningsTotal = 4096
	warningEach   = 256
)

// addWarnings adds each distinct text as a Warning header with code 299.
func addWarnings(h http.Header, texts []string) {
	if len(texts) == 0 {
		return
	}
	total := 0
	for _, t := range texts {
		total += len([]rune(t))
	}
	seen := map[string]bool{}
	sum := 0
	for _, t := range texts {
		if seen[t] {
			continue
		}
		seen[t] = true
		if r := []rune(t); total > warningsTotal && len(r) > warningEach {
			t = string(r[:warningEach])
		}
		if sum += len([]rune(t)); sum > warningsTotal {
			return
		}
		v, err := utilnet.NewWarningHeader(299, "-", t)
		if err != nil {
			continue // not UTF-8, or nothing but control characters: no header can carry it
		}
		h.Add("Warning", v)
	}
}
