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
// discovery, and everybody may ask for health and version.
type Authorizer struct {
	Snapshot Snapshot
}

// Authorize returns nil, or a 403 that names user, verb and resource as upstream words it.
func (a *Authorizer) Authorize(ctx context.Context, r *api.Request) error {
	u := r.User
	if u.InGroup(GroupMasters) {
		return nil
	}
	for _, rule := range componentRules[u.Name] {
		if rule.allows(r) {
			return nil
		}
	}
	if node, ok := strings.CutPrefix(u.Name, nodeUserPrefix); ok && u.InGroup(GroupNodes) {
		v, err := a.Snapshot(ctx)
		if err != nil {
			return err
		}
		if nodeMay(v, node, r) {
			return nil
		}
	}
	return denied(u, r)
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

// rule allows verbs on resources, named with their subresource as "pods/status". Empty verbs or resources allow all.
type rule struct {
	verbs     []api.Verb
	group     string
	resources []string
}

func (r rule) allows(q *api.Request) bool {
	return (r.verbs == nil || has(r.verbs, q.Verb)) &&
		(r.resources == nil || q.Resource.Group == r.group && has(r.resources, qualified(q)))
}

func qualified(r *api.Request) string {
	if r.Subresource == "" {
		return r.Resource.Name
	}
	return r.Resource.Name + "/" + r.Subresource
}

func has[T comparable](list []T, x T) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

var (
	read  = []api.Verb{api.Get, api.List, api.Watch}
	write = []api.Verb{api.Create, api.Update, api.Patch, api.Delete, api.DeleteCollection}
)

// componentRules are what the components that run beside the API need. The controllers include the garbage collector and
// the namespace controller, which read and delete every kind there is; what they write besides is named.
var componentRules = map[string][]rule{
	UserControllerManager: {
		{verbs: read},
		{verbs: []api.Verb{api.Delete, api.DeleteCollection}},
		{verbs: []api.Verb{api.Update, api.Patch}}, // the garbage collector takes finalizers and owners off any object
		{verbs: write, group: "", resources: []string{"pods", "endpoints", "configmaps", "serviceaccounts", "events"}},
		{verbs: []api.Verb{api.Create}, group: "", resources: []string{"pods/eviction", "secrets", "serviceaccounts/token"}},
		{verbs: write, group: "apps", resources: []string{"replicasets"}},
		{verbs: write, group: "coordination.k8s.io", resources: []string{"leases"}},
	},
	UserScheduler: {
		{verbs: read, group: "", resources: []string{"pods", "nodes", "namespaces", "services", "replicationcontrollers"}},
		{verbs: read, group: "apps", resources: []string{"replicasets", "statefulsets"}},
		{verbs: read, group: "scheduling.k8s.io", resources: []string{"priorityclasses"}},
		{verbs: []api.Verb{api.Create}, group: "", resources: []string{"pods/binding", "bindings"}},
		{verbs: []api.Verb{api.Update, api.Patch}, group: "", resources: []string{"pods/status"}},
		{verbs: []api.Verb{api.Delete}, group: "", resources: []string{"pods"}},
		{verbs: []api.Verb{api.Create, api.Update, api.Patch}, group: "", resources: []string{"events"}},
		{verbs: []api.Verb{api.Get, api.Create, api.Update}, group: "coordination.k8s.io", resources: []string{"leases"}},
	},
}

// deniedReason is the text of upstream's authorization failures.
func deniedReason(u *api.User, verb api.Verb, what, group, where string) error {
	return errors.New(strings.Join([]string{fmt.Sprintf("User %q cannot %s %s in API group %q", u.Name, verb, what, group), where}, " "))
}

func denied(u *api.User, r *api.Request) error {
	where := "at the cluster scope"
	if r.Key.Namespace != "" {
		where = fmt.Sprintf("in the namespace %q", r.Key.Namespace)
	}
	res := api.Resource{Group: r.Resource.Group, Name: qualified(r)}
	return api.Forbidden(api.Resource{Group: r.Resource.Group, Name: r.Resource.Name}, r.Key.Name,
		deniedReason(u, r.Verb, fmt.Sprintf("resource %q", res.Name), r.Resource.Group, where))
}
