// Package endpointslice keeps EndpointSlices: for every Service that has a selector those of the pods that match, and, in
// a second controller (NewMirroring), for every Service without one those of the Endpoints that somebody made for it.
//
// Both say what endpoints there are to be as groups (groupsOf, mirroredGroups); plan, which is pure, distributes them over
// slices so that few of them change. Slices that neither controller made are nobody's business here. The hints of topology
// mode Auto are not given.
package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/backends"
)

const (
	managedBy         = "endpointslice-controller.k8s.io"
	endpointsPerSlice = 100
	interval          = 20 * time.Millisecond // least time between two reconciles of one Service
	// restPerPod is how much longer that is for each of its pods, up to longestRest.
	restPerPod  = 100 * time.Microsecond
	longestRest = time.Second
)

type reconciler struct {
	client   client.Client
	events   *client.Recorder
	backends *backends.Index
	slices   *controller.Projection[discoveryv1.EndpointSlice]
}

// New returns the controller of the EndpointSlices of Services with a selector. Its events are written to rec.
func New(c client.Client, rec *client.Recorder, pods *backends.Pods) *controller.Controller {
	r := &reconciler{
		client: controller.Fresh(c), events: rec, backends: backends.New(pods),
		slices: controller.NewProjection[discoveryv1.EndpointSlice](),
	}
	return r.backends.Watch(controller.New("endpointslice", r)).For(api.Services).
		Watches(api.EndpointSlices, services(managedBy)).Workers(5).Coalesce(interval)
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	svc, err := client.Services.In(v, req.Key)
	if err != nil {
		return controller.Result{}, err
	}
	// The garbage collector takes the slices of a Service that is gone, those of one that is changed stay.
	if svc == nil || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.Selector == nil {
		r.backends.Forget(req.Key)
		r.slices.Forget(req.Key.String())
		return controller.Result{}, nil
	}
	pods, err := r.backends.Pods(v, svc)
	if err != nil {
		return controller.Result{}, err
	}
	existing, err := slicesOf(v, r.slices, req.Key, managedBy)
	if err != nil {
		return controller.Result{}, err
	}
	groups, homeless := groupsOf(svc, pods, zonesIn(v))
	owner := controller.Owner{APIVersion: "v1", Kind: "Service", Object: svc}
	w := writer{r.client, r.backends.Trigger(svc, pods), svc.DeletionTimestamp != nil}
	err = w.write(ctx, plan(sourceOf(svc, owner.Reference()), groups, existing))
	for _, pod := range homeless { // until the node is there, or the pod is gone
		err = errors.Join(err, fmt.Errorf("skipping Pod %s for Service %s: its node was not found", pod, req.Key))
	}
	if err != nil && !api.IsConflict(err) {
		r.events.Warning(client.Reference(svc), "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service %s: %v", req.Key, err)
	}
	return controller.Result{Rest: min(interval+time.Duration(len(pods))*restPerPod, longestRest)}, err
}

// zonesIn looks nodes up in a view.
func zonesIn(v client.View) zones {
	type node struct {
		zone  *string
		known bool
	}
	seen := map[string]node{}
	return func(name string) (*string, bool) {
		n, ok := seen[name]
		if ok {
			return n.zone, n.known
		}
		if rec := v.Get(api.Nodes, api.Key{Name: name}); rec != nil {
			n.known = true
			if zone := rec.Get(corev1.LabelTopologyZone); zone != "" {
				n.zone = &zone
			}
		}
		seen[name] = n
		return n.zone, n.known
	}
}
