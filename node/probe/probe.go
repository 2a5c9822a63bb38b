// Package probe runs the handlers of probes and lifecycle hooks against real containers: commands in them, HTTP
// requests, TCP connections and gRPC health checks to them. It implements node.Prober; when to probe and what a result
// means is the agent's.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/node"
)

// body is how much of an HTTP answer is kept, in bytes.
const body = 10 << 10

// userAgent is how probes introduce themselves; upstream's, as servers know it.
const userAgent = "kube-probe/1.37"

// Prober probes containers of one runtime.
type Prober struct {
	containers node.Containers
	http       *http.Client
}

// New returns a Prober that runs commands through containers.
func New(containers node.Containers) *Prober {
	return &Prober{containers: containers, http: &http.Client{
		// A probe asks the container anew each time and trusts whatever certificate it shows.
		Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= 10 {
				return errors.New("stopped after 10 redirects")
			}
			return nil
		},
	}}
}

// Probe implements node.Prober.
func (p *Prober) Probe(ctx context.Context, t node.Target, h *corev1.ProbeHandler) (bool, string, error) {
	switch {
	case h.Exec != nil:
		out, code, err := p.containers.Exec(ctx, t.ID, h.Exec.Command, t.Timeout)
		return code == 0 && err == nil, out, err
	case h.HTTPGet != nil:
		return p.get(ctx, t, h.HTTPGet)
	case h.TCPSocket != nil:
		return dial(ctx, t, h.TCPSocket)
	case h.GRPC != nil:
		return check(ctx, t, h.GRPC)
	}
	return false, "", fmt.Errorf("missing probe handler for %s:%s", t.Pod.Name, t.Spec.Name)
}

// port is a number, or the name of one of the container's ports.
func port(p intstr.IntOrString, c *corev1.Container) (int, error) {
	n := p.IntValue()
	if p.Type == intstr.String {
		for _, cp := range c.Ports {
			if cp.Name == p.StrVal {
				n = int(cp.ContainerPort)
			}
		}
	}
	if n <= 0 || n > 65535 {
		return 0, fmt.Errorf("invalid port %v of container %s", p.String(), c.Name)
	}
	return n, nil
}

func (p *Prober) get(ctx context.Context, t node.Target, a *corev1.HTTPGetAction) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	req, err := request(ctx, t, a)
	if err != nil {
		return false, "", err
	}
	res, err := p.http.Do(req)
	if err != nil {
		return false, reason(err), nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, body))
	if err != nil {
		return false, reason(err), nil
	}
	if res.StatusCode >= 200 && res.StatusCode < 400 {
		return true, string(b), nil
	}
	return false, fmt.Sprintf("HTTP probe failed with statuscode: %d", res.StatusCode), nil
}

// reason is an error in upstream's words: a context that ended reads as the client's time-out.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) && errors.Is(u.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s %q: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", u.Op, u.URL)
	}
	return err.Error()
}

func request(ctx context.Context, t node.Target, a *corev1.HTTPGetAction) (*http.Request, error) {
	n, err := port(a.Port, t.Spec)
	if err != nil {
		return nil, err
	}
	host := a.Host
	if host == "" {
		host = t.IP
	}
	scheme := strings.ToLower(string(a.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(a.Path)
	if err != nil {
		u = &url.URL{Path: a.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(n))
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("making the probe's request: %w", err)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "*/*")
	for _, h := range a.HTTPHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			req.Host = h.Value
			continue
		}
		if h.Name == "User-Agent" || h.Name == "Accept" {
			req.Header.Del(h.Name)
		}
		if h.Value == "" && h.Name == "Accept" {
			continue
		}
		req.Header.Add(h.Name, h.Value)
	}
	return req, nil
}

func dial(ctx context.Context, t node.Target, a *corev1.TCPSocketAction) (bool, string, error) {
	n, err := port(a.Port, t.Spec)
	if err != nil {
		return false, "", err
	}
	host := a.Host
	if host == "" {
		host = t.IP
	}
	d := net.Dialer{Timeout: t.Timeout}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(n)))
	if err != nil {
		return false, err.Error(), nil
	}
	return true, "", c.Close()
}

func check(ctx context.Context, t node.Target, a *corev1.GRPCAction) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	addr := net.JoinHostPort(t.IP, strconv.Itoa(int(a.Port)))
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(userAgent))
	if err != nil {
		return false, "", fmt.Errorf("probing %s: %w", addr, err)
	}
	defer conn.Close()
	service := ""
	if a.Service != nil {
		service = *a.Service
	}
	res, err := health.NewHealthClient(conn).Check(metadata.NewOutgoingContext(ctx, make(metadata.MD)), &health.HealthCheckRequest{Service: service})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return false, "server doesn't implement the grpc health protocol (grpc.health.v1.Health): " + err.Error(), nil
	case codes.DeadlineExceeded:
		return false, fmt.Sprintf("timeout: health rpc did not complete within %v", t.Timeout), nil
	default:
		return false, "error: health rpc probe failed: " + err.Error(), nil
	}
	if res.GetStatus() != health.HealthCheckResponse_SERVING {
		return false, fmt.Sprintf("service unhealthy (responded with %q)", res.GetStatus().String()), nil
	}
	return true, "service healthy", nil
}

// hookTimeout bounds a postStart request; preStop hooks have the pod's grace period.
const hookTimeout = 30 * time.Minute

// Hook implements node.Prober. Its errors are worded as the status of a container whose hook has failed.
func (p *Prober) Hook(ctx context.Context, t node.Target, h *corev1.LifecycleHandler) error {
	timeout := hookTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(d), time.Second)
	}
	of := fmt.Sprintf("for Container %q in Pod %q failed - error", t.Spec.Name, node.FullName(t.Pod))
	switch {
	case h.Exec != nil:
		out, code, err := p.containers.Exec(ctx, t.ID, h.Exec.Command, timeout)
		if err == nil && code != 0 {
			err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(h.Exec.Command, " "), code, out)
		}
		if err != nil {
			return fmt.Errorf("Exec lifecycle hook (%v) %s: %w, message: %q", h.Exec.Command, of, err, out) //nolint:staticcheck // upstream's words
		}
	case h.HTTPGet != nil:
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := p.call(ctx, t, h.HTTPGet); err != nil {
			return fmt.Errorf("HTTP lifecycle hook (%s) %s: %w", h.HTTPGet.Path, of, err)
		}
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
			return fmt.Errorf("Sleep lifecycle hook (%d) %s: %w", h.Sleep.Seconds, of, ctx.Err()) //nolint:staticcheck // upstream's words
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		}
	default: // a TCP connection, too, which the API only takes from old manifests
		return fmt.Errorf("Cannot run handler: invalid handler: %v", h) //nolint:staticcheck // upstream's words
	}
	return nil
}

// call sends a hook's request. Like upstream's it does not mind what the answer says.
func (p *Prober) call(ctx context.Context, t node.Target, a *corev1.HTTPGetAction) error {
	req, err := request(ctx, t, a)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "kube-lifecycle/1.37")
	res, err := p.http.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
