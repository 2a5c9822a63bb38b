// Package deployment rolls a Deployment's pods over to its current template by growing a ReplicaSet of that template
// and shrinking those of earlier ones, within maxSurge and maxUnavailable or by recreating, and keeps the earlier ones
// as history to roll back to (kubectl rollout undo copies their template).
//
// Plan is the whole of the rules, and pure. The reconciler collects the state, carries the steps out, and writes the
// status. It never looks at pods except to wait for their end when recreating.
package deployment

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

// interval is the least time between two reconciles of a Deployment, see replicaset.
const interval = 20 * time.Millisecond

type reconciler struct {
	client   client.Client
	events   *client.Recorder
	adoption *controller.Adoption
}

// New returns the controller. Its events are written to rec.
func New(c client.Client, rec *client.Recorder) *controller.Controller {
	r := &reconciler{
		client: controller.Fresh(c), events: rec,
		adoption: controller.NewAdoption(api.Deployments, api.ReplicaSets),
	}
	return r.adoption.Watch(controller.New("deployment", r).
		For(api.Deployments).Owns(api.ReplicaSets).Workers(5).Coalesce(interval))
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	d, err := client.Deployments.In(v, req.Key)
	if d == nil || err != nil {
		return controller.Result{}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return controller.Result{}, fmt.Errorf("reading the selector of Deployment %s: %w", req.Key, err)
	}
	if selector.Empty() {
		r.events.Warning(client.Reference(d), "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		if d.Status.ObservedGeneration < d.Generation {
			d.Status.ObservedGeneration = d.Generation
			_, err = client.Deployments.UpdateStatus(ctx, r.client, d)
		}
		return controller.Result{}, err
	}
	rss, err := r.claim(ctx, v, d, selector)
	if err != nil {
		return controller.Result{}, err
	}
	if to, ok := rollbackTo(d); ok && !d.Spec.Paused && d.DeletionTimestamp == nil {
		return controller.Result{}, r.rollback(ctx, d, rss, to)
	}
	out := Plan(State{
		Deployment: d, ReplicaSets: rss, Now: time.Now(),
		Running: func(rs *appsv1.ReplicaSet) bool { return running(v, rs) },
	})
	if err := r.apply(ctx, d, out); err != nil {
		return controller.Result{}, err
	}
	return controller.Result{RequeueAfter: out.After}, nil
}

// claim finds the Deployment's ReplicaSets, taking orphans that match and letting go of its own that do not.
func (r *reconciler) claim(ctx context.Context, v client.View, d *appsv1.Deployment, selector labels.Selector) ([]*appsv1.ReplicaSet, error) {
	var rss []*appsv1.ReplicaSet
	var failures []error
	owner := controller.Owner{Client: r.client, Resource: api.Deployments, APIVersion: "apps/v1", Kind: "Deployment", Object: d}
	for rec := range v.ByIndex(api.ReplicaSets, api.Index{Name: api.IndexOwner, Value: string(d.UID)}) {
		rs, err := client.ReplicaSets.Decode(rec)
		if err != nil {
			return nil, err
		}
		switch ref := metav1.GetControllerOf(rs); {
		case ref == nil || ref.UID != d.UID:
		case selector.Matches(rec):
			rss = append(rss, rs)
		case d.DeletionTimestamp == nil:
			if err := owner.Release(ctx, api.ReplicaSets, rec); err != nil {
				failures = append(failures, fmt.Errorf("releasing ReplicaSet %s: %w", rec.Key(), err))
			}
		}
	}
	if d.DeletionTimestamp != nil {
		return rss, errors.Join(failures...)
	}
	for rec := range r.adoption.Orphans(v, d.Namespace, selector) {
		m, err := client.DecodeMetadata[controller.Owned](rec)
		if err != nil {
			return nil, err
		}
		if m.Controller() != nil || rec.Is(api.Deleting) {
			continue
		}
		if err := owner.MayAdopt(ctx); err != nil {
			return nil, fmt.Errorf("can't adopt ReplicaSet %s (%s): %w", rec.Key(), rec.UID(), err)
		}
		switch adopted, err := owner.Adopt(ctx, api.ReplicaSets, rec); {
		case err == nil:
			rs, err := client.ReplicaSets.Decode(adopted)
			if err != nil {
				return nil, err
			}
			rss = append(rss, rs)
		case !api.IsNotFound(err):
			failures = append(failures, fmt.Errorf("adopting ReplicaSet %s: %w", rec.Key(), err))
		}
	}
	return rss, errors.Join(failures...)
}

