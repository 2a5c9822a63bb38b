package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// taintNodesByCondition keeps pods off a new node until it has reported that it is ready.
func taintNodesByCondition() Plugin {
	return complete{api.Nodes, func(_ context.Context, w *resource.Write) error {
		if !w.Creating() || w.New == nil {
			return nil
		}
		node := w.New.Value.(*corev1.Node)
		notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
		for _, t := range node.Spec.Taints {
			if t.MatchTaint(&notReady) {
				return nil
			}
		}
		node.Spec.Taints = append(node.Spec.Taints, notReady)
		return nil
	}}
}
