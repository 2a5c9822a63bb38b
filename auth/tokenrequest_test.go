package auth

import (
	"errors"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pintle.dev/api"
)

func TestDecodeTokenRequest(t *testing.T) {
	raw, err := (&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string) []byte {
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: kind}, Raw: raw}
		b, err := u.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte("k8s\x00"), b...)
	}
	const protobuf = runtime.ContentTypeProtobuf
	for _, c := range []struct {
		name, contentType string
		body              []byte
		ok                bool
	}{
		{"JSON", runtime.ContentTypeJSON, []byte(`{"spec":{"audiences":["vault"]}}`), true},
		{"YAML", runtime.ContentTypeYAML, []byte("spec:\n  audiences: [vault]\n"), true},
		{"protobuf", protobuf, encode("TokenRequest"), true},
		{"another kind", protobuf, encode("Secret"), false},
		{"no prefix", protobuf, encode("TokenRequest")[4:], false},
		{"cut short", protobuf, encode("TokenRequest")[:40], false},
	} {
		tr, err := decodeTokenRequest(&api.Request{ContentType: c.contentType, Body: c.body})
		if c.ok && (err != nil || len(tr.Spec.Audiences) != 1 || tr.Spec.Audiences[0] != "vault") {
			t.Errorf("%s: got %+v, %v", c.name, tr, err)
		}
		var refused *api.Error
		if !c.ok && (!errors.As(err, &refused) || refused.Status.Code != 400) {
			t.Errorf("%s: got %+v, %v; want a 400", c.name, tr, err)
		}
	}
}
