package cluster

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"

	"pintle.dev/auth"
)

// renewEvery is how often certificates that are kept in files are looked at. It is short against what is left of their
// life when they are due, and by the wall clock: machines sleep.
const renewEvery = time.Hour

// NodeIdentity writes the kubeconfig with which a machine joins as a node of the given name. Its certificate is both
// what the node shows the API server and what it serves its streams with. data is the server's data directory.
func NodeIdentity(data, server, name string) ([]byte, error) {
	if err := checkNodeName(name); err != nil {
		return nil, fmt.Errorf("node name %w", err)
	}
	pki := filepath.Join(data, pkiDirectory)
	if _, err := os.Stat(pki); err != nil { // loading would make a new authority
		return nil, fmt.Errorf("there is no cluster in %s: name its server's data directory with --data (%w)", data, err)
	}
	a, err := auth.LoadAuthority(pki)
	if err != nil {
		return nil, err
	}
	cert, key, err := a.Issue(nodeLeaf(name))
	if err != nil {
		return nil, err
	}
	return kubeconfig(server, auth.NodeUser(name), a.PEM(), cert, key), nil
}

func nodeLeaf(name string) auth.Leaf {
	return auth.Leaf{User: auth.NodeUser(name), Groups: []string{auth.GroupNodes}, Hosts: []string{name}}
}

// identity is who a node on a machine of its own is: what its kubeconfig says, which it renews while it runs.
type identity struct {
	path   string
	server string
	now    func() time.Time

	mu        sync.Mutex
	roots     *x509.CertPool
	pair      *tls.Certificate
	transport *http.Transport // of connections made as this identity
	conns     *connections    // those of transport
}

// readIdentity reads the kubeconfig of a node. now is the clock its certificates are judged by.
func readIdentity(path string, now func() time.Time) (*identity, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	var k struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     string `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Cert string `json:"client-certificate-data"`
				Key  string `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %s: %w", path, err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return nil, fmt.Errorf("the kubeconfig %s has to have one cluster and one user: make it with \"pintle node identity\"", path)
	}
	data := [3][]byte{}
	for i, s := range []string{k.Clusters[0].Cluster.CA, k.Users[0].User.Cert, k.Users[0].User.Key} {
		if data[i], err = base64.StdEncoding.DecodeString(s); err != nil || len(data[i]) == 0 {
			return nil, fmt.Errorf("the kubeconfig %s has to carry its certificates and key inside: make it with \"pintle node identity\"", path)
		}
	}
	id := &identity{path: path, server: k.Clusters[0].Cluster.Server, now: now}
	if err := id.use(data[0], data[1], data[2]); err != nil {
		return nil, fmt.Errorf("the kubeconfig %s: %w", path, err)
	}
	return id, nil
}

// use takes a certificate authority, certificate and key, PEM encoded, from now on.
func (id *identity) use(ca, cert, key []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New("there is no certificate authority")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("the client certificate: %w", err)
	}
	conns := &connections{open: map[*conn]bool{}}
	id.mu.Lock()
	old := id.conns
	id.roots, id.pair, id.conns = roots, &pair, conns
	id.transport = &http.Transport{ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig: id.config(), DialContext: conns.dial}
	id.mu.Unlock()
	if old != nil {
		old.end()
	}
	return nil
}

// config is the configuration of TLS at either end.
func (id *identity) config() *tls.Config {
	return &tls.Config{RootCAs: id.roots, ClientCAs: id.roots, Certificates: []tls.Certificate{*id.pair}, MinVersion: tls.VersionTLS12, Time: id.now}
}

// connections are those made under one certificate. Those of long watches would go on under it, and be refused when it
// expires, so they end with it. What was under way is tried again.
type connections struct {
	mu    sync.Mutex
	open  map[*conn]bool
	ended bool
}

// conn is a connection that takes itself from the open ones.
type conn struct {
	net.Conn
	of *connections
}

