package deployment

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Annotations of a Deployment and its ReplicaSets.
const (
	revisionAnnotation        = "deployment.kubernetes.io/revision"
	revisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	desiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	maxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"
	rollbackAnnotation        = "deprecated.deployment.rollback.to"

	// longestHistory is the most characters of the revision history; the oldest revisions are left out beyond.
	longestHistory = 2000
)

// Annotations of a Deployment that its ReplicaSets do not get.
var notCopied = []string{
	corev1.LastAppliedConfigAnnotation, revisionAnnotation, revisionHistoryAnnotation, desiredReplicasAnnotation,
	maxReplicasAnnotation, rollbackAnnotation,
}

// sameTemplate compares templates but for the pod-template-hash label.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	x, y := *a, *b
	x.Labels, y.Labels = maps.Clone(a.Labels), maps.Clone(b.Labels)
	delete(x.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	delete(y.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return equality.Semantic.DeepEqual(&x, &y)
}

// revision is the ReplicaSet's revision, 0 when it has none.
func revision(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func intAnnotation(rs *appsv1.ReplicaSet, name string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[name], 10, 32)
	return int32(n), err == nil
}

// annotate sets an annotation and reports whether that changed anything.
func annotate(annotations *map[string]string, name, value string) bool {
	if old, ok := (*annotations)[name]; ok && old == value {
		return false
	}
	if *annotations == nil {
		*annotations = map[string]string{}
	}
	(*annotations)[name] = value
	return true
}

// annotateRevision gives the new ReplicaSet the Deployment's annotations and the revision, keeping in its history the
// one it had when it was in use before.
func annotateRevision(d *appsv1.Deployment, rs *appsv1.ReplicaSet, next int64) bool {
	changed := false
	for k, v := range d.Annotations {
		if !slices.Contains(notCopied, k) && annotate(&rs.Annotations, k, v) {
			changed = true
		}
	}
	had, existed := rs.Annotations[revisionAnnotation]
	old := revision(rs)
	if had != "" && old == 0 || old >= next {
		return changed
	}
	annotate(&rs.Annotations, revisionAnnotation, strconv.FormatInt(next, 10))
	if existed {
		annotate(&rs.Annotations, revisionHistoryAnnotation, addHistory(rs.Annotations[revisionHistoryAnnotation], had))
	}
	return true
}

func addHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	for len(history)+1+len(revision) > longestHistory {
		_, rest, ok := strings.Cut(history, ",")
		if !ok {
			return revision
		}
		history = rest
	}
	return history + "," + revision
}

// annotateReplicas records the size the Deployment had when the ReplicaSet was last scaled, which proportional scaling
// starts from.
func annotateReplicas(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	a := annotate(&rs.Annotations, desiredReplicasAnnotation, strconv.Itoa(int(*d.Spec.Replicas)))
	b := annotate(&rs.Annotations, maxReplicasAnnotation, strconv.Itoa(int(*d.Spec.Replicas+maxSurge(d))))
	return a || b
}
