package deployment

import (
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRolledBack(t *testing.T) {
	template := func(image string, labels map[string]string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
		}
	}
	of := func(revision, image string) *appsv1.ReplicaSet {
		rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{revisionAnnotation: revision, "cause": image}}}
		rs.Spec.Template = template(image, map[string]string{"a": "b", appsv1.DefaultDeploymentUniqueLabelKey: "hash"})
		return rs
	}
	rss := []*appsv1.ReplicaSet{of("4", "now"), of("1", "first"), of("3", "before"), of("x", "none")}
	for _, c := range []struct {
		wanted, image, typ, reason, message string
		rss                                 []*appsv1.ReplicaSet
	}{
		{"0", "before", "Normal", reasonRolledBack, `Rolled back deployment "d" to revision 3`, rss},
		{"1", "first", "Normal", reasonRolledBack, `Rolled back deployment "d" to revision 1`, rss},
		{"2", "now", "Warning", reasonNoSuchRevision, "Unable to find the revision to rollback to.", rss},
		{"4", "now", "Warning", reasonTemplateUnchanged, `The rollback revision contains the same template as current deployment "d"`, rss},
		{"0", "now", "Warning", reasonNoSuchRevision, "Unable to find last revision.", rss[:1]},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", Annotations: map[string]string{
			rollbackAnnotation: c.wanted, revisionAnnotation: "4", "cause": "now", "mine": "gone",
		}}}
		d.Spec.Template = template("now", map[string]string{"a": "b"})
		to, ok := rollbackTo(d)
		if !ok {
			t.Fatalf("%q is no revision", c.wanted)
		}
		next, typ, reason, message := rolledBack(d, c.rss, to)
		if got := next.Spec.Template.Spec.Containers[0].Image; got != c.image || typ != c.typ || reason != c.reason || message != c.message {
			t.Errorf("to %s: image %s, %s %s %s", c.wanted, got, typ, reason, message)
		}
		want := map[string]string{revisionAnnotation: "4", "cause": c.image}
		if c.typ == "Warning" {
			want["mine"] = "gone"
		}
		if !maps.Equal(next.Annotations, want) || !maps.Equal(next.Spec.Template.Labels, map[string]string{"a": "b"}) {
			t.Errorf("to %s: annotations %q, labels %q", c.wanted, next.Annotations, next.Spec.Template.Labels)
		}
	}
	for _, none := range []map[string]string{nil, {rollbackAnnotation: "x"}} {
		if _, ok := rollbackTo(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Annotations: none}}); ok {
			t.Errorf("%q asks for a rollback", none)
		}
	}
}
