package server

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	segment "k8s.io/apimachinery/pkg/api/validate/content"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/describe"
)

// maxAuditID is how much of a client's Audit-Id is taken over, in bytes, as upstream.
const maxAuditID = 64

// ServeHTTP implements http.Handler: the API over the network.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{s: s, w: w, r: r}
	defer x.contain()
	h := w.Header()
	h["Cache-Control"] = headerNoCache
	if id := r.Header.Get("Audit-Id"); id != "" {
		h["Audit-Id"] = []string{id[:min(len(id), maxAuditID)]}
	} else {
		h["Audit-Id"] = []string{uuid.NewString()}
	}
	user, err := s.identify(r)
	if err != nil {
		x.fail(err)
		return
	}
	p := r.URL.Path
	if strings.HasPrefix(p, "/api/") || strings.HasPrefix(p, "/apis/") {
		if path, ok := parsePath(p); !ok || path.Resource != "" {
			x.serveResource(user, path, ok)
			if x.rest != nil {
				x.rest()
			}
			return
		}
	}
	x.servePath(user)
}

func (s *Server) identify(r *http.Request) (*api.User, error) {
	if s.Authenticate == nil {
		return &api.User{Name: "test", Groups: []string{"system:masters", "system:authenticated"}}, nil
	}
	return s.Authenticate(r)
}

// contain keeps a panic from ending more than its request (W5).
func (x *exchange) contain() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v) // net/http breaks the answer off without a word
	}
	x.s.metrics.panics.Add(1)
	x.s.Log.Error("request panicked", "method", x.r.Method, "path", x.r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if x.code != 0 {
		panic(http.ErrAbortHandler) // an answer is under way
	}
	x.fail(api.AsError(fmt.Errorf("this request caused apiserver to panic. Look in the logs for details")))
}

// serveResource answers a request for a resource.
func (x *exchange) serveResource(user *api.User, p resourcePath, ok bool) {
	start := time.Now()
	s, r := x.s, x.r
	d, v := s.Registry.Lookup(p.Group, p.Version, p.Resource)
	q := &request{s: s, d: d, v: v, Request: &api.Request{
		Resource: api.Resource{Group: p.Group, Name: p.Resource}, Version: p.Version, Subresource: p.Subresource,
		Key: api.Key{Namespace: p.Namespace, Name: p.Name}, User: user, UserAgent: r.UserAgent(), HTTP: r,
	}}
	err := x.route(q, p, ok)
	if err == nil {
		err = x.answer(q)
	}
	if err != nil {
		x.fail(err)
	}
	if x.rest == nil {
		s.metrics.observe(q, x.code, time.Since(start))
	}
}

// route finds the verb, and refuses what upstream's router refuses before anybody asks what the object is.
func (x *exchange) route(q *request, p resourcePath, ok bool) error {
	r := x.r
	if r.URL.RawQuery != "" {
		var err error
		if q.Query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return api.BadRequest("%s", err)
		}
	}
	method := r.Method
	if method == http.MethodHead && q.d != nil && q.d.Custom {
		method = http.MethodGet
	}
	verb, routed := routeVerb(method, p, q)
	q.Verb = verb
	if verb != api.Watch && (q.d == nil || !streams(q.d, p.Subresource)) {
		if err := checkTimeout(q.Query); err != nil {
			return err
		}
	}
	// Those who may not ask do not learn what exists.
	if q.d == nil || !ok || q.d.Transient && p.Name != "" || q.d.Namespaced && p.Namespace == "" && (p.Name != "" || q.d.Transient) || !q.d.Namespaced && p.Namespace != "" {
		if err := x.s.authorize(r.Context(), q.Request); err != nil {
			return err
		}
		if !x.s.builtinGroup(p.Group) {
			return errPage
		}
		return errNoResource()
	}
	if err := checkSegments(q, p); err != nil {
		return err
	}
	if p.Subresource != "" {
		if _, known := q.d.Subresource(q.v, p.Subresource); !known {
			err := noSubresource(q.d, p.Name)
			if q.d.Custom {
				err = q.deprecated(err) // whose handler warns before it looks at the path
			}
			return err
		}
	}
	if !routed && q.d.Custom {
		if err := x.routeCustom(q, p); err != nil {
			return q.deprecated(err)
		}
	} else if !routed {
		return errMethod()
	}
	e := endpoint{
		custom: q.d.Custom, list: p.Name == "" && method == http.MethodGet, watch: verb == api.Watch,
		transform: p.Subresource == "" || p.Subresource == "status",
		scale:     p.Subresource == "scale",
	}
	f, err := negotiate(r.Header.Get("Accept"), e)
	if err != nil {
		x.form = statusForm(r.Header.Get("Accept"))
		return q.deprecated(err)
	}
	if f.shape == asTable {
		if f.include, err = parseInclude(q.Query); err != nil {
			return err
		}
	}
	x.form = f
	return nil
}

// checkSegments refuses names and namespaces that no object can have. Upstream answers such a namespace with a 500.
func checkSegments(q *request, p resourcePath) error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	if p.Namespace == "." || p.Namespace == ".." {
		return api.BadRequest("invalid key: %q", "/"+q.d.Resource.Name+"/"+p.Namespace)
	}
	return nil
}

