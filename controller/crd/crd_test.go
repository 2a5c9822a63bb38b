package crd

import (
	"context"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

// definitionOf defines config maps, which the API in memory can hold.
func definitionOf(name, group string, finalizers ...string) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Finalizers: finalizers},
	}
	crd.Spec.Group, crd.Spec.Names.Plural = group, "configmaps"
	crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}
	return crd
}

func instance(name string, finalizers ...string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Finalizers: finalizers},
	}
}

func reconcile(t *testing.T, a *controllertest.API, name string) controller.Result {
	t.Helper()
	return newReconciler(a).reconcile(t, name)
}

func newReconciler(a *controllertest.API) *reconciler {
	return &reconciler{a, func(r api.Resource) bool { return r == api.Leases }, map[string]api.Revision{}}
}

func (r *reconciler) reconcile(t *testing.T, name string) controller.Result {
	t.Helper()
	res, err := r.Reconcile(context.Background(), controller.Request{Key: api.Key{Name: name}})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestDeletionWaitsForObjects(t *testing.T) {
	ctx := context.Background()
	const name = "configmaps."
	crd := definitionOf(name, "", apiextensionsv1.CustomResourceCleanupFinalizer)
	a := controllertest.New(crd, instance("a"), instance("b", "example.com/hold"))
	key := api.Key{Name: name}
	if reconcile(t, a, name); len(a.Commits()) > 0 {
		t.Fatalf("a definition that stays was changed: %v", a.Commits())
	}
	if _, err := a.Commit(ctx, client.Change{Verb: api.Delete, Resource: api.CustomResourceDefinitions, Key: key}); err != nil {
		t.Fatal(err)
	}

	reconcile(t, a, name)
	rec, err := a.Get(ctx, api.CustomResourceDefinitions, key)
	if err != nil {
		t.Fatal(err)
	}
	now, err := client.Decode[apiextensionsv1.CustomResourceDefinition](rec)
	if err != nil {
		t.Fatal(err)
	}
	if c := apihelpers.FindCRDCondition(now, apiextensionsv1.Terminating); c == nil || c.Reason != "InstanceDeletionInProgress" {
		t.Errorf("conditions %v", now.Status.Conditions)
	}
	if res := reconcile(t, a, name); res.RequeueAfter == 0 {
		t.Error("does not come back for what is left")
	}
	if _, err := a.Get(ctx, api.ConfigMaps, api.Key{Namespace: "default", Name: "a"}); !api.IsNotFound(err) {
		t.Errorf("object a: %v", err)
	}
	if _, err := a.Get(ctx, api.CustomResourceDefinitions, key); err != nil {
		t.Fatalf("the definition went before its objects: %v", err)
	}

	if _, err := a.Commit(ctx, client.Change{
		Verb: api.Patch, Resource: api.ConfigMaps, Key: api.Key{Namespace: "default", Name: "b"},
		Patch: []byte(`{"metadata":{"finalizers":null}}`), PatchType: "application/merge-patch+json",
	}); err != nil {
		t.Fatal(err)
	}
	reconcile(t, a, name)
	if _, err := a.Get(ctx, api.CustomResourceDefinitions, key); !api.IsNotFound(err) {
		t.Errorf("the definition is still there: %v", err)
	}
}

func TestNamesAreReconsidered(t *testing.T) {
	waiting, other := definitionOf("vs.example.com", "example.com"), definitionOf("vs.example.org", "example.org")
	for _, crd := range []*apiextensionsv1.CustomResourceDefinition{waiting, other} {
		crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionFalse}}
	}
	a := controllertest.New(waiting, other)
	reconcile(t, a, "ws.example.com") // gone
	commits := a.Commits()
	if len(commits) != 1 || commits[0].Key.Name != "vs.example.com" || string(commits[0].Patch) != "{}" {
		t.Errorf("commits %+v", commits)
	}
	// The name may have become free between the look at it and the write of who wants it.
	if reconcile(t, a, "vs.example.com"); len(a.Commits()) != 2 || a.Commits()[1].Key.Name != "vs.example.com" {
		t.Errorf("a definition that waits does not look at its names itself: %+v", a.Commits()[1:])
	}
}

