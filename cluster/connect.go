package cluster

import "pintle.dev/api"

// connections are the subresources that are answered outside the request path.
func (s *System) connections() map[string]api.Handler {
	return map[string]api.Handler{
		"serviceaccounts/token": s.tokens.Request,
	}
}
