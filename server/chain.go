package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// Handle answers a request whose user is known: the waist of the system, for the network and for callers in process.
// Errors are *api.Error, or internal.
func (s *Server) Handle(ctx context.Context, r *api.Request) (*api.Response, error) {
	if err := s.authorize(ctx, r); err != nil {
		return nil, err
	}
	return s.serve(ctx, r)
}

// authorize decides whether the user may ask for this. It looks at no body, nor at what exists.
func (s *Server) authorize(ctx context.Context, r *api.Request) error {
	if s.Authorize == nil {
		return nil
	}
	return s.Authorize(ctx, r)
}

// serve answers a request that is allowed.
func (s *Server) serve(ctx context.Context, r *api.Request) (*api.Response, error) {
	asked := *r
	for range maxRedefined {
		resp, err := s.handle(ctx, r)
		redefined := (*redefinedError)(nil)
		if !errors.As(err, &redefined) {
			return resp, err
		}
		if err := redefined.definition.Renew(ctx); err != nil {
			return nil, err
		}
		*r = asked
	}
	return nil, api.NewError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
		"the definition of %s is being changed, try again", r.Resource)
}

// maxRedefined bounds how often a request is begun anew because its kind was defined anew meanwhile.
const maxRedefined = 16

// redefinedError ends a write that was decided under a Definition that stands no longer: it is to begin anew under the one
// that took its place.
type redefinedError struct{ definition *resource.Definition }

func (e *redefinedError) Error() string {
	return e.definition.Resource.String() + " has been defined anew since the write began"
}

// handle is one attempt at a request, under the Definition that is registered now.
func (s *Server) handle(ctx context.Context, r *api.Request) (*api.Response, error) {
	d, v := s.lookup(r)
	if d == nil {
		return nil, errNoResource()
	}
	switch r.Verb {
	case api.Create, api.Update, api.Patch, api.Delete:
		deepen(false)
	}
	if r.Version == "" {
		r.Version, r.Resource.Group = v.Name, v.Group
	}
	resp, err := s.dispatch(ctx, r, d, v)
	if err != nil {
		return nil, (&request{Request: r, d: d, v: v}).deprecated(err)
	}
	if warning := deprecation(d, v, r.Subresource); warning != "" {
		resp.Warnings = append([]string{warning}, resp.Warnings...)
	}
	return resp, nil
}

// deprecated is the error of a request, which warns like a success; first, as on upstream.
func (q *request) deprecated(err error) error {
	warning := deprecation(q.d, q.v, q.Subresource)
	if warning == "" {
		return err
	}
	return withWarnings(err, []string{warning})
}

// deprecation is the warning about what a request speaks of: the version, or, of a built-in kind, that of a body that is
// not the object.
func deprecation(d *resource.Definition, v *resource.Version, subresource string) string {
	if subresource != "" && !d.Custom {
		if sub, ok := d.Subresource(v, subresource); ok && sub.Kind != "" {
			return sub.Warning
		}
	}
	return v.Warning
}

// lookup finds what a request is about. In-process callers may leave the version open: they get the stored one.
func (s *Server) lookup(r *api.Request) (*resource.Definition, *resource.Version) {
	if r.Version == "" {
		if d := s.Registry.ByResource(r.Resource); d != nil {
			return d, d.Storage()
		}
		return nil, nil
	}
	return s.Registry.Lookup(r.Resource.Group, r.Version, r.Resource.Name)
}

func errNoResource() error {
	return routerError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
}

// routerError is an Error as upstream's router makes them: with details that say nothing.
func routerError(code int, reason metav1.StatusReason, message string) error {
	e := api.NewError(code, reason, "%s", message)
	e.Status.Details = new(metav1.StatusDetails)
	return e
}

func errMethod() error {
	return routerError(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed,
		"the server does not allow this method on the requested resource")
}

func (s *Server) dispatch(ctx context.Context, r *api.Request, d *resource.Definition, v *resource.Version) (*api.Response, error) {
	if !d.Namespaced && r.Key.Namespace != "" {
		return nil, errNoResource()
	}
	if r.Subresource != "" {
		return s.subresource(ctx, r, d, v)
	}
	q := &request{s: s, Request: r, d: d, v: v}
	if d.Resource == api.Bindings {
		return q.bind(ctx)
	}
	if d.Transient {
		if answer := s.Answers[d.Resource.Name]; answer != nil {
			return q.ask(ctx, answer, nil)
		}
		return nil, errNoResource() // declared, but nothing here answers it
	}
	switch r.Verb {
	case api.Get:
		return q.get(ctx)
	case api.List:
		return q.list(ctx)
	case api.Watch:
		return q.watch(ctx)
	case api.Create:
		return q.create(ctx)
	case api.Update:
		return q.update(ctx)
	case api.Patch:
		return q.patch(ctx)
	case api.Delete:
		return q.delete(ctx)
	case api.DeleteCollection:
		return q.deleteCollection(ctx)
	}
	return nil, errMethod()
}

// request is an api.Request with what it is about.
type request struct {
	*api.Request
	s *Server
	d *resource.Definition
	v *resource.Version

	warnings []string
	options  writeOptions
	// before is the object that an attempt at a write replaces, parsed, in the version of the request; nil when nobody had
	// to parse it yet. It must not be changed.
	before *object.Value
	// scaling says that the write comes through the object's Scale.
	scaling bool
	// decided are the owners that an apply or a write of a Scale decided on; nil when the write is none.
	decided *api.Owners
	// unchanged says that an apply found nothing to change in a custom resource.
	unchanged bool
	// reset says that all but the metadata and the status of what is written has been taken back to what is stored.
	reset bool
	// unfit are managedFields that the client wrote with names that validation is to refuse; nil mostly.
	unfit []metav1.ManagedFieldsEntry
	// plain says that an apply's body is JSON in which no member comes twice.
	plain bool
}

// resource is what error texts call the object's resource.
func (q *request) resource() api.Resource {
	return api.Resource{Group: q.v.Group, Name: q.d.Resource.Name}
}

// kind is the kind in the requested version.
func (q *request) kind() string { return q.d.KindOf(q.v) }

func (q *request) notFound() error { return api.NotFound(q.resource(), q.Key.Name) }

func (q *request) warn(format string, args ...any) {
	q.warnings = append(q.warnings, fmt.Sprintf(format, args...))
}
