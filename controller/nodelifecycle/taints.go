package nodelifecycle

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// taintOf says which condition keeps new pods away under which taint.
var taintOf = []struct {
	condition corev1.NodeConditionType
	status    corev1.ConditionStatus
	key       string
}{
	{corev1.NodeReady, corev1.ConditionFalse, corev1.TaintNodeNotReady},
	{corev1.NodeReady, corev1.ConditionUnknown, corev1.TaintNodeUnreachable},
	{corev1.NodeMemoryPressure, corev1.ConditionTrue, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.ConditionTrue, corev1.TaintNodeDiskPressure},
	{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, corev1.TaintNodeNetworkUnavailable},
	{corev1.NodePIDPressure, corev1.ConditionTrue, corev1.TaintNodePIDPressure},
}

// schedulingTaints are the node's taints with those of effect NoSchedule as its conditions and spec.unschedulable call
// for. While a node has no Ready condition, what it was created with stays.
func schedulingTaints(n *corev1.Node, now metav1.Time) []corev1.Taint {
	var keys []string
	for _, t := range taintOf {
		c := condition(n, t.condition)
		if c != nil && c.Status == t.status {
			keys = append(keys, t.key)
		}
	}
	if condition(n, corev1.NodeReady) == nil {
		for _, t := range n.Spec.Taints {
			if t.Effect == corev1.TaintEffectNoSchedule && t.Key == corev1.TaintNodeNotReady {
				keys = append(keys, t.Key)
			}
		}
	}
	if n.Spec.Unschedulable {
		keys = append(keys, corev1.TaintNodeUnschedulable)
	}
	ours := func(key string) bool {
		if key == corev1.TaintNodeUnschedulable {
			return true
		}
		for _, t := range taintOf {
			if t.key == key {
				return true
			}
		}
		return false
	}
	var out []corev1.Taint
	for _, t := range n.Spec.Taints {
		if t.Effect != corev1.TaintEffectNoSchedule || !ours(t.Key) || slices.Contains(keys, t.Key) {
			out = append(out, t)
			keys = slices.DeleteFunc(keys, func(k string) bool { return t.Effect == corev1.TaintEffectNoSchedule && k == t.Key })
		}
	}
	for _, k := range keys {
		out = append(out, corev1.Taint{Key: k, Effect: corev1.TaintEffectNoSchedule, TimeAdded: &now})
	}
	return out
}

// executionTaints are the taints with the one of effect NoExecute that the readiness calls for.
func executionTaints(taints []corev1.Taint, ready corev1.ConditionStatus, now metav1.Time) []corev1.Taint {
	want := map[corev1.ConditionStatus]string{
		corev1.ConditionFalse: corev1.TaintNodeNotReady, corev1.ConditionUnknown: corev1.TaintNodeUnreachable,
	}[ready]
	var out []corev1.Taint
	for _, t := range taints {
		if execution(t) && t.Key != want {
			continue
		}
		if execution(t) {
			want = ""
		}
		out = append(out, t)
	}
	if want != "" {
		out = append(out, corev1.Taint{Key: want, Effect: corev1.TaintEffectNoExecute, TimeAdded: &now})
	}
	return out
}

// execution reports whether the taint is one of those that this controller drives pods out with.
func execution(t corev1.Taint) bool {
	return t.Effect == corev1.TaintEffectNoExecute && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
}

func hasExecutionTaint(n *corev1.Node) bool { return slices.ContainsFunc(n.Spec.Taints, execution) }

// sameTaints compares taints by key, value and effect.
func sameTaints(a, b []corev1.Taint) bool {
	return slices.EqualFunc(a, b, func(x, y corev1.Taint) bool { return x.MatchTaint(&y) && x.Value == y.Value })
}
