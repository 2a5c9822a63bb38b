// Package endpoints keeps, for every Service that has a selector, the Endpoints object of the same name in line with
// the pods that match: their addresses, their ports as the Service's target ports name them, and whether they are
// ready.
//
// Endpoints of Services without a selector are their author's. The computation (subsets) is pure; the pods it works on
// are projections (package backends).
package endpoints

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/backends"
)

const (
	managedByLabel  = "endpoints.kubernetes.io/managed-by"
	managedBy       = "endpoint-controller"
	truncated       = "truncated"
	nanos           = time.RFC3339Nano
	interval        = 20 * time.Millisecond // least time between two writes of one Endpoints object
	deletedService  = "\x00"                // begins the name of a Request about a Service that has been deleted
	triggerTimeNote = corev1.EndpointsLastChangeTriggerTime
)

type reconciler struct {
	client   client.Client
	events   *client.Recorder
	backends *backends.Index
}

// New returns the controller. Its events are written to rec.
func New(c client.Client, rec *client.Recorder, pods *backends.Pods) *controller.Controller {
	r := &reconciler{client: controller.Fresh(c), events: rec, backends: backends.New(pods)}
	return r.backends.Watch(controller.New("endpoint", r)).For(api.Services).
		Watches(api.Services, func(e api.Event) []controller.Request {
			return []controller.Request{{Key: api.Key{Namespace: e.Old.Namespace(), Name: deletedService + e.Old.Name()}}}
		}, controller.Deleted).
		Watches(api.Endpoints, func(e api.Event) []controller.Request {
			if e.Old != nil && e.New != nil {
				return nil
			}
			return []controller.Request{{Key: e.Record().Key()}}
		}).Workers(5).Coalesce(interval)
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	key := req.Key
	name, deleted := strings.CutPrefix(key.Name, deletedService)
	key.Name = name
	svc, err := client.Services.In(v, key)
	if err != nil {
		return controller.Result{}, err
	}
	current, err := client.Endpoints.In(v, key)
	if err != nil {
		return controller.Result{}, err
	}
	if svc == nil {
		r.backends.Forget(key)
		// Endpoints that somebody made for no Service are theirs.
		if current == nil || !deleted && current.Labels[managedByLabel] != managedBy {
			return controller.Result{}, nil
		}
		if _, err := client.Endpoints.Delete(ctx, r.client, key, client.IfUID(current.UID)); err != nil && !api.IsNotFound(err) {
			return controller.Result{}, fmt.Errorf("deleting endpoints %s of a service that is gone: %w", key, err)
		}
		return controller.Result{}, nil
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.Selector == nil {
		r.backends.Forget(key)
		return controller.Result{}, nil
	}
	pods, err := r.backends.Pods(v, svc)
	if err != nil {
		return controller.Result{}, err
	}
	return controller.Result{}, r.write(ctx, svc, current, want(svc, current, pods, r.backends.Trigger(svc, pods)))
}

// want is the Service's Endpoints as they should be, given what they are (nil: there are none).
func want(svc *corev1.Service, current *corev1.Endpoints, pods []*backends.Pod, trigger time.Time) *corev1.Endpoints {
	e := &corev1.Endpoints{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Endpoints"},
		ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name},
	}
	if current != nil {
		e.ObjectMeta = *current.ObjectMeta.DeepCopy()
	}
	e.Subsets = subsets(svc, pods)
	if e.Annotations == nil {
		e.Annotations = map[string]string{}
	}
	delete(e.Annotations, triggerTimeNote)
	if !trigger.IsZero() {
		e.Annotations[triggerTimeNote] = trigger.UTC().Format(nanos)
	}
	delete(e.Annotations, corev1.EndpointsOverCapacity)
	if truncate(e.Subsets) {
		e.Annotations[corev1.EndpointsOverCapacity] = truncated
	}
	e.Labels = maps.Clone(svc.Labels)
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	delete(e.Labels, corev1.IsHeadlessService)
	if svc.Spec.ClusterIP == corev1.ClusterIPNone || svc.Spec.ClusterIP == "" {
		e.Labels[corev1.IsHeadlessService] = ""
	}
	e.Labels[managedByLabel] = managedBy
	return e
}

// same reports whether Endpoints differ in nothing but the time of the change.
func same(a, b *corev1.Endpoints) bool {
	return maps.Equal(a.Labels, b.Labels) && a.Annotations[corev1.EndpointsOverCapacity] == b.Annotations[corev1.EndpointsOverCapacity] &&
		slices.EqualFunc(a.Subsets, b.Subsets, func(x, y corev1.EndpointSubset) bool { return equality.Semantic.DeepEqual(&x, &y) })
}

func (r *reconciler) write(ctx context.Context, svc *corev1.Service, current, want *corev1.Endpoints) error {
	if current == nil {
		_, err := client.Endpoints.Create(ctx, r.client, want)
		if err == nil || controller.NamespaceGone(err) {
			return nil
		}
		r.events.Warning(about(svc, want), "FailedToCreateEndpoint", "Failed to create endpoint for service %s/%s: %v", svc.Namespace, svc.Name, err)
		return fmt.Errorf("creating endpoints of service %s: %w", client.KeyOf(svc), err)
	}
	if same(current, want) {
		return nil
	}
	if _, err := client.Endpoints.Update(ctx, r.client, want); err != nil {
		if !api.IsConflict(err) {
			r.events.Warning(about(svc, want), "FailedToUpdateEndpoint", "Failed to update endpoint %s/%s: %v", svc.Namespace, svc.Name, err)
		}
		return fmt.Errorf("updating endpoints of service %s: %w", client.KeyOf(svc), err)
	}
	return nil
}

func about(svc *corev1.Service, e *corev1.Endpoints) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Endpoints", Namespace: svc.Namespace, Name: svc.Name, UID: e.UID}
}
