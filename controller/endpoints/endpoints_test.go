package endpoints

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/backends"
	"pintle.dev/controller/controllertest"
)

// p makes a projected pod at an address, not ready when its name starts with "not".
func p(name string, ips ...string) *backends.Pod {
	o := &backends.Pod{}
	o.Metadata.Namespace, o.Metadata.Name, o.Metadata.UID = "ns", name, types.UID(name)
	o.Spec.NodeName = "node"
	o.Status.Phase = corev1.PodRunning
	for _, ip := range ips {
		o.Status.PodIPs = append(o.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	if len(ips) > 0 {
		o.Status.PodIP = ips[0]
	}
	o.Spec.Containers = []backends.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}}}}
	status := corev1.ConditionTrue
	if strings.HasPrefix(name, "not") {
		status = corev1.ConditionFalse
	}
	o.Status.Conditions = []backends.Condition{{Type: corev1.PodReady, Status: status}}
	return o
}

func svc(ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.5", Selector: map[string]string{"app": "x"}, Ports: ports},
	}
}

func numbered(name string, n int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(n)}
}

func named(name, target string) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString(target)}
}

// describe writes subsets as "ready !notready :port" separated by "; ", sorted, as their order is that of hashes.
func describe(ss []corev1.EndpointSubset) string {
	var out []string
	for _, s := range ss {
		var parts, ports []string
		for _, a := range s.Addresses {
			parts = append(parts, a.IP)
		}
		for _, a := range s.NotReadyAddresses {
			parts = append(parts, "!"+a.IP)
		}
		for _, p := range s.Ports {
			ports = append(ports, fmt.Sprintf(":%s%d", p.Name, p.Port))
		}
		slices.Sort(ports)
		out = append(out, strings.Join(append(parts, ports...), " "))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func TestSubsets(t *testing.T) {
	change := func(s *corev1.Service, f func(*corev1.Service)) *corev1.Service { f(s); return s }
	pc := func(o *backends.Pod, f func(*backends.Pod)) *backends.Pod { f(o); return o }
	now := metav1.Now()
	terminating := func(o *backends.Pod) { o.Metadata.DeletionTimestamp = &now }
	always := corev1.ContainerRestartPolicyAlways
	for _, tt := range []struct {
		name string
		svc  *corev1.Service
		pods []*backends.Pod
		want string
	}{
		{"no pods", svc(numbered("", 80)), nil, ""},
		{"ready and not, by address", svc(numbered("", 80)), []*backends.Pod{p("b", "10.0.0.10"), p("a", "10.0.0.9"), p("not", "10.0.0.1")}, "10.0.0.9 10.0.0.10 !10.0.0.1 :80"},
		{"two ports", svc(numbered("a", 80), numbered("b", 443)), []*backends.Pod{p("a", "10.0.0.1")}, "10.0.0.1 :a80 :b443"},
		{"named port", svc(named("", "web")), []*backends.Pod{p("a", "10.0.0.1")}, "10.0.0.1 :8080"},
		{"named port with another number elsewhere", svc(named("", "web")), []*backends.Pod{p("a", "10.0.0.1"), pc(p("b", "10.0.0.2"), func(o *backends.Pod) { o.Spec.Containers[0].Ports[0].ContainerPort = 9090 })}, "10.0.0.1 :8080; 10.0.0.2 :9090"},
		{"named port that the pod does not have", svc(named("", "db")), []*backends.Pod{p("a", "10.0.0.1")}, ""},
		{"named port of another protocol", svc(named("", "web")), []*backends.Pod{pc(p("a", "10.0.0.1"), func(o *backends.Pod) { o.Spec.Containers[0].Ports[0].Protocol = corev1.ProtocolUDP })}, ""},
		{"named port of a sidecar", svc(named("", "side")), []*backends.Pod{pc(p("a", "10.0.0.1"), func(o *backends.Pod) {
			o.Spec.InitContainers = []backends.Container{{RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "side", ContainerPort: 1, Protocol: corev1.ProtocolTCP}}}}
		})}, "10.0.0.1 :1"},
		{"named port of an init container", svc(named("", "side")), []*backends.Pod{pc(p("a", "10.0.0.1"), func(o *backends.Pod) {
			o.Spec.InitContainers = []backends.Container{{Ports: []corev1.ContainerPort{{Name: "side", ContainerPort: 1, Protocol: corev1.ProtocolTCP}}}}
		})}, ""},
		{"without an address, ended, ending", svc(numbered("", 80)), []*backends.Pod{p("a"), pc(p("b", "10.0.0.2"), func(o *backends.Pod) { o.Status.Phase = corev1.PodSucceeded }), pc(p("c", "10.0.0.3"), terminating)}, ""},
		{"publishNotReadyAddresses", change(svc(numbered("", 80)), func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = true }),
			[]*backends.Pod{p("not", "10.0.0.1"), pc(p("c", "10.0.0.3"), terminating)}, "10.0.0.1 10.0.0.3 :80"},
		{"headless without ports", change(svc(), func(s *corev1.Service) { s.Spec.ClusterIP = "None" }), []*backends.Pod{p("a", "10.0.0.1"), p("not", "10.0.0.2")}, "10.0.0.1 !10.0.0.2"},
		{"the Service's family", change(svc(numbered("", 80)), func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} }),
			[]*backends.Pod{p("dual", "10.0.0.1", "fd00::1"), p("four", "10.0.0.2")}, "fd00::1 :80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(subsets(tt.svc, tt.pods)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}

	a := p("a", "10.0.0.1")
	a.Spec.Hostname, a.Spec.Subdomain = "h", "s"
	got := subsets(svc(numbered("", 80)), []*backends.Pod{a})[0].Addresses[0]
	if got.Hostname != "h" || *got.NodeName != "node" || got.TargetRef.Kind != "Pod" || got.TargetRef.Name != "a" || got.TargetRef.UID != "a" {
		t.Errorf("address %+v", got)
	}
}

