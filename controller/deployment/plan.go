package deployment

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"pintle.dev/api"
	"pintle.dev/controller"
)

// State is what a plan is made from.
type State struct {
	Deployment  *appsv1.Deployment
	ReplicaSets []*appsv1.ReplicaSet // all it controls
	// Running reports whether a ReplicaSet has pods that have not finished, terminating ones included.
	Running func(*appsv1.ReplicaSet) bool
	Now     time.Time
}

// Step is one write of a ReplicaSet.
type Step struct {
	Verb       api.Verb           // Create, Update or Delete
	ReplicaSet *appsv1.ReplicaSet // as it is to be
	From       int32              // its spec.replicas before
}

// Outcome is what is to be done about a Deployment now: first the Steps, in order, then its status and annotations are
// written if they differ.
type Outcome struct {
	Steps      []Step
	Deployment *appsv1.Deployment
	After      time.Duration // look again then even if nothing happens; 0: no need
}

// Plan decides the next steps of a Deployment. It is pure: it reads nothing but the state and changes nothing of it.
// Each call moves the rollout by what is safe now; the changes that follow call it again.
func Plan(s State) Outcome {
	p := newPlan(s)
	d := p.d
	switch {
	case d.DeletionTimestamp != nil:
		p.findNew(false)
		p.status = p.count()
	case d.Spec.Paused:
		p.notePause()
		p.findNew(false)
		p.scale()
		p.cleanUp()
		p.status = p.count()
	default:
		p.notePause()
		p.findNew(false)
		if p.resized() {
			p.scale()
			p.status = p.count()
			break
		}
		if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			p.recreate()
		} else {
			p.roll()
		}
		p.rolloutStatus()
	}
	out := Outcome{Steps: p.steps(), Deployment: d}
	d.Status = p.status
	out.After = untilDeadline(d, &d.Status, s.Now)
	return out
}

// plan is a plan in the making. Its ReplicaSets are copies that are changed as they are to become.
type plan struct {
	State
	d      *appsv1.Deployment
	before map[string]*appsv1.ReplicaSet // by name, as they are
	new    *appsv1.ReplicaSet            // the one of the current template; nil when there is none
	old    []*appsv1.ReplicaSet          // the others, oldest first
	order  []*appsv1.ReplicaSet          // those changed, in that order
	doomed []*appsv1.ReplicaSet
	status appsv1.DeploymentStatus
}

func newPlan(s State) *plan {
	d := *s.Deployment
	d.Annotations = maps.Clone(d.Annotations)
	d.Status.Conditions = slices.Clone(d.Status.Conditions)
	p := &plan{State: s, d: &d, before: map[string]*appsv1.ReplicaSet{}}
	for _, rs := range s.ReplicaSets {
		p.before[rs.Name] = rs
		c := *rs
		n := *rs.Spec.Replicas
		c.Spec.Replicas = &n
		c.Annotations = maps.Clone(rs.Annotations)
		p.old = append(p.old, &c)
	}
	slices.SortFunc(p.old, oldestFirst)
	return p
}

