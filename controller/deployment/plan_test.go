package deployment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/api"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
	}
}

// dep makes a Deployment "d" of image v3 with a rolling update of the given surge and unavailability.
func dep(replicas int32, surge, unavailable string, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	s, u := intstr.Parse(surge), intstr.Parse(unavailable)
	deadline, limit := int32(600), int32(10)
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "d-uid", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Template: template("v3"), ProgressDeadlineSeconds: &deadline, RevisionHistoryLimit: &limit,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}},
			Strategy: appsv1.DeploymentStrategy{
				Type:          appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &s, MaxUnavailable: &u},
			},
		},
	}
	for _, f := range change {
		f(d)
	}
	return d
}

func recreate(d *appsv1.Deployment) {
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
}
func paused(d *appsv1.Deployment) { d.Spec.Paused = true }
func limit(n int32) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.RevisionHistoryLimit = &n }
}
func completed(d *appsv1.Deployment) {
	n := *d.Spec.Replicas
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
}

// rs makes a ReplicaSet of version v of the template (its revision, and the later the younger), with so many replicas
// wanted, there, and available, scaled last when the Deployment wanted desired (at most most).
func rs(v int, want, have, avail, desired, most int32) *appsv1.ReplicaSet {
	t := template(fmt.Sprintf("v%d", v))
	t.Labels["pod-template-hash"] = "h"
	terminating := int32(0)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: fmt.Sprintf("v%d", v), UID: types.UID(fmt.Sprintf("v%d", v)),
			CreationTimestamp: metav1.NewTime(now.Add(time.Duration(v-100) * time.Minute)),
			Annotations: map[string]string{
				revisionAnnotation: strconv.Itoa(v), desiredReplicasAnnotation: strconv.Itoa(int(desired)), maxReplicasAnnotation: strconv.Itoa(int(most)),
			},
		},
		Spec:   appsv1.ReplicaSetSpec{Replicas: &want, Template: t},
		Status: appsv1.ReplicaSetStatus{Replicas: have, ReadyReplicas: avail, AvailableReplicas: avail, TerminatingReplicas: &terminating},
	}
}

func plans(d *appsv1.Deployment, rss ...*appsv1.ReplicaSet) Outcome {
	return Plan(State{Deployment: d, ReplicaSets: rss, Now: now, Running: func(*appsv1.ReplicaSet) bool { return false }})
}

