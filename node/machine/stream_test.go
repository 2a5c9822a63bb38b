package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

// streams exercises exec and port-forward of pod web as kubectl does: over WebSocket first, over SPDY as it used to.
func (b *bench) streams(t *testing.T) {
	srv := httptest.NewServer(b.m.Handler())
	defer srv.Close()
	cfg := &rest.Config{Host: srv.URL}
	at := func(path string, q url.Values) *url.URL {
		t.Helper()
		u, err := url.Parse(srv.URL + path + "?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	ways := map[string]func(u *url.URL) (remotecommand.Executor, error){
		"WebSocket": func(u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(cfg, http.MethodGet, u.String())
		},
		"SPDY": func(u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(cfg, http.MethodPost, u)
		},
	}
	for way, dial := range ways {
		t.Run("exec over "+way, func(t *testing.T) {
			ex, err := dial(at("/exec/default/web/c", url.Values{"command": {"/app", "echo"}, "stdin": {"true"}, "stdout": {"true"}}))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := ex.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("to and fro"), Stdout: &out}); err != nil || out.String() != "to and fro" {
				t.Errorf("%q, %v", out.String(), err)
			}
			if ex, err = dial(at("/exec/default/web/c", url.Values{"command": {"/app", "exit", "7"}, "stdout": {"true"}})); err != nil {
				t.Fatal(err)
			}
			var code exec.CodeExitError
			if err := ex.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard}); !errors.As(err, &code) || code.Code != 7 {
				t.Errorf("exit code: %v, want 7", err)
			}
		})
	}
	t.Run("port-forward over SPDY", func(t *testing.T) {
		tr, up, err := spdy.RoundTripperFor(cfg)
		if err != nil {
			t.Fatal(err)
		}
		d := spdy.NewDialer(up, &http.Client{Transport: tr}, http.MethodPost, at("/portForward/default/web", nil))
		b.forward(t, func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.New(d, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		})
	})
	t.Run("port-forward over WebSocket", func(t *testing.T) {
		d, err := portforward.NewSPDYOverWebsocketDialer(at("/portForward/default/web", nil), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.forward(t, func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.New(d, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		})
	})
	t.Run("errors", func(t *testing.T) {
		for path, want := range map[string]string{
			"/exec/default/none/c?command=x&stdout=1":        `404: pods "none" not found`,
			"/exec/default/web/zz?command=x&stdout=1":        "400: container zz is not valid for pod web",
			"/exec/default/web/c?command=x":                  "400: you must specify at least one of stdin, stdout, stderr",
			"/exec/default/web/c?stdout=1":                   "400: you must specify at least one command for the container",
			"/containerLogs/default/web/c?previous=true":     `400: previous terminated container "c" in pod "web" not found`,
			"/containerLogs/default/absent/c":                `400: container "c" in pod "absent" is waiting to start: ErrImageNeverPull`,
			"/exec/default/web/c?command=x&stdout=1&plain=1": "400: Upgrade request required",
		} {
			w := httptest.NewRecorder()
			b.m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
			if got := fmt.Sprint(w.Code, ": ", w.Body.String()); !strings.HasPrefix(got, want[:4]) || !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), want[5:]) {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
	})
}

// forward fetches from a pod through a forwarded port.
func (b *bench) forward(t *testing.T, dial func(stop, ready chan struct{}) (*portforward.PortForwarder, error)) {
	t.Helper()
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := dial(stop, ready)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("forwarding ended: %v", err)
	case <-time.After(patience):
		t.Fatal("forwarding does not begin")
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Timeout: patience}).Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "hello from web!\n" {
		t.Errorf("%q, %v", body, err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("forwarding: %v", err)
	}
}
