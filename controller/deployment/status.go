package deployment

import (
	"fmt"
	"math"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of the Progressing and Available conditions.
const (
	reasonCreated     = "NewReplicaSetCreated"
	reasonFound       = "FoundNewReplicaSet"
	reasonUpdated     = "ReplicaSetUpdated"
	reasonComplete    = "NewReplicaSetAvailable"
	reasonTimedOut    = "ProgressDeadlineExceeded"
	reasonCreateError = "ReplicaSetCreateError"
	reasonPaused      = "DeploymentPaused"
	reasonResumed     = "DeploymentResumed"
	reasonMinimum     = "MinimumReplicasAvailable"
	reasonNoMinimum   = "MinimumReplicasUnavailable"
)

// hasDeadline reports whether progress is watched at all.
func hasDeadline(d *appsv1.Deployment) bool {
	return d.Spec.ProgressDeadlineSeconds != nil && *d.Spec.ProgressDeadlineSeconds != math.MaxInt32
}

func condition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func dropCondition(s *appsv1.DeploymentStatus, t appsv1.DeploymentConditionType) {
	s.Conditions = slices.DeleteFunc(slices.Clone(s.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == t })
}

// setCondition replaces a condition unless it says the same already; the transition time changes with the status only.
func setCondition(s *appsv1.DeploymentStatus, c appsv1.DeploymentCondition) {
	if old := condition(s, c.Type); old != nil {
		if old.Status == c.Status && old.Reason == c.Reason {
			return
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	dropCondition(s, c.Type)
	s.Conditions = append(s.Conditions, c)
}

func newCondition(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, now time.Time) appsv1.DeploymentCondition {
	at := metav1.NewTime(now)
	return appsv1.DeploymentCondition{Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: at, LastTransitionTime: at}
}

func sum(rss []*appsv1.ReplicaSet, f func(*appsv1.ReplicaSet) int32) (n int32) {
	for _, rs := range rss {
		n += f(rs)
	}
	return n
}

func wanted(rs *appsv1.ReplicaSet) int32    { return *rs.Spec.Replicas }
func actual(rs *appsv1.ReplicaSet) int32    { return rs.Status.Replicas }
func ready(rs *appsv1.ReplicaSet) int32     { return rs.Status.ReadyReplicas }
func available(rs *appsv1.ReplicaSet) int32 { return rs.Status.AvailableReplicas }

// count computes the status but for Progressing and ReplicaFailure.
func (p *plan) count() appsv1.DeploymentStatus {
	d, all := p.d, p.all()
	s := appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation,
		Replicas:           sum(all, actual),
		ReadyReplicas:      sum(all, ready),
		AvailableReplicas:  sum(all, available),
		CollisionCount:     d.Status.CollisionCount,
		Conditions:         slices.Clone(d.Status.Conditions),
	}
	s.UnavailableReplicas = max(0, sum(all, wanted)-s.AvailableReplicas)
	if p.new != nil {
		s.UpdatedReplicas = p.new.Status.Replicas
	}
	terminating := int32(0)
	s.TerminatingReplicas = &terminating
	for _, rs := range all {
		if rs.Status.TerminatingReplicas == nil && rs.UID != "" { // not counted yet
			s.TerminatingReplicas = nil
			break
		}
		if rs.UID != "" {
			terminating += *rs.Status.TerminatingReplicas
		}
	}
	if s.AvailableReplicas >= *d.Spec.Replicas-maxUnavailable(d) {
		setCondition(&s, newCondition(appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonMinimum, "Deployment has minimum availability.", p.Now))
	} else {
		setCondition(&s, newCondition(appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonNoMinimum, "Deployment does not have minimum availability.", p.Now))
	}
	return s
}

// rolloutStatus computes the status during a rollout: with how it progresses.
func (p *plan) rolloutStatus() {
	d := p.d
	s := p.count()
	if !hasDeadline(d) {
		dropCondition(&s, appsv1.DeploymentProgressing)
	}
	progressing := condition(&d.Status, appsv1.DeploymentProgressing)
	done := s.Replicas == s.UpdatedReplicas && progressing != nil && progressing.Reason == reasonComplete
	if hasDeadline(d) && !done {
		subject := fmt.Sprintf("Deployment %q", d.Name)
		if p.new != nil {
			subject = fmt.Sprintf("ReplicaSet %q", p.new.Name)
		}
		set := func(status corev1.ConditionStatus, reason, message string) {
			setCondition(&s, newCondition(appsv1.DeploymentProgressing, status, reason, subject+message, p.Now))
		}
		switch {
		case complete(d, &s):
			set(corev1.ConditionTrue, reasonComplete, " has successfully progressed.")
		case progressed(&d.Status, &s):
			c := newCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonUpdated, subject+" is progressing.", p.Now)
			if progressing != nil && progressing.Status == corev1.ConditionTrue {
				c.LastTransitionTime = progressing.LastTransitionTime
			}
			// Replaced even when it says the same: its update time is what the deadline counts from.
			dropCondition(&s, appsv1.DeploymentProgressing)
			s.Conditions = append(s.Conditions, c)
		case timedOut(d, &s, p.Now):
			set(corev1.ConditionFalse, reasonTimedOut, " has timed out progressing.")
		}
	}
	if c := p.failure(); c != nil {
		setCondition(&s, *c)
	} else {
		dropCondition(&s, appsv1.DeploymentReplicaFailure)
	}
	p.status = s
}

// failure is the ReplicaFailure condition of the new ReplicaSet, or else of any.
func (p *plan) failure() *appsv1.DeploymentCondition {
	rss := p.old
	if p.new != nil {
		rss = append([]*appsv1.ReplicaSet{p.new}, rss...)
	}
	for _, rs := range rss {
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				return &appsv1.DeploymentCondition{
					Type: appsv1.DeploymentReplicaFailure, Status: c.Status, Reason: c.Reason, Message: c.Message,
					LastTransitionTime: c.LastTransitionTime, LastUpdateTime: c.LastTransitionTime,
				}
			}
		}
	}
	return nil
}

func complete(d *appsv1.Deployment, s *appsv1.DeploymentStatus) bool {
	n := *d.Spec.Replicas
	return s.UpdatedReplicas == n && s.Replicas == n && s.AvailableReplicas == n && s.ObservedGeneration >= d.Generation
}

func progressed(old, s *appsv1.DeploymentStatus) bool {
	return s.UpdatedReplicas > old.UpdatedReplicas || s.Replicas-s.UpdatedReplicas < old.Replicas-old.UpdatedReplicas ||
		s.ReadyReplicas > old.ReadyReplicas || s.AvailableReplicas > old.AvailableReplicas
}

func timedOut(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) bool {
	c := condition(s, appsv1.DeploymentProgressing)
	switch {
	case !hasDeadline(d) || c == nil || c.Reason == reasonComplete:
		return false
	case c.Reason == reasonTimedOut:
		return true
	}
	return c.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds) * time.Second).Before(now)
}

// untilDeadline is when to look again whether a rollout that does nothing has timed out; 0 when there is no need.
func untilDeadline(d *appsv1.Deployment, s *appsv1.DeploymentStatus, now time.Time) time.Duration {
	c := condition(s, appsv1.DeploymentProgressing)
	if !hasDeadline(d) || c == nil || complete(d, s) || c.Reason == reasonTimedOut {
		return 0
	}
	// A second more, as the times in conditions are whole seconds.
	return max(0, c.LastUpdateTime.Add(time.Duration(*d.Spec.ProgressDeadlineSeconds)*time.Second).Sub(now)) + time.Second
}
