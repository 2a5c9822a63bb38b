package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/store"
)

// Bounds of spec.expirationSeconds, in seconds.
const (
	defaultTokenLife = 60 * 60
	minTokenLife     = 10 * 60
	maxTokenLife     = 1 << 32
)

// Request answers a create of serviceaccounts/token: authentication.k8s.io/v1 TokenRequest.
func (t *Tokens) Request(ctx context.Context, r *api.Request) (*api.Response, error) {
	tr, err := decodeTokenRequest(r)
	if err != nil {
		return nil, err
	}
	if err := own(tr, r); err != nil {
		return nil, err
	}
	if errs := completeTokenRequest(tr); len(errs) > 0 {
		return nil, api.Invalid("authentication.k8s.io", "TokenRequest", "", errs)
	}
	v, err := t.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	sa := v.Get(api.ServiceAccounts, r.Key)
	if sa == nil {
		return nil, api.NotFound(api.ServiceAccounts, r.Key.Name)
	}
	if tr.Name != "" && tr.Name != r.Key.Name {
		return nil, api.Invalid("authentication.k8s.io", "TokenRequest", r.Key.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "name"), tr.Name, "must match the service account name if specified")})
	}
	if tr.Namespace != "" && tr.Namespace != r.Key.Namespace {
		return nil, api.Invalid("authentication.k8s.io", "TokenRequest", r.Key.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "namespace"), tr.Namespace, "must match the service account namespace if specified")})
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
	tr.TypeMeta = metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}
	tr.Name, tr.Namespace = r.Key.Name, r.Key.Namespace
	tr.CreationTimestamp = metav1.NewTime(t.now())
	tr.Status = authenticationv1.TokenRequestStatus{Token: token, ExpirationTimestamp: metav1.NewTime(expires)}
	return &api.Response{Code: http.StatusCreated, Object: tr}, nil
}

func decodeTokenRequest(r *api.Request) (*authenticationv1.TokenRequest, error) {
	if o, ok := r.Object.(*authenticationv1.TokenRequest); ok {
		return o.DeepCopy(), nil
	}
	tr := new(authenticationv1.TokenRequest)
	read := func(body []byte) error { return yaml.Unmarshal(body, tr) }
	if r.ContentType == runtime.ContentTypeProtobuf {
		read = func(body []byte) error { return unmarshalProtobuf(body, tr) }
	}
	if err := read(r.Body); err != nil {
		return nil, api.BadRequest("TokenRequest in version %q cannot be handled as a TokenRequest: %v", "v1", err)
	}
	return tr, nil
}

// unmarshalProtobuf reads the API's protobuf: "k8s\0", then a runtime.Unknown that holds the message. client-go's typed
// clients send TokenRequests so.
func unmarshalProtobuf(body []byte, tr *authenticationv1.TokenRequest) error {
	message, ok := bytes.CutPrefix(body, []byte("k8s\x00"))
	if !ok {
		return errors.New("the body does not begin as protobuf of Kubernetes does")
	}
	var u runtime.Unknown
	if err := u.Unmarshal(message); err != nil {
		return err
	}
	if u.Kind != "" && u.Kind != "TokenRequest" {
		return fmt.Errorf("the body holds a %s", u.Kind)
	}
	return tr.Unmarshal(u.Raw)
}

// own shows in managedFields which fields the client set, as upstream does though the request is never stored. The
// default of the expiration counts, that of the audiences is filled in after.
func own(tr *authenticationv1.TokenRequest, r *api.Request) error {
	if tr.Spec.ExpirationSeconds == nil {
		n := int64(defaultTokenLife)
		tr.Spec.ExpirationSeconds = &n
	}
	document := func(tr *authenticationv1.TokenRequest) (*object.Value, error) {
		b, err := json.Marshal(tr)
		if err != nil {
			return nil, fmt.Errorf("encoding a TokenRequest: %w", err)
		}
		return object.Parse(b)
	}
	before, err := document(new(authenticationv1.TokenRequest))
	if err != nil {
		return err
	}
	after, err := document(tr)
	if err != nil {
		return err
	}
	by := api.Owner{Manager: r.Query.Get("fieldManager"), APIVersion: authenticationv1.SchemeGroupVersion.String(), Subresource: "token"}
	if by.Manager == "" {
		by.Manager = object.ManagerOf(r.UserAgent)
	}
	now := metav1.Now()
	tr.ManagedFields = nil
	for _, o := range object.Own(nil, before, after, nil, object.Write{Owner: by, Ignore: []string{"metadata", "status"}}) {
		tr.ManagedFields = append(tr.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: o.Manager, Operation: metav1.ManagedFieldsOperationType(o.Operation), APIVersion: o.APIVersion, Time: &now,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(o.Fields), Subresource: o.Subresource,
		})
	}
	return nil
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