// TestNamesAreReconsideredOnce: a start looks at every definition, and a group's waiting ones are written once, not once for each.
func TestNamesAreReconsideredOnce(t *testing.T) {
	waiting, second, third := definitionOf("vs.example.com", "example.com"), definitionOf("ws.example.com", "example.com"), definitionOf("xs.example.com", "example.com")
	waiting.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionFalse}}
	a := controllertest.New(waiting, second, third)
	r := newReconciler(a)
	for _, name := range []string{"vs.example.com", "ws.example.com", "xs.example.com"} {
		r.reconcile(t, name)
	}
	if got := len(a.Commits()); got != 1 {
		t.Errorf("%d writes at the start, want 1", got)
	}
	if _, err := a.Commit(t.Context(), client.Change{
		Verb: api.Patch, Resource: api.CustomResourceDefinitions, Key: api.Key{Name: "ws.example.com"},
		Patch: []byte(`{"spec":{"names":{"shortNames":["w"]}}}`), PatchType: types.MergePatchType,
	}); err != nil {
		t.Fatal(err)
	}
	before := len(a.Commits())
	r.reconcile(t, "ws.example.com")
	r.reconcile(t, "xs.example.com")
	if got := len(a.Commits()) - before; got != 1 {
		t.Errorf("%d writes after one definition changed, want 1", got)
	}
	r.reconcile(t, "gone.example.com")
	if got := len(a.Commits()) - before; got != 2 {
		t.Errorf("%d writes after one definition went too, want 2", got)
	}
}

// TestWhatHasNoObjects: what bears a built-in's name does not take that one's objects along, and what was never
// established has none. Another finalizer keeps the definitions, so that their last condition can be read.
func TestWhatHasNoObjects(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		name, reason string
		change       func(crd *apiextensionsv1.CustomResourceDefinition)
		status       apiextensionsv1.ConditionStatus
	}{
		{"configmaps.", "InstanceDeletionInProgress", func(*apiextensionsv1.CustomResourceDefinition) {}, apiextensionsv1.ConditionTrue},
		{"leases.coordination.k8s.io", "OverlappingBuiltInResource", func(crd *apiextensionsv1.CustomResourceDefinition) {
			crd.Spec.Group, crd.Spec.Names.Plural = api.Leases.Group, api.Leases.Name
		}, apiextensionsv1.ConditionFalse},
		{"configmaps.", "NeverEstablished", func(crd *apiextensionsv1.CustomResourceDefinition) {
			crd.Status.Conditions = nil
		}, apiextensionsv1.ConditionFalse},
	} {
		crd := definitionOf(tt.name, "", "example.com/hold", apiextensionsv1.CustomResourceCleanupFinalizer)
		tt.change(crd)
		lease := &coordinationv1.Lease{
			TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}, ObjectMeta: metav1.ObjectMeta{Name: "l", Namespace: "default"},
		}
		a := controllertest.New(crd, lease)
		key := api.Key{Name: tt.name}
		if _, err := a.Commit(ctx, client.Change{Verb: api.Delete, Resource: api.CustomResourceDefinitions, Key: key}); err != nil {
			t.Fatal(err)
		}
		reconcile(t, a, tt.name)
		rec, err := a.Get(ctx, api.CustomResourceDefinitions, key)
		if err != nil {
			t.Fatal(err)
		}
		now, err := client.Decode[apiextensionsv1.CustomResourceDefinition](rec)
		if err != nil {
			t.Fatal(err)
		}
		if c := apihelpers.FindCRDCondition(now, apiextensionsv1.Terminating); c == nil || c.Reason != tt.reason || c.Status != tt.status {
			t.Errorf("%s: conditions %v, want %s", tt.name, now.Status.Conditions, tt.reason)
		}
		if over := len(now.Finalizers) == 1; over != (tt.status == apiextensionsv1.ConditionFalse) {
			t.Errorf("%s: finalizers %v", tt.reason, now.Finalizers)
		}
		if _, err := a.Get(ctx, api.Leases, api.Key{Namespace: "default", Name: "l"}); err != nil {
			t.Errorf("%s: a built-in's object: %v", tt.reason, err)
		}
	}
}
