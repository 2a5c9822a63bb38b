package cluster

import (
	"context"
	"net/http"
	"strings"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/server"
)

// connections are the subresources that are answered outside the request path.
func (s *System) connections() map[string]api.Handler {
	return map[string]api.Handler{
		"pods/log":         s.toNode("containerLogs"),
		"pods/exec":        s.toNode("exec"),
		"pods/attach":      s.toNode("attach"),
		"pods/portforward": s.toNode("portForward"),
	}
}

// answers are given to what is created for its answer alone.
func (s *System) answers(a *auth.Authorizer) map[string]server.Answer {
	return map[string]server.Answer{
		"serviceaccounts/token":     server.Answering(s.tokens.Request),
		api.TokenReviews.Name:       server.Answering(s.tokens.Review),
		api.SelfSubjectReviews.Name: server.Answering(auth.ReviewSelf),

		api.LocalSubjectAccessReviews.Name: server.Answering(a.ReviewLocalAccess),
		api.SelfSubjectAccessReviews.Name:  server.Answering(a.ReviewOwnAccess),
		api.SelfSubjectRulesReviews.Name:   server.Answering(a.ReviewOwnRules),
		api.SubjectAccessReviews.Name:      server.Answering(a.ReviewAccess),
	}
}

// toNode hands a connection to a pod over to the streams of its node, which are served below paths of their own.
func (s *System) toNode(path string) api.Handler {
	return func(ctx context.Context, r *api.Request) (*api.Response, error) {
		if path == "containerLogs" {
			if err := checkLogOptions(r.Key.Name, r.Query); err != nil {
				return nil, err
			}
		}
		v, err := s.store.View(ctx, 0)
		if err != nil {
			return nil, err
		}
		pod := v.Get(api.Pods, r.Key)
		if pod == nil {
			return nil, api.NotFound(api.Pods, r.Key.Name)
		}
		if path != "portForward" {
			if err := checkContainer(pod, r.Query.Get("container")); err != nil {
				return nil, err
			}
		}
		node := pod.IndexValue(auth.IndexPodNode)
		if node == "" && path == "containerLogs" {
			nothing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
			return &api.Response{Handler: http.HandlerFunc(nothing)}, nil
		}
		if node == "" {
			return nil, api.BadRequest("pod %s does not have a host assigned", r.Key.Name)
		}
		h, ok := s.streams.Load(node)
		if !ok {
			if h, err = s.dialNode(ctx, node); err != nil {
				return nil, err
			}
		}
		to := []string{"", path, r.Key.Namespace, r.Key.Name}
		if c := r.Query.Get("container"); c != "" && path != "portForward" {
			to = append(to, c)
		}
		return &api.Response{Handler: http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
			next := hr.Clone(hr.Context())
			next.URL.Path, next.URL.RawPath = strings.Join(to, "/"), ""
			h.(http.Handler).ServeHTTP(w, next)
		})}, nil
	}
}
