package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
	"pintle.dev/node/machine"
)

// NodePort is where a node on a machine of its own serves its streams, unless told otherwise.
const NodePort = 10250

// userToNodes is who the API server is to the nodes it opens streams at.
const userToNodes = "kube-apiserver-kubelet-client"

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

// RunNode runs this machine as a node of a cluster whose server runs elsewhere, until ctx ends. Containers go on.
func RunNode(ctx context.Context, c NodeConfig) (err error) {
	id, err := readIdentity(c.Kubeconfig, time.Now)
	if err != nil {
		return err
	}
	if c.Name == "" {
		if len(id.leaf().DNSNames) == 0 {
			return fmt.Errorf("the kubeconfig %s names no node: make it with \"pintle node identity\", or give --node-name", c.Kubeconfig)
		}
		c.Name = id.leaf().DNSNames[0]
	}
	if c.Listen == "" {
		c.Listen = net.JoinHostPort("", strconv.Itoa(NodePort))
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening for streams: %w", err)
	}
	defer listener.Close()
	server := client.NewHTTP(id.server, id, "kubelet")
	began := time.Now()
	m, err := machine.New(ctx, machine.Config{Name: c.Name, Client: server, Dir: c.Data, Socket: c.Containerd, IP: c.IP,
		PodRange: func(ctx context.Context) (string, error) { return podRange(ctx, server, c.Name) },
		Port:     int32(listener.Addr().(*net.TCPAddr).Port)})
	if err != nil {
		return err
	}
	c.Progress("node "+c.Name, time.Since(began))
	streams := &http.Server{Handler: onlyServer(m.Handler()), ReadHeaderTimeout: 10 * time.Second, TLSConfig: id.serving()}
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
	ctx, cancel := context.WithCancel(ctx)
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		id.keep(ctx, c.Log)
	}()
	defer func() {
		cancel()
		<-renewing
	}()
	return m.Run(ctx)
}

// rangeWithin is how long a node waits for its pods' range, and rangePoll how often it looks.
const (
	rangeWithin = 30 * time.Second
	rangePoll   = 100 * time.Millisecond
)

// podRange is the range of addresses that the cluster has given to the node's pods. A node that is new is made known
// first, as ranges are given to nodes: what it is like follows when it has started.
func podRange(ctx context.Context, c client.Client, name string) (string, error) {
	for end := time.Now().Add(rangeWithin); ; {
		n, err := client.Nodes.Get(ctx, c, api.Key{Name: name})
		if api.IsNotFound(err) {
			_, err = client.Nodes.Create(ctx, c, &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		switch {
		case err == nil && n != nil && n.Spec.PodCIDR != "":
			return n.Spec.PodCIDR, nil
		case time.Now().Before(end):
		case err != nil:
			return "", fmt.Errorf("asking the server for the node's range of pod addresses: %w", err)
		default:
			return "", fmt.Errorf("node %s was given no range of pod addresses (spec.podCIDR) within %v: do the server's controllers run, and is one left?", name, rangeWithin)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(rangePoll):
		}
	}
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

// nodeCredentials is what the API server shows the nodes that it opens streams at. It is issued when first needed, and
// anew when it is due.
type nodeCredentials struct {
	mu     sync.Mutex
	config *tls.Config
}

func (s *System) tlsToNodes() (*tls.Config, error) {
	n := &s.toNodes
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.config == nil || auth.Due(n.config.Certificates[0].Leaf, s.authority.Now()) {
		c, err := s.TLS(userToNodes, auth.GroupMasters)
		if err != nil {
			return nil, err
		}
		n.config = c
	}
	c := n.config.Clone()
	c.RootCAs = s.authority.Pool() // it may have been renewed
	return c, nil
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
	c, err := s.tlsToNodes()
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