func oldestFirst(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

func (p *plan) all() []*appsv1.ReplicaSet {
	all := slices.Clone(p.old)
	if p.new != nil {
		all = append(all, p.new)
	}
	return all
}

func active(rss []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	return slices.DeleteFunc(slices.Clone(rss), func(rs *appsv1.ReplicaSet) bool { return *rs.Spec.Replicas == 0 })
}

func (p *plan) touch(rs *appsv1.ReplicaSet) {
	if !slices.Contains(p.order, rs) {
		p.order = append(p.order, rs)
	}
}

func (p *plan) steps() (steps []Step) {
	for _, rs := range p.order {
		if was := p.before[rs.Name]; was != nil && was.UID == rs.UID {
			steps = append(steps, Step{api.Update, rs, *was.Spec.Replicas})
		} else {
			steps = append(steps, Step{api.Create, rs, 0})
		}
	}
	for _, rs := range p.doomed {
		steps = append(steps, Step{api.Delete, rs, 0})
	}
	return steps
}

// notePause keeps the Progressing condition true to spec.paused, so that time spent paused is not held against the
// rollout.
func (p *plan) notePause() {
	d := p.d
	if !hasDeadline(d) {
		return
	}
	c := condition(&d.Status, appsv1.DeploymentProgressing)
	if c != nil && c.Reason == reasonTimedOut {
		return
	}
	paused := c != nil && c.Reason == reasonPaused
	switch {
	case d.Spec.Paused && !paused:
		setCondition(&d.Status, newCondition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused", p.Now))
	case !d.Spec.Paused && paused:
		setCondition(&d.Status, newCondition(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed, "Deployment is resumed", p.Now))
	}
}

// findNew tells the new ReplicaSet from the old ones, brings its annotations up to date and, when there is none and it
// is to be made, plans it.
func (p *plan) findNew(create bool) {
	d := p.d
	if p.new != nil {
		return
	}
	i := slices.IndexFunc(p.old, func(rs *appsv1.ReplicaSet) bool { return sameTemplate(&rs.Spec.Template, &d.Spec.Template) })
	if i >= 0 {
		p.new = p.old[i]
		p.old = slices.Delete(p.old, i, i+1)
	}
	next := int64(1)
	for _, rs := range p.old {
		next = max(next, revision(rs)+1)
	}
	if p.new != nil {
		changed := annotateRevision(d, p.new, next)
		if p.new.Spec.MinReadySeconds != d.Spec.MinReadySeconds {
			p.new.Spec.MinReadySeconds = d.Spec.MinReadySeconds
			changed = true
		}
		if changed {
			p.touch(p.new)
		}
		if hasDeadline(d) && condition(&d.Status, appsv1.DeploymentProgressing) == nil {
			p.noteProgress(reasonFound, "Found new replica set "+strconv.Quote(p.new.Name))
		}
		if r, ok := p.new.Annotations[revisionAnnotation]; ok {
			annotate(&d.Annotations, revisionAnnotation, r)
		}
		return
	}
	if !create {
		return
	}
	p.new = newReplicaSet(d)
	*p.new.Spec.Replicas = p.newReplicas()
	annotateRevision(d, p.new, next)
	annotateReplicas(d, p.new)
	p.touch(p.new)
	annotate(&d.Annotations, revisionAnnotation, p.new.Annotations[revisionAnnotation])
	if hasDeadline(d) {
		p.noteProgress(reasonCreated, "Created new replica set "+strconv.Quote(p.new.Name))
	}
}

func (p *plan) noteProgress(reason, message string) {
	setCondition(&p.d.Status, newCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reason, message, p.Now))
}

// newReplicaSet is an empty ReplicaSet of the Deployment's template.
func newReplicaSet(d *appsv1.Deployment) *appsv1.ReplicaSet {
	hash := templateHash(&d.Spec.Template, d.Status.CollisionCount)
	template, selector := d.Spec.Template, *d.Spec.Selector
	template.Labels = withHash(template.Labels, hash)
	selector.MatchLabels = withHash(selector.MatchLabels, hash)
	prefix := d.Name
	if longest := validation.DNS1123SubdomainMaxLength - len(hash) - 1; len(prefix) > longest {
		prefix = prefix[:longest]
	}
	owner := controller.Owner{APIVersion: "apps/v1", Kind: "Deployment", Object: d}
	return &appsv1.ReplicaSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: d.Namespace, Name: prefix + "-" + hash, Labels: template.Labels,
			OwnerReferences: []metav1.OwnerReference{owner.Reference()},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32), MinReadySeconds: d.Spec.MinReadySeconds, Selector: &selector, Template: template,
		},
	}
}

func withHash(labels map[string]string, hash string) map[string]string {
	m := make(map[string]string, len(labels)+1)
	maps.Copy(m, labels)
	m[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	return m
}

// setReplicas plans a ReplicaSet's size and reports whether that is a change.
func (p *plan) setReplicas(rs *appsv1.ReplicaSet, n int32) bool {
	resized := *rs.Spec.Replicas != n
	*rs.Spec.Replicas = n
	if annotateReplicas(p.d, rs) || resized {
		p.touch(rs)
	}
	return resized
}

// fenceposts are maxSurge, rounded up, and maxUnavailable, rounded down, in pods; when both are 0, one may be
// unavailable, as nothing could move otherwise.
func fenceposts(d *appsv1.Deployment) (surge, unavailable int32) {
	r := d.Spec.Strategy.RollingUpdate
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || r == nil {
		return 0, 0
	}
	scaled := func(v *intstr.IntOrString, up bool) int32 {
		n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), int(*d.Spec.Replicas), up)
		if err != nil { // validation admits no such value
			return 0
		}
		return int32(n)
	}
	surge, unavailable = scaled(r.MaxSurge, true), scaled(r.MaxUnavailable, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

func maxSurge(d *appsv1.Deployment) int32 {
	surge, _ := fenceposts(d)
	return surge
}

func maxUnavailable(d *appsv1.Deployment) int32 {
	_, unavailable := fenceposts(d)
	return min(unavailable, *d.Spec.Replicas)
}

// newReplicas is the size the new ReplicaSet may have now.
func (p *plan) newReplicas() int32 {
	d, have := p.d, *p.new.Spec.Replicas
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return *d.Spec.Replicas
	}
	total, most := sum(p.all(), wanted), *d.Spec.Replicas+maxSurge(d)
	if total >= most {
		return have
	}
	return have + min(most-total, *d.Spec.Replicas-have)
}

