// Package plugin has the scheduler's rules, one per file. A rule is a scheduler.Plugin: it refuses nodes, rates those
// that are left, or both.
package plugin

import "pintle.dev/scheduler"

// All lists the rules in the order in which they filter, which is upstream's: the first that refuses a node gives the
// reason.
func All() []scheduler.Plugin {
	return []scheduler.Plugin{
		nodeUnschedulable{},
		nodeName{},
		taintToleration{},
		nodeAffinity{},
		nodePorts{},
		nodeResourcesFit{},
		balancedAllocation{},
	}
}

// filterOnly is embedded by rules that rate nothing.
type filterOnly struct{}

func (filterOnly) Score(*scheduler.Pod, *scheduler.Node) int64 { return 0 }
func (filterOnly) Normalize([]int64)                           {}
func (filterOnly) Weight() int64                               { return 0 }

// stretch scales scores so that the largest becomes scheduler.MaxScore; with reverse, so that the smallest does.
func stretch(scores []int64, reverse bool) {
	var most int64
	for _, s := range scores {
		most = max(most, s)
	}
	for i, s := range scores {
		if most > 0 {
			s = s * scheduler.MaxScore / most
		}
		if reverse {
			s = scheduler.MaxScore - s
		}
		scores[i] = s
	}
}
