package auth

import (
	"context"
	"encoding/json"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"

	"pintle.dev/api"
	"pintle.dev/store"
)

// TestAccessReviews compares the answers to access reviews, as JSON, and their refusals with upstream's.
func TestAccessReviews(t *testing.T) {
	a := &Authorizer{Snapshot: func(context.Context) (store.View, error) { return store.View{}, nil }}
	const one = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
	for _, c := range []struct{ spec, want string }{
		{`{"user":"u","groups":["system:masters"],"resourceAttributes":{"verb":"get","resource":"pods"}}`, `{"allowed":true}`},
		{`{"user":"u","resourceAttributes":{"verb":"get","resource":"pods"}}`, `{"allowed":false}`},
		{`{"groups":["system:authenticated"],"resourceAttributes":{"verb":"create","group":"authorization.k8s.io","resource":"selfsubjectaccessreviews"}}`, `{"allowed":true}`},
		{`{"user":"system:kube-scheduler","resourceAttributes":{"verb":"create","resource":"pods","subresource":"binding"}}`, `{"allowed":true}`},
		{`{"user":"system:kube-scheduler","resourceAttributes":{"verb":"*","resource":"pods"}}`, `{"allowed":false}`},
		{`{"user":"system:node:n","groups":["system:nodes"],"resourceAttributes":{"verb":"get","resource":"nodes"}}`,
			`{"allowed":false,"reason":"node 'n' cannot read all nodes, only its own Node object"}`},
		{`{"user":"system:node:n","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"In","values":["n"]}]}}}`,
			`{"allowed":true}`},
		{`{"user":"system:node:n","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"rawSelector":"spec.nodeName=n"}}}`,
			`{"allowed":true}`},
		{`{"user":"u","resourceAttributes":{"fieldSelector":{"requirements":[{"key":"a","operator":"Exists"}]},"labelSelector":{"requirements":[{"key":"a","operator":"Exists"},{"key":"a","operator":"New"}]}}}`,
			`{"allowed":false,"evaluationError":"spec.resourceAttributes.fieldSelector ignored due to parse error; spec.resourceAttributes.labelSelector partially ignored due to parse error"}`},
		{`{"user":"u","resourceAttributes":{"fieldSelector":{"rawSelector":"a"},"labelSelector":{"rawSelector":"a in"}}}`,
			`{"allowed":false,"evaluationError":"spec.resourceAttributes.fieldSelector ignored due to parse error; spec.resourceAttributes.labelSelector ignored due to parse error"}`},
		{`{"user":"u","nonResourceAttributes":{"verb":"get","path":"/healthz"}}`, `{"allowed":true}`},
		{`{"user":"u","nonResourceAttributes":{"verb":"get","path":"/apis/apps"}}`, `{"allowed":false}`},
		{`{"groups":["system:authenticated"],"nonResourceAttributes":{"verb":"get","path":"/apis/apps"}}`, `{"allowed":true}`},
		{`{"groups":["system:authenticated"],"nonResourceAttributes":{"verb":"post","path":"/apis/apps"}}`, `{"allowed":false}`},
		{`{}`, `.authorization.k8s.io "" is invalid: [spec.resourceAttributes: Invalid value: null: ` + one + `, spec.user: Invalid value: "": at least one of user or group must be specified]`},
		{`{"user":"u","resourceAttributes":{},"nonResourceAttributes":{"path":"/x"}}`, `.authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value: {"path":"/x"}: cannot be specified in combination with resourceAttributes`},
		{`{"user":"u","resourceAttributes":{"fieldSelector":{}}}`, `.authorization.k8s.io "" is invalid: spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required`},
		{`{"user":"u","resourceAttributes":{"labelSelector":{"rawSelector":"a","requirements":[{"key":"a","operator":"Exists","values":["x"]}]}}}`,
			`.authorization.k8s.io "" is invalid: [spec.resourceAttributes.labelSelector.rawSelector: Invalid value: "a": may not specified at the same time as requirements, spec.resourceAttributes.labelSelector.requirements[0].values: Forbidden: may not be specified when ` + "`operator` is 'Exists' or 'DoesNotExist']"},
	} {
		var sar authorizationv1.SubjectAccessReview
		if err := json.Unmarshal([]byte(c.spec), &sar.Spec); err != nil {
			t.Fatal(err)
		}
		got, err := a.ReviewAccess(t.Context(), nil, &sar)
		if have := reviewed(t, got, err); have != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.spec, have, c.want)
		}
	}
}

func reviewed(t *testing.T, sar *authorizationv1.SubjectAccessReview, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	b, err := json.Marshal(sar.Status)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOwnReviews holds what callers may ask of themselves, and that a local review is about its own namespace.
func TestOwnReviews(t *testing.T) {
	a := &Authorizer{Snapshot: func(context.Context) (store.View, error) { return store.View{}, nil }}
	var local authorizationv1.LocalSubjectAccessReview
	local.Name, local.Namespace = "x", "ns"
	local.Spec = authorizationv1.SubjectAccessReviewSpec{User: "u", ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "other"}}
	_, err := a.ReviewLocalAccess(t.Context(), nil, &local)
	if e := api.AsError(err); e.Status.Code != 422 || len(e.Status.Details.Causes) != 2 ||
		e.Status.Details.Causes[1].Message != `Invalid value: "other": must match metadata.namespace` {
		t.Errorf("a local review of another namespace: %v", err)
	}

	node := &api.Request{User: &api.User{Name: NodeUser("n"), Groups: []string{GroupNodes, GroupAuthenticated}}}
	own, err := a.ReviewOwnAccess(t.Context(), node, &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes", Name: "n"}}})
	if err != nil || !own.Status.Allowed {
		t.Errorf("a node may not read itself: %+v, %v", own, err)
	}

	if _, err := a.ReviewOwnRules(t.Context(), node, new(authorizationv1.SelfSubjectRulesReview)); err == nil || err.Error() != "no namespace on request" {
		t.Errorf("rules without a namespace: %v", err)
	}
	about := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "ns"}}
	const basic = `{"verbs":["create"],"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews","selfsubjectrulesreviews"]},` +
		`{"verbs":["create"],"apiGroups":["authentication.k8s.io"],"resources":["selfsubjectreviews"]}`
	const public = `{"verbs":["get"],"nonResourceURLs":["/healthz","/healthz/*","/livez","/livez/*","/readyz","/readyz/*","/version","/version/"]}`
	const discovery = `{"verbs":["get"],"nonResourceURLs":["/api","/api/*","/apis","/apis/*","/openapi","/openapi/*"]}`
	for _, c := range []struct {
		user *api.User
		want string
	}{
		{&api.User{Name: "u"}, `{"resourceRules":[],"nonResourceRules":[` + public + `],"incomplete":false}`},
		{&api.User{Name: "u", Groups: []string{GroupMasters, GroupAuthenticated}}, `{"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]},` + basic +
			`],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]},` + public + `,` + discovery + `],"incomplete":false}`},
		{node.User, `{"resourceRules":[` + basic + `],"nonResourceRules":[` + public + `,` + discovery +
			`],"incomplete":true,"evaluationError":"node authorizer does not support user rule resolution"}`},
	} {
		got, err := a.ReviewOwnRules(t.Context(), &api.Request{User: c.user}, about)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := json.Marshal(got.Status); string(b) != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.user.Name, b, c.want)
		}
	}
}
