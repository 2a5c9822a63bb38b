package auth

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Bounds of spec.expirationSeconds, in seconds.
const (
	minTokenLife = 10 * 60
	maxTokenLife = 1 << 32
)

// Request answers a create of serviceaccounts/token: authentication.k8s.io/v1 TokenRequest.
func (t *Tokens) Request(ctx context.Context, r *api.Request, tr *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	const group, kind = "authentication.k8s.io", "TokenRequest"
	if tr.Name != "" && tr.Name != r.Key.Name {
		return nil, api.Invalid(group, kind, r.Key.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "name"), tr.Name, "must match the service account name if specified")})
	}
	if tr.Namespace != "" && tr.Namespace != r.Key.Namespace {
		return nil, api.Invalid(group, kind, r.Key.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "namespace"), tr.Namespace, "must match the service account namespace if specified")})
	}
	v, err := t.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	sa := v.Get(api.ServiceAccounts, r.Key)
	if sa == nil {
		return nil, api.NotFound(api.ServiceAccounts, r.Key.Name)
	}
	if tr.UID != "" && string(tr.UID) != sa.UID() {
		return nil, api.Conflict(api.Resource{Group: group, Name: kind}, r.Key.Name,
			fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", tr.UID, sa.UID()))
	}
	if errs := completeTokenRequest(tr); len(errs) > 0 {
		return nil, api.Invalid(group, kind, "", errs)
	}
	if node, ok := NodeOf(r.User); ok {
		if err := restrictToNode(v, node, r.Key, tr.Spec.BoundObjectRef); err != nil {
			return nil, err
		}
	}
	seconds := *tr.Spec.ExpirationSeconds
	g := Grant{Namespace: r.Key.Namespace, ServiceAccount: sa, Audiences: tr.Spec.Audiences, Lifetime: time.Duration(seconds) * time.Second}
	if err := bind(v, &g, tr.Spec.BoundObjectRef); err != nil {
		return nil, err
	}
	token, expires, err := t.Issue(g)
	if err != nil {
		return nil, err
	}
	tr.Name, tr.Namespace = r.Key.Name, r.Key.Namespace
	tr.CreationTimestamp = metav1.NewTime(t.now())
	tr.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(expires)}
	return tr, nil
}

func completeTokenRequest(tr *authenticationv1.TokenRequest) field.ErrorList {
	if len(tr.Spec.Audiences) == 0 {
		tr.Spec.Audiences = []string{Issuer}
	}
	p := field.NewPath("spec", "expirationSeconds")
	switch n := *tr.Spec.ExpirationSeconds; {
	case n < minTokenLife:
		return field.ErrorList{field.Invalid(p, n, "may not specify a duration less than 10 minutes")}
	case n > maxTokenLife:
		return field.ErrorList{field.Invalid(p, n, "may not specify a duration larger than 2^32 seconds")}
	}
	return nil
}

// restrictToNode refuses tokens that outlive the pod a node wants them for: upstream's NodeRestriction, which this
// subresource does not pass through.
func restrictToNode(v store.View, node string, account api.Key, ref *authenticationv1.BoundObjectReference) error {
	forbidden := func(format string, args ...any) error {
		return api.Forbidden(api.ServiceAccounts, account.Name, fmt.Errorf(format, args...))
	}
	switch {
	case ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "":
		return forbidden("node requested token not bound to a pod")
	case ref.UID == "":
		return forbidden("node requested token with a pod binding without a uid")
	}
	pod := v.Get(api.Pods, api.Key{Namespace: account.Namespace, Name: ref.Name})
	switch {
	case pod == nil:
		return api.NotFound(api.Pods, ref.Name)
	case pod.UID() != string(ref.UID):
		return forbidden("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.IndexValue(IndexPodNode) != node:
		return forbidden("node requested token bound to a pod scheduled on a different node")
	}
	return nil
}

// bind finds what a token shall die with.
func bind(v store.View, g *Grant, ref *authenticationv1.BoundObjectReference) error {
	if ref == nil {
		return nil
	}
	var res api.Resource
	var to **api.Record
	switch {
	case ref.APIVersion == "v1" && ref.Kind == "Pod":
		res, to = api.Pods, &g.Pod
	case ref.APIVersion == "v1" && ref.Kind == "Secret":
		res, to = api.Secrets, &g.Secret
	default:
		gv, err := schema.ParseGroupVersion(ref.APIVersion)
		if err != nil {
			return api.BadRequest("cannot bind token to object of apiVersion %q: %v", ref.APIVersion, err)
		}
		return api.BadRequest("cannot bind token to object of type %s", gv.WithKind(ref.Kind))
	}
	rec := v.Get(res, api.Key{Namespace: g.Namespace, Name: ref.Name})
	if rec == nil {
		return api.NotFound(res, ref.Name)
	}
	if ref.UID != "" && string(ref.UID) != rec.UID() {
		return api.Conflict(res, ref.Name, fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	*to = rec
	if res == api.Pods {
		if node := rec.IndexValue(IndexPodNode); node != "" {
			g.Node = v.Get(api.Nodes, api.Key{Name: node})
		}
	}
	return nil
}
