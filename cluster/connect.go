package cluster

import (
	"context"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// connections are the subresources that are answered outside the request path.
func (s *System) connections() map[string]api.Handler {
	return map[string]api.Handler{
		"serviceaccounts/token": s.tokens.Request,
	}
}

// startCustom registers the custom resources that are stored.
func (s *System) startCustom(ctx, run context.Context) error { return nil }

// committed brings into force what was just written.
func (s *System) committed(ctx context.Context, d *resource.Definition, rec *api.Record, deleted bool) error {
	return nil
}
