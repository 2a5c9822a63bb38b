// Package namespace ends namespaces: it deletes everything in a namespace that is being deleted, pods first, reports in
// the namespace's conditions what is left, and lets the namespace go when it is empty.
//
// It holds the namespace through the finalizer "kubernetes" in spec.finalizers. That nothing new appears meanwhile is
// the server's part: it refuses creates in a namespace that is terminating.
package namespace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	// parallel is how many objects are deleted at a time.
	parallel = 64
	// What remains is looked at again soon at first, as most of it goes at once, and then once a second.
	soon  = 50 * time.Millisecond
	later = time.Second
	first = 2 * time.Second // for so long
)

type reconciler struct {
	client  client.Client
	catalog controller.Catalog
}

// New returns the controller. It learns from catalog what a namespace may contain.
func New(c client.Client, catalog controller.Catalog) *controller.Controller {
	return controller.New("namespace", &reconciler{controller.Fresh(c), catalog}).
		For(api.Namespaces, func(e api.Event) bool { return e.New != nil && e.New.Is(api.Deleting) }).Workers(10)
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	ns, err := client.Namespaces.In(v, req.Key)
	if ns == nil || err != nil || ns.DeletionTimestamp == nil || len(ns.Spec.Finalizers) == 0 {
		return controller.Result{}, err
	}
	if ns.Status.Phase != corev1.NamespaceTerminating {
		ns.Status.Phase = corev1.NamespaceTerminating
		_, err := client.Namespaces.UpdateStatus(ctx, r.client, ns)
		return controller.Result{Requeue: err == nil}, err
	}
	kinds, _ := r.catalog()
	remains, failure := r.empty(ctx, ns.Name, kinds)
	if failure == nil && len(remains.objects) == 0 {
		return controller.Result{}, r.finalize(ctx, ns)
	}
	if err := r.report(ctx, ns, remains, failure); err != nil {
		return controller.Result{}, err
	}
	if failure != nil {
		return controller.Result{}, failure
	}
	if time.Since(ns.DeletionTimestamp.Time) < first {
		return controller.Result{RequeueAfter: soon}, nil
	}
	return controller.Result{RequeueAfter: later}, nil
}

// remains counts what is left in a namespace.
type remains struct {
	objects    map[string]int // by resource: "pods."
	finalizers map[string]int // by finalizer
}

// empty deletes the content of a namespace, and returns what is still there after it. Only when no pod is left is
// anything else deleted, so that pods lose neither their configuration nor the policies around them before they end.
func (r *reconciler) empty(ctx context.Context, namespace string, kinds []controller.Kind) (remains, error) {
	pods, rest := split(kinds)
	left, err := r.clear(ctx, namespace, pods)
	if err != nil || len(left.objects) > 0 {
		return left, err
	}
	return r.clear(ctx, namespace, rest)
}

// split takes the pods out of the namespaced kinds.
func split(kinds []controller.Kind) (pods, rest []controller.Kind) {
	for _, k := range kinds {
		switch {
		case k.Resource == api.Pods:
			pods = append(pods, k)
		case k.Namespaced:
			rest = append(rest, k)
		}
	}
	return pods, rest
}

// clear deletes all objects of some kinds that are not being deleted already.
func (r *reconciler) clear(ctx context.Context, namespace string, kinds []controller.Kind) (remains, error) {
	var left remains
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return left, err
	}
	var (
		wg       sync.WaitGroup
		slots    = make(chan struct{}, parallel)
		mu       sync.Mutex
		failures = map[string]error{}
	)
	for _, k := range kinds {
		for rec := range v.All(k.Resource, namespace) {
			if rec.Is(api.Deleting) {
				continue
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if err := r.delete(ctx, k, rec); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failures[k.Resource.String()] = err
				}
			})
		}
	}
	wg.Wait()
	if v, err = r.client.View(ctx, 0); err != nil {
		return left, err
	}
	left.objects, left.finalizers = map[string]int{}, map[string]int{}
	for _, k := range kinds {
		for rec := range v.All(k.Resource, namespace) {
			left.objects[k.Resource.Name+"."+k.Resource.Group]++
			if !rec.Is(api.HasFinalizers) {
				continue
			}
			m, err := client.DecodeMetadata[metav1.ObjectMeta](rec)
			if err != nil {
				return left, err
			}
			for _, f := range m.Finalizers {
				left.finalizers[f]++
			}
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		errs = append(errs, failures[name])
	}
	return left, errors.Join(errs...)
}