// running reports whether the ReplicaSet has pods that have not finished.
func running(v client.View, rs *appsv1.ReplicaSet) bool {
	type pod struct {
		Status struct {
			Phase corev1.PodPhase `json:"phase"`
		} `json:"status"`
	}
	for rec := range v.ByIndex(api.Pods, api.Index{Name: api.IndexOwner, Value: string(rs.UID)}) {
		p, err := client.Decode[pod](rec)
		if err != nil || p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
			return true
		}
	}
	return false
}

// apply carries out what was planned for d.
func (r *reconciler) apply(ctx context.Context, d *appsv1.Deployment, out Outcome) error {
	about := client.Reference(d)
	for _, s := range out.Steps {
		rs := s.ReplicaSet
		var err error
		switch s.Verb {
		case api.Create:
			var created bool
			if created, err = r.create(ctx, d, rs); err == nil && created && *rs.Spec.Replicas > 0 {
				r.events.Normal(about, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", rs.Name, *rs.Spec.Replicas)
			}
		case api.Update:
			if _, err = client.ReplicaSets.Update(ctx, r.client, rs); err == nil && s.From != *rs.Spec.Replicas {
				direction := "up"
				if *rs.Spec.Replicas < s.From {
					direction = "down"
				}
				r.events.Normal(about, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", direction, rs.Name, s.From, *rs.Spec.Replicas)
			}
		case api.Delete:
			if _, err = client.ReplicaSets.Delete(ctx, r.client, client.KeyOf(rs), client.IfUID(rs.UID)); api.IsNotFound(err) {
				err = nil
			}
		}
		if err != nil {
			return fmt.Errorf("%s of ReplicaSet %s of Deployment %s: %w", s.Verb, rs.Name, client.KeyOf(d), err)
		}
	}
	return r.write(ctx, d, out.Deployment)
}

// create makes the new ReplicaSet. A namesake of another template or owner is a collision of hashes: the count of
// collisions, which is part of the hash, is raised for the next attempt.
func (r *reconciler) create(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet) (created bool, err error) {
	_, err = client.ReplicaSets.Create(ctx, r.client, rs)
	switch {
	case err == nil:
		return true, nil
	case api.HasCause(err, corev1.NamespaceTerminatingCause):
		return false, err
	case api.IsAlreadyExists(err):
		there, getErr := client.ReplicaSets.Get(ctx, r.client, client.KeyOf(rs))
		if getErr != nil {
			return false, getErr
		}
		if ref := metav1.GetControllerOf(there); ref != nil && ref.UID == d.UID && sameTemplate(&there.Spec.Template, &d.Spec.Template) {
			return false, nil
		}
		next := *d
		collisions := int32(1)
		if c := d.Status.CollisionCount; c != nil {
			collisions += *c
		}
		next.Status.CollisionCount = &collisions
		return false, errors.Join(err, r.write(ctx, d, &next))
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
	r.events.Warning(client.Reference(d), reasonCreateError, "%s", message)
	if hasDeadline(d) {
		next := *d
		setCondition(&next.Status, newCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonCreateError, message, time.Now()))
		err = errors.Join(err, r.write(ctx, d, &next))
	}
	return false, err
}

// write stores a Deployment's status and revision annotation where they differ from what they were.
func (r *reconciler) write(ctx context.Context, was, now *appsv1.Deployment) error {
	if was.Annotations[revisionAnnotation] == now.Annotations[revisionAnnotation] && equality.Semantic.DeepEqual(&was.Status, &now.Status) {
		return nil
	}
	if _, err := client.Deployments.UpdateStatus(ctx, r.client, now); err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("updating the status of Deployment %s: %w", client.KeyOf(now), err)
	}
	return nil
}
