// Package backends knows the pods behind Services, for the controllers that publish them as Endpoints and as
// EndpointSlices: which Services an event of a pod concerns, which pods a Service selects, and when what is published
// last had reason to change.
//
// Pods are projections (Pod), decoded once per version for all controllers, and only those that a Service selects. Nothing is
// published here.
package backends

import (
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

// Pods are the pods that Services select, by Service: the controllers of one process share them.
type Pods = controller.Projection[Pod]

// NewPods returns a projection that holds none yet.
func NewPods() *Pods { return controller.NewProjection[Pod]() }

// Index is what one controller knows of the Services that have a selector.
type Index struct {
	pods *Pods

	mu       sync.Mutex
	services map[string]map[string]*service // by namespace and name
}

// service is what is remembered of a Service.
type service struct {
	selector labels.Selector
	created  time.Time            // of the Service that was looked at last; zero before the first look
	pods     map[string]time.Time // when the readiness of each of its pods last changed
}

// New returns an Index that knows nothing yet.
func New(pods *Pods) *Index {
	return &Index{pods: pods, services: map[string]map[string]*service{}}
}

// Watch makes c feed the Index and reconcile the Services that a pod belongs to, or did. It is called before For: a Service
// that is reconciled before the Index knows it has no Trigger, and a pod that comes then is missed.
func (x *Index) Watch(c *controller.Controller) *controller.Controller {
	return c.Watches(api.Services, x.service).Watches(api.Pods, x.pod)
}

// service learns a Service's selector. That it is reconciled is the controller's own business.
func (x *Index) service(e api.Event) []controller.Request {
	rec := e.Record()
	ns, name := rec.Namespace(), rec.Name()
	x.mu.Lock()
	defer x.mu.Unlock()
	forget := func() {
		delete(x.services[ns], name)
		if len(x.services[ns]) == 0 {
			delete(x.services, ns)
		}
	}
	if e.New == nil {
		forget()
		return nil
	}
	svc, err := client.Services.Decode(rec)
	if err != nil || svc.Spec.Selector == nil {
		forget()
		return nil
	}
	if x.services[ns] == nil {
		x.services[svc.Namespace] = map[string]*service{}
	}
	s := x.services[ns][name]
	if s == nil {
		s = &service{}
		x.services[ns][svc.Name] = s
	}
	s.selector = labels.SelectorFromValidatedSet(svc.Spec.Selector)
	return nil
}

// pod finds the Services that a pod belongs to, or did.
func (x *Index) pod(e api.Event) (reqs []controller.Request) {
	ns := e.Record().Namespace()
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, s := range x.services[ns] {
		if e.New != nil && s.selector.Matches(e.New) || e.Old != nil && s.selector.Matches(e.Old) {
			reqs = append(reqs, controller.Request{Key: api.Key{Namespace: strings.Clone(ns), Name: name}})
		}
	}
	return reqs
}

// Pods are the pods that the Service selects, ordered by name.
func (x *Index) Pods(v client.View, svc *corev1.Service) (pods []*Pod, err error) {
	selector := labels.SelectorFromValidatedSet(svc.Spec.Selector)
	selected := func(yield func(*api.Record) bool) {
		for rec := range v.All(api.Pods, svc.Namespace) {
			if selector.Matches(rec) && !yield(rec) {
				return
			}
		}
	}
	err = x.pods.Each(client.KeyOf(svc).String(), selected, func(_ *api.Record, p *Pod) { pods = append(pods, p) })
	return pods, err
}

// Forget drops what is kept of the pods of a Service that is gone, or selects none any more.
func (x *Index) Forget(service api.Key) { x.pods.Forget(service.String()) }

// Trigger is the earliest of the changes that have come since the last call for the Service: what the annotation
// endpoints.kubernetes.io/last-change-trigger-time tells. It is the Service's creation at the first call, and zero when
// nothing has changed.
func (x *Index) Trigger(svc *corev1.Service, pods []*Pod) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.services[svc.Namespace][svc.Name]
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
		_, since := p.Readiness()
		note(since, s.pods[p.Metadata.Name])
		now[p.Metadata.Name] = since
	}
	created := svc.CreationTimestamp.Time
	note(created, s.created)
	if s.created.IsZero() {
		first = created
	}
	s.created, s.pods = created, now
	return first
}
