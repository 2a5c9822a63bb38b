package endpointslice

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

// services maps events of slices that a controller made, or made before somebody changed the label, to the Services that
// they are for.
func services(managedBy string) func(api.Event) []controller.Request {
	return func(e api.Event) (reqs []controller.Request) {
		for _, rec := range []*api.Record{e.Old, e.New} {
			if rec == nil || rec.Get(discoveryv1.LabelManagedBy) != managedBy {
				continue
			}
			key := api.Key{Namespace: rec.Namespace(), Name: rec.Get(discoveryv1.LabelServiceName)}
			if key.Name != "" && (len(reqs) == 0 || reqs[0].Key != key) {
				reqs = append(reqs, controller.Request{Key: key})
			}
		}
		return reqs
	}
}

// slicesOf are the slices that a controller made for a Service, by name, without those being deleted. They must not be
// changed.
func slicesOf(v client.View, decoded *controller.Projection[discoveryv1.EndpointSlice], service api.Key, managedBy string) (list []*discoveryv1.EndpointSlice, err error) {
	recs := func(yield func(*api.Record) bool) {
		for rec := range v.ByIndex(api.EndpointSlices, api.Index{Name: api.IndexService, Value: service.String()}) {
			if rec.Get(discoveryv1.LabelManagedBy) == managedBy && !rec.Is(api.Deleting) && !yield(rec) {
				return
			}
		}
	}
	err = decoded.Each(service.String(), recs, func(_ *api.Record, s *discoveryv1.EndpointSlice) { list = append(list, s) })
	return list, err
}

// writer carries out changes.
type writer struct {
	client  client.Client
	trigger time.Time // what the slices tell to be the time of the change; zero for none
	// ending says that what slices are for is being deleted: none are made, so that the garbage collector is not outrun.
	ending bool
}

func (w *writer) write(ctx context.Context, c changes) error {
	if !w.ending {
		for _, s := range c.create {
			w.stamp(s)
			_, err := client.EndpointSlices.Create(ctx, w.client, s)
			if controller.NamespaceGone(err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("failed to create EndpointSlice for Service %s/%s: %w", s.Namespace, s.Labels[discoveryv1.LabelServiceName], err)
			}
		}
	}
	for _, s := range c.update {
		w.stamp(s)
		if _, err := client.EndpointSlices.Update(ctx, w.client, s); err != nil {
			return fmt.Errorf("failed to update EndpointSlice %s: %w", client.KeyOf(s), err)
		}
	}
	for _, s := range c.remove {
		if _, err := client.EndpointSlices.Delete(ctx, w.client, client.KeyOf(s), client.IfUID(s.UID)); err != nil && !api.IsNotFound(err) {
			return fmt.Errorf("failed to delete EndpointSlice %s: %w", client.KeyOf(s), err)
		}
	}
	return nil
}

// stamp notes the time of the change.
func (w *writer) stamp(s *discoveryv1.EndpointSlice) {
	switch {
	case w.trigger.IsZero():
		delete(s.Annotations, corev1.EndpointsLastChangeTriggerTime)
	case s.Annotations == nil:
		s.Annotations = map[string]string{}
		fallthrough
	default:
		s.Annotations[corev1.EndpointsLastChangeTriggerTime] = w.trigger.UTC().Format(time.RFC3339Nano)
	}
}
