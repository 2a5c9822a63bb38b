package cluster

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pintle.dev/api"
	"pintle.dev/auth"
)

const (
	authenticationAPI = "/apis/authentication.k8s.io/v1"
	ownAccount        = "/api/v1/namespaces/default/serviceaccounts/default"
)

// as sends a body with headers in pairs, on a connection that has a client certificate only when user is not "".
func as(t *testing.T, sys *System, user, path string, body []byte, headers ...string) (int, string) {
	t.Helper()
	group := "dev"
	if user == auth.UserAdmin {
		group = auth.GroupMasters
	}
	config, err := sys.TLS(user, group)
	if err != nil {
		t.Fatal(err)
	}
	if user == "" {
		config.Certificates, config.GetClientCertificate = nil, nil
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sys.URL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// issued is a token of the default service account, asked for with spec.
func issued(t *testing.T, sys *System, spec string) string {
	t.Helper()
	var tr authenticationv1.TokenRequest
	if err := json.Unmarshal([]byte(want(t, sys, "POST", ownAccount+"/token", `{"spec":`+spec+`}`, 201)), &tr); err != nil {
		t.Fatal(err)
	}
	return tr.Status.Token
}

// TestReviewSelf asks as everybody there is who they are: kubectl auth whoami.
func TestReviewSelf(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", "/api/v1/namespaces/default/serviceaccounts", `{"metadata":{"name":"default"}}`, 201)
	want(t, sys, "POST", "/api/v1/namespaces/default/pods", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`, 201)
	bound := issued(t, sys, `{"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p"}}`)
	const review = `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
	for _, tt := range []struct {
		name, user string
		headers    []string
		code       int
		want       []string
	}{
		{"certificate", "jane", nil, 201, []string{`"userInfo":{"username":"jane","groups":["dev","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["X509SHA256=`, `"creationTimestamp":"20`, `!managedFields`}},
		{"token", "", []string{"Authorization", "Bearer " + bound}, 201, []string{
			`"username":"system:serviceaccount:default:default"`, `"groups":["system:serviceaccounts","system:serviceaccounts:default","system:authenticated"]`,
			`"authentication.kubernetes.io/credential-id":["JTI=`, `"authentication.kubernetes.io/pod-name":["p"]`, `"authentication.kubernetes.io/pod-uid":["`}},
		{"impersonation is not for everybody", "jane", []string{"Impersonate-User", "joe"}, 403, []string{`cannot impersonate`}},
		{"anonymous", "", nil, 403, []string{`User \"system:anonymous\" cannot create resource \"selfsubjectreviews\" in API group \"authentication.k8s.io\" at the cluster scope`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, answer := as(t, sys, tt.user, authenticationAPI+"/selfsubjectreviews", []byte(review), append(tt.headers, "Content-Type", "application/json")...)
			expect(t, tt.code, tt.want, code, answer)
		})
	}
	want(t, sys, "GET", authenticationAPI+"/selfsubjectreviews", "", 405)
	want(t, sys, "GET", authenticationAPI+"/selfsubjectreviews/x", "", 404)
	want(t, sys, "POST", authenticationAPI+"/selfsubjectreviews?fieldValidation=Strict", `{"spec":{}}`, 400, `strict decoding error: unknown field \"spec\"`)
	want(t, sys, "POST", authenticationAPI+"/selfsubjectreviews", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1"}`, 400, "unknown conversion")
	want(t, sys, "GET", authenticationAPI, "", 200, `{"name":"selfsubjectreviews","singularName":"selfsubjectreview","namespaced":false,"kind":"SelfSubjectReview","verbs":["create"]}`)
	want(t, sys, "GET", "/openapi/v3"+authenticationAPI, "", 200, `"/apis/authentication.k8s.io/v1/tokenreviews"`, `!"/apis/authentication.k8s.io/v1/tokenreviews/{name}"`)
}

func expect(t *testing.T, wantCode int, texts []string, code int, answer string) {
	t.Helper()
	if code != wantCode {
		t.Errorf("%d %s, want %d", code, answer, wantCode)
	}
	says(t, answer, texts)
}

func TestTokenReview(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", "/api/v1/namespaces/default/serviceaccounts", `{"metadata":{"name":"default"}}`, 201)
	ours, theirs := issued(t, sys, `{}`), issued(t, sys, `{"audiences":["vault","x"]}`)
	foreign, err := auth.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	v, err := sys.store.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	sa := v.Get(api.ServiceAccounts, api.Key{Namespace: "default", Name: "default"})
	forged, _, err := auth.NewTokens(foreign, nil).Issue(auth.Grant{Namespace: "default", ServiceAccount: sa, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, spec string
		want       []string
	}{
		{"ours", `{"token":"` + ours + `"}`, []string{`"status":{"authenticated":true,"user":{"username":"system:serviceaccount:default:default"`, `"audiences":["https://kubernetes.default.svc"]`,
			`"managedFields":[{"manager":"Go-http-client","operation":"Update","apiVersion":"authentication.k8s.io/v1"`, `"fieldsV1":{"f:spec":{"f:token":{}}}`}},
		{"another's audience", `{"token":"` + theirs + `","audiences":["vault","y"]}`, []string{`"authenticated":true`, `"audiences":["vault"]}}`}},
		{"another's audience, not named", `{"token":"` + theirs + `"}`, []string{`"status":{"user":{},"error":"[invalid bearer token, token audiences [\"vault\" \"x\"] is invalid for the target audiences [\"https://kubernetes.default.svc\"]]"}`}},
		{"no token", `{"token":"what?"}`, []string{`"status":{"user":{},"error":"invalid bearer token"}`}},
		{"forged", `{"token":"` + forged + `"}`, []string{`"error":"[invalid bearer token, `, `!authenticated"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want(t, sys, "POST", authenticationAPI+"/tokenreviews", `{"spec":`+tt.spec+`}`, 201, tt.want...)
		})
	}
	code, answer := as(t, sys, "jane", authenticationAPI+"/tokenreviews", []byte(`{"spec":{"token":"x"}}`), "Content-Type", "application/json")
	expect(t, 403, []string{`cannot create resource \"tokenreviews\"`}, code, answer)
}

// TestTokenRequestBodies sends TokenRequests in each encoding: client-go's typed clients use protobuf.
func TestTokenRequestBodies(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", "/api/v1/namespaces/default/serviceaccounts", `{"metadata":{"name":"default"}}`, 201)
	raw, err := (&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	message := func(kind string) []byte {
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: kind}, Raw: raw}
		b, err := u.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte("k8s\x00"), b...)
	}
	for _, tt := range []struct {
		name, contentType, query string
		body                     []byte
		code                     int
		want                     string
	}{
		{"JSON", runtime.ContentTypeJSON, "", []byte(`{"spec":{"audiences":["vault"]}}`), 201, `"spec":{"audiences":["vault"],"expirationSeconds":3600,`},
		{"no expiration", runtime.ContentTypeJSON, "", []byte(`{"spec":{"audiences":["vault"],"expirationSeconds":null}}`), 201, `"expirationSeconds":3600,`},
		{"YAML", runtime.ContentTypeYAML, "", []byte("spec:\n  audiences: [vault]\n"), 201, `"spec":{"audiences":["vault"],"expirationSeconds":3600,`},
		{"protobuf", runtime.ContentTypeProtobuf, "", message("TokenRequest"), 201, `"spec":{"audiences":["vault"],"expirationSeconds":3600,`},
		{"unknown field", runtime.ContentTypeJSON, "?fieldValidation=Strict", []byte(`{"spec":{"audience":["vault"]}}`), 400, `unknown field \"spec.audience\"`},
		{"another kind", runtime.ContentTypeProtobuf, "", message("Secret"), 400, `no kind \"Secret\" is registered for version`},
		{"no prefix", runtime.ContentTypeProtobuf, "", message("TokenRequest")[4:], 400, "does not appear to be a protobuf message"},
		{"cut short", runtime.ContentTypeProtobuf, "", message("TokenRequest")[:40], 400, "no protobuf message"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, answer := as(t, sys, auth.UserAdmin, ownAccount+"/token"+tt.query, tt.body, "Content-Type", tt.contentType)
			expect(t, tt.code, []string{tt.want}, code, answer)
		})
	}
}
