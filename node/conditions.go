package node

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// verdict is a condition without its times.
type verdict struct {
	status          corev1.ConditionStatus
	reason, message string
}

var holds = verdict{status: corev1.ConditionTrue}

// conditions are the pod's conditions in upstream's order, with transition times kept while a status stays.
func conditions(pod *corev1.Pod, have *PodState, s *corev1.PodStatus, now time.Time) []corev1.PodCondition {
	old := pod.Status.Conditions
	out := make([]corev1.PodCondition, 0, 5)
	add := func(t corev1.PodConditionType, v verdict) {
		c := corev1.PodCondition{Type: t, Status: v.status, Reason: v.reason, Message: v.message,
			ObservedGeneration: pod.Generation, LastTransitionTime: second(now)}
		if o := condition(old, t); o != nil && o.Status == c.Status {
			c.LastTransitionTime = o.LastTransitionTime
			c.LastProbeTime = o.LastProbeTime
		}
		out = append(out, c)
	}
	ready := containersReady(pod, s)
	add(corev1.PodReadyToStartContainers, sandboxReady(pod, have))
	add(corev1.PodInitialized, initialized(pod, s))
	add(corev1.PodReady, podReady(pod, ready))
	add(corev1.ContainersReady, ready)
	add(corev1.PodScheduled, holds)
	for _, c := range old {
		if condition(out, c.Type) == nil {
			out = append(out, c)
		}
	}
	return out
}

func condition(cs []corev1.PodCondition, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range cs {
		if cs[i].Type == t {
			return &cs[i]
		}
	}
	return nil
}

func sandboxReady(pod *corev1.Pod, have *PodState) verdict {
	if s := have.Sandbox; s != nil && s.Ready && (pod.Spec.HostNetwork || len(s.IPs) > 0) {
		return holds
	}
	return verdict{status: corev1.ConditionFalse}
}

func initialized(pod *corev1.Pod, s *corev1.PodStatus) verdict {
	var unknown, incomplete []string
	for i := range pod.Spec.InitContainers {
		name := pod.Spec.InitContainers[i].Name
		if st := statusOf(s.InitContainerStatuses, name); st == nil {
			unknown = append(unknown, name)
		} else if !st.Ready {
			incomplete = append(incomplete, name)
		}
	}
	if s.Phase == corev1.PodSucceeded && len(unknown) == 0 {
		return verdict{corev1.ConditionTrue, "PodCompleted", ""}
	}
	if len(unknown)+len(incomplete) == 0 {
		return holds
	}
	// Once a container runs, the init containers count as done even when they have been removed.
	for i := range s.ContainerStatuses {
		if st := &s.ContainerStatuses[i]; st.State.Running != nil {
			return holds
		}
	}
	return verdict{corev1.ConditionFalse, "ContainersNotInitialized", listed("incomplete", unknown, incomplete)}
}

// listed is upstream's message about containers whose status is unknown or not as it should be.
func listed(what string, unknown, other []string) string {
	var parts []string
	if len(unknown) > 0 {
		parts = append(parts, fmt.Sprintf("containers with unknown status: %s", unknown))
	}
	if len(other) > 0 {
		parts = append(parts, fmt.Sprintf("containers with %s status: %s", what, other))
	}
	return strings.Join(parts, ", ")
}

func containersReady(pod *corev1.Pod, s *corev1.PodStatus) verdict {
	switch s.Phase {
	case corev1.PodSucceeded:
		return verdict{corev1.ConditionFalse, "PodCompleted", ""}
	case corev1.PodFailed:
		return verdict{corev1.ConditionFalse, "PodFailed", ""}
	}
	var unknown, unready []string
	for i := range pod.Spec.Containers {
		name := pod.Spec.Containers[i].Name
		if st := statusOf(s.ContainerStatuses, name); st == nil {
			unknown = append(unknown, name)
		} else if !st.Ready {
			unready = append(unready, name)
		}
	}
	if len(unknown)+len(unready) == 0 {
		return holds
	}
	return verdict{corev1.ConditionFalse, "ContainersNotReady", listed("unready", unknown, unready)}
}

func podReady(pod *corev1.Pod, containers verdict) verdict {
	if containers.status != corev1.ConditionTrue {
		return containers
	}
	var missing []string
	for _, g := range pod.Spec.ReadinessGates {
		switch c := condition(pod.Status.Conditions, g.ConditionType); {
		case c == nil:
			missing = append(missing, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		case c.Status != corev1.ConditionTrue:
			missing = append(missing, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", g.ConditionType, c.Status))
		}
	}
	if len(missing) > 0 {
		return verdict{corev1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(missing, ", ")}
	}
	return holds
}
