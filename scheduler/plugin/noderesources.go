package plugin

import (
	"math"
	"slices"
	"strings"

	"pintle.dev/scheduler"
)

// nodeResourcesFit keeps pods to nodes that have what they request left, and prefers those with the most left
// (LeastAllocated).
type nodeResourcesFit struct{}

func (nodeResourcesFit) Name() string { return "NodeResourcesFit" }

func (nodeResourcesFit) Filter(p *scheduler.Pod, n *scheduler.Node) string {
	r, have, used := &p.Requests, &n.Allocatable, &n.Requested
	var short []string
	if n.Pods+1 > n.MaxPods {
		short = append(short, "Too many pods")
	}
	if r.CPU > 0 && r.CPU > have.CPU-used.CPU {
		short = append(short, "Insufficient cpu")
	}
	if r.Memory > 0 && r.Memory > have.Memory-used.Memory {
		short = append(short, "Insufficient memory")
	}
	if r.Ephemeral > 0 && r.Ephemeral > have.Ephemeral-used.Ephemeral {
		short = append(short, "Insufficient ephemeral-storage")
	}
	for name, want := range r.Extended {
		if want > 0 && want > have.Extended[name]-used.Extended[name] {
			short = append(short, "Insufficient "+string(name))
		}
	}
	if short == nil {
		return ""
	}
	slices.Sort(short)
	return strings.Join(short, scheduler.ReasonSeparator)
}

func (nodeResourcesFit) Score(p *scheduler.Pod, n *scheduler.Node) int64 {
	return (left(n.Allocatable.CPU, n.NonZero.CPU+p.NonZero.CPU) + left(n.Allocatable.Memory, n.NonZero.Memory+p.NonZero.Memory)) / 2
}

// left is the share of a resource that stays free, in percent.
func left(have, used int64) int64 {
	if have == 0 || used > have {
		return 0
	}
	return (have - used) * scheduler.MaxScore / have
}

func (nodeResourcesFit) Normalize([]int64) {}
func (nodeResourcesFit) Weight() int64     { return 1 }

// balancedAllocation prefers nodes whose processor and memory are used to a like degree.
type balancedAllocation struct{}

func (balancedAllocation) Name() string { return "NodeResourcesBalancedAllocation" }

func (balancedAllocation) Filter(*scheduler.Pod, *scheduler.Node) string { return "" }

func (balancedAllocation) Score(p *scheduler.Pod, n *scheduler.Node) int64 {
	cpu := share(n.NonZero.CPU+p.NonZero.CPU, n.Allocatable.CPU)
	memory := share(n.NonZero.Memory+p.NonZero.Memory, n.Allocatable.Memory)
	return int64((1 - math.Abs(cpu-memory)/2) * scheduler.MaxScore)
}

func share(used, have int64) float64 {
	if have == 0 {
		return 1
	}
	return min(float64(used)/float64(have), 1)
}

func (balancedAllocation) Normalize([]int64) {}
func (balancedAllocation) Weight() int64     { return 1 }
