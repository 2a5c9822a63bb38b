package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/object"
)

// HTTP is a Client of a server on another machine. Its records carry no managedFields and no index entries but those of
// api.IndexOwner: selection by index is the server's. Make one with NewHTTP.
type HTTP struct {
	base      string
	transport http.RoundTripper
	manager   string

	mu       sync.Mutex
	versions map[string]string // preferred version by group
}

// NewHTTP returns a client of the server at base ("https://HOST:PORT"). The transport carries identity: a client
// certificate, or a header with a token. manager owns the fields that are written.
func NewHTTP(base string, transport http.RoundTripper, manager string) *HTTP {
	return &HTTP{base: strings.TrimSuffix(base, "/"), transport: transport, manager: manager, versions: map[string]string{"": "v1"}}
}

// Get implements Client.
func (h *HTTP) Get(ctx context.Context, r api.Resource, k api.Key) (*api.Record, error) {
	body, err := h.call(ctx, exchange{resource: r, key: k, method: http.MethodGet})
	if err != nil {
		return nil, err
	}
	return decodeRecord(body, "", "")
}

// List implements Client.
func (h *HTTP) List(ctx context.Context, r api.Resource, o Options) (*api.RecordList, error) {
	body, err := h.call(ctx, exchange{resource: r, key: api.Key{Namespace: o.Namespace}, method: http.MethodGet, query: o.query()})
	if err != nil {
		return nil, err
	}
	var l struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   metav1.ListMeta   `json:"metadata"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(body, &l); err != nil {
		return nil, fmt.Errorf("reading a list of %s: %w", r, err)
	}
	list := &api.RecordList{Continue: l.Metadata.Continue, Remaining: l.Metadata.RemainingItemCount}
	if list.Revision, err = api.ParseRevision(l.Metadata.ResourceVersion); err != nil {
		return nil, fmt.Errorf("reading a list of %s: %w", r, err)
	}
	for _, item := range l.Items {
		rec, err := decodeRecord(item, l.APIVersion, strings.TrimSuffix(l.Kind, "List"))
		if err != nil {
			return nil, fmt.Errorf("reading a list of %s: %w", r, err)
		}
		list.Records = append(list.Records, rec)
	}
	return list, nil
}

// View implements Client by refusing: one revision of all resources cannot be had over the network.
func (h *HTTP) View(context.Context, api.Revision) (View, error) {
	return nil, errors.New("a view of all resources can be had only in the server's own process")
}

// Commit implements Client.
func (h *HTTP) Commit(ctx context.Context, c Change) (*api.Record, error) {
	body, err := h.change(ctx, c)
	if err != nil {
		return nil, err
	}
	if isStatus(body) {
		return nil, nil
	}
	return decodeRecord(body, "", "")
}

// Call implements Caller: the answer is read into the type of c.Object.
func (h *HTTP) Call(ctx context.Context, c Change) (any, error) {
	body, err := h.change(ctx, c)
	if err != nil {
		return nil, err
	}
	t := reflect.TypeOf(c.Object)
	if t == nil || t.Kind() != reflect.Pointer {
		return nil, fmt.Errorf("calling %s/%s: %T is no pointer to an object", c.Resource, c.Subresource, c.Object)
	}
	answer := reflect.New(t.Elem()).Interface()
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, fmt.Errorf("reading the answer of %s/%s: %w", c.Resource, c.Subresource, err)
	}
	return answer, nil
}

func isStatus(body []byte) bool {
	var t metav1.TypeMeta
	return json.Unmarshal(body, &t) == nil && t.Kind == "Status"
}

func (h *HTTP) change(ctx context.Context, c Change) ([]byte, error) {
	x := exchange{resource: c.Resource, version: c.Version, key: c.Key, subresource: c.Subresource, query: url.Values{}}
	if c.Manager != "" {
		x.query.Set("fieldManager", c.Manager)
	}
	body := c.Object
	switch c.Verb {
	case api.Create:
		x.method = http.MethodPost
		if x.subresource == "" {
			x.key.Name = ""
		}
	case api.Update:
		x.method = http.MethodPut
	case api.Patch:
		x.method, x.contentType, x.body = http.MethodPatch, string(c.PatchType), c.Patch
	case api.Delete:
		x.method = http.MethodDelete
		delete(x.query, "fieldManager")
		if c.Delete != nil {
			body = c.Delete
		}
	default:
		return nil, fmt.Errorf("changing %s %s: verb %q changes nothing", c.Resource, c.Key, c.Verb)
	}
	if x.body == nil && body != nil {
		var err error
		if x.body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encoding %T: %w", body, err)
		}
		x.contentType = "application/json"
	}
	return h.call(ctx, x)
}

// exchange is one request to the server.
type exchange struct {
	method      string
	resource    api.Resource
	version     string // "" for the preferred one
	key         api.Key
	subresource string
	query       url.Values
	contentType string
	body        []byte
}

// open sends a request and returns the answer once it is known to be a success.
func (h *HTTP) open(ctx context.Context, x exchange) (*http.Response, error) {
	if x.version == "" {
		var err error
		if x.version, err = h.version(ctx, x.resource.Group); err != nil {
			return nil, err
		}
	}
	path := h.base + "/apis/" + x.resource.Group + "/" + x.version
	if x.resource.Group == "" {
		path = h.base + "/api/" + x.version
	}
	if x.key.Namespace != "" {
		path += "/namespaces/" + url.PathEscape(x.key.Namespace)
	}
	for _, part := range []string{x.resource.Name, x.key.Name, x.subresource} {
		if part != "" {
			path += "/" + url.PathEscape(part)
		}
	}
	if len(x.query) > 0 {
		path += "?" + x.query.Encode()
	}
	return h.send(ctx, x.method, path, x.contentType, x.body)
}

func (h *HTTP) send(ctx context.Context, method, target, contentType string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, target, err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", h.manager)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	p, err := (&http.Client{Transport: h.transport}).Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	if p.StatusCode < 300 {
		return p, nil
	}
	defer p.Body.Close()
	text, err := io.ReadAll(io.LimitReader(p.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer: %w", method, target, err)
	}
	var st metav1.Status
	if err := json.Unmarshal(text, &st); err != nil || st.Kind != "Status" {
		return nil, api.NewError(p.StatusCode, metav1.StatusReasonUnknown, "%s %s: %s: %s", method, target, p.Status, bytes.TrimSpace(text))
	}
	return nil, &api.Error{Status: st}
}

func (h *HTTP) call(ctx context.Context, x exchange) ([]byte, error) {
	p, err := h.open(ctx, x)
	if err != nil {
		return nil, err
	}
	defer p.Body.Close()
	body, err := io.ReadAll(p.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s %s: reading the answer: %w", x.method, x.resource, x.key, err)
	}
	return body, nil
}

// version is the version the server prefers for a group.
func (h *HTTP) version(ctx context.Context, group string) (string, error) {
	h.mu.Lock()
	v := h.versions[group]
	h.mu.Unlock()
	if v != "" {
		return v, nil
	}
	p, err := h.send(ctx, http.MethodGet, h.base+"/apis/"+url.PathEscape(group), "", nil)
	if err != nil {
		return "", err
	}
	defer p.Body.Close()
	var g metav1.APIGroup
	if err := json.NewDecoder(p.Body).Decode(&g); err != nil {
		return "", fmt.Errorf("reading what group %s has: %w", group, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions[group] = g.PreferredVersion.Version
	return g.PreferredVersion.Version, nil
}

// decodeRecord makes a record of an object as a server sent it. Items of lists do not say what they are: apiVersion and
// kind do then.
func decodeRecord(data []byte, apiVersion, kind string) (*api.Record, error) {
	var head struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("reading an object: %w", err)
	}
	m := head.Metadata
	rev, err := api.ParseRevision(m.ResourceVersion)
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", m.Namespace, m.Name, err)
	}
	v, err := object.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", m.Namespace, m.Name, err)
	}
	if v.Get("kind") == nil && kind != "" {
		v.Set("apiVersion", object.NewString(apiVersion))
		v.Set("kind", object.NewString(kind))
	}
	meta := v.Get("metadata")
	if meta.Kind() != object.Map {
		return nil, errors.New("reading an object: it has no metadata")
	}
	meta.Remove("managedFields")
	meta.Set("resourceVersion", object.NewString(strings.Trim(api.Slot, `"`)))
	text := object.AppendJSON(nil, v)
	span, slot, err := api.Locate(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", m.Namespace, m.Name, err)
	}
	p := api.Parts{Key: api.Key{Namespace: m.Namespace, Name: m.Name}, UID: string(m.UID), JSON: text, Metadata: span, Slot: slot}
	if m.DeletionTimestamp != nil {
		p.Flags |= api.Deleting
	}
	if len(m.Finalizers) > 0 {
		p.Flags |= api.HasFinalizers
	}
	for k, v := range m.Labels {
		p.Labels = append(p.Labels, api.Label{Key: k, Value: v})
	}
	for _, o := range m.OwnerReferences {
		p.Index = append(p.Index, api.Index{Name: api.IndexOwner, Value: string(o.UID)})
	}
	rec, err := api.NewRecord(p)
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", m.Namespace, m.Name, err)
	}
	rec.Stamp(rev)
	return rec, nil
}

