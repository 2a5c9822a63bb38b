package plugin

import "pintle.dev/scheduler"

// nodeName keeps a pod that names its node to that node.
type nodeName struct{ filterOnly }

func (nodeName) Name() string { return "NodeName" }

func (nodeName) Filter(p *scheduler.Pod, n *scheduler.Node) string {
	if p.Spec.NodeName != "" && p.Spec.NodeName != n.Name {
		return "node(s) didn't match the requested node name"
	}
	return ""
}
