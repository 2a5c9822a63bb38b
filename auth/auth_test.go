package auth

import (
	"bytes"
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
	if !a.Certificate().Equal(b.Certificate()) || !a.TokenKey.Equal(b.TokenKey) {
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

// TestLoadAuthorityMissesFiles removes and swaps files of an authority: nothing new is made in their place.
func TestLoadAuthorityMissesFiles(t *testing.T) {
	for _, lost := range [][]string{{fileKey}, {fileCert}, {fileToken}, {fileKey, fileToken}} {
		dir := filepath.Join(t.TempDir(), "pki")
		if _, err := LoadAuthority(dir); err != nil {
			t.Fatal(err)
		}
		for _, f := range lost {
			if err := os.Remove(filepath.Join(dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		_, err := LoadAuthority(dir)
		for _, f := range append(lost, dir, "missing") {
			if err == nil || !strings.Contains(err.Error(), f) {
				t.Errorf("without %v: got %v, want an error that names %s", lost, err, f)
			}
		}
		for _, f := range lost {
			if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
				t.Errorf("without %v: %s was made anew", lost, f)
			}
		}
	}
	one, other := filepath.Join(t.TempDir(), "pki"), filepath.Join(t.TempDir(), "pki")
	for _, dir := range []string{one, other} {
		if err := os.MkdirAll(dir+".new", 0o700); err != nil { // what a crash left behind
			t.Fatal(err)
		}
		if _, err := LoadAuthority(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(other, fileKey), filepath.Join(one, fileKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(one); err == nil || !strings.Contains(err.Error(), fileKey+" does not belong to "+fileCert) {
		t.Errorf("with another authority's key: %v", err)
	}
}

// TestLoadAuthorityDamaged: an authority in whose files one letter differs is not used, whatever the letter says. The
// lowest bit of each letter is turned, which is also what base64 has to spare at its end.
func TestLoadAuthorityDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := LoadAuthority(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fileCert, fileKey, fileToken} {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := range bytes.TrimSpace(whole) {
			file := bytes.Clone(whole)
			file[at] ^= 1
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadAuthority(dir); err == nil || !strings.HasPrefix(err.Error(), path+" is damaged (") {
				t.Errorf("%s: %q for %q at %d: %v", name, file[at], whole[at], at, err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadPEMSpareBits: base64 has up to four bits to spare at its end, by the length of what it encodes.
func TestReadPEMSpareBits(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	path := filepath.Join(t.TempDir(), "x.pem")
	for length := 1; length <= 3; length++ {
		whole := encodePEM("X", make([]byte, length))
		last := bytes.LastIndexByte(bytes.TrimRight(whole[:bytes.Index(whole, []byte("-----END"))], "=\n"), 'A')
		for _, letter := range []byte(alphabet) {
			file := bytes.Clone(whole)
			file[last] = letter
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readPEM(path, "X")
			if same := bytes.Equal(got, make([]byte, length)); same != (letter == 'A') {
				t.Errorf("%d bytes, last letter %q: %x, %v", length, letter, got, err)
			}
		}
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
	a.Now = func() time.Time { return time.Now().Add(leafLife * 9 / 10) }
	if later, _ := s.GetCertificate(nil); later == first {
		t.Error("a certificate past 80 % of its life was kept")
	}
	if _, err := first.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "127.0.0.1"}); err != nil {
		t.Error(err)
	}
}

// TestAuthorityRenews lets most of an authority's life pass: it gets a new certificate that is kept, under which what was
// issued before is good, and what is issued after is good under the old one.
func TestAuthorityRenews(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	a.Now = func() time.Time { return now }
	if renewed, err := a.Renew(); renewed || err != nil {
		t.Errorf("a young authority: renewed %v, err %v", renewed, err)
	}
	leaf := func() *x509.Certificate {
		certPEM, keyPEM, err := a.Issue(Leaf{User: "jane", Groups: []string{"dev"}})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	first := a.Pool()
	now = now.Add(authorityLife / 100 * 79)
	before := leaf()
	now = now.Add(authorityLife / 50)
	if renewed, err := a.Renew(); !renewed || err != nil {
		t.Fatalf("an authority at 81 %% of its life: renewed %v, err %v", renewed, err)
	}
	if left := a.Certificate().NotAfter.Sub(now); left != authorityLife && left < authorityLife-time.Second {
		t.Errorf("the new certificate lives %v", left)
	}
	for name, x := range map[string]struct {
		cert  *x509.Certificate
		roots *x509.CertPool
	}{"old leaf, new root": {before, a.Pool()}, "new leaf, old root": {leaf(), first}} {
		if _, err := x.cert.Verify(x509.VerifyOptions{Roots: x.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	again, err := LoadAuthority(dir)
	if err != nil || !again.Certificate().Equal(a.Certificate()) {
		t.Errorf("the new certificate was not kept: %v", err)
	}
}

func TestCertificateIdentity(t *testing.T) {
	ours, _ := NewAuthority()
	other, _ := NewAuthority()
	auth := &Authenticator{Authority: ours}
	for _, c := range []struct {
		name   string
		issuer *Authority
		user   string
		want   string
	}{{"ours", ours, "jane", "jane"}, {"A1 another authority's", other, "jane", ""}, {"nobody's", ours, "", ""}} {
		t.Run(c.name, func(t *testing.T) {
			certPEM, keyPEM, err := c.issuer.Issue(Leaf{User: c.user, Groups: []string{"dev"}})
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
		{&api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes}}, api.Request{Verb: api.Update, Resource: api.Nodes, Subresource: "status", Key: api.Key{Name: "n2"}}, true}, // refused by admission
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

// TestNodeRefusals compares what a node is told with upstream's words.
func TestNodeRefusals(t *testing.T) {
	a := &Authorizer{Snapshot: func(context.Context) (store.View, error) { return store.View{}, nil }}
	u := &api.User{Name: NodeUser("n1"), Groups: []string{GroupNodes, GroupAuthenticated}}
	selector := func(s string) map[string][]string { return map[string][]string{"fieldSelector": {s}} }
	for _, c := range []struct {
		req  api.Request
		want string // "" when allowed
	}{
		{api.Request{Verb: api.Get, Resource: api.Nodes, Key: api.Key{Name: "n1"}}, ""},
		{api.Request{Verb: api.Watch, Resource: api.Nodes, Query: selector("metadata.name=n1")}, ""},
		{api.Request{Verb: api.Get, Resource: api.Nodes, Key: api.Key{Name: "n2"}},
			`nodes "n2" is forbidden: User "system:node:n1" cannot get resource "nodes" in API group "" at the cluster scope: node 'n1' cannot read 'n2', only its own Node object`},
		{api.Request{Verb: api.List, Resource: api.Nodes},
			`nodes is forbidden: User "system:node:n1" cannot list resource "nodes" in API group "" at the cluster scope: node 'n1' cannot read all nodes, only its own Node object`},
		{api.Request{Verb: api.Delete, Resource: api.Nodes, Key: api.Key{Name: "n1"}},
			`nodes "n1" is forbidden: User "system:node:n1" cannot delete resource "nodes" in API group "" at the cluster scope`},
		{api.Request{Verb: api.List, Resource: api.Pods},
			`pods is forbidden: User "system:node:n1" cannot list resource "pods" in API group "" at the cluster scope: can only list/watch pods with spec.nodeName field selector`},
		{api.Request{Verb: api.List, Resource: api.Pods, Query: selector("spec.nodeName=n2")},
			`pods is forbidden: User "system:node:n1" cannot list resource "pods" in API group "" at the cluster scope: can only list/watch pods with spec.nodeName field selector`},
		{api.Request{Verb: api.Get, Resource: api.Secrets, Key: api.Key{Namespace: "x", Name: "s"}},
			`secrets "s" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "x": no relationship found between node 'n1' and this object`},
		{api.Request{Verb: api.List, Resource: api.Secrets, Key: api.Key{Namespace: "x"}},
			`secrets is forbidden: User "system:node:n1" cannot list resource "secrets" in API group "" in the namespace "x": No Object name found`},
		{api.Request{Verb: api.List, Resource: api.ConfigMaps},
			`configmaps is forbidden: User "system:node:n1" cannot list resource "configmaps" in API group "" at the cluster scope: can only read namespaced object of this type`},
		{api.Request{Verb: api.Update, Resource: api.Secrets, Key: api.Key{Namespace: "x", Name: "s"}},
			`secrets "s" is forbidden: User "system:node:n1" cannot update resource "secrets" in API group "" in the namespace "x": can only read resources of this type`},
		{api.Request{Verb: api.Create, Resource: api.ServiceAccounts, Subresource: "token", Key: api.Key{Namespace: "x", Name: "robot"}},
			`serviceaccounts "robot" is forbidden: User "system:node:n1" cannot create resource "serviceaccounts/token" in API group "" in the namespace "x": no relationship found between node 'n1' and this object`},
		{api.Request{Verb: api.Get, Resource: api.Leases, Key: api.Key{Namespace: "kube-node-lease", Name: "n2"}},
			`leases.coordination.k8s.io "n2" is forbidden: User "system:node:n1" cannot get resource "leases" in API group "coordination.k8s.io" in the namespace "kube-node-lease": can only access node lease with the same name as the requesting node`},
		{api.Request{Verb: api.Update, Resource: api.Leases, Key: api.Key{Namespace: "kube-system", Name: "kube-scheduler"}},
			`leases.coordination.k8s.io "kube-scheduler" is forbidden: User "system:node:n1" cannot update resource "leases" in API group "coordination.k8s.io" in the namespace "kube-system": can only access leases in the "kube-node-lease" system namespace`},
		{api.Request{Verb: api.Get, Resource: api.Deployments, Key: api.Key{Namespace: "x", Name: "d"}},
			`deployments.apps "d" is forbidden: User "system:node:n1" cannot get resource "deployments" in API group "apps" in the namespace "x"`},
	} {
		r := c.req
		r.User = u
		got := ""
		if err := a.Authorize(context.Background(), &r); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s %s:\ngot  %s\nwant %s", r.Verb, r.Resource, r.Key, got, c.want)
		}
	}
}

// TestControllerIdentities tries what a controller must not be able to do, had it gone astray.
func TestControllerIdentities(t *testing.T) {
	a := &Authorizer{Snapshot: func(context.Context) (store.View, error) { return store.View{}, nil }}
	for _, c := range []struct {
		user string
		req  api.Request
		ok   bool
	}{
		{ControllerUser("replicaset-controller"), api.Request{Verb: api.Create, Resource: api.Pods}, true},
		{ControllerUser("replicaset-controller"), api.Request{Verb: api.Get, Resource: api.Secrets}, false},
		{ControllerUser("replicaset-controller"), api.Request{Verb: api.Update, Resource: api.Deployments}, false},
		{ControllerUser("deployment-controller"), api.Request{Verb: api.Create, Resource: api.Pods}, false},
		{ControllerUser("deployment-controller"), api.Request{Verb: api.Create, Resource: api.ReplicaSets}, true},
		{ControllerUser("generic-garbage-collector"), api.Request{Verb: api.Create, Resource: api.Pods}, false},
		{ControllerUser("root-ca-cert-publisher"), api.Request{Verb: api.Delete, Resource: api.ConfigMaps}, false},
		{ControllerUser("unheard-of"), api.Request{Verb: api.Get, Resource: api.Pods}, false},
		{UserControllerManager, api.Request{Verb: api.Watch, Resource: api.Deployments}, true},
		{UserControllerManager, api.Request{Verb: api.Delete, Resource: api.Pods}, false},
		{UserScheduler, api.Request{Verb: api.Delete, Resource: api.Leases}, false},
	} {
		r := c.req
		r.User = &api.User{Name: c.user}
		if err := a.Authorize(context.Background(), &r); (err == nil) != c.ok {
			t.Errorf("%s %s %s: %v", c.user, r.Verb, r.Resource, err)
		}
	}
}
