package core

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/resource"
)

// TestNodeUpdate: what holds for new nodes is looked at again in an update, but not in one of the status.
func TestNodeUpdate(t *testing.T) {
	const (
		fixed = `spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid`
		taint = "metadata.taints[0].effect: Required value"
		twice = "spec.podCIDRs[1]: Duplicate value: \"10.0.1.0/24\""
		most  = `spec.podCIDRs: Invalid value: ["10.0.1.0/24","10.0.1.0/24"]: may specify no more than one CIDR for each IP family`
	)
	for _, c := range []struct {
		name, subresource string
		old               corev1.NodeSpec
		change            func(n *corev1.Node)
		want              []string
	}{
		{"nothing", "", corev1.NodeSpec{}, func(*corev1.Node) {}, nil},
		{"a taint", "", corev1.NodeSpec{}, func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "k"}} }, []string{taint, taint}},
		{"a taint that was there", "status", corev1.NodeSpec{Taints: []corev1.Taint{{Key: "k"}}}, func(*corev1.Node) {}, []string{taint}},
		{"a long odd value", "", corev1.NodeSpec{}, func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "k", Value: strings.Repeat("-", 64), Effect: corev1.TaintEffectNoExecute}}
		}, []string{"metadata.taints[0].value: Invalid value", "metadata.taints[0].value: Invalid value"}},
		{"external ID", "", corev1.NodeSpec{}, func(n *corev1.Node) { n.Spec.DoNotUseExternalID = "x" }, []string{"spec.externalID: Forbidden: may not be updated"}},
		{"another range", "", corev1.NodeSpec{PodCIDRs: []string{"10.0.1.0/24"}}, func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.0.2.0/24"} }, []string{fixed}},
		{"no range", "", corev1.NodeSpec{PodCIDRs: []string{"10.0.1.0/24"}}, func(n *corev1.Node) { n.Spec.PodCIDRs = nil }, []string{fixed}},
		{"a range twice", "", corev1.NodeSpec{}, func(n *corev1.Node) { n.Spec.PodCIDRs = []string{"10.0.1.0/24", "10.0.1.0/24"} }, []string{most, twice}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := &corev1.Node{Spec: c.old}
			o := old.DeepCopy()
			c.change(o)
			got := lines(validateNode(t.Context(), &resource.Write{Subresource: c.subresource}, o, old))
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}
