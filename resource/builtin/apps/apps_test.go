package apps

import (
	"context"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource"
)

func template(labels map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func storedDeployment() *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	d.Spec.Template = template(map[string]string{"a": "b"})
	defaultDeployment(d)
	prepareDeployment(context.Background(), &resource.Write{}, d, nil)
	return d
}

func storedReplicaSet() *appsv1.ReplicaSet {
	r := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "r"}}
	r.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	r.Spec.Template = template(map[string]string{"a": "b"})
	defaultReplicaSet(r)
	prepareReplicaSet(context.Background(), &resource.Write{}, r, nil)
	return r
}

func lines(errs field.ErrorList) []string {
	out := []string{}
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func TestValidateDeployment(t *testing.T) {
	ctx := context.Background()
	rolling := func(unavailable, surge intstr.IntOrString) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxUnavailable: &unavailable, MaxSurge: &surge}
		}
	}
	const unavailable = "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "
	for _, c := range []struct {
		name   string
		change func(d *appsv1.Deployment)
		want   []string
	}{
		{"plain", func(*appsv1.Deployment) {}, nil},
		{"empty selector", func(d *appsv1.Deployment) { d.Spec.Selector = &metav1.LabelSelector{} }, []string{"spec.selector: Invalid value: {}: empty selector is invalid for deployment"}},
		{"both zero", rolling(intstr.FromInt32(0), intstr.FromString("0%")), []string{unavailable + `intstr.IntOrString{Type:0, IntVal:0, StrVal:""}: may not be 0 when ` + "`maxSurge` is 0"}},
		{"more than all", rolling(intstr.FromString("101%"), intstr.FromInt32(1)), []string{unavailable + `intstr.IntOrString{Type:1, IntVal:0, StrVal:"101%"}: must not be greater than 100%`}},
		{"all", rolling(intstr.FromString("100%"), intstr.FromInt32(0)), nil},
		{"no percentage", rolling(intstr.FromString("x"), intstr.FromInt32(1)), []string{unavailable + `intstr.IntOrString{Type:1, IntVal:0, StrVal:"x"}: a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')`}},
		{"negative surge", rolling(intstr.FromInt32(1), intstr.FromInt32(-1)), []string{"spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0"}},
		{"ephemeral containers", func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Image: "i"}}}
			defaultDeployment(d)
		}, []string{"spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"}},
	} {
		d := storedDeployment()
		c.change(d)
		if got := lines(validateDeployment(ctx, &resource.Write{}, d, nil)); !slices.Equal(got, append([]string{}, c.want...)) {
			t.Errorf("%s: got:\n  %s\nwant:\n  %s", c.name, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}

func TestSelectorIsFixed(t *testing.T) {
	ctx := context.Background()
	change := map[string]string{"c": "d"}
	d := storedDeployment()
	d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = change, change
	want := []string{`spec.selector: Invalid value: {"matchLabels":{"c":"d"}}: field is immutable`}
	if got := lines(validateDeployment(ctx, &resource.Write{}, d, storedDeployment())); !slices.Equal(got, want) {
		t.Errorf("deployment: got %q, want %q", got, want)
	}
	r := storedReplicaSet()
	r.Spec.Selector.MatchLabels, r.Spec.Template.Labels = change, change
	if got := lines(validateReplicaSet(ctx, &resource.Write{}, r, storedReplicaSet())); !slices.Equal(got, want) {
		t.Errorf("replica set: got %q, want %q", got, want)
	}
}

// TestReplicaSetUpdateIsJudgedTwice: upstream lists what is wrong with a new spec twice, other than of a Deployment.
func TestReplicaSetUpdateIsJudgedTwice(t *testing.T) {
	r := storedReplicaSet()
	r.Spec.MinReadySeconds = -1
	const once = "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"
	if got := lines(validateReplicaSet(t.Context(), &resource.Write{}, r, storedReplicaSet())); !slices.Equal(got, []string{once, once}) {
		t.Errorf("%q", got)
	}
}

func TestGeneration(t *testing.T) {
	ctx := context.Background()
	three := int32(3)
	for _, c := range []struct {
		name        string
		subresource string
		change      func(d *appsv1.Deployment)
		want        int64
	}{
		{"nothing", "", func(*appsv1.Deployment) {}, 1},
		{"what is defaulted is left out", "", func(d *appsv1.Deployment) {
			d.Spec.Replicas, d.Spec.Strategy, d.Spec.Template = nil, appsv1.DeploymentStrategy{}, template(map[string]string{"a": "b"})
		}, 1},
		{"labels", "", func(d *appsv1.Deployment) { d.Labels = map[string]string{"x": "y"} }, 1},
		{"annotations", "", func(d *appsv1.Deployment) { d.Annotations = map[string]string{"x": "y"} }, 2},
		{"spec", "", func(d *appsv1.Deployment) { d.Spec.Replicas = &three }, 2},
		{"scale", "scale", func(d *appsv1.Deployment) { d.Spec.Replicas = &three }, 2},
		{"status", "", func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, 1},
		{"status, properly", "status", func(d *appsv1.Deployment) { d.Status.Replicas, d.Spec.Replicas = 3, &three }, 1},
	} {
		old, d := storedDeployment(), storedDeployment()
		c.change(d)
		prepareDeployment(ctx, &resource.Write{Subresource: c.subresource}, d, old)
		if d.Generation != c.want {
			t.Errorf("%s: generation %d, want %d", c.name, d.Generation, c.want)
		}
		if want := int32(0); c.subresource == "status" {
			if d.Status.Replicas != 3 || *d.Spec.Replicas != 1 {
				t.Errorf("%s: wrote %+v", c.name, d)
			}
		} else if d.Status.Replicas != want {
			t.Errorf("%s: wrote the status", c.name)
		}
	}
	old, r := storedReplicaSet(), storedReplicaSet()
	r.Annotations = map[string]string{"x": "y"}
	if prepareReplicaSet(ctx, &resource.Write{}, r, old); r.Generation != 1 {
		t.Errorf("annotations raised a replica set's generation to %d", r.Generation)
	}
	r.Spec.Replicas = &three
	if prepareReplicaSet(ctx, &resource.Write{}, r, old); r.Generation != 2 {
		t.Errorf("a replica set's spec left its generation at %d", r.Generation)
	}
}

func TestStatus(t *testing.T) {
	one, two := int32(1), int32(2)
	for _, c := range []struct {
		name string
		errs field.ErrorList
		want []string
	}{
		{"collisions", validateDeploymentStatus(&appsv1.DeploymentStatus{CollisionCount: &one}, &appsv1.DeploymentStatus{CollisionCount: &two}),
			[]string{"status.collisionCount: Invalid value: 1: cannot be decremented"}},
		{"collisions forgotten", validateDeploymentStatus(&appsv1.DeploymentStatus{}, &appsv1.DeploymentStatus{CollisionCount: &two}),
			[]string{"status.collisionCount: Invalid value: 0: cannot be decremented"}},
		{"available", validateDeploymentStatus(&appsv1.DeploymentStatus{Replicas: 2, AvailableReplicas: 1}, &appsv1.DeploymentStatus{}),
			[]string{"status.availableReplicas: Invalid value: 1: cannot be greater than readyReplicas"}},
		{"replica set", validateReplicaSetStatus(&appsv1.ReplicaSetStatus{FullyLabeledReplicas: 1, ObservedGeneration: -1}),
			[]string{"status.observedGeneration: Invalid value: -1: must be greater than or equal to 0", "status.fullyLabeledReplicas: Invalid value: 1: cannot be greater than status.replicas"}},
		{"fine", validateReplicaSetStatus(&appsv1.ReplicaSetStatus{Replicas: 2, FullyLabeledReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 1}), nil},
	} {
		if got := lines(c.errs); !slices.Equal(got, append([]string{}, c.want...)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestScaleAndCells(t *testing.T) {
	for _, d := range []struct {
		definition *resource.Definition
		object     any
		cells      []any
	}{
		{Deployments(), storedDeployment(), []any{"d", "0/7", int64(0), int64(0), "<unknown>", "c", "i", "a=b"}},
		{ReplicaSets(), storedReplicaSet(), []any{"r", int64(7), int64(0), int64(0), "<unknown>", "c", "i", "a=b"}},
	} {
		o, err := resource.TypedObject(d.object)
		if err != nil {
			t.Fatal(err)
		}
		s := d.definition.Subresources["scale"].Scale
		s.SetSpec(o, 7)
		if n := s.Spec(o); n == nil || *n != 7 || s.Status(o) != 0 || s.Selector(o) != "a=b" {
			t.Errorf("%s: scale is %v of %d for %q", d.definition.Kind, n, s.Status(o), s.Selector(o))
		}
		v := &d.definition.Versions[0]
		doc, err := v.Codec.Encode(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := d.definition.Hooks.Cells(v, doc); err != nil || !slices.Equal(got, d.cells) {
			t.Errorf("%s: cells %v, %v, want %v", d.definition.Kind, got, err, d.cells)
		}
	}
}
