package deployment

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Reasons of the events about rollbacks.
const (
	reasonRolledBack        = "DeploymentRollback"
	reasonNoSuchRevision    = "DeploymentRollbackRevisionNotFound"
	reasonTemplateUnchanged = "DeploymentRollbackTemplateUnchanged"
)

// rollbackTo is the revision that a client of extensions/v1beta1 or apps/v1beta1 wants back, 0 for the one before.
func rollbackTo(d *appsv1.Deployment) (revision int64, ok bool) {
	text, ok := d.Annotations[rollbackAnnotation]
	if !ok {
		return 0, false
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	return revision, err == nil
}

// rolledBack is the Deployment with the template of a revision of its ReplicaSets, or as it is when there is none, and no
// longer wanting a rollback; and the event that tells of it.
func rolledBack(d *appsv1.Deployment, rss []*appsv1.ReplicaSet, to int64) (next *appsv1.Deployment, typ, reason, message string) {
	next = d.DeepCopy()
	delete(next.Annotations, rollbackAnnotation)
	if to == 0 {
		if to = lastRevision(rss); to == 0 {
			return next, corev1.EventTypeWarning, reasonNoSuchRevision, "Unable to find last revision."
		}
	}
	i := slices.IndexFunc(rss, func(rs *appsv1.ReplicaSet) bool { return revision(rs) == to })
	if i < 0 {
		return next, corev1.EventTypeWarning, reasonNoSuchRevision, "Unable to find the revision to rollback to."
	}
	rs := rss[i]
	if sameTemplate(&d.Spec.Template, &rs.Spec.Template) {
		return next, corev1.EventTypeWarning, reasonTemplateUnchanged,
			fmt.Sprintf("The rollback revision contains the same template as current deployment %q", d.Name)
	}
	rs.Spec.Template.DeepCopyInto(&next.Spec.Template)
	delete(next.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	maps.DeleteFunc(next.Annotations, func(k, _ string) bool { return !slices.Contains(notCopied, k) })
	for k, v := range rs.Annotations {
		if !slices.Contains(notCopied, k) {
			annotate(&next.Annotations, k, v)
		}
	}
	return next, corev1.EventTypeNormal, reasonRolledBack, fmt.Sprintf("Rolled back deployment %q to revision %d", d.Name, to)
}

// lastRevision is the second highest revision; 0 when there is none.
func lastRevision(rss []*appsv1.ReplicaSet) int64 {
	var highest, second int64
	for _, rs := range rss {
		switch n := revision(rs); {
		case n > highest:
			highest, second = n, highest
		case n > second:
			second = n
		}
	}
	return second
}

// rollback gives the Deployment the template of the revision that it wants back.
func (r *reconciler) rollback(ctx context.Context, d *appsv1.Deployment, rss []*appsv1.ReplicaSet, to int64) error {
	next, typ, reason, message := rolledBack(d, rss, to)
	if _, err := client.Deployments.Update(ctx, r.client, next); api.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("rolling back Deployment %s to revision %d: %w", client.KeyOf(d), to, err)
	}
	if typ == corev1.EventTypeNormal {
		r.events.Normal(client.Reference(d), reason, "%s", message)
	} else {
		r.events.Warning(client.Reference(d), reason, "%s", message)
	}
	return nil
}