// Follow implements Client. The stream opens its watch anew when the server ends it, from where it was.
func (h *HTTP) Follow(ctx context.Context, r api.Resource, after api.Revision, o Options) (api.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	st := &httpStream{h: h, resource: r, options: o, revision: max(after, 1), initial: o.Initial, ctx: ctx, cancel: cancel, last: map[api.Key]*api.Record{}}
	if err := st.open(); err != nil {
		cancel()
		return nil, err
	}
	return st, nil
}

// httpStream implements api.Stream over a watch. It remembers the last state of each object it has told of, which the
// protocol does not repeat.
type httpStream struct {
	h        *HTTP
	resource api.Resource
	options  Options
	revision api.Revision
	initial  bool
	ctx      context.Context
	cancel   context.CancelFunc
	frames   chan watchFrame
	last     map[api.Key]*api.Record
}

type watchFrame struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
	err    error           // of the connection, io.EOF included; the last frame
}

func (st *httpStream) open() error {
	q := st.options.query()
	q.Set("watch", "1")
	q.Set("allowWatchBookmarks", "true")
	if st.initial {
		q.Set("sendInitialEvents", "true")
		q.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
	} else {
		q.Set("resourceVersion", strconv.FormatUint(uint64(st.revision), 10))
	}
	p, err := st.h.open(st.ctx, exchange{
		method: http.MethodGet, resource: st.resource, key: api.Key{Namespace: st.options.Namespace}, query: q,
	})
	if err != nil {
		return err
	}
	st.frames = make(chan watchFrame)
	go read(st.ctx, p.Body, st.frames)
	return nil
}

