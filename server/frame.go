package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
)

// Event types of the watch protocol.
const (
	eventAdded    = "ADDED"
	eventModified = "MODIFIED"
	eventDeleted  = "DELETED"
)

func eventType(e *api.Event) string {
	switch {
	case e.Old == nil:
		return eventAdded
	case e.New == nil:
		return eventDeleted
	}
	return eventModified
}

// frameKey is what decides the bytes of a frame.
type frameKey struct {
	rec  *api.Record
	rev  api.Revision
	typ  string
	v    weak.Pointer[resource.Version] // a frame is small, and a kind that is served no longer large
	form form
}

// frames keeps the newest encoded events, so that many watchers of one event share its bytes. They are for the watchers
// that keep up; one that comes later encodes for itself.
type frames struct {
	// newest are frames of the last few revisions, each where its revision says, to be found without a lock.
	newest [16]atomic.Pointer[frame]

	mu     sync.Mutex
	budget int
	size   int
	byKey  map[frameKey]*frame
	order  []*frame // a ring, oldest at first
	first  int
}

// frame is an encoded event; it never changes.
type frame struct {
	key   frameKey
	bytes []byte
}

// frameCost is about what a frame takes beside its bytes.
const frameCost = 256

// cost is what the frame takes of the budget.
func (fr *frame) cost() int { return frameCost + cap(fr.bytes) }

func (f *frames) place(key *frameKey) *atomic.Pointer[frame] {
	return &f.newest[uint64(key.rev)%uint64(len(f.newest))]
}

// has reports whether the frame of key is one of the newest.
func (f *frames) has(key *frameKey) bool {
	fr := f.place(key).Load()
	return fr != nil && fr.key == *key
}

// get returns the frame of key, made by encode if nobody has made it yet. Whoever is waiting meanwhile would only have
// made the same.
func (f *frames) get(key frameKey, encode func() ([]byte, error)) ([]byte, error) {
	if fr := f.place(&key).Load(); fr != nil && fr.key == key {
		return fr.bytes, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if fr, ok := f.byKey[key]; ok {
		return fr.bytes, nil
	}
	b, err := encode()
	if err != nil {
		return nil, err
	}
	fr := &frame{key, b}
	if fr.cost() > f.budget {
		return b, nil
	}
	if f.byKey == nil {
		f.byKey = map[frameKey]*frame{}
	}
	f.byKey[key] = fr
	f.place(&key).Store(fr)
	f.order = append(f.order, fr)
	for f.size += fr.cost(); f.size > f.budget; f.first++ {
		old := f.order[f.first]
		f.size -= old.cost()
		delete(f.byKey, old.key)
		f.place(&old.key).CompareAndSwap(old, nil)
		f.order[f.first] = nil
	}
	if f.first > len(f.order)/2 && f.first > 64 {
		f.order = append(f.order[:0:0], f.order[f.first:]...)
		f.first = 0
	}
	return b, nil
}

// frameWriter writes the events of one watch. What is ready together goes out in one write and one flush.
type frameWriter struct {
	x       *exchange
	q       *request
	options *listOptions
	version weak.Pointer[resource.Version] // the request's, as frames name it
	end     func()                         // ends the watch
	flusher http.Flusher
	shared  []byte  // the only frame gathered, which others send too
	pending []byte  // else the frames gathered, in buffer
	buffer  *[]byte // taken while something is pending: a watch at rest holds none
	rows    bool    // the columns of a Table have been sent
	err     error
	events  atomic.Int64  // sent so far
	turns   atomic.Uint32 // of writing: odd while a write is under way
	watched stall
}

func (x *exchange) newFrameWriter(q *request, o *listOptions, end func()) *frameWriter {
	fw := &frameWriter{x: x, q: q, options: o, version: weak.Make(q.v), end: end}
	fw.flusher, _ = x.w.(http.Flusher)
	x.s.watches.add(fw)
	return fw
}

func (fw *frameWriter) close() { fw.x.s.watches.remove(fw) }

// abort makes the write under way fail.
func (fw *frameWriter) abort(now time.Time) {
	if err := http.NewResponseController(fw.x.w).SetWriteDeadline(now); err != nil {
		fw.x.s.Log.Warn("a watcher does not read and cannot be cut off", "path", fw.x.r.URL.Path, "err", err)
	}
}

// all adds the frames of events. What cannot be converted ends the watch with an error.
func (fw *frameWriter) all(events []api.Event, initial bool) {
	if fw.q.v.Converted {
		recs := make([]*api.Record, 0, len(events))
		for i := range events {
			recs = append(recs, events[i].Record())
		}
		for batch := range batches(slices.Values(recs)) {
			if err := fw.x.s.convertAhead(fw.q.d, fw.q.v, batch); err != nil {
				fw.broken(err)
				return
			}
		}
	}
	for i := range events {
		fw.event(&events[i], initial)
	}
}

// redefined reports whether a kind is another in a snapshot of the registry than d, which it was when a watch began.
func redefined(d *resource.Definition, now *resource.Snapshot) bool {
	if !d.Custom {
		return false
	}
	newer := now.ByResource(d.Resource)
	return newer != nil && newer != d
}

// event adds the frame of e. Frames of the initial state are of no use to others and not kept.
func (fw *frameWriter) event(e *api.Event, initial bool) {
	if fw.err != nil {
		return
	}
	fw.events.Add(1)
	s, f := fw.x.s, fw.x.form
	typ := eventType(e)
	columns := f.shape == asTable && !fw.rows
	if initial || columns || e.Revision+frameHorizon < s.Store.Revision() {
		fw.rows = true
		before := fw.gathered()
		pending, err := fw.append(before, typ, e, columns)
		if err != nil {
			fw.pending = before
			fw.broken(err)
			return
		}
		fw.pending = pending
		if len(fw.pending) >= chunkSize {
			fw.turns.Add(1)
			fw.write()
			fw.turns.Add(1)
		}
		return
	}
	key := frameKey{e.Record(), e.Revision, typ, fw.version, f}
	encode := func() ([]byte, error) { return fw.append(nil, typ, e, false) }
	if fw.q.v.Converted && !s.frames.has(&key) {
		// Should it have to be converted again, nobody else's frames may wait for the webhook.
		b, err := encode()
		encode = func() ([]byte, error) { return b, err }
	}
	b, err := s.frames.get(key, encode)
	switch {
	case err != nil:
		fw.broken(err)
	case fw.shared == nil && len(fw.pending) == 0:
		fw.shared = b
	default:
		fw.pending = append(fw.gathered(), b...)
	}
}

// gathered returns what is ready to be sent, to be appended to and become pending.
func (fw *frameWriter) gathered() []byte {
	if fw.buffer == nil {
		fw.buffer = takeBuffer()
		fw.pending = *fw.buffer
	}
	if fw.shared != nil {
		fw.pending, fw.shared = append(fw.pending, fw.shared...), nil
	}
	return fw.pending
}

// frameHorizon is how many revisions an event may lag behind the newest for its frame to be worth sharing.
const frameHorizon = 4096

// append appends one event.
func (fw *frameWriter) append(dst []byte, typ string, e *api.Event, columns bool) ([]byte, error) {
	rec, s, q, f := e.Record(), fw.x.s, fw.q, fw.x.form
	if f.media == accept.Protobuf {
		return s.appendProtobufFrame(dst, q, f, typ, e)
	}
	dst = append(append(append(dst, `{"type":"`...), typ...), `","object":`...)
	var err error
	switch f.shape {
	case asTable:
		dst, err = s.appendTableEvent(dst, q, f, e, columns)
	case asMetadata, asMetadataList:
		dst, err = s.appendPartial(dst, q, f, rec, e.Revision)
	default:
		dst, err = s.appendObject(dst, q.d, q.v, rec, e.Revision, false)
	}
	return append(dst, "}\n"...), err
}

// bookmark adds a bookmark at rev; end marks the end of the initial events.
func (fw *frameWriter) bookmark(rev api.Revision, end bool) {
	if fw.err != nil {
		return
	}
	kind, version := fw.q.kind(), fw.q.v.APIVersion()
	f := fw.x.form
	switch f.shape {
	case asTable:
		kind, version = "Table", "meta.k8s.io/"+f.version
	case asMetadata, asMetadataList:
		kind, version = "PartialObjectMetadata", "meta.k8s.io/"+f.version
	}
	if f.media == accept.Protobuf {
		fw.pending, fw.err = appendProtobufBookmark(fw.gathered(), fw.q, f, rev, end)
		return
	}
	b := append(append(append(fw.gathered(), `{"type":"BOOKMARK","object":{"kind":"`...), kind...), `","apiVersion":"`...)
	b = append(append(append(b, version...), `","metadata":{"resourceVersion":"`...), strconv.FormatUint(uint64(rev), 10)...)
	b = append(b, '"')
	if !fw.q.d.Custom && f.shape == asObject {
		b = append(b, `,"creationTimestamp":null`...)
	}
	if end {
		b = append(b, `,"annotations":{"k8s.io/initial-events-end":"true"`...)
		if !fw.q.d.Custom && f.shape == asObject {
			b = append(append(b, `,"kubernetes.io/initial-events-list-blueprint":"`...), fw.q.blueprint()...)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	b = append(b, '}')
	if f.shape == asTable {
		b = append(b, `,"columnDefinitions":null,"rows":[]`...)
	}
	fw.pending = append(b, "}}\n"...)
}

// blueprint is an empty list of the kind, encoded: what upstream tells clients of a watch that starts with a list.
func (q *request) blueprint() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil,
		"{\"kind\":%q,\"apiVersion\":%q,\"metadata\":{},\"items\":null}\n", q.listKind(), q.v.APIVersion()))
}