func (r *reconciler) delete(ctx context.Context, k controller.Kind, rec *api.Record) error {
	options := client.IfUID(types.UID(rec.UID()))
	background := metav1.DeletePropagationBackground
	options.PropagationPolicy = &background
	_, err := r.client.Commit(ctx, client.Change{Verb: api.Delete, Resource: k.Resource, Key: rec.Key(), Delete: options})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("deleting %s %s: %w", k.Resource, rec.Key(), err)
	}
	return nil
}

// finalize lets the namespace go.
func (r *reconciler) finalize(ctx context.Context, ns *corev1.Namespace) error {
	ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	_, err := client.Namespaces.UpdateSubresource(ctx, r.client, "finalize", ns)
	if err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("finalizing namespace %s: %w", ns.Name, err)
	}
	return nil
}

// report writes the namespace's conditions.
func (r *reconciler) report(ctx context.Context, ns *corev1.Namespace, left remains, failure error) error {
	want := conditions(ns.Status.Conditions, left, failure, metav1.Now())
	if equality.Semantic.DeepEqual(ns.Status.Conditions, want) {
		return nil
	}
	ns.Status.Conditions = want
	_, err := client.Namespaces.UpdateStatus(ctx, r.client, ns)
	if err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("reporting the content of namespace %s: %w", ns.Name, err)
	}
	return nil
}

// conditions brings the conditions of a terminating namespace up to date. What did not change keeps its time.
func conditions(old []corev1.NamespaceCondition, left remains, failure error, now metav1.Time) []corev1.NamespaceCondition {
	out := slices.Clone(old)
	set := func(t corev1.NamespaceConditionType, status corev1.ConditionStatus, reason, message string) {
		c := corev1.NamespaceCondition{Type: t, Status: status, Reason: reason, Message: message, LastTransitionTime: now}
		i := slices.IndexFunc(out, func(o corev1.NamespaceCondition) bool { return o.Type == t })
		switch {
		case i < 0:
			out = append(out, c)
		case out[i].Status != status || out[i].Reason != reason || out[i].Message != message:
			out[i] = c
		}
	}
	set(corev1.NamespaceDeletionDiscoveryFailure, corev1.ConditionFalse, "ResourcesDiscovered", "All resources successfully discovered")
	set(corev1.NamespaceDeletionGVParsingFailure, corev1.ConditionFalse, "ParsedGroupVersions", "All legacy kube types successfully parsed")
	if failure != nil {
		set(corev1.NamespaceDeletionContentFailure, corev1.ConditionTrue, "ContentDeletionFailed",
			fmt.Sprintf("Failed to delete all resource types, %d remaining: %v", len(left.objects), strings.ReplaceAll(failure.Error(), "\n", ", ")))
	} else {
		set(corev1.NamespaceDeletionContentFailure, corev1.ConditionFalse, "ContentDeleted", "All content successfully deleted, may be waiting on finalization")
	}
	if len(left.objects) > 0 {
		set(corev1.NamespaceContentRemaining, corev1.ConditionTrue, "SomeResourcesRemain",
			"Some resources are remaining: "+list(left.objects, "%s has %d resource instances"))
	} else {
		set(corev1.NamespaceContentRemaining, corev1.ConditionFalse, "ContentRemoved", "All content successfully removed")
	}
	if len(left.finalizers) > 0 {
		set(corev1.NamespaceFinalizersRemaining, corev1.ConditionTrue, "SomeFinalizersRemain",
			"Some content in the namespace has finalizers remaining: "+list(left.finalizers, "%s in %d resource instances"))
	} else {
		set(corev1.NamespaceFinalizersRemaining, corev1.ConditionFalse, "ContentHasNoFinalizers", "All content-preserving finalizers finished")
	}
	return out
}

func list(counts map[string]int, format string) string {
	var items []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		items = append(items, fmt.Sprintf(format, name, counts[name]))
	}
	return strings.Join(items, ", ")
}
