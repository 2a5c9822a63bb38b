package conformance

import (
	"encoding/json"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// TestApplyConfigurations applies by way of client-go's generated configurations, extracts what a manager owns and
// applies it again.
func TestApplyConfigurations(t *testing.T) {
	t.Parallel()
	c, err := kubernetes.NewForConfig(shared.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, ns := t.Context(), shared.namespace(t)
	deployments, maps := c.AppsV1().Deployments(ns), c.CoreV1().ConfigMaps(ns)
	labels := map[string]string{"app": "a"}
	config := appsapply.Deployment("d", ns).WithSpec(appsapply.DeploymentSpec().WithReplicas(0).
		WithSelector(metaapply.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(coreapply.PodTemplateSpec().WithLabels(labels).WithSpec(coreapply.PodSpec().
			WithContainers(coreapply.Container().WithName("c").WithImage("i").
				WithPorts(coreapply.ContainerPort().WithContainerPort(80), coreapply.ContainerPort().WithContainerPort(81))))))
	first, err := deployments.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "first"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := appsapply.ExtractDeployment(first, "first")
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(own); err != nil || string(got) != string(want) {
		t.Errorf("the manager owns %s, %v, want what it applied: %s", got, err, want)
	}
	again, err := deployments.Apply(ctx, own, metav1.ApplyOptions{FieldManager: "first"})
	if err != nil || again.Generation != first.Generation {
		t.Errorf("applying the same again: %v, generation %d", err, again.Generation)
	}
	own.Spec.Template.Spec.Containers[0].Ports = own.Spec.Template.Spec.Containers[0].Ports[1:]
	less, err := deployments.Apply(ctx, own, metav1.ApplyOptions{FieldManager: "first"})
	if err != nil {
		t.Fatal(err)
	}
	if ports := less.Spec.Template.Spec.Containers[0].Ports; len(ports) != 1 || ports[0].ContainerPort != 81 {
		t.Errorf("ports that are left: %v", ports)
	}

	data := coreapply.ConfigMap("c", ns).WithData(map[string]string{"k": "v"})
	if _, err := maps.Apply(ctx, data, metav1.ApplyOptions{FieldManager: "first"}); err != nil {
		t.Fatal(err)
	}
	data.Data["k"] = "w"
	_, err = maps.Apply(ctx, data, metav1.ApplyOptions{FieldManager: "second"})
	if !apierrors.IsConflict(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict) {
		t.Errorf("a second manager's other value: %v, want a conflict of managers", err)
	}
	forced, err := maps.Apply(ctx, data, metav1.ApplyOptions{FieldManager: "second", Force: true})
	if err != nil || forced.Data["k"] != "w" || len(forced.ManagedFields) != 1 {
		t.Errorf("forced: %v, %v owned by %v", err, forced.Data, forced.ManagedFields)
	}
}
