package stream

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/wsstream"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apiserver/pkg/util/proxy"

	"pintle.dev/api"
	"pintle.dev/node"
)

// Sessions prepares streams in a runtime. The URLs it returns serve one stream each, over SPDY.
type Sessions interface {
	Exec(ctx context.Context, container string, command []string, s Streams) (*url.URL, error)
	Attach(ctx context.Context, container string, s Streams) (*url.URL, error)
	PortForward(ctx context.Context, sandbox string) (*url.URL, error)
}

// Streams are the streams a client wants of a container.
type Streams struct{ Stdin, Stdout, Stderr, TTY bool }

// Config is what a Handler is made from.
type Config struct {
	Find     func(ctx context.Context, k api.Key) (*corev1.Pod, *node.PodState, error)
	Sessions Sessions
	LogDir   func(namespace, name, uid string) string
}

// handler serves the streams of one node.
type handler struct{ cfg Config }

// New returns the handler.
func New(cfg Config) http.Handler {
	h := &handler{cfg}
	mux := http.NewServeMux()
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request, *target) error{
		"/containerLogs/": h.logs, "/exec/": h.exec, "/attach/": h.attach, "/portForward/": h.portForward,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			t, err := h.target(r, strings.TrimPrefix(r.URL.Path, path), path != "/portForward/")
			if err == nil {
				err = serve(w, r, t)
			}
			if err != nil {
				fail(w, r, err)
			}
		})
	}
	return mux
}

// fail answers with a Status.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	e := api.AsError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(e.Status.Code))
	if err := json.NewEncoder(w).Encode(e.Status); err != nil {
		slog.Debug("client left before its error", "path", r.URL.Path, "err", err)
	}
}

// target is what a request is about.
type target struct {
	pod  *corev1.Pod
	have *node.PodState
	name string // of the container
}

func (h *handler) target(r *http.Request, path string, container bool) (*target, error) {
	parts := strings.Split(path, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return nil, api.BadRequest("%q does not name a pod: want NAMESPACE/POD/CONTAINER", path)
	}
	pod, have, err := h.cfg.Find(r.Context(), api.Key{Namespace: parts[0], Name: parts[1]})
	if err != nil {
		return nil, err
	}
	t := &target{pod: pod, have: have}
	if len(parts) == 3 {
		t.name = parts[2]
	}
	if container {
		t.name, err = containerName(pod, t.name)
	}
	return t, err
}

// defaultContainer is the annotation that names the container meant when none is.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// containerName checks a container's name, or finds the one meant where there is but one.
func containerName(pod *corev1.Pod, name string) (string, error) {
	names := func(cs []corev1.Container) []string {
		out := make([]string, len(cs))
		for i := range cs {
			out[i] = cs[i].Name
		}
		return out
	}
	all, inits := names(pod.Spec.Containers), names(pod.Spec.InitContainers)
	if name == "" {
		if len(all) == 1 {
			return all[0], nil
		}
		name = pod.Annotations[defaultContainer]
	}
	if name == "" {
		msg := fmt.Sprintf("a container name must be specified for pod %s, choose one of: %s", pod.Name, all)
		if len(inits) > 0 {
			msg += fmt.Sprintf(" or one of the init containers: %s", inits)
		}
		return "", api.BadRequest("%s", msg)
	}
	for _, n := range append(all, inits...) {
		if n == name {
			return name, nil
		}
	}
	return "", api.BadRequest("container %s is not valid for pod %s", name, pod.Name)
}

// instances are the container's instances, newest first.
func (t *target) instances() []node.Instance {
	for i := range t.have.Containers {
		if c := &t.have.Containers[i]; c.Name == t.name {
			return c.Instances
		}
	}
	return nil
}

// newest is the container's newest instance, or nil.
func (t *target) newest() *node.Instance {
	if in := t.instances(); len(in) > 0 {
		return &in[0]
	}
	return nil
}

// status is what the API says of the container, or nil.
func (t *target) status() *corev1.ContainerStatus {
	for _, ss := range [][]corev1.ContainerStatus{t.pod.Status.ContainerStatuses, t.pod.Status.InitContainerStatuses} {
		for i := range ss {
			if ss[i].Name == t.name {
				return &ss[i]
			}
		}
	}
	return nil
}

// running is the ID of the running container, or "".
func (t *target) running() string {
	in := t.newest()
	if in == nil || in.Phase != node.Running {
		return ""
	}
	return in.ID
}

// flag reads a flag of a query as upstream does: all but these stands for true.
func flag(q url.Values, name string) bool {
	v, ok := q[name]
	return ok && v[0] != "0" && !strings.EqualFold(v[0], "false")
}

