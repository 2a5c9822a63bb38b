package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/store"
)

func TestLoadAuthorityKeepsItsKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Certificate.Equal(b.Certificate) || !a.TokenKey.Equal(b.TokenKey) {
		t.Error("the second load made a new authority")
	}
	for _, f := range []string{fileKey, fileToken} {
		if st, err := os.Stat(filepath.Join(dir, f)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, err %v; want 0600", f, st.Mode(), err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, fileCert), []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(dir); err == nil || !strings.Contains(err.Error(), fileCert) {
		t.Errorf("a corrupt certificate: got %v, want an error that names the file", err)
	}
}

func TestServingRenews(t *testing.T) {
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := a.Serve([]string{"localhost", "127.0.0.1"})
	first, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.GetCertificate(nil); again != first {
		t.Error("a young certificate was replaced")
	}
	s.now = func() time.Time { return time.Now().Add(leafLife * 9 / 10) }
	if later, _ := s.GetCertificate(nil); later == first {
		t.Error("a certificate past 80 % of its life was kept")
	}
	if _, err := first.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "127.0.0.1"}); err != nil {
		t.Error(err)
	}
}

func TestCertificateIdentity(t *testing.T) {
	ours, _ := NewAuthority()
	other, _ := NewAuthority()
	auth := &Authenticator{Authority: ours}
	for _, c := range []struct {
		name   string
		issuer *Authority
		want   string
	}{{"ours", ours, "jane"}, {"A1 another authority's", other, ""}} {
		t.Run(c.name, func(t *testing.T) {
			certPEM, keyPEM, err := c.issuer.Issue(Leaf{User: "jane", Groups: []string{"dev"}})
			if err != nil {
				t.Fatal(err)
			}
			pair, err := tls.X509KeyPair(certPEM, keyPEM)
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}}
			u, err := auth.Authenticate(r.WithContext(ConnContext(context.Background(), nil)))
			switch {
			case c.want == "" && err == nil:
				t.Errorf("accepted as %v", u)
			case c.want != "" && (err != nil || u.Name != c.want || !u.InGroup("dev") || !u.InGroup(GroupAuthenticated)):
				t.Errorf("got %v, %v", u, err)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	ctx := context.Background()
	a, _ := NewAuthority()
	sa := record(t, api.Key{Namespace: "ns", Name: "robot"}, "uid-1")
	now := time.Now()
	tokens := NewTokens(a, func(context.Context) (store.View, error) { return store.View{}, nil })
	tokens.now = func() time.Time { return now }
	token, expires, err := tokens.Issue(Grant{Namespace: "ns", ServiceAccount: sa, Lifetime: time.Hour})
	if err != nil || !expires.Equal(now.Add(time.Hour)) {
		t.Fatal(err, expires)
	}
	if _, err := tokens.Verify(ctx, token); err == nil || !strings.Contains(err.Error(), "no longer exists") {
		t.Errorf("A2 a token whose service account is gone: got %v", err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := tokens.Verify(ctx, token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("A1 an expired token: got %v", err)
	}
	now = now.Add(-2 * time.Hour)
	foreign, _ := NewAuthority()
	bad, _, _ := NewTokens(foreign, nil).Issue(Grant{Namespace: "ns", ServiceAccount: sa, Lifetime: time.Hour})
	if _, err := tokens.Verify(ctx, bad); err == nil {
		t.Error("A1 a token of another key was accepted")
	}
	elsewhere, _, _ := tokens.Issue(Grant{Namespace: "ns", ServiceAccount: sa, Lifetime: time.Hour, Audiences: []string{"vault"}})
	if _, err := tokens.Verify(ctx, elsewhere); err == nil || !strings.Contains(err.Error(), "audience") {
		t.Errorf("a token for another audience: got %v", err)
	}
}

func record(t *testing.T, k api.Key, uid string) *api.Record {
	t.Helper()
	js := `{"apiVersion":"v1","kind":"X","metadata":{"resourceVersion":` + api.Slot + `}}`
	r, err := api.NewRecord(api.Parts{Key: k, UID: uid, JSON: []byte(js), Slot: strings.Index(js, api.Slot),
		Metadata: api.Span{Start: strings.Index(js, `{"res`), End: len(js) - 1}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuthorize(t *testing.T) {
	a := &Authorizer{Snapshot: func(context.Context) (store.View, error) { return store.View{}, nil }}
	nobody := &api.User{Name: "jane", Groups: []string{GroupAuthenticated}}
	for _, c := range []struct {
		user *api.User
		req  api.Request
		ok   bool
	}{
		{&api.User{Name: "x", Groups: []string{GroupMasters}}, api.Request{Verb: api.Delete, Resource: api.Nodes}, true},
		{nobody, api.Request{Verb: api.Get, Resource: api.Pods}, false},
		{&api.User{Name: UserScheduler}, api.Request{Verb: api.Create, Resource: api.Pods, Subresource: "binding"}, true},
		{&api.User{Name: UserScheduler}, api.Request{Verb: api.Get, Resource: api.Secrets}, false},
		{&api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes}}, api.Request{Verb: api.Update, Resource: api.Nodes, Subresource: "status", Key: api.Key{Name: "n1"}}, true},
		{&api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes}}, api.Request{Verb: api.Update, Resource: api.Nodes, Subresource: "status", Key: api.Key{Name: "n2"}}, false},
		{&api.User{Name: NodeUser("n1")}, api.Request{Verb: api.Update, Resource: api.Nodes, Key: api.Key{Name: "n1"}}, false},
		{&api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes}}, api.Request{Verb: api.Watch, Resource: api.Pods, Query: map[string][]string{"fieldSelector": {"spec.nodeName=n1"}}}, true},
		{&api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes}}, api.Request{Verb: api.List, Resource: api.Pods}, false},
		{&api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes}}, api.Request{Verb: api.List, Resource: api.Secrets, Key: api.Key{Namespace: "x"}}, false},
	} {
		r := c.req
		r.User = c.user
		if err := a.Authorize(context.Background(), &r); (err == nil) != c.ok {
			t.Errorf("%s %s %s: %v", c.user.Name, r.Verb, r.Resource, err)
		}
	}
	r := api.Request{User: nobody, Verb: api.List, Resource: api.Deployments, Key: api.Key{Namespace: "ns"}}
	want := `deployments.apps is forbidden: User "jane" cannot list resource "deployments" in API group "apps" in the namespace "ns"`
	if err := a.Authorize(context.Background(), &r); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
	for path, ok := range map[string]bool{"/livez/ping": true, "/version": true, "/metrics": false, "/apis": false} {
		if err := a.AuthorizePath(anonymous, "get", path); (err == nil) != ok {
			t.Errorf("anonymous %s: %v", path, err)
		}
	}
}
