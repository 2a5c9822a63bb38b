package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"pintle.dev/api"
)

// Local is a Client in the server's own process: it calls the request chain without a socket and hands typed objects
// over as they are. Make one with NewLocal.
type Local struct {
	handle  api.Handler
	view    func(ctx context.Context, atLeast api.Revision) (View, error)
	user    *api.User
	manager string

	// Handover has objects that were written lately; nil for none.
	Handover *Handover
}

// NewLocal returns a client that acts as user through the chain. view gives snapshots, which are not subject to
// authorization: it is for components that may read everything they ask for. manager owns the fields that are written.
func NewLocal(handle api.Handler, view func(ctx context.Context, atLeast api.Revision) (View, error), user *api.User, manager string) *Local {
	return &Local{handle: handle, view: view, user: user, manager: manager}
}

func (l *Local) do(ctx context.Context, r *api.Request) (*api.Response, error) {
	r.User = l.user
	resp, err := l.handle(ctx, r)
	if err != nil {
		return nil, api.AsError(err)
	}
	return resp, nil
}

// Get implements Client.
func (l *Local) Get(ctx context.Context, r api.Resource, k api.Key) (*api.Record, error) {
	resp, err := l.do(ctx, &api.Request{Verb: api.Get, Resource: r, Key: k})
	if err != nil {
		return nil, err
	}
	return resp.Record, nil
}

func (o Options) query() url.Values {
	q := url.Values{}
	if o.Labels != "" {
		q.Set("labelSelector", o.Labels)
	}
	if o.Index.Name != "" {
		q.Set("fieldSelector", o.Index.Name+"="+escapeFieldValue(o.Index.Value))
	}
	return q
}

// escapeFieldValue quotes what has a meaning in a field selector.
func escapeFieldValue(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c == '\\' || c == ',' || c == '=' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(b)
}

// List implements Client.
func (l *Local) List(ctx context.Context, r api.Resource, o Options) (*api.RecordList, error) {
	resp, err := l.do(ctx, &api.Request{Verb: api.List, Resource: r, Key: api.Key{Namespace: o.Namespace}, Query: o.query()})
	if err != nil {
		return nil, err
	}
	return resp.List, nil
}

// View implements Client.
func (l *Local) View(ctx context.Context, atLeast api.Revision) (View, error) {
	return l.view(ctx, atLeast)
}

// Follow implements Client.
func (l *Local) Follow(ctx context.Context, r api.Resource, after api.Revision, o Options) (api.Stream, error) {
	q := o.query()
	if o.Initial {
		q.Set("sendInitialEvents", "true")
		q.Set("resourceVersionMatch", "NotOlderThan")
		q.Set("allowWatchBookmarks", "true")
	} else {
		// "0" would mean any point of the history: the start of the log is asked for as revision 1, which precedes all
		// but the very first write.
		q.Set("resourceVersion", max(after, 1).String())
	}
	resp, err := l.do(ctx, &api.Request{Verb: api.Watch, Resource: r, Key: api.Key{Namespace: o.Namespace}, Query: q})
	if err != nil {
		return nil, err
	}
	return resp.Watch, nil
}

// Commit implements Client.
func (l *Local) Commit(ctx context.Context, c Change) (*api.Record, error) {
	resp, err := l.change(ctx, c)
	if err != nil {
		return nil, err
	}
	return resp.Record, nil
}

// Call implements Caller.
func (l *Local) Call(ctx context.Context, c Change) (any, error) {
	resp, err := l.change(ctx, c)
	if err != nil {
		return nil, err
	}
	return resp.Object, nil
}

func (l *Local) change(ctx context.Context, c Change) (*api.Response, error) {
	r := &api.Request{
		Verb: c.Verb, Resource: c.Resource, Version: c.Version, Subresource: c.Subresource, Key: c.Key,
		Object: c.Object, Base: c.Base, Body: c.Patch, ContentType: string(c.PatchType), UserAgent: l.manager,
	}
	if c.Manager != "" {
		r.UserAgent = c.Manager
	}
	if c.Delete != nil {
		body, err := json.Marshal(c.Delete)
		if err != nil {
			return nil, fmt.Errorf("encoding delete options: %w", err)
		}
		r.Body, r.ContentType = body, "application/json"
	}
	return l.do(ctx, r)
}
