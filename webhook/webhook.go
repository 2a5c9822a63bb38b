// Package webhook calls the HTTPS endpoints that a cluster's users name for decisions of their own: the conversion of
// custom resources. It knows how such an endpoint is found (a URL, or a service through its Endpoints), whom it has to
// prove to be, and how long and how much it may answer. What is said to it is the caller's business.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pintle.dev/store"
)

// Client says where an endpoint is: one of URL and Service. It is the WebhookClientConfig of the API groups that have
// webhooks.
type Client struct {
	URL     string
	Service *Service
	// CABundle holds PEM certificates of the authorities that the endpoint's certificate may be from; empty for those of
	// the host.
	CABundle []byte
}

// Service is an endpoint in the cluster. Path may be empty.
type Service struct {
	Namespace, Name, Path string
	Port                  int32
}

// MaxAnswer bounds an answer, in bytes after decompression.
const MaxAnswer = 16 << 20

// maxTransports bounds how many endpoints connections are kept for.
const maxTransports = 256

// Caller calls endpoints. Its zero value cannot find services: see Snapshot.
type Caller struct {
	// Snapshot gives the newest state of the store, in which services are looked up.
	Snapshot func(ctx context.Context) (store.View, error)

	mu         sync.Mutex
	transports map[transportKey]*http.Transport
}

// transportKey is what connections may be shared by.
type transportKey struct {
	service Service
	ca      [sha256.Size]byte
}

// Call posts a JSON document and returns the answer's. It takes at most timeout, which the endpoint is told. Errors are
// worded as upstream's REST client words them.
func (c *Caller) Call(ctx context.Context, to Client, body []byte, timeout time.Duration) ([]byte, error) {
	target, err := to.address(timeout)
	if err != nil {
		return nil, err
	}
	transport, err := c.transport(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, */*")
	r.Header.Set("User-Agent", "kube-apiserver-admission")
	// Not sent, but lets the transport ask again when the endpoint has closed a connection that was kept.
	r.Header["Idempotency-Key"] = nil
	client := http.Client{
		Transport: transport,
		// What an endpoint may be reached by is written down; it does not send the server elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(p.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("unexpected error when reading response body. Please retry. Original error: %w", err)
	case len(answer) > MaxAnswer:
		return nil, fmt.Errorf("the response is larger than %d bytes", MaxAnswer)
	case p.StatusCode < http.StatusOK || p.StatusCode > http.StatusPartialContent:
		return nil, apierrors.NewGenericServerResponse(p.StatusCode, "post", schema.GroupResource{}, "", excerpt(answer), 0, true)
	}
	return answer, nil
}

// excerpt is what an error shows of an answer.
func excerpt(b []byte) string {
	const most = 2048
	return strings.TrimSpace(strings.ToValidUTF8(string(b[:min(len(b), most)]), "?"))
}

func (to *Client) address(timeout time.Duration) (string, error) {
	var u *url.URL
	switch {
	case to.Service != nil:
		u = &url.URL{Scheme: "https", Host: fmt.Sprintf("%s:%d", to.Service.host(), to.Service.Port), Path: "/" + strings.TrimPrefix(to.Service.Path, "/")}
	case to.URL == "":
		return "", errors.New("webhook configuration must have either service or URL")
	default:
		var err error
		if u, err = url.Parse(to.URL); err != nil {
			return "", fmt.Errorf("unparsable webhook URL: %w", err)
		}
	}
	q := u.Query()
	q.Set("timeout", timeout.String())
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// host is the name that the service's certificate must be for.
func (s *Service) host() string { return s.Name + "." + s.Namespace + ".svc" }

// transport keeps connections for equal clients.
func (c *Caller) transport(to Client) (*http.Transport, error) {
	bundle := bytes.TrimSpace(to.CABundle)
	key := transportKey{ca: sha256.Sum256(bundle)}
	if to.Service != nil {
		key.service = *to.Service
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.transports[key]; t != nil {
		return t, nil
	}
	t := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConnsPerHost: 4,
		ForceAttemptHTTP2:   true,
	}
	if len(bundle) > 0 {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(bundle) {
			return nil, errors.New("unable to load root certificates: the caBundle holds none")
		}
	}
	if to.Service == nil {
		t.Proxy = http.ProxyFromEnvironment
	} else {
		t.TLSClientConfig.ServerName = to.Service.host()
		t.DialContext = c.dialer(*to.Service)
	}
	if len(c.transports) >= maxTransports || c.transports == nil {
		for _, old := range c.transports {
			old.CloseIdleConnections()
		}
		c.transports = map[transportKey]*http.Transport{}
	}
	c.transports[key] = t
	return t, nil
}
