package cluster

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pintle.dev/auth"
)

// clock is a time that a test moves on.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

const day = 24 * time.Hour

// whoami asks the server something as the kubeconfig's user, at the clock's time, on a connection of its own.
func whoami(t *testing.T, path string, c *clock) (code int, server *x509.Certificate) {
	t.Helper()
	id, err := readIdentity(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: id}).Get(id.server + "/apis")
	if err != nil {
		t.Fatal(err)
	}
	defer id.transport.CloseIdleConnections()
	resp.Body.Close()
	return resp.StatusCode, resp.TLS.PeerCertificates[0]
}

// TestCertificatesAreRenewed lets years pass for a running system: its administrator's kubeconfig, its server's
// certificate and its authority's are replaced before they expire.
func TestCertificatesAreRenewed(t *testing.T) {
	var c clock
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	s := startTest(t, Config{Kubeconfig: kubeconfig, now: c.now})
	read := func() string {
		b, err := os.ReadFile(kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := read()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(old, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _ := whoami(t, kubeconfig, &c); code != http.StatusOK {
		t.Fatalf("at the start: %d", code)
	}
	c.advance(200 * day)
	if err := s.renewCertificates(); err != nil || read() != first {
		t.Errorf("a kubeconfig of 200 days was replaced, or err %v", err)
	}
	c.advance(100 * day)
	if err := s.renewCertificates(); err != nil || read() == first {
		t.Errorf("a kubeconfig of 300 days was kept, err %v", err)
	}
	if st, err := os.Stat(kubeconfig); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the new kubeconfig: %v, err %v", st.Mode(), err)
	}
	c.advance(100 * day)
	code, server := whoami(t, kubeconfig, &c)
	if code != http.StatusOK || server.NotAfter.Sub(c.now()) < 200*day {
		t.Errorf("after 400 days: %d, the server's certificate expires at %v", code, server.NotAfter)
	}
	if code, _ := whoami(t, old, &c); code != http.StatusUnauthorized {
		t.Errorf("A1 an expired certificate gets %d", code)
	}

	c.advance(2700 * day) // 8.5 years in all
	if err := s.renewCertificates(); err != nil {
		t.Fatal(err)
	}
	if left := s.authority.Certificate().NotAfter.Sub(c.now()); left < 3600*day {
		t.Errorf("the authority has %v left", left)
	}
	if !strings.Contains(read(), base64.StdEncoding.EncodeToString(s.authority.PEM())) {
		t.Error("the kubeconfig does not carry the authority's new certificate")
	}
	if code, _ := whoami(t, kubeconfig, &c); code != http.StatusOK {
		t.Errorf("after 8.5 years: %d", code)
	}
}

// TestNodeRenewsItsCertificate has a node's identity renewed by the server, over a connection that it then gives up.
func TestNodeRenewsItsCertificate(t *testing.T) {
	var c clock
	s := startTest(t, Config{now: c.now})
	// Nobody but a node gets a node's certificate.
	resp, err := s.adminClient().Post(s.URL()+NodeCertificatePath, "", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusForbidden {
		t.Errorf("an administrator gets %s", resp.Status)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	cert, key, err := s.authority.Issue(nodeLeaf("n1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, kubeconfig(s.URL(), auth.NodeUser("n1"), s.authority.PEM(), cert, key), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := readIdentity(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := (&http.Client{Transport: id}).Get(s.URL() + "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1")
	if err != nil || watch.StatusCode != http.StatusOK {
		t.Fatal(watch, err)
	}
	defer watch.Body.Close()
	c.advance(300 * day)
	old := id.leaf()
	if !auth.Due(old, c.now()) {
		t.Fatal("a certificate of 300 days is not due")
	}
	if err := id.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The watch of the old connection ends, rather than to be refused when its certificate expires.
	if _, err := io.ReadAll(watch.Body); err == nil {
		t.Error("the old connection ended as if all were said")
	}
	c.advance(300 * day)
	if code, _ := whoami(t, path, &c); code != http.StatusOK {
		t.Errorf("the renewed kubeconfig gets %d", code)
	}
	again, err := readIdentity(path, c.now)
	if err != nil || !again.leaf().Equal(id.leaf()) || again.leaf().Equal(old) {
		t.Errorf("the kubeconfig does not hold the new certificate: %v", err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the new kubeconfig: %v, err %v", st.Mode(), err)
	}
	if u := id.leaf().Subject; u.CommonName != "system:node:n1" || !slices.Equal(id.leaf().DNSNames, []string{"n1"}) {
		t.Errorf("renewed for %v, %v", u, id.leaf().DNSNames)
	}
}

// TestDialThroughRenewal has a connection made while the certificate it is for is replaced.
func TestDialThroughRenewal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cs := &connections{open: map[*conn]bool{}}
	before, err := cs.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cs.end()
	if _, err := before.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection of the old certificate goes on: %v", err)
	}
	if c, err := cs.dial(t.Context(), "tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("a connection for the old certificate was made after its end")
	}
	before.Close()
}

// TestCredentialsToNodes has one certificate for all streams to nodes, until it is due.
func TestCredentialsToNodes(t *testing.T) {
	var c clock
	s := startTest(t, Config{now: c.now})
	leaf := func() *x509.Certificate {
		cfg, err := s.tlsToNodes()
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Certificates[0].Leaf
	}
	first := leaf()
	if c.advance(200 * day); !leaf().Equal(first) {
		t.Error("a certificate of 200 days was replaced")
	}
	if c.advance(100 * day); leaf().Equal(first) {
		t.Error("a certificate of 300 days was kept")
	}
}
