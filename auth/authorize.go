package auth

import (
	"context"
	"errors"
	"fmt"
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
	u := r.User
	if u.InGroup(GroupMasters) {
		return nil
	}
	if u.InGroup(GroupAuthenticated) && aboutOneself.allows(r) {
		return nil
	}
	for _, rule := range componentRules[u.Name] {
		if rule.allows(r) {
			return nil
		}
	}
	why := ""
	if node, ok := NodeOf(u); ok {
		v, err := a.Snapshot(ctx)
		if err != nil {
			return err
		}
		ok, reason := nodeMay(v, node, r)
		if ok {
			return nil
		}
		why = reason
	}
	return denied(u, r, why)
}

// AuthorizePath decides about what is no resource: health and version for everybody, discovery for who is known,
// anything else for system:masters.
func (a *Authorizer) AuthorizePath(u *api.User, verb, path string) error {
	if u.InGroup(GroupMasters) {
		return nil
	}
	switch {
	case verb != "get":
	case path == "/version" || path == "/version/" || isBelow(path, "/healthz") || isBelow(path, "/livez") || isBelow(path, "/readyz"):
		return nil
	case u.InGroup(GroupAuthenticated) && (isBelow(path, "/api") || isBelow(path, "/apis") || isBelow(path, "/openapi")):
		return nil
	}
	return api.Forbidden(api.Resource{}, "", fmt.Errorf("User %q cannot %s path %q", u.Name, verb, path))
}

func isBelow(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
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
