package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// evictPeriod is how often it is looked at what pods have written, and evictionGrace what the containers of a pod get that
// has written too much.
const (
	evictPeriod   = 10 * time.Second
	evictionGrace = time.Second
)

// Written is what a pod has on the host's disk, in bytes.
type Written struct {
	Volumes    map[string]int64 // emptyDir volumes that are not in memory, by name
	Containers map[string]int64 // what containers have changed of their images, and their logs, by name
}

// limited reports whether anything limits what a pod may write.
func limited(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if e := pod.Spec.Volumes[i].EmptyDir; e != nil && e.SizeLimit != nil && e.Medium != corev1.StorageMediumMemory {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		if _, ok := pod.Spec.Containers[i].Resources.Limits[corev1.ResourceEphemeralStorage]; ok {
			return true
		}
	}
	return false
}

// exceeds says in upstream's words which of its limits a pod has passed: that of a volume, then that of all containers, then
// that of one; "" when none.
func exceeds(pod *corev1.Pod, w Written) string {
	all := int64(0)
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		used := w.Volumes[v.Name]
		all += used
		if e := v.EmptyDir; e != nil && e.SizeLimit != nil && e.SizeLimit.Sign() > 0 && used > e.SizeLimit.Value() {
			return fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, e.SizeLimit.String())
		}
	}
	for _, used := range w.Containers {
		all += used
	}
	limits := resource.PodLimits(pod, resource.PodResourcesOptions{})
	if limit, ok := limits[corev1.ResourceEphemeralStorage]; ok && all > limit.Value() {
		return fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", limit.String())
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if limit, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]; ok && w.Containers[c.Name] > limit.Value() {
			return fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, limit.String())
		}
	}
	return ""
}

// evict ends pods that have written more than they may, until ctx ends.
func (a *Agent) evict(ctx context.Context) {
	tick := time.NewTicker(evictPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, e := range a.entries() {
			pod, err := e.pod()
			if err != nil || pod == nil || terminal(pod.Status.Phase) || !limited(pod) {
				continue
			}
			w, err := a.cfg.Written(ctx, pod)
			if err != nil {
				if ctx.Err() == nil {
					slog.Warn("what a pod has written cannot be measured; its limits are not enforced", "pod", pod.Namespace+"/"+pod.Name, "err", err)
				}
				continue
			}
			if why := exceeds(pod, w); why != "" {
				e.poke(func(s *PodState) {
					if s.Evicted == nil {
						a.tell(pod, "", corev1.EventTypeWarning, evicted, why)
						s.Evicted = &Failure{Reason: evicted, Message: why, At: time.Now()}
					}
				})
			}
		}
	}
}

// evicted is the reason of a pod that had to leave its node.
const evicted = "Evicted"

// disrupted is the condition of a pod that the agent ends against its owner's will.
func disrupted(pod *corev1.Pod, f *Failure) corev1.PodCondition {
	return corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonTerminationByKubelet,
		Message: f.Message, ObservedGeneration: pod.Generation, LastTransitionTime: second(f.At)}
}