// failure adds the event that ends a watch which cannot go on.
func (fw *frameWriter) failure(err error) {
	st := api.AsError(err).Status
	st.Kind, st.APIVersion = "Status", "v1"
	b, jerr := json.Marshal(&st)
	if jerr != nil {
		fw.err = fmt.Errorf("encoding a status: %w", jerr)
		return
	}
	if fw.x.form.media == accept.Protobuf {
		fw.pending, fw.err = appendProtobufFailure(fw.gathered(), &st)
		return
	}
	fw.pending = append(append(append(fw.gathered(), `{"type":"ERROR","object":`...), b...), "}\n"...)
}

// broken ends the watch: what was gathered before is sent, then the event that says why there is no more.
func (fw *frameWriter) broken(err error) {
	fw.failure(err)
	fw.flush()
	if fw.err == nil {
		fw.err = err
	}
}

// flush sends what has been gathered.
func (fw *frameWriter) flush() {
	if fw.err == nil {
		fw.turns.Add(1)
		fw.write()
		if fw.err == nil && fw.flusher != nil {
			fw.flusher.Flush()
		}
		fw.turns.Add(1)
	}
	if fw.buffer != nil {
		*fw.buffer = fw.pending[:0]
		giveBuffer(fw.buffer)
		fw.buffer, fw.pending = nil, nil
	}
}

// write hands what has been gathered to net/http, which may wait for the client.
func (fw *frameWriter) write() {
	switch {
	case fw.err != nil:
	case fw.shared != nil:
		_, fw.err = fw.x.w.Write(fw.shared)
	case len(fw.pending) > 0:
		_, fw.err = fw.x.w.Write(fw.pending)
	}
	fw.shared, fw.pending = nil, fw.pending[:0]
}
