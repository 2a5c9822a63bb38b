package deployment

import (
	"slices"
)

// roll moves a rolling update by one step: the new ReplicaSet grows, or else the old ones shrink.
func (p *plan) roll() {
	p.findNew(true)
	if p.growNew() || p.shrinkOld() {
		return
	}
	p.finish()
}

// recreate first ends all old pods, then starts the new ones.
func (p *plan) recreate() {
	shrunk := false
	for _, rs := range active(p.old) {
		shrunk = p.setReplicas(rs, 0) || shrunk
	}
	if shrunk || sum(p.old, actual) > 0 || slices.ContainsFunc(p.old, p.Running) {
		return
	}
	p.findNew(true)
	p.setReplicas(p.new, *p.d.Spec.Replicas)
	p.finish()
}

func (p *plan) finish() {
	if complete(p.d, &p.d.Status) {
		p.cleanUp()
	}
}

func (p *plan) growNew() bool {
	want := *p.d.Spec.Replicas
	switch have := *p.new.Spec.Replicas; {
	case have == want:
		return false
	case have > want:
		return p.setReplicas(p.new, want)
	}
	return p.setReplicas(p.new, p.newReplicas())
}

// shrinkOld takes from the old ReplicaSets what the promised availability allows: first pods that are not available
// anyway, then others.
func (p *plan) shrinkOld() bool {
	if sum(p.old, wanted) == 0 {
		return false
	}
	least := *p.d.Spec.Replicas - maxUnavailable(p.d)
	newUnavailable := *p.new.Spec.Replicas - p.new.Status.AvailableReplicas
	most := sum(p.all(), wanted) - least - newUnavailable
	if most <= 0 {
		return false
	}
	gone := int32(0)
	for _, rs := range active(p.old) {
		if gone >= most {
			break
		}
		if n := min(most-gone, *rs.Spec.Replicas-rs.Status.AvailableReplicas); n > 0 {
			p.setReplicas(rs, *rs.Spec.Replicas-n)
			gone += n
		}
	}
	spare := sum(p.all(), available) - least
	for _, rs := range active(p.old) {
		if spare <= 0 {
			break
		}
		n := min(spare, *rs.Spec.Replicas)
		p.setReplicas(rs, *rs.Spec.Replicas-n)
		spare -= n
		gone += n
	}
	return gone > 0
}
