package endpointslice

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/backends"
	"pintle.dev/controller/controllertest"
)

// running is controllers at work in a bubble of fake time.
type running struct {
	*testing.T
	api *controllertest.API
}

func run(t *testing.T, build func(client.Client, *client.Recorder) *controller.Controller, test func(r *running)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := controllertest.New()
		rec := client.NewRecorder(c, "test", "")
		set := controller.NewSet(c, build(c, rec))
		done := make(chan error, 1)
		go func() { done <- set.Run(ctx) }()
		test(&running{t, c})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func newController(c client.Client, rec *client.Recorder) *controller.Controller {
	return New(c, rec, backends.NewPods())
}

// slices are those of a Service, once the controllers have come to rest.
func (r *running) slices(service string) (list []*discoveryv1.EndpointSlice) {
	r.Helper()
	time.Sleep(5 * time.Second)
	synctest.Wait()
	list, err := client.EndpointSlices.List(r.Context(), r.api, client.Options{Namespace: "ns", Labels: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		r.Fatal(err)
	}
	return list
}

// check wants the slices of the Service "s" to be as describe writes them, without their names.
func (r *running) check(what, want string) *discoveryv1.EndpointSlice {
	r.Helper()
	list := r.slices("s")
	got := describe(changes{create: list})
	if got != want {
		r.Errorf("%s: %q, want %q", what, got, want)
	}
	if len(list) == 0 {
		return &discoveryv1.EndpointSlice{}
	}
	return list[0]
}

func (r *running) patch(res api.Resource, name, sub, body string) {
	r.Helper()
	ch := client.Change{Verb: api.Patch, Resource: res, Key: api.Key{Namespace: "ns", Name: name}, Subresource: sub, Patch: []byte(body), PatchType: types.MergePatchType}
	if _, err := r.api.Commit(r.Context(), ch); err != nil {
		r.Fatal(err)
	}
}

func (r *running) delete(res api.Resource, name string) {
	r.Helper()
	if _, err := r.api.Commit(r.Context(), client.Change{Verb: api.Delete, Resource: res, Key: api.Key{Namespace: "ns", Name: name}}); err != nil {
		r.Fatal(err)
	}
}

func TestController(t *testing.T) {
	run(t, newController, func(r *running) {
		r.api.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{corev1.LabelTopologyZone: "z"}}})
		r.api.Create(newService(numbered("", 80)))
		r.api.Create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "by-hand"}})
		s := r.check("no pods", "+")
		if s.Labels["l"] != "v" || s.Labels[discoveryv1.LabelManagedBy] != managedBy || s.Annotations[corev1.EndpointsLastChangeTriggerTime] == "" ||
			!strings.HasPrefix(s.Name, "s-") || len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "u" || s.OwnerReferences[0].Kind != "Service" {
			t.Errorf("metadata %+v", s.ObjectMeta)
		}
		r.api.Create(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{"app": "x"}},
			Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c"}}},
		})
		r.check("pod without an address", "+")
		r.patch(api.Pods, "p", "status", `{"status":{"podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}`)
		r.check("not ready", "+ :80 !10.0.0.1")
		r.patch(api.Pods, "p", "status", `{"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2000-01-01T00:00:01Z"}]}}`)
		s = r.check("ready", "+ :80 10.0.0.1")
		if *s.Endpoints[0].Zone != "z" || *s.Endpoints[0].NodeName != "n" || s.Annotations[corev1.EndpointsLastChangeTriggerTime] != "2000-01-01T00:00:01Z" {
			t.Errorf("slice %+v", s)
		}
		writes := len(r.api.Commits())
		r.patch(api.Pods, "p", "", `{"metadata":{"annotations":{"a":"b"}}}`)
		if r.slices("s"); len(r.api.Commits()) != writes+1 {
			t.Error("a change that does not matter was answered with a write")
		}
		r.patch(api.EndpointSlices, s.Name, "", `{"endpoints":[]}`)
		r.check("emptied by somebody", "+ :80 10.0.0.1")
		r.patch(api.EndpointSlices, s.Name, "", `{"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"me"}}}`)
		if got := len(r.slices("s")); got != 2 {
			t.Errorf("%d slices, want one for that which was taken away", got)
		}
		r.delete(api.EndpointSlices, s.Name)
		s = r.check("deleted by somebody else", "+ :80 10.0.0.1")
		r.delete(api.EndpointSlices, s.Name)
		r.check("deleted", "+ :80 10.0.0.1")
		r.patch(api.Services, "s", "", `{"metadata":{"labels":{"l":"w"}},"spec":{"clusterIP":"None"}}`)
		s = r.check("relabelled", "+ :80 10.0.0.1")
		if _, headless := s.Labels[corev1.IsHeadlessService]; !headless || s.Labels["l"] != "w" {
			t.Errorf("labels %v", s.Labels)
		}
		r.patch(api.Pods, "p", "", `{"metadata":{"labels":{"app":"y"}}}`)
		r.check("no longer selected", "+")
		r.patch(api.Services, "s", "", `{"spec":{"selector":{"app":"y"}}}`)
		r.check("selected again", "+ :80 10.0.0.1")
		if got := r.slices("by-hand"); len(got) > 0 {
			t.Errorf("slices of a Service without a selector: %+v", got)
		}
		r.delete(api.Services, "s")
		writes = len(r.api.Commits())
		if r.slices("s"); len(r.api.Commits()) != writes {
			t.Error("slices of a Service that is gone were not left to the garbage collector")
		}
	})
}

