package node

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// nodeReasons are the reasons of upstream's events about a node's conditions: of one that is false, and one that is true.
var nodeReasons = map[corev1.NodeConditionType][2]string{
	corev1.NodeMemoryPressure: {"NodeHasSufficientMemory", "NodeHasInsufficientMemory"},
	corev1.NodeDiskPressure:   {"NodeHasNoDiskPressure", "NodeHasDiskPressure"},
	corev1.NodePIDPressure:    {"NodeHasSufficientPID", "NodeHasInsufficientPID"},
	corev1.NodeReady:          {"NodeNotReady", "NodeReady"},
}

// ref is the node in events about it. As upstream's kubelet it puts the node's name in the place of its UID.
func (a *Agent) ref() corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: a.cfg.Name, UID: types.UID(a.cfg.Name)}
}

// sayNode records an event about the node.
func (a *Agent) sayNode(reason, message string) { a.events.Normal(a.ref(), reason, "%s", message) }

// WarnNode records a warning about the node.
func (a *Agent) WarnNode(reason, message string) { a.events.Warning(a.ref(), reason, "%s", message) }

// announceSchedulable records that the node was cordoned, or is no longer.
func (a *Agent) announceSchedulable(n *corev1.Node) {
	reason := "NodeSchedulable"
	if n.Spec.Unschedulable {
		reason = "NodeNotSchedulable"
	}
	a.sayNode(reason, fmt.Sprintf("Node %s status is now: %s", a.cfg.Name, reason))
}

// announce records what a written status says anew, old being what the API said before, nil when it knew nothing. At its
// start an agent says how each of its resources is, also when that is as it was.
func (a *Agent) announce(old, now *corev1.Node) {
	first := !a.announced
	a.announced = true
	if first {
		a.sayNode("Starting", "Starting kubelet.")
	}
	for i := range now.Status.Conditions {
		c := &now.Status.Conditions[i]
		reasons, ok := nodeReasons[c.Type]
		if !ok || a.cfg.Quiet && c.Type != corev1.NodeReady {
			continue
		}
		if !first || c.Type == corev1.NodeReady {
			if old != nil {
				if o := conditionOf(old.Status.Conditions, c.Type); o != nil && o.Status == c.Status {
					continue
				}
			}
		}
		reason := reasons[0]
		if c.Status == corev1.ConditionTrue {
			reason = reasons[1]
		}
		a.sayNode(reason, fmt.Sprintf("Node %s status is now: %s", a.cfg.Name, reason))
	}
	if first && !a.cfg.Quiet {
		// Nothing is set aside for the system, so that the limit is what the machine has and holds by itself.
		a.sayNode("NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
	}
}
