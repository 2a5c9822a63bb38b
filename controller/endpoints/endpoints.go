// Package endpoints keeps, for every Service that has a selector, the Endpoints object of the same name in line with
// the pods that match: their addresses, their ports as the Service's target ports name them, and whether they are
// ready.
//
// Endpoints of Services without a selector are their author's. The computation (subsets) is pure; the pods it works on
// are projections, decoded once per version.
package endpoints

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
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
	client client.Client
	events *client.Recorder
	pods   *controller.Projection[pod]

	mu       sync.Mutex
	services map[string]map[string]*service // by namespace and name: those with a selector
}

// service is what is remembered of a Service.
type service struct {
	selector labels.Selector
	created  time.Time            // of the service's trigger, once seen
	pods     map[string]time.Time // when the readiness of each of its pods last changed
}

// New returns the controller. Its events are written to rec.
func New(c client.Client, rec *client.Recorder) *controller.Controller {
	r := &reconciler{
		client: controller.Fresh(c), events: rec, pods: controller.NewProjection[pod](),
		services: map[string]map[string]*service{},
	}
	return controller.New("endpoint", r).For(api.Services).
		Watches(api.Services, r.service).Watches(api.Pods, r.pod).
		Watches(api.Endpoints, func(e api.Event) []controller.Request {
			if e.Old != nil && e.New != nil {
				return nil
			}
			return []controller.Request{{Key: e.Record().Key()}}
		}).Workers(5).Coalesce(interval)
}

// service learns a Service's selector.
func (r *reconciler) service(e api.Event) []controller.Request {
	rec := e.Record()
	ns, name := rec.Namespace(), rec.Name()
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.New == nil {
		delete(r.services[ns], name)
		if len(r.services[ns]) == 0 {
			delete(r.services, ns)
		}
		return []controller.Request{{Key: api.Key{Namespace: ns, Name: deletedService + name}}}
	}
	svc, err := client.Services.Decode(rec)
	if err != nil || svc.Spec.Selector == nil {
		delete(r.services[ns], name)
		return nil
	}
	if r.services[ns] == nil {
		r.services[strings.Clone(ns)] = map[string]*service{}
	}
	s := r.services[ns][name]
	if s == nil {
		s = &service{pods: map[string]time.Time{}}
		r.services[ns][svc.Name] = s
	}
	s.selector = labels.SelectorFromValidatedSet(svc.Spec.Selector)
	return nil
}

// pod finds the Services that a pod belongs to, or did.
func (r *reconciler) pod(e api.Event) (reqs []controller.Request) {
	ns := e.Record().Namespace()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, s := range r.services[ns] {
		if e.New != nil && s.selector.Matches(e.New) || e.Old != nil && s.selector.Matches(e.Old) {
			reqs = append(reqs, controller.Request{Key: api.Key{Namespace: ns, Name: name}})
		}
	}
	return reqs
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
		r.pods.Forget(key.String())
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
		return controller.Result{}, nil
	}
	pods, err := r.matching(v, svc)
	if err != nil {
		return controller.Result{}, err
	}
	return controller.Result{}, r.write(ctx, svc, current, want(svc, current, pods, r.trigger(svc, pods)))
}

// matching are the pods that the Service selects, ordered by name.
func (r *reconciler) matching(v client.View, svc *corev1.Service) (pods []*pod, err error) {
	selector := labels.SelectorFromValidatedSet(svc.Spec.Selector)
	selected := func(yield func(*api.Record) bool) {
		for rec := range v.All(api.Pods, svc.Namespace) {
			if selector.Matches(rec) && !yield(rec) {
				return
			}
		}
	}
	err = r.pods.Each(client.KeyOf(svc).String(), selected, func(_ *api.Record, p *pod) { pods = append(pods, p) })
	return pods, err
}

// trigger is the earliest of the changes since the last reconcile that the Endpoints now follow; zero when unknown.
func (r *reconciler) trigger(svc *corev1.Service, pods []*pod) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.services[svc.Namespace][svc.Name]
	if s == nil {
		return time.Time{}
	}
	var first time.Time
	note := func(t, last time.Time) {
		if t.After(last) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	now := make(map[string]time.Time, len(pods))
	for _, p := range pods {
		_, since := p.readiness()
		note(since, s.pods[p.Metadata.Name])
		now[p.Metadata.Name] = since
	}
	note(svc.CreationTimestamp.Time, s.created)
	s.created, s.pods = svc.CreationTimestamp.Time, now
	return first
}

// want is the Service's Endpoints as they should be, given what they are (nil: there are none).
func want(svc *corev1.Service, current *corev1.Endpoints, pods []*pod, trigger time.Time) *corev1.Endpoints {
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
