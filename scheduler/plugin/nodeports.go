package plugin

import "pintle.dev/scheduler"

// nodePorts keeps pods that take ports of the node away from nodes where they are taken.
type nodePorts struct{ filterOnly }

func (nodePorts) Name() string { return "NodePorts" }

func (nodePorts) Filter(p *scheduler.Pod, n *scheduler.Node) string {
	for _, h := range p.Ports {
		if !n.Free(h) {
			return "node(s) didn't have free ports for the requested pod ports"
		}
	}
	return ""
}
