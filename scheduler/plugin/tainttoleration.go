package plugin

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/scheduler"
)

// taintToleration keeps pods off nodes with a NoSchedule or NoExecute taint they do not tolerate, and prefers nodes with
// few PreferNoSchedule taints of that sort.
type taintToleration struct{}

func (taintToleration) Name() string { return "TaintToleration" }

func (taintToleration) Filter(p *scheduler.Pod, n *scheduler.Node) string {
	for i := range n.Spec.Taints {
		t := &n.Spec.Taints[i]
		if (t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute) && !tolerates(p.Spec.Tolerations, t) {
			return fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)
		}
	}
	return ""
}

func (taintToleration) Score(p *scheduler.Pod, n *scheduler.Node) int64 {
	var count int64
	for i := range n.Spec.Taints {
		if t := &n.Spec.Taints[i]; t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t) {
			count++
		}
	}
	return count
}

func (taintToleration) Normalize(scores []int64) { stretch(scores, true) }
func (taintToleration) Weight() int64            { return 3 }

// tolerates applies the rules of Toleration: an empty key with Exists matches all taints, an empty effect all effects.
func tolerates(ts []corev1.Toleration, taint *corev1.Taint) bool {
	for i := range ts {
		t := &ts[i]
		if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
			continue
		}
		switch t.Operator {
		case "", corev1.TolerationOpEqual:
			if t.Key != "" && t.Value == taint.Value {
				return true
			}
		case corev1.TolerationOpExists:
			return true
		}
	}
	return false
}