func (cs *connections) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.ended {
		nc.Close()
		return nil, errors.New("the node's certificate was renewed meanwhile")
	}
	c := &conn{nc, cs}
	cs.open[c] = true
	return c, nil
}

// end closes what is open, and what is still being dialled.
func (cs *connections) end() {
	cs.mu.Lock()
	open := cs.open
	cs.open, cs.ended = nil, true
	cs.mu.Unlock()
	for c := range open {
		c.Conn.Close()
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// RoundTrip implements http.RoundTripper: it speaks to the server as the identity is now.
func (id *identity) RoundTrip(r *http.Request) (*http.Response, error) {
	id.mu.Lock()
	t := id.transport
	id.mu.Unlock()
	return t.RoundTrip(r)
}

func (id *identity) leaf() *x509.Certificate {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.pair.Leaf
}

// serving is the configuration the node serves its streams with.
func (id *identity) serving() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		id.mu.Lock()
		defer id.mu.Unlock()
		c := id.config()
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.NextProtos = []string{"http/1.1"} // what is upgraded cannot be HTTP/2
		return c, nil
	}}
}

// keep renews the identity when it is due, until ctx ends.
func (id *identity) keep(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		if auth.Due(id.leaf(), id.now()) {
			if err := id.renew(ctx); err != nil && ctx.Err() == nil {
				log.Error("the node's certificate is not renewed; it is tried again", "expires", id.leaf().NotAfter, "every", renewEvery, "err", err)
			} else if err == nil {
				log.Info("renewed the node's certificate", "expires", id.leaf().NotAfter)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// NodeCertificatePath is where a node gets a certificate of its own renewed: POST of a certificate request, PEM encoded,
// is answered with the certificate and that of the authority.
const NodeCertificatePath = "/pintle/node-certificate"

// renew has a new certificate signed for a new key, writes the kubeconfig and uses it.
func (id *identity) renew(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("making a certificate request: %w", err)
	}
	to, err := url.JoinPath(id.server, NodeCertificatePath)
	if err != nil {
		return err
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := id.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server says %s: %s", resp.Status, strings.TrimSpace(string(answer)))
	}
	cert, ca := pem.Decode(answer)
	if cert == nil {
		return errors.New("the server's answer holds no certificate")
	}
	certPEM, keyPEM := pem.EncodeToMemory(cert), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	user := id.leaf().Subject.CommonName
	if err := id.use(ca, certPEM, keyPEM); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if err := auth.WriteFile(id.path, kubeconfig(id.server, user, ca, certPEM, keyPEM), 0o600); err != nil {
		return fmt.Errorf("the new certificate is in use but lost when the node restarts: %w", err)
	}
	return nil
}

// renewing serves NodeCertificatePath to nodes, each for itself.
func (s *System) renewing(next http.Handler, a *auth.Authenticator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != NodeCertificatePath {
			next.ServeHTTP(w, r)
			return
		}
		u, err := a.Authenticate(r)
		if err != nil {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		node, ok := auth.NodeOf(u)
		switch {
		case !ok:
			http.Error(w, fmt.Sprintf("certificates are renewed for nodes, and %q is none", u.Name), http.StatusForbidden)
			return
		case r.Method != http.MethodPost:
			http.Error(w, "a certificate is renewed by POST", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			http.Error(w, "the certificate request cannot be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		cert, err := s.renewNode(node, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.log.Info("renewed a node's certificate", "node", node, "from", r.RemoteAddr)
		w.Header().Set("Content-Type", "application/x-pem-file")
		if _, err := w.Write(append(cert, s.authority.PEM()...)); err != nil {
			s.log.Debug("sending a node's certificate", "node", node, "err", err)
		}
	})
}

// renewNode signs what a request asks for in the name of the node; of the request, only its key counts.
func (s *System) renewNode(node string, request []byte) ([]byte, error) {
	b, _ := pem.Decode(request)
	if b == nil || b.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("want a PEM block of type CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate request: %w", err)
	}
	return s.authority.Sign(nodeLeaf(node), csr.PublicKey)
}
