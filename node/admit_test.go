package node

import (
	"slices"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node/nodetest"
)

func TestForbiddenSysctls(t *testing.T) {
	for _, tt := range []struct {
		sysctl string
		spec   corev1.PodSpec
		want   string
	}{
		{"net.ipv4.ip_local_port_range", corev1.PodSpec{}, ""},
		{"net/ipv4/tcp_syncookies", corev1.PodSpec{HostIPC: true}, ""},
		{"kernel.msgmax", corev1.PodSpec{}, `forbidden sysctl: "kernel.msgmax" not allowlisted`},
		{"net.ipv4.tcp_syncookies", corev1.PodSpec{HostNetwork: true}, `forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled`},
		{"kernel.shm_rmid_forced", corev1.PodSpec{HostIPC: true}, `forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled`},
	} {
		tt.spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: tt.sysctl, Value: "1"}}}
		got := ""
		if f := refuse(&corev1.Pod{Spec: tt.spec}, nil, &corev1.Node{}, nil); f != nil {
			got = f.Message
			if f.Reason != "SysctlForbidden" {
				t.Errorf("%s: reason %s", tt.sysctl, f.Reason)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.sysctl, got, tt.want)
		}
	}
}

func TestOtherOS(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelOSStable: "linux"}}}
	for os, want := range map[corev1.OSName]string{corev1.Linux: "", corev1.Windows: "PodOSNotSupported"} {
		got := ""
		if f := refuse(&corev1.Pod{Spec: corev1.PodSpec{OS: &corev1.PodOS{Name: os}}}, nil, n, nil); f != nil {
			got = f.Reason
		}
		if got != want {
			t.Errorf("%s: %q, want %q", os, got, want)
		}
	}
}

// TestAdmitByFreshNode binds a pod by a label, given to the node a moment ago, and cordons the node: the agent's own copy of
// the node is older.
func TestAdmitByFreshNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := nodetest.New()
		a, err := New(Config{Name: "n", Client: c, Runtime: Runtime{Sandboxes: idle{}, Containers: struct{ Containers }{}, Images: struct{ Images }{}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		n, err := client.Nodes.Get(t.Context(), c, api.Key{Name: "n"})
		if err != nil {
			t.Fatal(err)
		}
		n = n.DeepCopy()
		n.Labels["disk"], n.Spec.Unschedulable = "ssd", true
		if _, err := client.Nodes.Update(t.Context(), c, n); err != nil {
			t.Fatal(err)
		}
		for disk, reason := range map[string]string{"ssd": "", "tape": "NodeAffinity"} {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: disk, Namespace: "ns"}, Spec: corev1.PodSpec{NodeSelector: map[string]string{"disk": disk}}}
			e := a.newEntry(PodState{})
			if err := e.admit(t.Context(), pod); err != nil {
				t.Fatal(err)
			}
			got := ""
			if f := e.state.Rejected; f != nil {
				got = f.Reason
			}
			if got != reason {
				t.Errorf("a pod for disk=%s: rejected for %q, want %q", disk, got, reason)
			}
		}
		a.Wait()
		evs, err := client.Events.List(t.Context(), c, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(evs, func(e *corev1.Event) bool { return e.Message == "Node n status is now: NodeNotSchedulable" }) {
			t.Errorf("no event says that the node was cordoned: %+v", evs)
		}
	})
}
