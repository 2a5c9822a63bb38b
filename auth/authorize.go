package auth

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"pintle.dev/api"
)

// Authorizer decides whether a user may make a request. Until roles can be bound by users (RBAC), the rules are fixed:
// system:masters may do all, the cluster's own components and nodes what their work needs, anyone authenticated may read
// discovery and ask who they are, and everybody may ask for health and version.
type Authorizer struct {
	Snapshot Snapshot
}

// Authorize returns nil, or a 403 that names user, verb and resource as upstream words it.
func (a *Authorizer) Authorize(ctx context.Context, r *api.Request) error {
	allowed, why, err := a.decide(ctx, r)
	if allowed || err != nil {
		return err
	}
	return denied(r.User, r, why)
}

// decide reports whether the user may make the request, and when it may not and there is more to say, why.
func (a *Authorizer) decide(ctx context.Context, r *api.Request) (allowed bool, why string, err error) {
	for rule := range rulesOf(r.User) {
		if rule.allows(r) {
			return true, "", nil
		}
	}
	node, ok := NodeOf(r.User)
	if !ok {
		return false, "", nil
	}
	v, err := a.Snapshot(ctx)
	if err != nil {
		return false, "", err
	}
	allowed, why = nodeMay(v, node, r)
	return allowed, why, nil
}

// rulesOf are the fixed rules about a user, whom they may allow more when it is a node.
func rulesOf(u *api.User) iter.Seq[rule] {
	return func(yield func(rule) bool) {
		if u.InGroup(GroupMasters) && !yield(anything()) {
			return
		}
		if u.InGroup(GroupAuthenticated) {
			for _, r := range aboutOneself {
				if !yield(r) {
					return
				}
			}
		}
		for _, r := range componentRules[u.Name] {
			if !yield(r) {
				return
			}
		}
	}
}

// AuthorizePath decides about what is no resource: health and version for everybody, discovery for who is known,
// anything else for system:masters.
func (a *Authorizer) AuthorizePath(u *api.User, verb, path string) error {
	if mayPath(u, verb, path) {
		return nil
	}
	return api.Forbidden(api.Resource{}, "", fmt.Errorf("User %q cannot %s path %q", u.Name, verb, path))
}

func mayPath(u *api.User, verb, path string) bool {
	for _, paths := range pathsOf(u) {
		if verb != "get" && paths[0] != everyPath {
			continue
		}
		for _, p := range paths {
			if below, all := strings.CutSuffix(p, "*"); p == path || all && strings.HasPrefix(path, below) {
				return true
			}
		}
	}
	return false
}

// everyPath stands for all paths, and for all verbs beside it.
const everyPath = "*"

// What may be read that is no resource: upstream's system:public-info-viewer, whose health checks are here with those
// below them, and system:discovery.
var (
	publicPaths    = []string{"/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/"}
	discoveryPaths = []string{"/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"}
)

// pathsOf are the paths that a user may get, as lists by the rule that allows them. A "*" at the end stands for all
// that begins so.
func pathsOf(u *api.User) [][]string {
	var paths [][]string
	if u.InGroup(GroupMasters) {
		paths = append(paths, []string{everyPath})
	}
	paths = append(paths, publicPaths)
	if u.InGroup(GroupAuthenticated) {
		paths = append(paths, discoveryPaths)
	}
	return paths
}

// deniedReason is the text of upstream's authorization failures.
func deniedReason(u *api.User, verb api.Verb, what, group, where string) error {
	return errors.New(strings.Join([]string{fmt.Sprintf("User %q cannot %s %s in API group %q", u.Name, verb, what, group), where}, " "))
}

// denied is the refusal of a request; why, when there is more to say, follows it.
func denied(u *api.User, r *api.Request, why string) error {
	where := "at the cluster scope"
	if r.Key.Namespace != "" {
		where = fmt.Sprintf("in the namespace %q", r.Key.Namespace)
	}
	if why != "" {
		where += ": " + why
	}
	res := api.Resource{Group: r.Resource.Group, Name: qualified(r)}
	return api.Forbidden(api.Resource{Group: r.Resource.Group, Name: r.Resource.Name}, r.Key.Name,
		deniedReason(u, r.Verb, fmt.Sprintf("resource %q", res.Name), r.Resource.Group, where))
}
