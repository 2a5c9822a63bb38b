package probe

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/node"
)

// shell answers every command with an exit code and a line.
type shell struct {
	node.Containers
	code int32
}

func (s shell) Exec(context.Context, string, []string, time.Duration) (string, int32, error) {
	return "said\n", s.code, nil
}

func target() node.Target {
	return node.Target{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}, Spec: &corev1.Container{Name: "c"},
		IP: "127.0.0.1", Timeout: time.Second}
}

func TestHooks(t *testing.T) {
	var agent string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent = r.UserAgent()
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer s.Close()
	_, text, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	get := func(port int) *corev1.HTTPGetAction {
		return &corev1.HTTPGetAction{Path: "/x", Port: intstr.FromInt(port)}
	}
	exec := corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "exit 3"}}}
	for _, tt := range []struct {
		name string
		hook corev1.LifecycleHandler
		code int32
		want string
	}{
		{"command", exec, 0, ""},
		{"failing command", exec, 3, `Exec lifecycle hook ([sh -c exit 3]) for Container "c" in Pod "p_ns(u)" failed - error: command 'sh -c exit 3' exited with 3: said` + "\n" + `, message: "said\n"`},
		{"whatever is answered", corev1.LifecycleHandler{HTTPGet: get(port)}, 0, ""},
		{"nobody answers", corev1.LifecycleHandler{HTTPGet: get(1)}, 0, `HTTP lifecycle hook (/x) for Container "c" in Pod "p_ns(u)" failed - error: Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused`},
		{"sleep", corev1.LifecycleHandler{Sleep: &corev1.SleepAction{}}, 0, ""},
		{"none", corev1.LifecycleHandler{}, 0, "Cannot run handler: invalid handler: &LifecycleHandler{Exec:nil,HTTPGet:nil,TCPSocket:nil,Sleep:nil,}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := New(shell{code: tt.code}).Hook(t.Context(), target(), &tt.hook); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if agent != "kube-lifecycle/1.37" {
		t.Errorf("hooks introduce themselves as %q", agent)
	}
}

func TestProbes(t *testing.T) {
	var status int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != userAgent || r.Header.Get("X") != "y" {
			t.Errorf("request with headers %v", r.Header)
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	_, text, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	named := target()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	named.Spec.Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: int32(n)}}
	web := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("web"), HTTPHeaders: []corev1.HTTPHeader{{Name: "X", Value: "y"}}}}
	for _, tt := range []struct {
		name    string
		handler corev1.ProbeHandler
		status  int
		code    int32
		ok      bool
		output  string
	}{
		{name: "command", handler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}, ok: true, output: "said\n"},
		{name: "failing command", handler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}, code: 1, output: "said\n"},
		{name: "HTTP", handler: web, status: 204, ok: true},
		{name: "failing HTTP", handler: web, status: 500, output: "HTTP probe failed with statuscode: 500"},
		{name: "TCP", handler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("web")}}, ok: true},
		{name: "failing TCP", handler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(1)}}, output: "dial tcp 127.0.0.1:1: connect: connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status = tt.status
			ok, output, err := New(shell{code: tt.code}).Probe(t.Context(), named, &tt.handler)
			if err != nil || ok != tt.ok || output != tt.output {
				t.Errorf("%v, %q, %v; want %v, %q", ok, output, err, tt.ok, tt.output)
			}
		})
	}
}
