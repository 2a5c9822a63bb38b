package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"
)

var cronTabs = schema.GroupVersionResource{Group: "stable.example.com", Version: "v1", Resource: "crontabs"}

// example reads a manifest of the repository's examples.
func example(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	o := new(unstructured.Unstructured)
	if err := yaml.Unmarshal(data, &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// define creates the CronTab definition through the dynamic client.
func define(t *testing.T, c dynamic.Interface) {
	t.Helper()
	crds := apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	if _, err := c.Resource(crds).Create(t.Context(), example(t, "crontab-crd.yaml"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestDynamic uses a custom kind with the dynamic client and its informer, as tools do that know no Go types.
func TestDynamic(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), own(t)
	c, err := dynamic.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	define(t, c)
	tabs := c.Resource(cronTabs).Namespace("default")
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(c, 0, "default", nil)
	lister := factory.ForResource(cronTabs).Lister().ByNamespace("default")
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	w, err := tabs.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=nightly"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	o, err := tabs.Create(ctx, example(t, "crontab.yaml"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	next(t, w, watch.Added)
	eventually(t, func() error { _, err := lister.Get("nightly"); return err })

	// The status has a door of its own, and does not move the generation.
	if err := unstructured.SetNestedField(o.Object, int64(2), "status", "replicas"); err != nil {
		t.Fatal(err)
	}
	if o, err = tabs.UpdateStatus(ctx, o, metav1.UpdateOptions{}); err != nil || o.GetGeneration() != 1 {
		t.Fatalf("update of status: %v, generation %d", err, o.GetGeneration())
	}
	o, err = tabs.Patch(ctx, "nightly", types.MergePatchType, []byte(`{"spec":{"replicas":4},"status":{"replicas":9}}`), metav1.PatchOptions{})
	if err != nil || o.GetGeneration() != 2 {
		t.Fatalf("patch: %v, generation %d", err, o.GetGeneration())
	}
	if n, _, _ := unstructured.NestedInt64(o.Object, "status", "replicas"); n != 2 {
		t.Errorf("a patch of the object made status.replicas %d", n)
	}
	_, err = tabs.Patch(ctx, "nightly", types.StrategicMergePatchType, []byte(`{}`), metav1.PatchOptions{})
	if !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("a strategic merge patch of a custom resource: %v", err)
	}
	_, err = tabs.Patch(ctx, "nightly", types.MergePatchType, []byte(`{"spec":{"replicas":11}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("what the schema refuses: %v", err)
	}
	// The end of the definition is the end of its objects and watches.
	next(t, w, watch.Modified)
	next(t, w, watch.Modified)
	crds := apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")
	if err := c.Resource(crds).Delete(ctx, "crontabs.stable.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	next(t, w, watch.Deleted)
	eventually(t, func() error {
		if _, err := tabs.Get(ctx, "nightly", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("after the definition is gone: %v", err)
		}
		return nil
	})
}

// TestOperator runs examples/operator, a manager of controller-runtime, as a process of its own.
func TestOperator(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), own(t)
	dyn, err := dynamic.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	define(t, dyn)
	operator := filepath.Join(t.TempDir(), "operator")
	build := exec.Command("go", "build", "-o", operator, ".")
	build.Dir = "../examples/operator"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the example operator: %v\n%s", err, out)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, operator, "--kubeconfig", s.kubeconfig)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()

	c, tabs := s.clients(t), dyn.Resource(cronTabs).Namespace("default")
	if _, err := tabs.Create(ctx, example(t, "crontab.yaml"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ready := func(replicas int64) {
		t.Helper()
		eventually(t, func() error {
			o, err := tabs.Get(ctx, "nightly", metav1.GetOptions{})
			if err != nil {
				return err
			}
			n, _, _ := unstructured.NestedInt64(o.Object, "status", "replicas")
			observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
			if n != replicas || observed != o.GetGeneration() || len(conditions) != 1 || conditions[0].(map[string]any)["status"] != "True" {
				return fmt.Errorf("generation %d, status %v", o.GetGeneration(), o.Object["status"])
			}
			return nil
		})
	}
	ready(2)
	d, err := c.AppsV1().Deployments("default").Get(ctx, "nightly", metav1.GetOptions{})
	if err != nil || len(d.OwnerReferences) != 1 || d.OwnerReferences[0].Kind != "CronTab" {
		t.Errorf("the Deployment: %v, %+v", err, d.OwnerReferences)
	}
	if _, err := tabs.Patch(ctx, "nightly", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{}, "scale"); err != nil {
		t.Errorf("scaling by the subresource: %v", err)
	}
	ready(3)
	// What others break is mended.
	if err := c.AppsV1().Deployments("default").Delete(ctx, "nightly", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		again, err := c.AppsV1().Deployments("default").Get(ctx, "nightly", metav1.GetOptions{})
		if err == nil && again.UID == d.UID {
			err = errors.New("the old Deployment is still there")
		}
		return err
	})
	ready(3)
	eventually(t, func() error {
		l, err := c.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=Deployed,involvedObject.kind=CronTab"})
		if err == nil && (len(l.Items) == 0 || l.Items[0].Message != "Created Deployment nightly") {
			err = fmt.Errorf("events %+v", l.Items)
		}
		return err
	})
	lease, err := c.CoordinationV1().Leases("default").Get(ctx, "crontab-operator", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		t.Errorf("the operator's lease: %v, %+v", err, lease.Spec)
	}

	// Deleted, the finalizer tidies up and the rest follows its owner.
	if err := tabs.Delete(ctx, "nightly", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, tab := tabs.Get(ctx, "nightly", metav1.GetOptions{})
		_, schedule := c.CoreV1().ConfigMaps("default").Get(ctx, "nightly-schedule", metav1.GetOptions{})
		pods, err := c.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if err != nil || !apierrors.IsNotFound(tab) || !apierrors.IsNotFound(schedule) || len(pods.Items) != 0 {
			return fmt.Errorf("CronTab: %v, schedule: %v, %d pods: %v", tab, schedule, len(pods.Items), err)
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if err != nil {
			t.Errorf("the operator ended with %v:\n%s", err, &log)
		}
		for line := range strings.Lines(log.String()) {
			// What it writes from a cache that is behind is refused, as stale or as there already: an answer may be read
			// before the event of the same write, which comes by another stream. It reconciles again. And giving its lease
			// up at the end is an error to it when that is told before it has stopped to listen.
			expected := strings.Contains(line, "Operation cannot be fulfilled") || strings.Contains(line, "already exists") || strings.Contains(line, "after stop sequence was engaged") && strings.Contains(line, "leader election lost")
			if strings.Contains(line, `"level":"error"`) && !expected {
				t.Errorf("the operator logged %s", line)
			}
		}
	case <-time.After(patience):
		t.Error("the operator did not end after SIGTERM")
	}
	if lease, err = c.CoordinationV1().Leases("default").Get(ctx, "crontab-operator", metav1.GetOptions{}); err != nil || *lease.Spec.HolderIdentity != "" {
		t.Errorf("the lease was not released: %v, %+v", err, lease.Spec)
	}
}

// TestManager runs a manager in this process: its cache serves reads by index, its client writes, and objects of a kind
// without Go types are reconciled next to typed ones.
func TestManager(t *testing.T) {
	t.Parallel()
	s := own(t)
	dyn, err := dynamic.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	define(t, dyn)
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(s.config, ctrl.Options{Scheme: scheme, Metrics: ctrlmetrics.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	const byTier = "data.tier"
	if err := mgr.GetFieldIndexer().IndexField(t.Context(), &corev1.ConfigMap{}, byTier, func(o client.Object) []string {
		return []string{o.(*corev1.ConfigMap).Data["tier"]}
	}); err != nil {
		t.Fatal(err)
	}
	tab := &unstructured.Unstructured{}
	tab.SetGroupVersionKind(cronTabs.GroupVersion().WithKind("CronTab"))
	// The reconciler keeps a ConfigMap below each CronTab, patched from what it read.
	reconciler := reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		o := tab.DeepCopy()
		if err := mgr.GetClient().Get(ctx, req.NamespacedName, o); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace()}, Data: map[string]string{"tier": "front"}}
		if err := ctrl.SetControllerReference(o, cm, scheme); err != nil {
			return ctrl.Result{}, err
		}
		if err := mgr.GetClient().Create(ctx, cm); client.IgnoreAlreadyExists(err) != nil {
			return ctrl.Result{}, err
		}
		base := o.DeepCopy()
		conditions := []any{map[string]any{"type": "Ready", "status": "True", "reason": "Made", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}}
		if err := unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions"); err != nil {
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, mgr.GetClient().Status().Patch(ctx, o, client.MergeFrom(base))
	})
	if err := ctrl.NewControllerManagedBy(mgr).For(tab.DeepCopy()).Owns(&corev1.ConfigMap{}).WithOptions(controller.Options{SkipNameValidation: new(true)}).Complete(reconciler); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		t.Fatal("the caches never synced")
	}
	for i := range 20 {
		o := example(t, "crontab.yaml")
		o.SetName(fmt.Sprintf("tab-%02d", i))
		o.SetNamespace("default")
		if err := mgr.GetClient().Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	indexed := func(want int) {
		t.Helper()
		eventually(t, func() error {
			var l corev1.ConfigMapList
			err := mgr.GetClient().List(ctx, &l, client.InNamespace("default"), client.MatchingFields{byTier: "front"})
			if err == nil && len(l.Items) != want {
				err = fmt.Errorf("the cache holds %d ConfigMaps, want %d", len(l.Items), want)
			}
			return err
		})
	}
	indexed(20)
	// An owned object that goes away comes back.
	if err := mgr.GetClient().Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "tab-07", Namespace: "default"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		return mgr.GetAPIReader().Get(ctx, client.ObjectKey{Namespace: "default", Name: "tab-07"}, new(corev1.ConfigMap))
	})
	indexed(20)
	o := tab.DeepCopy()
	if err := mgr.GetAPIReader().Get(ctx, client.ObjectKey{Namespace: "default", Name: "tab-07"}, o); err != nil {
		t.Fatal(err)
	}
	if conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions"); len(conditions) != 1 {
		t.Errorf("status: %v", o.Object["status"])
	}
	if err := mgr.GetClient().DeleteAllOf(ctx, tab.DeepCopy(), client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	indexed(0) // the garbage collector's work, seen through the manager's cache
	if err := mgr.GetClient().Get(ctx, client.ObjectKey{Namespace: "default", Name: "nothing"}, tab.DeepCopy()); !apierrors.IsNotFound(err) {
		t.Errorf("get of what is not there: %v", err)
	}
	unknown := tab.DeepCopy()
	unknown.SetKind("Nothing")
	if err := mgr.GetClient().Get(ctx, client.ObjectKey{Namespace: "default", Name: "x"}, unknown); !meta.IsNoMatchError(err) {
		t.Errorf("get of a kind that is not served: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the manager ended with %v", err)
	}
}
