package server

import (
	"context"

	"pintle.dev/api"
)

// bind serves the older way to bind a pod: a Binding that names it, where pods/binding has the name in its path. Who may
// create Bindings needs no right to the other.
func (q *request) bind(ctx context.Context) (*api.Response, error) {
	if q.Verb != api.Create {
		return nil, errMethod()
	}
	if err := q.parseWriteOptions("CreateOptions"); err != nil {
		return nil, err
	}
	b, err := q.question(nil)
	if err != nil {
		return nil, err
	}
	r := *q.Request
	r.Resource, r.Subresource, r.Key.Name = api.Pods, "binding", b.GetName()
	return q.s.serve(ctx, &r)
}
