package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// evictAfter is how long a pod stays, in seconds, on a node that is not ready or unreachable.
const evictAfter = 300

// defaultTolerationSeconds lets pods that say nothing about it stay on a failing node for five minutes.
func defaultTolerationSeconds() Plugin {
	return complete{api.Pods, func(_ context.Context, w *resource.Write) error {
		if w.New == nil {
			return nil
		}
		spec := &w.New.Value.(*corev1.Pod).Spec
		for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
			if !tolerates(spec.Tolerations, key) {
				spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
					Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](evictAfter),
				})
			}
		}
		return nil
	}}
}

func tolerates(ts []corev1.Toleration, key string) bool {
	for _, t := range ts {
		if (t.Key == key || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return true
		}
	}
	return false
}
