package deployment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
	"pintle.dev/controller/replicaset"
)

var key = api.Key{Namespace: "ns", Name: "d"}

// world runs the Deployment and ReplicaSet controllers over an API in memory, and a kubelet that makes pods ready.
type world struct {
	*testing.T
	*controllertest.API
	images map[string]bool // those that never become ready
}

func run(t *testing.T, f func(w world)) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		w := world{t, c, map[string]bool{"broken": true}}
		rec := client.NewRecorder(c, "deployment-controller", "")
		silent := client.NewRecorder(controllertest.New(), "replicaset-controller", "")
		kubelet := controller.New("kubelet", controller.Func(w.kubelet)).For(api.Pods)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- controller.Run(ctx, c, []*controller.Controller{New(c, rec), replicaset.New(c, silent), kubelet})
		}()
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, r := range []*client.Recorder{rec, silent} {
			if err := r.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func (w world) kubelet(ctx context.Context, req controller.Request) (controller.Result, error) {
	p, err := client.Pods.Get(ctx, w, req.Key)
	if api.IsNotFound(err) || err == nil && (len(p.Status.Conditions) > 0 || w.images[p.Spec.Containers[0].Image]) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	_, err = client.Pods.UpdateStatus(ctx, w, p)
	return controller.Result{}, err
}

func (w world) settle() *appsv1.Deployment {
	w.Helper()
	time.Sleep(10 * time.Second)
	synctest.Wait()
	d, err := client.Deployments.Get(w.Context(), w, key)
	if err != nil {
		w.Fatal(err)
	}
	return d
}

func (w world) patch(patch string) {
	w.Helper()
	if _, err := w.Commit(w.Context(), client.Change{Verb: api.Patch, Resource: api.Deployments, Key: key, Patch: []byte(patch), PatchType: types.MergePatchType}); err != nil {
		w.Fatal(err)
	}
}

func (w world) image(image string) {
	w.Helper()
	w.patch(fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":%q}]}}}}`, image))
}

// sets describes the ReplicaSets: "image:revision:replicas".
func (w world) sets() string {
	w.Helper()
	rss, err := client.ReplicaSets.List(w.Context(), w, client.Options{})
	if err != nil {
		w.Fatal(err)
	}
	slices.SortFunc(rss, oldestFirst)
	var out []string
	for _, rs := range rss {
		out = append(out, fmt.Sprintf("%s:%s:%d", rs.Spec.Template.Spec.Containers[0].Image, rs.Annotations[revisionAnnotation], rs.Status.AvailableReplicas))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (w world) check(what, sets, condition string) {
	w.Helper()
	d := w.settle()
	if got := w.sets(); got != sets {
		w.Errorf("%s: ReplicaSets %s, want %s", what, got, sets)
	}
	reason := ""
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing {
			reason = c.Reason
		}
	}
	if reason != condition {
		w.Errorf("%s: progressing is %q, want %q", what, reason, condition)
	}
}

func TestLifeOfADeployment(t *testing.T) {
	run(t, func(w world) {
		w.Create(dep(4, "25%", "25%"))
		w.check("created", "v3:1:4", reasonComplete)
		if d := w.settle(); d.Status.AvailableReplicas != 4 || d.Status.UpdatedReplicas != 4 || d.Status.ObservedGeneration != 1 || *d.Status.TerminatingReplicas != 0 || d.Annotations[revisionAnnotation] != "1" {
			t.Errorf("status %+v, annotations %v", d.Status, d.Annotations)
		}
		w.image("v4")
		w.check("rolled", "v3:1:0 v4:2:4", reasonComplete)
		w.image("broken")
		w.check("stuck", "broken:3:0 v3:1:0 v4:2:3", reasonUpdated)
		time.Sleep(700 * time.Second)
		w.check("timed out", "broken:3:0 v3:1:0 v4:2:3", reasonTimedOut)
		w.image("v3") // kubectl rollout undo --to-revision=1
		w.check("rolled back", "broken:3:0 v3:4:4 v4:2:0", reasonComplete)
		w.patch(`{"spec":{"revisionHistoryLimit":1,"paused":true}}`)
		w.image("v5")
		w.check("paused, history cut", "v3:4:4", reasonPaused)
		w.patch(`{"spec":{"paused":false}}`)
		w.check("resumed", "v3:4:0 v5:5:4", reasonComplete)
		w.patch(`{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`)
		w.image("v6")
		w.check("recreated", "v5:5:0 v6:6:4", reasonComplete)
	})
}

func TestEvents(t *testing.T) {
	run(t, func(w world) {
		w.Create(dep(2, "1", "0"))
		w.settle()
		w.image("v4")
		w.settle()
		var got []string
		evs, err := client.Events.List(t.Context(), w, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, b := "d-"+templateHash(ptr(template("v3")), nil), "d-"+templateHash(ptr(template("v4")), nil)
		for _, e := range evs {
			got = append(got, e.Reason+" "+strings.NewReplacer(a, "A", b, "B").Replace(e.Message))
		}
		want := []string{
			"ScalingReplicaSet Scaled up replica set A from 0 to 2",
			"ScalingReplicaSet Scaled up replica set B from 0 to 1",
			"ScalingReplicaSet Scaled down replica set A from 2 to 1",
			"ScalingReplicaSet Scaled up replica set B from 1 to 2",
			"ScalingReplicaSet Scaled down replica set A from 1 to 0",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func ptr[T any](v T) *T { return &v }

func TestCollision(t *testing.T) {
	run(t, func(w world) {
		squatter := rs(1, 0, 0, 0, 0, 0)
		squatter.Name = "d-" + templateHash(ptr(template("v3")), nil)
		squatter.Spec.Template.Labels = map[string]string{"app": "other"}
		squatter.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "other"}}
		w.Create(squatter)
		w.Create(dep(1, "25%", "25%"))
		d := w.settle()
		if d.Status.CollisionCount == nil || *d.Status.CollisionCount != 1 || d.Status.AvailableReplicas != 1 {
			t.Errorf("status %+v, want one collision and one replica", d.Status)
		}
		one := int32(1)
		if _, err := client.ReplicaSets.Get(t.Context(), w, api.Key{Namespace: "ns", Name: "d-" + templateHash(ptr(template("v3")), &one)}); err != nil {
			t.Error(err)
		}
	})
}

func TestAdoption(t *testing.T) {
	run(t, func(w world) {
		orphan := rs(3, 1, 0, 0, 1, 2)
		orphan.Labels = map[string]string{"app": "x"}
		orphan.Spec.Selector = &metav1.LabelSelector{MatchLabels: orphan.Spec.Template.Labels}
		w.Create(orphan)
		time.Sleep(time.Second)
		w.Create(dep(2, "25%", "25%"))
		w.check("adopted", "v3:3:2", reasonComplete)
		got, err := client.ReplicaSets.Get(t.Context(), w, client.KeyOf(orphan))
		if err != nil {
			t.Fatal(err)
		}
		if ref := metav1.GetControllerOf(got); ref == nil || ref.UID != "d-uid" || ref.Kind != "Deployment" {
			t.Errorf("owners %+v", got.OwnerReferences)
		}
		w.API.Commit(t.Context(), client.Change{Verb: api.Patch, Resource: api.ReplicaSets, Key: client.KeyOf(orphan), Patch: []byte(`{"metadata":{"labels":{"app":"y"}}}`), PatchType: types.MergePatchType})
		w.check("released", "v3:1:2 v3:3:2", reasonComplete)
		if got, err = client.ReplicaSets.Get(t.Context(), w, client.KeyOf(orphan)); err != nil || len(got.OwnerReferences) != 0 {
			t.Errorf("owners %+v after the labels changed, err %v", got.OwnerReferences, err)
		}
	})
}

// TestAdoptionFailure loses the race for an orphan, which ends the reconcile with that error.
func TestAdoptionFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orphan := rs(3, 1, 0, 0, 1, 2)
		orphan.Labels = map[string]string{"app": "x"}
		orphan.Spec.Selector = &metav1.LabelSelector{MatchLabels: orphan.Spec.Template.Labels}
		c := controllertest.New(orphan)
		c.Before(func(ch client.Change) error {
			return api.Conflict(ch.Resource, ch.Key.Name, errors.New("somebody else was faster"))
		})
		ended := make(chan error, 1)
		r := &reconciler{client: c, adoption: controller.NewAdoption(api.Deployments, api.ReplicaSets)}
		fed := r.adoption.Watch(controller.New("deployment", controller.Func(func(ctx context.Context, req controller.Request) (_ controller.Result, err error) {
			defer func() { ended <- err }() // nil after a panic
			return r.Reconcile(ctx, req)
		})).For(api.Deployments))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{fed}) }()
		synctest.Wait() // until the orphan is known
		c.Create(dep(2, "25%", "25%"))
		if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "adopting ReplicaSet ns/"+orphan.Name) {
			t.Errorf("the reconcile that lost the race ended with %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCreateFailure(t *testing.T) {
	run(t, func(w world) {
		w.Before(func(c client.Change) error {
			if c.Verb == api.Create && c.Resource == api.ReplicaSets {
				return api.Forbidden(api.ReplicaSets, "x", fmt.Errorf("exceeded quota"))
			}
			return nil
		})
		w.Create(dep(1, "25%", "25%"))
		d := w.settle()
		c := condition(&d.Status, appsv1.DeploymentProgressing)
		if c == nil || c.Status != corev1.ConditionFalse || c.Reason != reasonCreateError || !strings.Contains(c.Message, `Failed to create new replica set "d-`) || !strings.Contains(c.Message, "exceeded quota") {
			t.Errorf("progressing %+v", c)
		}
		w.Before(nil)
		time.Sleep(2 * time.Minute)
		w.check("healed", "v3:1:1", reasonComplete)
	})
}

func TestEmptySelectorIsRefused(t *testing.T) {
	run(t, func(w world) {
		w.Create(dep(1, "25%", "25%", func(d *appsv1.Deployment) { d.Spec.Selector = &metav1.LabelSelector{} }))
		if d := w.settle(); d.Status.ObservedGeneration != 1 || w.sets() != "" {
			t.Errorf("status %+v, ReplicaSets %s", d.Status, w.sets())
		}
	})
}
