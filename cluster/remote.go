package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
	"pintle.dev/node/machine"
)

// NodePort is where a node on a machine of its own serves its streams, unless told otherwise.
const NodePort = 10250

// userToNodes is who the API server is to the nodes it opens streams at.
const userToNodes = "kube-apiserver-kubelet-client"

// NodeIdentity writes the kubeconfig with which a machine joins as a node of the given name. Its certificate is both
// what the node shows the API server and what it serves its streams with. data is the server's data directory.
func NodeIdentity(data, server, name string, hosts []string) ([]byte, error) {
	pki := filepath.Join(data, "pki")
	if _, err := os.Stat(pki); err != nil { // loading would make a new authority
		return nil, fmt.Errorf("there is no cluster in %s: name its server's data directory with --data (%w)", data, err)
	}
	a, err := auth.LoadAuthority(pki)
	if err != nil {
		return nil, err
	}
	cert, key, err := a.Issue(auth.Leaf{User: auth.NodeUser(name), Groups: []string{auth.GroupNodes}, Hosts: append([]string{name}, hosts...)})
	if err != nil {
		return nil, err
	}
	return kubeconfig(server, auth.NodeUser(name), a.PEM, cert, key), nil
}

// NodeConfig says what a node on a machine of its own is.
type NodeConfig struct {
	Kubeconfig string // made by NodeIdentity
	Data       string
	Name       string // "" for the name in the kubeconfig's certificate
	Containerd string // see Config
	Listen     string // HOST:PORT of the streams; "" for port NodePort of all addresses
	IP         string // the node's address; "" finds it
	Log        *slog.Logger
	Progress   func(part string, took time.Duration)
}

// identity is what a kubeconfig of one cluster and one user says.
type identity struct {
	server string
	roots  *x509.CertPool
	pair   tls.Certificate
}

func readIdentity(path string) (*identity, error) {
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
	id := &identity{server: k.Clusters[0].Cluster.Server, roots: x509.NewCertPool()}
	if !id.roots.AppendCertsFromPEM(data[0]) {
		return nil, fmt.Errorf("the kubeconfig %s has no certificate authority", path)
	}
	if id.pair, err = tls.X509KeyPair(data[1], data[2]); err != nil {
		return nil, fmt.Errorf("the client certificate of the kubeconfig %s: %w", path, err)
	}
	if id.pair.Leaf == nil {
		if id.pair.Leaf, err = x509.ParseCertificate(id.pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("the client certificate of the kubeconfig %s: %w", path, err)
		}
	}
	return id, nil
}

// RunNode runs this machine as a node of a cluster whose server runs elsewhere, until ctx ends. Containers go on.
func RunNode(ctx context.Context, c NodeConfig) (err error) {
	id, err := readIdentity(c.Kubeconfig)
	if err != nil {
		return err
	}
	if c.Name == "" {
		if len(id.pair.Leaf.DNSNames) == 0 {
			return fmt.Errorf("the kubeconfig %s names no node: make it with \"pintle node identity\", or give --node-name", c.Kubeconfig)
		}
		c.Name = id.pair.Leaf.DNSNames[0]
	}
	if c.Listen == "" {
		c.Listen = net.JoinHostPort("", strconv.Itoa(NodePort))
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening for streams: %w", err)
	}
	defer listener.Close()
	api := client.NewHTTP(id.server, &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: id.roots, Certificates: []tls.Certificate{id.pair}, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second,
	}, "kubelet")
	began := time.Now()
	m, err := machine.New(ctx, machine.Config{Name: c.Name, Client: api, Dir: c.Data, Socket: c.Containerd, IP: c.IP,
		Port: int32(listener.Addr().(*net.TCPAddr).Port)})
	if err != nil {
		return err
	}
	c.Progress("node "+c.Name, time.Since(began))
	streams := &http.Server{Handler: onlyServer(m.Handler()), ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{id.pair}, ClientCAs: id.roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // what is upgraded cannot be HTTP/2
	}}
	served := make(chan error, 1)
	go func() { served <- streams.ServeTLS(listener, "", "") }()
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		err = errors.Join(err, streams.Close(), m.Close(end))
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}()
	return m.Run(ctx)
}

// onlyServer lets none but the API server through.
func onlyServer(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || !slices.Contains(r.TLS.PeerCertificates[0].Subject.Organization, auth.GroupMasters) {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// dialNode returns the streams of a node on another machine, found by what its object says.
func (s *System) dialNode(ctx context.Context, name string) (http.Handler, error) {
	unreachable := api.NewError(http.StatusServiceUnavailable, "ServiceUnavailable", "node %s cannot be reached for the streams of its pods", name)
	v, err := s.store.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	rec := v.Get(api.Nodes, api.Key{Name: name})
	if rec == nil {
		return nil, unreachable
	}
	n, err := client.Decode[corev1.Node](rec)
	if err != nil {
		return nil, err
	}
	host := ""
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && host == "" {
			host = a.Address
		}
	}
	port := n.Status.DaemonEndpoints.KubeletEndpoint.Port
	if host == "" || port == 0 {
		return nil, unreachable
	}
	c, err := s.TLS(userToNodes, auth.GroupMasters)
	if err != nil {
		return nil, err
	}
	c.ServerName = name // its certificate is for the name, wherever the node is
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))})
	p.Transport = &http.Transport{TLSClientConfig: c, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	p.FlushInterval = -1
	p.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		http.Error(w, fmt.Sprintf("error dialing backend: %v", err), http.StatusBadGateway)
	}
	return p, nil
}