func TestTruncate(t *testing.T) {
	for _, tt := range []struct{ ready, notReady, wantReady, wantNotReady int }{
		{600, 400, 600, 400}, {900, 300, 900, 100}, {1200, 300, 1000, 0},
	} {
		var pods []*backends.Pod
		for i := range tt.ready + tt.notReady {
			name := "a"
			if i >= tt.ready {
				name = "not"
			}
			o := p(fmt.Sprint(name, i), fmt.Sprintf("10.0.%d.%d", i/256, i%256))
			o.Spec.Containers[0].Ports[0].ContainerPort = int32(1000 + i%2) // two subsets
			pods = append(pods, o)
		}
		e := want(svc(named("", "web")), nil, pods, time.Time{})
		ready, notReady := 0, 0
		for _, s := range e.Subsets {
			ready += len(s.Addresses)
			notReady += len(s.NotReadyAddresses)
		}
		over := e.Annotations[corev1.EndpointsOverCapacity] == "truncated"
		if ready != tt.wantReady || notReady != tt.wantNotReady || over != (tt.ready+tt.notReady > capacity) {
			t.Errorf("%d ready and %d not: kept %d and %d, truncated %v", tt.ready, tt.notReady, ready, notReady, over)
		}
	}
}

func TestEndpointsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		rec := client.NewRecorder(c, "endpoint-controller", "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, rec, backends.NewPods())}) }()
		get := func(name string) *corev1.Endpoints {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			e, err := client.Endpoints.Get(ctx, c, api.Key{Namespace: "ns", Name: name})
			if err != nil {
				return &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: err.Error()}}
			}
			return e
		}
		check := func(what, want string) {
			t.Helper()
			if got := describe(get("s").Subsets); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		patch := func(r api.Resource, name, sub, body string) {
			t.Helper()
			if _, err := c.Commit(ctx, client.Change{Verb: api.Patch, Resource: r, Key: api.Key{Namespace: "ns", Name: name}, Subresource: sub, Patch: []byte(body), PatchType: types.MergePatchType}); err != nil {
				t.Fatal(err)
			}
		}
		s := svc(numbered("", 80))
		s.Labels = map[string]string{"l": "v"}
		c.Create(s)
		c.Create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "by-hand"}})
		c.Create(&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "by-hand"}, Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "1.2.3.4"}}}}})
		c.Create(&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "nobodys"}})
		c.Create(&corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "leftover", Labels: map[string]string{managedByLabel: managedBy}}})
		check("no pods", "")
		if e := get("s"); e.Labels["l"] != "v" || e.Labels[managedByLabel] != managedBy || e.Annotations[triggerTimeNote] == "" {
			t.Errorf("labels %v, annotations %v", e.Labels, e.Annotations)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{"app": "x"}}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c"}}}}
		c.Create(pod)
		check("pod without an address", "")
		patch(api.Pods, "p", "status", `{"status":{"podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}`)
		check("not ready", "!10.0.0.1 :80")
		patch(api.Pods, "p", "status", `{"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2000-01-01T00:00:01Z"}]}}`)
		check("ready", "10.0.0.1 :80")
		if got := get("s").Annotations[triggerTimeNote]; got != "2000-01-01T00:00:01Z" {
			t.Errorf("trigger time %s", got)
		}
		writes := len(c.Commits())
		patch(api.Pods, "p", "", `{"metadata":{"annotations":{"a":"b"}}}`)
		if get("s"); len(c.Commits()) != writes+1 {
			t.Error("a change that does not matter was answered with a write")
		}
		patch(api.Pods, "p", "", `{"metadata":{"labels":{"app":"y"}}}`)
		check("label changed", "")
		patch(api.Services, "s", "", `{"spec":{"selector":{"app":"y"},"clusterIP":"None"}}`)
		check("selector changed", "10.0.0.1 :80")
		if _, ok := get("s").Labels[corev1.IsHeadlessService]; !ok {
			t.Error("no label on the endpoints of a headless service")
		}
		if _, err := client.Endpoints.Delete(ctx, c, api.Key{Namespace: "ns", Name: "s"}, nil); err != nil {
			t.Fatal(err)
		}
		check("endpoints deleted", "10.0.0.1 :80")
		if e := get("by-hand"); len(e.Subsets) != 1 || e.Labels[managedByLabel] != "" {
			t.Errorf("endpoints made by hand were changed: %+v", e)
		}
		for _, name := range []string{"s", "by-hand"} {
			if _, err := client.Services.Delete(ctx, c, api.Key{Namespace: "ns", Name: name}, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"s", "by-hand", "leftover"} {
			if e := get(name); e.Name != fmt.Sprintf("endpoints %q not found", name) {
				t.Errorf("endpoints of a service that is gone: %s", e.Name)
			}
		}
		if e := get("nobodys"); e.Name != "nobodys" {
			t.Errorf("endpoints of no service: %s", e.Name)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
