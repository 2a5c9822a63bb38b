package plugin

import (
	corev1 "k8s.io/api/core/v1"

	"pintle.dev/scheduler"
)

// nodeUnschedulable keeps pods off cordoned nodes, unless they tolerate the taint that stands for that.
type nodeUnschedulable struct{ filterOnly }

func (nodeUnschedulable) Name() string { return "NodeUnschedulable" }

func (nodeUnschedulable) Filter(p *scheduler.Pod, n *scheduler.Node) string {
	if n.Spec.Unschedulable && !tolerates(p.Spec.Tolerations, &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}) {
		return "node(s) were unschedulable"
	}
	return ""
}