func checkName(name string) error {
	if msgs := segment.IsPathSegmentName(name); len(msgs) > 0 {
		return api.BadRequest("Name parameter invalid: %q: %s", name, strings.Join(msgs, ";"))
	}
	return nil
}

// routeCustom decides about what no route is made for. Upstream serves custom resources by a handler of its own, which
// knows verbs but no routes: there HEAD is GET, and a create passes over the name in the path.
func (x *exchange) routeCustom(q *request, p resourcePath) error {
	if err := x.s.authorize(x.r.Context(), q.Request); err != nil {
		return err
	}
	switch {
	case q.Verb != "" && !q.scoped():
		return errPage
	case q.Verb == api.Create && p.Subresource == "":
		q.Key.Name = ""
		return nil
	case p.Subresource == "" && (q.Verb == api.Update || q.Verb == api.Patch):
		return api.BadRequest("name must be provided")
	}
	return apierrors.NewMethodNotSupported(q.resource().GroupResource(), string(q.Verb))
}

// errPage is answered with net/http's own text, as upstream's router does for what it has never heard of.
var errPage = describe.ErrPage

// builtinGroup reports whether upstream's router knows the group: the one of custom resources answers for those.
func (s *Server) builtinGroup(group string) bool {
	g := s.Registry.Snapshot().Groups()[group]
	return g != nil && slices.ContainsFunc(g.Served(), func(d *resource.Definition) bool { return !d.Custom })
}

// routeVerb maps a method to a verb. ok is false when the route has no such method.
func routeVerb(method string, p resourcePath, q *request) (verb api.Verb, ok bool) {
	collection := p.Name == ""
	switch {
	case p.Watch:
		return api.Watch, method == http.MethodGet
	case method == http.MethodGet && collection:
		if boolParam(q.Query, "watch") {
			return api.Watch, q.serves(api.Watch)
		}
		return api.List, q.serves(api.List)
	case method == http.MethodGet:
		verb = api.Get
	case method == http.MethodPost:
		verb = api.Create
		if p.Subresource == "" {
			return verb, collection && q.scoped()
		}
	case method == http.MethodPut:
		verb = api.Update
	case method == http.MethodPatch:
		verb = api.Patch
	case method == http.MethodDelete && collection:
		return api.DeleteCollection, q.scoped() && q.serves(api.DeleteCollection)
	case method == http.MethodDelete:
		verb = api.Delete
	default:
		return "", false
	}
	if p.Subresource != "" && q.d != nil {
		sub, _ := q.d.Subresource(q.v, p.Subresource)
		return verb, slices.Contains(sub.Verbs, verb)
	}
	return verb, !collection
}

// scoped reports whether the path names the scope that a write of the collection needs.
func (q *request) scoped() bool { return q.d == nil || q.d.Namespaced == (q.Key.Namespace != "") }

// serves reports whether the resource has the verb.
func (q *request) serves(verb api.Verb) bool {
	return q.d == nil || q.d.Verbs == nil || slices.Contains(q.d.Verbs, verb)
}

// answer runs the request and writes what comes of it.
func (x *exchange) answer(q *request) error {
	// Before the body is read: it takes memory and, when it is slow, a minute.
	if err := x.s.authorize(x.r.Context(), q.Request); err != nil {
		return err
	}
	limit, forget := x.s.reads, func() {}
	switch q.Verb {
	case api.Create, api.Update, api.Patch, api.Delete, api.DeleteCollection:
		limit = x.s.writes
		var err error
		if forget, err = x.readBody(q); err != nil {
			return q.deprecated(err)
		}
		defer forget()
	}
	if q.Verb != api.Watch && !streams(q.d, q.Subresource) {
		if !limit.tryAcquire() {
			return x.tooMany()
		}
		defer limit.release()
	}
	release, err := x.acquire(x.s.large, len(q.Body))
	if err != nil {
		return err
	}
	defer release()
	if q.Verb == api.Watch && q.Key.Name != "" {
		q.watchOne()
	}
	resp, err := x.s.serve(x.r.Context(), q.Request)
	q.Body = nil // which is not to be held, nor others to wait for it, until the answer is read
	release()
	forget()
	if err != nil {
		return err
	}
	switch {
	case resp.Watch != nil:
		return x.stream(q, resp)
	case resp.Handler != nil:
		addWarnings(x.w.Header(), resp.Warnings)
		x.code = http.StatusOK
		resp.Handler.ServeHTTP(x.w, x.r)
		return nil
	}
	defer x.breakOff().Stop()
	return x.write(q, resp)
}

// watchOne turns the deprecated watch of one object into a watch of the collection that selects its name.
func (q *request) watchOne() {
	if q.Query == nil {
		q.Query = url.Values{}
	}
	q.Query.Set("fieldSelector", "metadata.name="+q.Key.Name)
	q.Key.Name = ""
}

// streams reports whether a subresource takes the connection over, so that it must not count as a request in flight.
func streams(d *resource.Definition, sub string) bool {
	switch sub {
	case "log", "exec", "attach", "portforward":
		return d.Resource == api.Pods
	}
	return false
}