// streams are those that a query asks for, by the API's names or the kubelet's.
func streams(q url.Values) (Streams, error) {
	s := Streams{flag(q, "stdin") || flag(q, "input"), flag(q, "stdout") || flag(q, "output"), flag(q, "stderr") || flag(q, "error"), flag(q, "tty")}
	if s.TTY {
		s.Stderr = false // a terminal has one output
	}
	if !s.Stdin && !s.Stdout && !s.Stderr {
		return s, api.BadRequest("you must specify at least one of stdin, stdout, stderr")
	}
	return s, nil
}

func (h *handler) exec(w http.ResponseWriter, r *http.Request, t *target) error {
	q := r.URL.Query()
	s, err := streams(q)
	if err != nil {
		return err
	}
	if len(q["command"]) == 0 {
		return api.BadRequest("you must specify at least one command for the container")
	}
	id := t.running()
	if id == "" {
		return session(w, r, nowhere, s, absent(t.name))
	}
	u, err := h.cfg.Sessions.Exec(r.Context(), id, q["command"], s)
	if err != nil {
		return fmt.Errorf("starting a command in container %s: %w", t.name, err)
	}
	return session(w, r, u, s, http.DefaultTransport)
}

func (h *handler) attach(w http.ResponseWriter, r *http.Request, t *target) error {
	s, err := streams(r.URL.Query())
	if err != nil {
		return err
	}
	id := t.running()
	if id == "" {
		return session(w, r, nowhere, s, absent(t.name))
	}
	for i := range t.pod.Spec.Containers {
		if c := &t.pod.Spec.Containers[i]; c.Name == t.name {
			s.TTY = c.TTY
		}
	}
	u, err := h.cfg.Sessions.Attach(r.Context(), id, s)
	if err != nil {
		return fmt.Errorf("attaching to container %s: %w", t.name, err)
	}
	return session(w, r, u, s, http.DefaultTransport)
}

// session joins a client's exec or attach to the runtime's.
func session(w http.ResponseWriter, r *http.Request, u *url.URL, s Streams, runtime http.RoundTripper) error {
	through := upgrade(u, runtime)
	translate := proxy.NewStreamTranslatorHandler(u, runtime, 0, proxy.Options{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Tty: s.TTY})
	proxy.NewTranslatingHandler(through, translate, wsstream.IsWebSocketRequestWithStreamCloseProtocol).ServeHTTP(w, r)
	return nil
}

func (h *handler) portForward(w http.ResponseWriter, r *http.Request, t *target) error {
	sb := t.have.Sandbox
	if sb == nil || !sb.Ready {
		return api.NewError(http.StatusInternalServerError, "InternalError", "pod %s has no running sandbox to forward ports from", t.pod.Name)
	}
	u, err := h.cfg.Sessions.PortForward(r.Context(), sb.ID)
	if err != nil {
		return fmt.Errorf("forwarding ports of pod %s: %w", t.pod.Name, err)
	}
	through := upgrade(u, http.DefaultTransport)
	proxy.NewTranslatingHandler(through, proxy.NewTunnelingHandler(through), wsstream.IsWebSocketRequestWithTunnelingProtocol).ServeHTTP(w, r)
	return nil
}

// absent leads to no runtime: it answers, as a kubelet does, that a container is not running. Clients are so told in
// upstream's way: over WebSocket by the status that ends the connected streams, over SPDY instead of being connected.
func absent(container string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
				return // the client has gone
			}
			msg := fmt.Sprintf("container not found (%q)", container)
			fmt.Fprintf(server, "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(msg), msg)
		}()
		return client, nil
	}}
}

// nowhere stands for the URL of a stream that absent refuses.
var nowhere = &url.URL{Scheme: "http", Host: "runtime"}

// upgrade hands a connection through to the runtime as it is.
func upgrade(u *url.URL, runtime http.RoundTripper) http.Handler {
	return once{u, utilproxy.NewUpgradeAwareHandler(u, runtime, false, true, responder{})}
}

// once replaces a request's query by the runtime's own: its URLs carry all there is to say in their path.
type once struct {
	u    *url.URL
	next http.Handler
}

func (o once) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !httpstream.IsUpgradeRequest(r) {
		fail(w, r, api.BadRequest("Upgrade request required"))
		return
	}
	next := r.Clone(r.Context())
	next.URL.RawQuery = o.u.RawQuery
	o.next.ServeHTTP(w, next)
}

// responder answers when the runtime cannot be reached.
type responder struct{}

func (responder) Error(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	fail(w, r, fmt.Errorf("error dialing backend: %w", err))
}
