package scheduler

import (
	corev1 "k8s.io/api/core/v1"
)

// Node is a node and the sum of what its pods take.
type Node struct {
	// Node is the object; nil while only pods that name it are known.
	*corev1.Node
	Allocatable Resources
	MaxPods     int64

	Pods      int64
	Requested Resources
	NonZero   Resources
	ports     map[HostPort]int
}

// Free reports whether a host port can be taken.
func (n *Node) Free(h HostPort) bool {
	for taken := range n.ports {
		if taken.overlaps(h) {
			return false
		}
	}
	return true
}

func (n *Node) set(o *corev1.Node) {
	n.Node = o
	n.Allocatable = newResources(o.Status.Allocatable)
	n.MaxPods = o.Status.Allocatable.Pods().Value()
}

func (n *Node) place(p *placed, sign int64) {
	n.Pods += sign
	n.Requested.add(p.requests, sign)
	n.NonZero.add(p.nonZero, sign)
	for _, h := range p.ports {
		if n.ports == nil {
			n.ports = map[HostPort]int{}
		}
		if n.ports[h] += int(sign); n.ports[h] == 0 {
			delete(n.ports, h)
		}
	}
}

// NewNode returns a node on which nothing runs yet.
func NewNode(o *corev1.Node) *Node {
	n := &Node{}
	n.set(o)
	return n
}

// Place counts a pod on the node.
func (n *Node) Place(p *Pod) {
	n.place(&placed{requests: p.Requests, nonZero: p.NonZero, ports: p.Ports}, 1)
}
