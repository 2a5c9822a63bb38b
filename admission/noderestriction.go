package admission

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/resource"
)

// nodeRestriction keeps a node to itself: of the objects that the node authorizer lets nodes write, each may write its
// own node and lease and the status of the pods bound to it, and may not move workloads by its labels and taints.
func nodeRestriction() Plugin {
	return judge(func(_ context.Context, w *resource.Write) error {
		node, ok := auth.NodeOf(w.Request.User)
		if !ok {
			return nil
		}
		var err error
		switch w.Definition.Resource {
		case api.Pods:
			err = restrictPod(node, w)
		case api.Nodes:
			err = restrictNode(node, w)
		case api.Leases:
			if w.Creating() && w.New != nil && w.New.Value.(*coordinationv1.Lease).Name != node {
				err = fmt.Errorf("can only access node lease with the same name as the requesting node")
			}
		}
		if err != nil {
			return forbidden(w, err)
		}
		return nil
	})
}

func nameOf(w *resource.Write) string {
	if w.New != nil && w.Request.Key.Name == "" {
		return w.New.Meta.Name
	}
	return w.Request.Key.Name
}

func restrictPod(node string, w *resource.Write) error {
	own := w.OldRecord != nil && w.OldRecord.IndexValue(auth.IndexPodNode) == node
	switch {
	case w.Request.Subresource == "status":
		if !own {
			return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
		}
		if w.New != nil && !maps.Equal(w.Old.Meta.Labels, w.New.Meta.Labels) {
			return fmt.Errorf("node %q cannot update labels through pod status", node)
		}
	case w.Request.Subresource == "eviction":
		if !own {
			return fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", node)
		}
	case w.New == nil:
		if !own {
			return fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", node)
		}
	}
	return nil
}

func restrictNode(node string, w *resource.Write) error {
	if name := nameOf(w); name != node {
		return fmt.Errorf("node %q is not allowed to modify node %q", node, name)
	}
	if w.New == nil {
		return nil
	}
	next := w.New.Value.(*corev1.Node)
	if w.Creating() {
		if bad := forbiddenLabels(nil, next.Labels); len(bad) > 0 {
			return fmt.Errorf("node %q is not allowed to set the following labels: %s", node, strings.Join(bad, ", "))
		}
		return nil
	}
	old := w.Old.Value.(*corev1.Node)
	if !equality.Semantic.DeepEqual(old.Spec.Taints, next.Spec.Taints) {
		return fmt.Errorf("node %q is not allowed to modify taints", node)
	}
	if bad := forbiddenLabels(old.Labels, next.Labels); len(bad) > 0 {
		return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(bad, ", "))
	}
	return nil
}

// forbiddenLabels are the keys that differ and that a node may not set: those of Kubernetes that a kubelet has no
// business with, and those kept from nodes on purpose.
func forbiddenLabels(old, next map[string]string) []string {
	var bad []string
	for k, v := range next {
		if before, was := old[k]; (!was || v != before) && !nodeMayLabel(k) {
			bad = append(bad, k)
		}
	}
	for k := range old {
		if _, is := next[k]; !is && !nodeMayLabel(k) {
			bad = append(bad, k)
		}
	}
	slices.Sort(bad)
	return bad
}

func nodeMayLabel(key string) bool {
	prefix, _, qualified := strings.Cut(key, "/")
	switch {
	case !qualified:
		return true
	case within(prefix, corev1.LabelNamespaceNodeRestriction):
		return false
	case within(prefix, "kubernetes.io"), within(prefix, "k8s.io"):
		return kubeletLabel(key, prefix)
	}
	return true
}

func within(prefix, domain string) bool {
	return prefix == domain || strings.HasSuffix(prefix, "."+domain)
}

// kubeletLabel reports whether a label of Kubernetes is for kubelets to set (KEP-279).
func kubeletLabel(key, prefix string) bool {
	switch key {
	case corev1.LabelHostname, corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaZone,
		corev1.LabelFailureDomainBetaRegion, corev1.LabelInstanceType, corev1.LabelInstanceTypeStable, corev1.LabelOSStable,
		corev1.LabelArchStable, "beta.kubernetes.io/os", "beta.kubernetes.io/arch":
		return true
	}
	return within(prefix, "kubelet.kubernetes.io") || within(prefix, "node.kubernetes.io")
}