// resized reports whether spec.replicas has changed since the ReplicaSets were last scaled. Then they are scaled in
// proportion before the rollout goes on.
func (p *plan) resized() bool {
	return slices.ContainsFunc(active(p.all()), func(rs *appsv1.ReplicaSet) bool {
		desired, ok := intAnnotation(rs, desiredReplicasAnnotation)
		return ok && desired != *p.d.Spec.Replicas
	})
}

// scale brings the ReplicaSets to spec.replicas without moving the rollout.
func (p *plan) scale() {
	d := p.d
	if rs := p.activeOrLatest(); rs != nil {
		p.setReplicas(rs, *d.Spec.Replicas)
		return
	}
	if p.saturated() {
		for _, rs := range active(p.old) {
			p.setReplicas(rs, 0)
		}
		return
	}
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return
	}
	rss := active(p.all())
	allowed := int32(0)
	if *d.Spec.Replicas > 0 {
		allowed = *d.Spec.Replicas + maxSurge(d)
	}
	toAdd := allowed - sum(rss, wanted)
	// The largest first; of two the same, the newer grows and the older shrinks.
	slices.SortFunc(rss, func(a, b *appsv1.ReplicaSet) int {
		c := cmp.Compare(*b.Spec.Replicas, *a.Spec.Replicas)
		if toAdd > 0 {
			return cmp.Or(c, oldestFirst(b, a))
		}
		return cmp.Or(c, oldestFirst(a, b))
	})
	sizes := make([]int32, len(rss))
	added := int32(0)
	for i, rs := range rss {
		share := p.share(rs, toAdd, added)
		sizes[i] = *rs.Spec.Replicas + share
		added += share
	}
	for i, rs := range rss {
		if i == 0 && toAdd != 0 {
			sizes[0] = max(0, sizes[0]+toAdd-added) // what rounding left over
		}
		p.setReplicas(rs, sizes[i])
	}
}

// share is a ReplicaSet's part of the replicas to add (or, negative, to take away), in proportion to its size.
func (p *plan) share(rs *appsv1.ReplicaSet, toAdd, added int32) int32 {
	d := p.d
	if *rs.Spec.Replicas == 0 || toAdd == 0 || toAdd == added {
		return 0
	}
	part := -*rs.Spec.Replicas
	if *d.Spec.Replicas != 0 {
		before, ok := intAnnotation(rs, maxReplicasAnnotation)
		if !ok || before == 0 {
			before = d.Status.Replicas
		}
		if before == 0 {
			return 0
		}
		size := float64(*rs.Spec.Replicas*(*d.Spec.Replicas+maxSurge(d))) / float64(before)
		part = int32(math.Round(size)) - *rs.Spec.Replicas
	}
	if toAdd > 0 {
		return min(part, toAdd-added)
	}
	return max(part, toAdd-added)
}

// activeOrLatest is the only ReplicaSet that has replicas, or, when none has, the new one or else the youngest.
func (p *plan) activeOrLatest() *appsv1.ReplicaSet {
	switch rss := active(p.all()); {
	case len(rss) == 1:
		return rss[0]
	case len(rss) > 1:
		return nil
	case p.new != nil:
		return p.new
	case len(p.old) > 0:
		return p.old[len(p.old)-1]
	}
	return nil
}

// saturated reports whether the new ReplicaSet has all replicas the Deployment wants, and all are available.
func (p *plan) saturated() bool {
	if p.new == nil {
		return false
	}
	n := *p.d.Spec.Replicas
	desired, ok := intAnnotation(p.new, desiredReplicasAnnotation)
	return ok && desired == n && *p.new.Spec.Replicas == n && p.new.Status.AvailableReplicas == n
}

// cleanUp deletes the oldest ReplicaSets beyond spec.revisionHistoryLimit.
func (p *plan) cleanUp() {
	limit := p.d.Spec.RevisionHistoryLimit
	if limit == nil || *limit == math.MaxInt32 {
		return
	}
	rss := slices.DeleteFunc(slices.Clone(p.old), func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	slices.SortFunc(rss, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(cmp.Compare(revision(a), revision(b)), oldestFirst(a, b))
	})
	for _, rs := range rss[:max(0, len(rss)-int(*limit))] {
		if rs.Status.Replicas == 0 && *rs.Spec.Replicas == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			p.doomed = append(p.doomed, rs)
		}
	}
}