// A pod whose node is not there yet is left out, told of, and tried again.
func TestNodeComesLater(t *testing.T) {
	run(t, newController, func(r *running) {
		r.api.Create(newService(numbered("", 80)))
		r.api.Create(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{"app": "x"}},
			Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c"}}},
			Status:     corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}},
		})
		r.check("without the node", "+")
		r.api.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
		time.Sleep(time.Hour) // more than any back-off
		r.check("with the node", "+ :80 !10.0.0.1")
		events, err := client.Events.List(r.Context(), r.api, client.Options{})
		if err != nil || !slices.ContainsFunc(events, func(e *corev1.Event) bool {
			return e.Reason == "FailedToUpdateEndpointSlices" && strings.Contains(e.Message, "skipping Pod p for Service ns/s: its node was not found")
		}) {
			t.Errorf("%v, events %v", err, events)
		}
	})
}

func TestMirroring(t *testing.T) {
	run(t, NewMirroring, func(r *running) {
		r.api.Create(&corev1.Endpoints{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", Labels: map[string]string{"l": "v"}, Annotations: map[string]string{"a": "b"}},
			Subsets:    []corev1.EndpointSubset{subsetOf("10.0.0.1 !10.0.0.2", 80)},
		})
		r.check("without a Service", "")
		r.api.Create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}})
		const all = "+ :p80-80 10.0.0.1 !10.0.0.2"
		s := r.check("with one", all)
		if s.Labels["l"] != "v" || s.Labels[discoveryv1.LabelManagedBy] != mirroredBy || s.Annotations["a"] != "b" || s.OwnerReferences[0].Kind != "Endpoints" {
			t.Errorf("metadata %+v", s.ObjectMeta)
		}
		writes := len(r.api.Commits())
		if r.slices("s"); len(r.api.Commits()) != writes {
			t.Error("writes without end")
		}
		r.patch(api.Endpoints, "s", "", `{"metadata":{"annotations":{"a":"c"}},"subsets":[{"addresses":[{"ip":"10.0.0.3"}]}]}`)
		if s = r.check("changed", "+ 10.0.0.3"); s.Annotations["a"] != "c" {
			t.Errorf("annotations %v", s.Annotations)
		}
		for what, body := range map[string][2]string{
			"skip-mirror": {`{"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":"true"}}}`, `{"metadata":{"labels":{"endpointslice.kubernetes.io/skip-mirror":null}}}`},
			"a lock":      {`{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":"x"}}}`, `{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":null}}}`},
		} {
			r.patch(api.Endpoints, "s", "", body[0])
			r.check(what, "")
			r.patch(api.Endpoints, "s", "", body[1])
			r.check("no longer "+what, "+ 10.0.0.3")
		}
		r.patch(api.Services, "s", "", `{"spec":{"selector":{"app":"x"}}}`)
		r.check("Service with a selector", "")
		r.patch(api.Services, "s", "", `{"spec":{"selector":null}}`)
		r.check("Service without a selector", "+ 10.0.0.3")
		r.delete(api.Endpoints, "s")
		r.check("endpoints deleted", "")
	})
}

// Nothing is made for a Service that is being deleted, which the garbage collector would have to run after.
func TestServiceBeingDeleted(t *testing.T) {
	run(t, newController, func(r *running) {
		s, now := newService(numbered("", 80)), metav1.Now()
		s.Finalizers, s.DeletionTimestamp = []string{"example.com/held"}, &now
		r.api.Create(s)
		r.check("being deleted", "")
	})
}

// A slice that somebody deleted, and that a finalizer holds, is as good as gone.
func TestSliceBeingDeleted(t *testing.T) {
	run(t, newController, func(r *running) {
		r.api.Create(newService(numbered("", 80)))
		held := r.check("no pods", "+")
		r.patch(api.EndpointSlices, held.Name, "", `{"metadata":{"finalizers":["example.com/held"]}}`)
		r.delete(api.EndpointSlices, held.Name)
		list := r.slices("s")
		if len(list) != 2 || (list[0].DeletionTimestamp == nil) == (list[1].DeletionTimestamp == nil) {
			t.Errorf("slices %+v, want one being deleted and one in its place", list)
		}
	})
}

// A refused write is told of and tried again; one in a namespace that is going is neither.
func TestRefusedWrites(t *testing.T) {
	run(t, newController, func(r *running) {
		refused := 0
		refuse := func(reason error) {
			refused = 0
			r.api.Before(func(c client.Change) error {
				if c.Resource != api.EndpointSlices {
					return nil
				}
				refused++
				return reason
			})
		}
		refuse(api.NotFound(api.Namespaces, "ns"))
		told := func() int {
			t.Helper()
			events, err := client.Events.List(r.Context(), r.api, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return len(events)
		}
		r.api.Create(newService(numbered("", 80)))
		r.check("namespace is gone", "")
		if refused != 1 || told() > 0 {
			t.Errorf("%d writes, %d events", refused, told())
		}
		refuse(api.Conflict(api.EndpointSlices, "x", errors.New("lost a race")))
		r.patch(api.Services, "s", "", `{"metadata":{"labels":{"l":"u"}}}`)
		r.check("lost a race", "")
		if refused < 2 || told() > 0 {
			t.Errorf("%d writes, %d events", refused, told())
		}
		refuse(api.NewError(403, metav1.StatusReasonForbidden, "no"))
		r.patch(api.Services, "s", "", `{"metadata":{"labels":{"l":"w"}}}`)
		r.check("forbidden", "")
		if refused < 2 || told() == 0 {
			t.Errorf("%d writes, %d events", refused, told())
		}
		refuse(nil)
		time.Sleep(time.Hour) // more than any back-off
		r.check("allowed", "+")
	})
}
