package scheduler

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Resources are amounts of what nodes have and pods ask for.
type Resources struct {
	CPU       int64 // millicores
	Memory    int64 // bytes
	Ephemeral int64 // bytes of local storage
	Extended  map[corev1.ResourceName]int64
}

// Amounts assumed, for scoring only, of containers that request none: a tenth of a core and 200 MiB.
const (
	defaultCPU    = 100
	defaultMemory = 200 << 20
)

func newResources(list corev1.ResourceList) Resources {
	var r Resources
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			r.CPU = q.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = q.Value()
		case corev1.ResourceEphemeralStorage:
			r.Ephemeral = q.Value()
		case corev1.ResourcePods:
		default:
			if r.Extended == nil {
				r.Extended = map[corev1.ResourceName]int64{}
			}
			r.Extended[name] = q.Value()
		}
	}
	return r
}

// requests returns what a pod asks for: the sum of its containers, or its largest init container where that is more,
// and its overhead. nonZero is the same with the default amounts in place of what containers leave open.
func requests(pod *corev1.Pod) (exact, nonZero Resources) {
	list := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	exact = newResources(list)
	if exact.CPU > 0 && exact.Memory > 0 && len(pod.Spec.Containers) == 1 {
		return exact, exact
	}
	full := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{NonMissingContainerRequests: defaultRequests})
	return exact, newResources(full)
}

func (r *Resources) add(o Resources, sign int64) {
	r.CPU += sign * o.CPU
	r.Memory += sign * o.Memory
	r.Ephemeral += sign * o.Ephemeral
	for name, n := range o.Extended {
		if r.Extended == nil {
			r.Extended = map[corev1.ResourceName]int64{}
		}
		if r.Extended[name] += sign * n; r.Extended[name] == 0 {
			delete(r.Extended, name)
		}
	}
}

func (r Resources) clone() Resources {
	r.Extended = maps.Clone(r.Extended)
	return r
}
