package node

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
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
