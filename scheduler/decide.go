package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Snapshot is the nodes as a decision sees them. The scheduler changes it between decisions, never during one.
type Snapshot struct {
	Nodes []*Node
	// Start is where the search for nodes begins, so that decisions which look at a part of the nodes only spread over
	// all of them.
	Start int
	// Draw returns a number in [0, n), to choose among equally good nodes.
	Draw func(n int) int
}

// Plugin is one rule of scheduling. Methods are called for one pod at a time and must not keep state between pods.
type Plugin interface {
	Name() string
	// Filter returns "" when the pod may run on the node, else the reason, worded to follow a count of nodes:
	// "node(s) were unschedulable", "Insufficient cpu".
	Filter(p *Pod, n *Node) string
	// Score rates a node that passed all filters; more is better. Plugins that only filter return 0.
	Score(p *Pod, n *Node) int64
	// Normalize brings the scores of all nodes, as Score gave them, to 0..MaxScore.
	Normalize(scores []int64)
	// Weight multiplies the normalized score; 0 says that the plugin does not score.
	Weight() int64
}

// MaxScore is the best normalized score.
const MaxScore = 100

// Decision is where a pod goes, or why it goes nowhere.
type Decision struct {
	Node      string // "" when no node is feasible
	Evaluated int    // nodes that were looked at
	Feasible  int    // nodes that passed all filters
	// Reasons counts, for a pod that fits nowhere, the nodes by what speaks against them.
	Reasons map[string]int
	Total   int // nodes in the snapshot
}

// ErrNoNodes says that there is no node at all.
var ErrNoNodes = errors.New("no nodes available to schedule pods")

// Of clusters larger than minFeasible nodes only a part is searched: enough to find this many feasible nodes or the
// share that feasibleShare computes (upstream's percentageOfNodesToScore at its default).
const minFeasible = 100

func feasibleShare(nodes int) int {
	if nodes <= minFeasible {
		return nodes
	}
	percent := max(50-nodes/125, 5)
	return max(nodes*percent/100, minFeasible)
}

// Decide chooses a node for the pod: of those that pass every plugin's filter, one with the highest sum of weighted
// scores. A Decision without a node says why there is none; ErrNoNodes when the snapshot is empty.
func Decide(s *Snapshot, p *Pod, ps []Plugin) (Decision, error) {
	d := Decision{Total: len(s.Nodes)}
	if len(s.Nodes) == 0 {
		return d, ErrNoNodes
	}
	enough := feasibleShare(len(s.Nodes))
	feasible := make([]*Node, 0, min(enough, len(s.Nodes)))
	for i := range s.Nodes {
		n := s.Nodes[(s.Start+i)%len(s.Nodes)]
		d.Evaluated++
		reason, failed := "", false
		for _, pl := range ps {
			if reason = pl.Filter(p, n); reason != "" {
				failed = true
				// One plugin's reason counts for a node, except that resources name each that is short.
				for _, r := range strings.Split(reason, ReasonSeparator) {
					if d.Reasons == nil {
						d.Reasons = map[string]int{}
					}
					d.Reasons[r]++
				}
				break
			}
		}
		if !failed {
			if feasible = append(feasible, n); len(feasible) == enough {
				break
			}
		}
	}
	if d.Feasible = len(feasible); d.Feasible == 0 {
		return d, nil
	}
	d.Reasons = nil
	d.Node = best(feasible, p, ps, s.Draw).Name
	return d, nil
}

// ReasonSeparator divides several reasons of one Filter.
const ReasonSeparator = "\x00"

func best(nodes []*Node, p *Pod, ps []Plugin, draw func(int) int) *Node {
	if len(nodes) == 1 {
		return nodes[0]
	}
	total := make([]int64, len(nodes))
	scores := make([]int64, len(nodes))
	for _, pl := range ps {
		w := pl.Weight()
		if w == 0 {
			continue
		}
		for i, n := range nodes {
			scores[i] = pl.Score(p, n)
		}
		pl.Normalize(scores)
		for i := range scores {
			total[i] += w * scores[i]
		}
	}
	// Of the best ones each is as likely as the others: reservoir sampling.
	at, ties := 0, 1
	for i := 1; i < len(total); i++ {
		switch {
		case total[i] > total[at]:
			at, ties = i, 1
		case total[i] == total[at]:
			if ties++; draw(ties) == 0 {
				at = i
			}
		}
	}
	return nodes[at]
}

// Message is the text of the FailedScheduling event for a pod that fits nowhere: how many nodes were refused for what
// reason, in upstream's form.
func (d Decision) Message() string {
	reasons := make([]string, 0, len(d.Reasons))
	for r, n := range d.Reasons {
		reasons = append(reasons, fmt.Sprintf("%d %s", n, r))
	}
	slices.Sort(reasons)
	return fmt.Sprintf("0/%d nodes are available: %s.", d.Total, strings.Join(reasons, ", "))
}
