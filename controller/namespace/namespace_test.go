package namespace

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func TestNamespaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := controllertest.New()
		for _, n := range []string{"doomed", "kept"} {
			c.Create(&corev1.Namespace{ObjectMeta: meta("", n), Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes"}}})
			c.Create(&corev1.Pod{ObjectMeta: meta(n, "pod"), Spec: corev1.PodSpec{NodeName: "n"}})
			c.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: n, Name: "held", Finalizers: []string{"x/y"}}})
			c.Create(&corev1.Secret{ObjectMeta: meta(n, "s")})
		}
		catalog := func() ([]controller.Kind, <-chan struct{}) {
			return []controller.Kind{
				{Resource: api.Nodes, Version: "v1", Kind: "Node"},
				{Resource: api.ConfigMaps, Version: "v1", Kind: "ConfigMap", Namespaced: true},
				{Resource: api.Secrets, Version: "v1", Kind: "Secret", Namespaced: true},
				{Resource: api.Pods, Version: "v1", Kind: "Pod", Namespaced: true},
			}, nil
		}
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, catalog)}) }()
		exists := func(r api.Resource, ns, name string) bool {
			_, err := c.Get(ctx, r, api.Key{Namespace: ns, Name: name})
			return err == nil
		}
		remaining := func() string {
			time.Sleep(5 * time.Second)
			synctest.Wait()
			ns, err := client.Namespaces.Get(ctx, c, api.Key{Name: "doomed"})
			if err != nil {
				return err.Error()
			}
			var out []string
			for _, c := range ns.Status.Conditions {
				if c.Status == corev1.ConditionTrue {
					out = append(out, fmt.Sprintf("%s %s: %s", c.Type, c.Reason, c.Message))
				}
			}
			return fmt.Sprintf("%s %d\n%s", ns.Status.Phase, len(ns.Status.Conditions), strings.Join(out, "\n"))
		}
		check := func(what, want string) {
			t.Helper()
			if got := remaining(); got != want {
				t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
			}
		}
		if _, err := client.Namespaces.Delete(ctx, c, api.Key{Name: "doomed"}, nil); err != nil {
			t.Fatal(err)
		}
		check("pod on a node", "Terminating 5\nNamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances")
		if !exists(api.Secrets, "doomed", "s") {
			t.Error("a secret went before the pods")
		}
		zero := int64(0)
		if _, err := client.Pods.Delete(ctx, c, api.Key{Namespace: "doomed", Name: "pod"}, &metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
			t.Fatal(err)
		}
		check("pod ended", "Terminating 5\nNamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances\n"+
			"NamespaceFinalizersRemaining SomeFinalizersRemain: Some content in the namespace has finalizers remaining: x/y in 1 resource instances")
		if exists(api.Secrets, "doomed", "s") {
			t.Error("the secret is still there")
		}
		if _, err := client.ConfigMaps.Patch(ctx, c, api.Key{Namespace: "doomed", Name: "held"}, client.Patch{Type: types.MergePatchType, Body: []byte(`{"metadata":{"finalizers":null}}`)}); err != nil {
			t.Fatal(err)
		}
		check("finalizer gone", `namespaces "doomed" not found`)
		if !exists(api.Namespaces, "", "kept") || !exists(api.Pods, "kept", "pod") || !exists(api.Secrets, "kept", "s") {
			t.Error("another namespace was touched")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestConditions(t *testing.T) {
	now := metav1.Now()
	failed := conditions(nil, remains{objects: map[string]int{"widgets.example.com": 3}}, fmt.Errorf("deleting widgets: no"), now)
	get := func(cs []corev1.NamespaceCondition, t corev1.NamespaceConditionType) corev1.NamespaceCondition {
		for _, c := range cs {
			if c.Type == t {
				return c
			}
		}
		return corev1.NamespaceCondition{}
	}
	c := get(failed, corev1.NamespaceDeletionContentFailure)
	if c.Status != corev1.ConditionTrue || c.Reason != "ContentDeletionFailed" || c.Message != "Failed to delete all resource types, 1 remaining: deleting widgets: no" {
		t.Errorf("failure is reported as %+v", c)
	}
	if c := get(failed, corev1.NamespaceContentRemaining); c.Message != "Some resources are remaining: widgets.example.com has 3 resource instances" {
		t.Errorf("content is reported as %+v", c)
	}
	healed := conditions(failed, remains{}, nil, metav1.NewTime(now.Add(time.Hour)))
	if c := get(healed, corev1.NamespaceDeletionContentFailure); c.Status != corev1.ConditionFalse || c.Reason != "ContentDeleted" || !c.LastTransitionTime.After(now.Time) {
		t.Errorf("after the failure: %+v", c)
	}
	if c := get(healed, corev1.NamespaceDeletionDiscoveryFailure); !c.LastTransitionTime.Equal(&now) {
		t.Errorf("a condition that did not change has a new time: %+v", c)
	}
}