// read hands over the frames of a watch until it ends; the last one says why.
func read(ctx context.Context, body io.ReadCloser, frames chan<- watchFrame) {
	defer body.Close()
	d := json.NewDecoder(bufio.NewReaderSize(body, 32<<10))
	for {
		var f watchFrame
		f.err = d.Decode(&f)
		select {
		case frames <- f:
		case <-ctx.Done():
			return
		}
		if f.err != nil {
			return
		}
	}
}

// Next implements api.Stream.
func (st *httpStream) Next(ctx context.Context) ([]api.Event, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-st.ctx.Done():
			return nil, st.ctx.Err()
		case f := <-st.frames:
			if f.err != nil {
				if err := st.open(); err != nil {
					return nil, err
				}
				continue
			}
			e, err := st.event(f)
			if err != nil {
				return nil, err
			}
			if e == nil {
				return nil, nil
			}
			return []api.Event{*e}, nil
		}
	}
}

// event turns a frame into an event; nil for a bookmark.
func (st *httpStream) event(f watchFrame) (*api.Event, error) {
	switch f.Type {
	case "ERROR":
		var s metav1.Status
		if err := json.Unmarshal(f.Object, &s); err != nil {
			return nil, fmt.Errorf("watching %s: %w", st.resource, err)
		}
		return nil, &api.Error{Status: s}
	case "BOOKMARK":
		var o struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
		}
		if err := json.Unmarshal(f.Object, &o); err != nil {
			return nil, fmt.Errorf("watching %s: %w", st.resource, err)
		}
		rev, err := api.ParseRevision(o.Metadata.ResourceVersion)
		if err != nil {
			return nil, fmt.Errorf("watching %s: %w", st.resource, err)
		}
		st.revision = rev
		if o.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true" {
			st.initial = false
		}
		return nil, nil
	}
	rec, err := decodeRecord(f.Object, "", "")
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", st.resource, err)
	}
	k := rec.Key()
	e := &api.Event{Revision: rec.Revision(), Old: st.last[k], New: rec}
	switch f.Type {
	case "ADDED":
		e.Old = nil
	case "MODIFIED":
		if e.Old == nil {
			e.Old = rec // what it was before the watch began is not known
		}
	case "DELETED":
		e.Old, e.New = rec, nil
	default:
		return nil, fmt.Errorf("watching %s: the server sent an event of type %q", st.resource, f.Type)
	}
	if e.New == nil {
		delete(st.last, k)
	} else {
		st.last[k] = rec
	}
	if !st.initial {
		st.revision = e.Revision
	}
	return e, nil
}

// Revision implements api.Stream.
func (st *httpStream) Revision() api.Revision { return st.revision }

// Initial implements api.Stream.
func (st *httpStream) Initial() bool { return st.initial }

// Close implements api.Stream.
func (st *httpStream) Close() { st.cancel() }