func steps(o Outcome) string {
	var ss []string
	for _, s := range o.Steps {
		name := s.ReplicaSet.Name
		if s.Verb == api.Create {
			name = "new"
		}
		switch {
		case s.Verb == api.Delete:
			ss = append(ss, "delete "+name)
		case s.From != *s.ReplicaSet.Spec.Replicas || s.Verb == api.Create:
			ss = append(ss, fmt.Sprintf("%s %d->%d", name, s.From, *s.ReplicaSet.Spec.Replicas))
		default:
			ss = append(ss, "annotate "+name)
		}
	}
	return strings.Join(ss, ", ")
}

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    *appsv1.Deployment
		rss  []*appsv1.ReplicaSet
		want string
	}{
		{"created", dep(10, "25%", "25%"), nil, "new 0->10"},
		{"created paused", dep(10, "25%", "25%", paused), nil, ""},
		{"rollout starts within surge", dep(10, "25%", "25%"), []*appsv1.ReplicaSet{rs(2, 10, 10, 10, 10, 13)}, "new 0->3, v2 10->8"},
		{"rollout without surge first makes room", dep(10, "0", "25%"), []*appsv1.ReplicaSet{rs(2, 10, 10, 10, 10, 10)}, "new 0->0, v2 10->8"},
		{"old shrinks by maxUnavailable", dep(10, "25%", "25%"), []*appsv1.ReplicaSet{rs(2, 10, 10, 10, 10, 13), rs(3, 3, 0, 0, 10, 13)}, "v2 10->8"},
		{"new grows into the room", dep(10, "25%", "25%"), []*appsv1.ReplicaSet{rs(2, 8, 8, 8, 10, 13), rs(3, 3, 3, 0, 10, 13)}, "v3 3->5"},
		{"old waits for new to become available", dep(10, "25%", "25%"), []*appsv1.ReplicaSet{rs(2, 8, 8, 8, 10, 13), rs(3, 5, 5, 0, 10, 13)}, ""},
		{"unavailable old pods go first", dep(10, "25%", "25%"), []*appsv1.ReplicaSet{rs(1, 4, 4, 0, 10, 13), rs(2, 6, 6, 6, 10, 13), rs(3, 3, 3, 2, 10, 13)}, "v1 4->0"},
		{"the oldest shrinks first", dep(10, "25%", "25%"), []*appsv1.ReplicaSet{rs(1, 4, 4, 4, 10, 13), rs(2, 6, 6, 6, 10, 13), rs(3, 3, 3, 3, 10, 13)}, "v1 4->0, v2 6->5"},
		{"both zero: one may be unavailable", dep(10, "0%", "0%"), []*appsv1.ReplicaSet{rs(2, 10, 10, 10, 10, 10), rs(3, 0, 0, 0, 10, 10)}, "v2 10->9"},
		{"scaled up, one ReplicaSet", dep(12, "25%", "25%"), []*appsv1.ReplicaSet{rs(3, 10, 10, 10, 10, 13)}, "v3 10->12"},
		{"scaled up amid a rollout, in proportion", dep(20, "25%", "25%"), []*appsv1.ReplicaSet{rs(2, 8, 8, 8, 10, 13), rs(3, 5, 5, 2, 10, 13)}, "v2 8->15, v3 5->10"},
		{"scaled down amid a rollout, in proportion", dep(5, "20%", "20%"), []*appsv1.ReplicaSet{rs(2, 8, 8, 8, 10, 12), rs(3, 4, 4, 2, 10, 12)}, "v2 8->4, v3 4->2"},
		{"scaled to nothing amid a rollout", dep(0, "25%", "25%"), []*appsv1.ReplicaSet{rs(2, 8, 8, 8, 10, 13), rs(3, 5, 5, 2, 10, 13)}, "v2 8->0, v3 5->0"},
		{"scaled while paused, in proportion", dep(20, "25%", "25%", paused), []*appsv1.ReplicaSet{rs(2, 8, 8, 8, 10, 13), rs(3, 5, 5, 2, 10, 13)}, "v2 8->15, v3 5->10"},
		{"paused: no rollout", dep(10, "25%", "25%", paused), []*appsv1.ReplicaSet{rs(2, 10, 10, 10, 10, 13)}, ""},
		{"recreate ends the old first", dep(10, "", "", recreate), []*appsv1.ReplicaSet{rs(2, 10, 10, 10, 10, 10)}, "v2 10->0"},
		{"recreate waits for their end", dep(10, "", "", recreate), []*appsv1.ReplicaSet{rs(2, 0, 4, 0, 10, 10)}, ""},
		{"recreate then starts the new", dep(10, "", "", recreate), []*appsv1.ReplicaSet{rs(2, 0, 0, 0, 10, 10)}, "new 0->10"},
		{"rolled back: the earlier becomes the latest", func() *appsv1.Deployment {
			d := dep(10, "25%", "25%")
			d.Spec.Template = template("v1")
			return d
		}(), []*appsv1.ReplicaSet{rs(1, 0, 0, 0, 10, 13), rs(2, 10, 10, 10, 10, 13)}, "v1 0->3"},
		{"history beyond the limit goes, oldest first", dep(1, "25%", "25%", limit(1), completed), []*appsv1.ReplicaSet{rs(0, 0, 0, 0, 1, 2), rs(1, 0, 0, 0, 1, 2), rs(2, 0, 0, 0, 1, 2), rs(3, 1, 1, 1, 1, 2)}, "delete v0, delete v1"},
		{"history stays until the rollout is complete", dep(1, "25%", "25%", limit(0)), []*appsv1.ReplicaSet{rs(2, 0, 0, 0, 1, 2), rs(3, 1, 1, 0, 1, 2)}, ""},
		{"history that still has pods stays", dep(1, "25%", "25%", limit(0), completed), []*appsv1.ReplicaSet{rs(2, 0, 1, 0, 1, 2), rs(3, 1, 1, 1, 1, 2)}, ""},
		{"surplus in the new one goes", dep(5, "25%", "25%"), []*appsv1.ReplicaSet{rs(3, 7, 7, 7, 5, 7)}, "v3 7->5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := steps(plans(tt.d, tt.rss...)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRolloutKeepsItsPromises plays whole rollouts, with pods that come up one by one, and checks in each state that
// there are neither too many nor too few.
func TestRolloutKeepsItsPromises(t *testing.T) {
	for _, tt := range []struct {
		replicas           int32
		surge, unavailable string
	}{{10, "25%", "25%"}, {10, "0", "1"}, {10, "1", "0"}, {3, "100%", "0"}, {1, "25%", "25%"}, {7, "50%", "50%"}, {100, "13%", "7%"}, {5, "0", "100%"}} {
		t.Run(fmt.Sprintf("%d +%s -%s", tt.replicas, tt.surge, tt.unavailable), func(t *testing.T) {
			d := dep(tt.replicas, tt.surge, tt.unavailable)
			n := tt.replicas
			rss := []*appsv1.ReplicaSet{rs(2, n, n, n, n, n+maxSurge(d))}
			for range 1000 {
				out := plans(d, rss...)
				d = out.Deployment
				for _, s := range out.Steps {
					if i := slices.IndexFunc(rss, func(rs *appsv1.ReplicaSet) bool { return rs.Name == s.ReplicaSet.Name }); i >= 0 {
						rss[i] = s.ReplicaSet
					} else {
						s.ReplicaSet.UID = types.UID(s.ReplicaSet.Name)
						s.ReplicaSet.CreationTimestamp = metav1.NewTime(now)
						rss = append(rss, s.ReplicaSet)
					}
				}
				if total := sum(rss, wanted); total > n+maxSurge(d) {
					t.Fatalf("%d replicas wanted, at most %d may be", total, n+maxSurge(d))
				}
				kept := sum(rss, func(rs *appsv1.ReplicaSet) int32 { return min(*rs.Spec.Replicas, rs.Status.AvailableReplicas) })
				if kept < n-maxUnavailable(d) {
					t.Fatalf("%d available replicas kept, want %d", kept, n-maxUnavailable(d))
				}
				if c := condition(&d.Status, appsv1.DeploymentProgressing); c != nil && c.Reason == reasonComplete {
					if *rss[0].Spec.Replicas != 0 || *rss[1].Spec.Replicas != n {
						t.Fatalf("complete with %d old and %d new", *rss[0].Spec.Replicas, *rss[1].Spec.Replicas)
					}
					return
				}
				// One pod at a time comes or becomes available; surplus goes at once.
				moved := false
				for _, rs := range rss {
					terminating := int32(0)
					rs.Status.TerminatingReplicas = &terminating
					rs.Status.Replicas = min(rs.Status.Replicas, *rs.Spec.Replicas)
					rs.Status.AvailableReplicas = min(rs.Status.AvailableReplicas, *rs.Spec.Replicas)
					switch {
					case moved:
					case rs.Status.Replicas < *rs.Spec.Replicas:
						rs.Status.Replicas++
						moved = true
					case rs.Status.AvailableReplicas < rs.Status.Replicas:
						rs.Status.AvailableReplicas++
						moved = true
					}
					rs.Status.ReadyReplicas = rs.Status.AvailableReplicas
				}
			}
			t.Fatal("the rollout never ends")
		})
	}
}

func TestConditions(t *testing.T) {
	progressing := func(o Outcome) string {
		c := condition(&o.Deployment.Status, appsv1.DeploymentProgressing)
		if c == nil {
			return "none"
		}
		return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
	with := func(reason string, ago time.Duration) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Status.Conditions = []appsv1.DeploymentCondition{newCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reason, "", now.Add(-ago))}
		}
	}
	for _, tt := range []struct {
		name  string
		d     *appsv1.Deployment
		rss   []*appsv1.ReplicaSet
		want  string
		after time.Duration
	}{
		{"created", dep(1, "25%", "25%"), nil, `True NewReplicaSetCreated: Created new replica set "NEW"`, 601 * time.Second},
		{"found", dep(1, "25%", "25%"), []*appsv1.ReplicaSet{rs(3, 1, 0, 0, 1, 2)}, `True FoundNewReplicaSet: Found new replica set "v3"`, 601 * time.Second},
		{"progress", dep(2, "25%", "25%", with(reasonCreated, time.Hour)), []*appsv1.ReplicaSet{rs(3, 2, 2, 1, 2, 3)}, `True ReplicaSetUpdated: ReplicaSet "v3" is progressing.`, 601 * time.Second},
		{"complete", dep(1, "25%", "25%", with(reasonUpdated, time.Hour)), []*appsv1.ReplicaSet{rs(3, 1, 1, 1, 1, 2)}, `True NewReplicaSetAvailable: ReplicaSet "v3" has successfully progressed.`, 0},
		{"no progress yet", dep(1, "25%", "25%", with(reasonCreated, time.Minute)), []*appsv1.ReplicaSet{rs(3, 1, 0, 0, 1, 2)}, `True NewReplicaSetCreated: `, 541 * time.Second},
		{"too late", dep(1, "25%", "25%", with(reasonCreated, 601*time.Second)), []*appsv1.ReplicaSet{rs(3, 1, 0, 0, 1, 2)}, `False ProgressDeadlineExceeded: ReplicaSet "v3" has timed out progressing.`, 0},
		{"paused", dep(1, "25%", "25%", with(reasonUpdated, time.Hour), paused), []*appsv1.ReplicaSet{rs(3, 1, 0, 0, 1, 2)}, `Unknown DeploymentPaused: Deployment is paused`, 601 * time.Second},
		{"resumed", dep(1, "25%", "25%", with(reasonPaused, time.Hour)), []*appsv1.ReplicaSet{rs(3, 1, 0, 0, 1, 2)}, `Unknown DeploymentResumed: Deployment is resumed`, 601 * time.Second},
		{"no deadline", dep(1, "25%", "25%", with(reasonUpdated, time.Hour), func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = nil }), []*appsv1.ReplicaSet{rs(3, 1, 0, 0, 1, 2)}, "none", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := plans(tt.d, tt.rss...)
			want := strings.ReplaceAll(tt.want, "NEW", "d-"+templateHash(&tt.d.Spec.Template, nil))
			if got := progressing(out); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if out.After != tt.after {
				t.Errorf("looks again after %v, want %v", out.After, tt.after)
			}
		})
	}

	failing := rs(3, 1, 0, 0, 1, 2)
	failing.Status.Conditions = []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "no quota"}}
	s := plans(dep(1, "25%", "25%"), failing).Deployment.Status
	if c := condition(&s, appsv1.DeploymentReplicaFailure); c == nil || c.Reason != "FailedCreate" || c.Message != "no quota" {
		t.Errorf("conditions %+v, want the ReplicaSet's failure", s.Conditions)
	}
	if c := condition(&s, appsv1.DeploymentAvailable); c.Status != corev1.ConditionFalse || c.Reason != reasonNoMinimum || s.UnavailableReplicas != 1 {
		t.Errorf("status %+v, want unavailable", s)
	}
}

