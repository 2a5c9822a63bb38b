package replicaset

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is the part of a Pod that matters to its ReplicaSet.
type pod struct {
	Metadata struct {
		Name              string    `json:"name"`
		UID               types.UID `json:"uid"`
		CreationTimestamp timestamp `json:"creationTimestamp"`
		DeletionTimestamp timestamp `json:"deletionTimestamp"`
		OwnerReferences   []struct {
			UID        types.UID `json:"uid"`
			Controller bool      `json:"controller"`
		} `json:"ownerReferences"`
		Annotations struct {
			DeletionCost string `json:"controller.kubernetes.io/pod-deletion-cost"`
		} `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		NodeName       string `json:"nodeName"`
		InitContainers []struct {
			Name          string                         `json:"name"`
			RestartPolicy *corev1.ContainerRestartPolicy `json:"restartPolicy"`
		} `json:"initContainers"`
	} `json:"spec"`
	Status struct {
		Phase      corev1.PodPhase `json:"phase"`
		Conditions []struct {
			Type               corev1.PodConditionType `json:"type"`
			Status             corev1.ConditionStatus  `json:"status"`
			LastTransitionTime timestamp               `json:"lastTransitionTime"`
		} `json:"conditions"`
		ContainerStatuses     []restarts `json:"containerStatuses"`
		InitContainerStatuses []restarts `json:"initContainerStatuses"`
	} `json:"status"`
}

// timestamp is a time as the API writes it, parsed only when it is needed: parsing the times of all conditions would
// be half of what decoding a pod costs.
type timestamp string

// time is the zero time for a timestamp that is not set.
func (t timestamp) time() time.Time {
	at, err := time.Parse(time.RFC3339, string(t))
	if err != nil {
		return time.Time{}
	}
	return at
}

type restarts struct {
	Name         string `json:"name"`
	RestartCount int32  `json:"restartCount"`
}

func (p *pod) finished() bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func (p *pod) active() bool      { return !p.finished() && p.Metadata.DeletionTimestamp == "" }
func (p *pod) terminating() bool { return !p.finished() && p.Metadata.DeletionTimestamp != "" }

// controller is the UID of the object that controls the pod, or "".
func (p *pod) controller() types.UID {
	for i := range p.Metadata.OwnerReferences {
		if o := &p.Metadata.OwnerReferences[i]; o.Controller {
			return o.UID
		}
	}
	return ""
}

func (p *pod) controlledBy(uid types.UID) bool { return p.controller() == uid }

// ready reports whether the pod is ready, and since when.
func (p *pod) ready() (since timestamp, ok bool) {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.LastTransitionTime, c.Status == corev1.ConditionTrue
		}
	}
	return "", false
}

// restarted is the most restarts of any of the pod's containers, and of its sidecars.
func (p *pod) restarted() (containers, sidecars int32) {
	for _, c := range p.Status.ContainerStatuses {
		containers = max(containers, c.RestartCount)
	}
	for _, c := range p.Status.InitContainerStatuses {
		for _, spec := range p.Spec.InitContainers {
			if spec.Name == c.Name && spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways {
				sidecars = max(sidecars, c.RestartCount)
			}
		}
	}
	return containers, sidecars
}

// ranked is an active pod on its way to being chosen.
type ranked struct {
	*pod
	labelled bool // carries all labels of the template
	together int  // replicas of the same controller on its node, itself included
}

// victims are the n pods that are deleted first. It reorders pods.
func victims(pods []ranked, n int, now time.Time) []ranked {
	if n < len(pods) {
		slices.SortStableFunc(pods, func(a, b ranked) int { return compare(a, b, now) })
	}
	return pods[:n]
}

var phaseOrder = map[corev1.PodPhase]int{corev1.PodPending: 0, corev1.PodUnknown: 1, corev1.PodRunning: 2}

// compare orders pods by how early they are deleted: unassigned before assigned, pending before unknown before running,
// not ready before ready, low deletion cost before high, doubled up before alone, ready for a short time before long,
// often restarted before seldom, young before old. Times are compared by their order of magnitude, so that of pods that
// are about as old any may be chosen (KEP-2185).
func compare(a, b ranked, now time.Time) int {
	sinceA, readyA := a.ready()
	sinceB, readyB := b.ready()
	if c := cmp.Or(
		compareBool(a.Spec.NodeName != "", b.Spec.NodeName != ""),
		cmp.Compare(phaseOrder[a.Status.Phase], phaseOrder[b.Status.Phase]),
		compareBool(readyA, readyB),
		cmp.Compare(cost(a.Metadata.Annotations.DeletionCost), cost(b.Metadata.Annotations.DeletionCost)),
		cmp.Compare(b.together, a.together),
	); c != 0 {
		return c
	}
	if readyA && readyB && sinceA != sinceB {
		if c, decided := younger(sinceA.time(), sinceB.time(), now); decided {
			return c
		}
		return strings.Compare(string(a.Metadata.UID), string(b.Metadata.UID))
	}
	containersA, sidecarsA := a.restarted()
	containersB, sidecarsB := b.restarted()
	if c := cmp.Or(cmp.Compare(containersB, containersA), cmp.Compare(sidecarsB, sidecarsA)); c != 0 {
		return c
	}
	if bornA, bornB := a.Metadata.CreationTimestamp.time(), b.Metadata.CreationTimestamp.time(); !bornA.Equal(bornB) {
		if c, decided := younger(bornA, bornB, now); decided {
			return c
		}
		return strings.Compare(string(a.Metadata.UID), string(b.Metadata.UID))
	}
	return 0
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// younger orders by age in powers of two; a time that is not set is the youngest.
func younger(a, b, now time.Time) (c int, decided bool) {
	if a.IsZero() || b.IsZero() {
		return compareBool(!a.IsZero(), !b.IsZero()), true
	}
	c = cmp.Compare(magnitude(now.Sub(a)), magnitude(now.Sub(b)))
	return c, c != 0
}

func magnitude(d time.Duration) int64 {
	if d <= 0 {
		return -1
	}
	return int64(math.Log2(float64(d)))
}
