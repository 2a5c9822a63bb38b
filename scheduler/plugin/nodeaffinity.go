package plugin

import "pintle.dev/scheduler"

// nodeAffinity holds a pod to its nodeSelector and required node affinity, and rates nodes by the preferred terms.
type nodeAffinity struct{}

func (nodeAffinity) Name() string { return "NodeAffinity" }

func (nodeAffinity) Filter(p *scheduler.Pod, n *scheduler.Node) string {
	// Terms that do not parse match no node; validation keeps them out.
	if ok, err := p.Required.Match(n.Node); err != nil || !ok {
		return "node(s) didn't match Pod's node affinity/selector"
	}
	return ""
}

func (nodeAffinity) Score(p *scheduler.Pod, n *scheduler.Node) int64 {
	if p.Preferred == nil {
		return 0
	}
	return p.Preferred.Score(n.Node)
}

func (nodeAffinity) Normalize(scores []int64) { stretch(scores, false) }
func (nodeAffinity) Weight() int64            { return 2 }