func TestRevisions(t *testing.T) {
	d := dep(10, "25%", "25%")
	d.Spec.Template = template("v1")
	d.Annotations = map[string]string{"team": "a", corev1.LastAppliedConfigAnnotation: "{}", revisionAnnotation: "2"}
	out := plans(d, rs(1, 0, 0, 0, 10, 13), rs(2, 10, 10, 10, 10, 13))
	back := out.Steps[0].ReplicaSet
	for k, want := range map[string]string{revisionAnnotation: "3", revisionHistoryAnnotation: "1", "team": "a", corev1.LastAppliedConfigAnnotation: ""} {
		if back.Annotations[k] != want {
			t.Errorf("annotation %s is %q, want %q", k, back.Annotations[k], want)
		}
	}
	if got := out.Deployment.Annotations[revisionAnnotation]; got != "3" {
		t.Errorf("the Deployment's revision is %s, want 3", got)
	}
	if d.Annotations[revisionAnnotation] != "2" {
		t.Error("Plan changed its input")
	}
	if got := addHistory(strings.Repeat("12345,", 333)+"1", "77"); len(got) > longestHistory || !strings.HasSuffix(got, ",1,77") || !strings.HasPrefix(got, "12345,") {
		t.Errorf("history of %d characters: %s...", len(got), got[:20])
	}
}

func TestNewReplicaSet(t *testing.T) {
	d := dep(1, "25%", "25%")
	d.Name = strings.Repeat("n", 253)
	rs := newReplicaSet(d)
	hash := rs.Labels["pod-template-hash"]
	if len(rs.Name) > 253 || !strings.HasSuffix(rs.Name, "-"+hash) || rs.Spec.Selector.MatchLabels["pod-template-hash"] != hash || rs.Spec.Template.Labels["pod-template-hash"] != hash {
		t.Errorf("ReplicaSet %s, selector %v, template labels %v", rs.Name, rs.Spec.Selector, rs.Spec.Template.Labels)
	}
	if _, ok := d.Spec.Template.Labels["pod-template-hash"]; ok {
		t.Error("the Deployment's template was changed")
	}
	one := int32(1)
	if again := templateHash(&d.Spec.Template, &one); again == hash {
		t.Error("the collision count does not change the hash")
	}
}
