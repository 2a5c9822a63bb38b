package node

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestHostname(t *testing.T) {
	for _, tt := range []struct {
		pod          string
		spec         corev1.PodSpec
		name, domain string
	}{
		{"p", corev1.PodSpec{}, "p", ""},
		{"p", corev1.PodSpec{Hostname: "h"}, "h", ""},
		{"p", corev1.PodSpec{Hostname: "h", Subdomain: "s"}, "h", "s.ns.svc.cluster.local"},
		{strings.Repeat("x", 62) + "-y", corev1.PodSpec{}, strings.Repeat("x", 62), ""},
	} {
		name, domain := Hostname(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: tt.pod, Namespace: "ns"}, Spec: tt.spec})
		if name != tt.name || domain != tt.domain {
			t.Errorf("pod %s, %+v: %q in %q, want %q in %q", tt.pod, tt.spec, name, domain, tt.name, tt.domain)
		}
	}
}
