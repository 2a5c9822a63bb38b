package endpointslice

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"pintle.dev/controller/backends"
)

// newPod makes a ready pod on node n1 with a port "web", 8080.
func newPod(name string, ips ...string) *backends.Pod {
	p := &backends.Pod{}
	p.Metadata.Namespace, p.Metadata.Name, p.Metadata.UID = "ns", name, types.UID("uid-"+name)
	p.Spec.NodeName = "n1"
	p.Spec.Containers = []backends.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}}}}
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []backends.Condition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	for _, ip := range ips {
		p.Status.PodIP = ips[0]
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

func newService(ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "u", Labels: map[string]string{"l": "v"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.5", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Selector: map[string]string{"app": "x"}, Ports: ports,
		},
	}
}

func numbered(name string, n int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(n)}
}

func testZones(node string) (*string, bool) {
	switch node {
	case "n1":
		return ptr.To("z1"), true
	case "zoneless":
		return nil, true
	}
	return nil, false
}

// describeGroups writes groups as "type :port addresses", with "!" for not ready, "~" for serving and "x" for terminating
// before an address.
func describeGroups(groups []group) string {
	var out []string
	for i := range groups {
		g := &groups[i]
		words := []string{string(g.addressType)}
		for _, p := range g.ports {
			words = append(words, fmt.Sprintf(":%s%d", *p.Name, *p.Port))
		}
		for j := range g.endpoints {
			e, flags := &g.endpoints[j], ""
			if !*e.Conditions.Ready {
				flags += "!"
			}
			if *e.Conditions.Ready != *e.Conditions.Serving {
				flags += "~"
			}
			if *e.Conditions.Terminating {
				flags += "x"
			}
			words = append(words, flags+strings.Join(e.Addresses, ","))
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, "; ")
}

func TestGroups(t *testing.T) {
	service := func(f func(*corev1.ServiceSpec), ports ...corev1.ServicePort) *corev1.Service {
		s := newService(ports...)
		f(&s.Spec)
		return s
	}
	pod := func(p *backends.Pod, f func(*backends.Pod)) *backends.Pod { f(p); return p }
	now := metav1.Now()
	notReady := func(p *backends.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }
	terminating := func(p *backends.Pod) { p.Metadata.DeletionTimestamp = &now }
	publish := func(s *corev1.ServiceSpec) { s.PublishNotReadyAddresses = true }
	named := corev1.ServicePort{Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("web")}
	nowhere := func(p *backends.Pod) { p.Spec.NodeName = "gone" }
	for _, c := range []struct {
		name     string
		svc      *corev1.Service
		pods     []*backends.Pod
		want     string
		homeless string
	}{
		{"no pods", newService(numbered("", 80)), nil, "IPv4", ""},
		{"ready and not", newService(numbered("", 80)), []*backends.Pod{newPod("a", "10.0.0.1"), pod(newPod("b", "10.0.0.2"), notReady)}, "IPv4 :80 10.0.0.1 !10.0.0.2", ""},
		{"terminating ones serve, but are not ready", newService(numbered("", 80)), []*backends.Pod{pod(newPod("a", "10.0.0.1"), terminating)}, "IPv4 :80 !~x10.0.0.1", ""},
		{"publishNotReadyAddresses", service(publish, numbered("", 80)), []*backends.Pod{pod(newPod("a", "10.0.0.1"), notReady), pod(newPod("b", "10.0.0.2"), terminating)}, "IPv4 :80 ~10.0.0.1 x10.0.0.2", ""},
		{"ended, without an address", newService(numbered("", 80)), []*backends.Pod{newPod("a"), pod(newPod("b", "10.0.0.2"), func(p *backends.Pod) { p.Status.Phase = corev1.PodFailed })}, "IPv4", ""},
		{"named port with another number elsewhere", newService(named), []*backends.Pod{newPod("a", "10.0.0.1"), pod(newPod("b", "10.0.0.2"), func(p *backends.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 9090 }), newPod("c", "10.0.0.3")},
			"IPv4 :8080 10.0.0.1 10.0.0.3; IPv4 :9090 10.0.0.2", ""},
		{"named port that the pod does not have", newService(numbered("a", 80), corev1.ServicePort{Name: "b", Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("db")}), []*backends.Pod{newPod("a", "10.0.0.1")}, "IPv4 :a80 10.0.0.1", ""},
		{"headless without ports", service(func(s *corev1.ServiceSpec) { s.ClusterIP = "None" }), []*backends.Pod{newPod("a", "10.0.0.1")}, "IPv4 10.0.0.1", ""},
		{"both families", service(func(s *corev1.ServiceSpec) {
			s.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
		}, numbered("", 80)),
			[]*backends.Pod{newPod("a", "10.0.0.1", "fd00::0:1"), newPod("b", "10.0.0.2")}, "IPv6 :80 fd00::1; IPv4 :80 10.0.0.1 10.0.0.2", ""},
		{"one of two families has pods", service(func(s *corev1.ServiceSpec) {
			s.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
		}, numbered("", 80)),
			[]*backends.Pod{newPod("a", "10.0.0.1")}, "IPv4 :80 10.0.0.1; IPv6", ""},
		{"families by the cluster IP", service(func(s *corev1.ServiceSpec) { s.IPFamilies, s.ClusterIP = nil, "fd00::5" }, numbered("", 80)), []*backends.Pod{newPod("a", "10.0.0.1", "fd00::1")}, "IPv6 :80 fd00::1", ""},
		{"families of a headless one from before there were such", service(func(s *corev1.ServiceSpec) { s.IPFamilies, s.ClusterIP = nil, "None" }), nil, "IPv4; IPv6", ""},
		{"node is gone", newService(numbered("", 80)), []*backends.Pod{pod(newPod("a", "10.0.0.1"), nowhere), newPod("b", "10.0.0.2")}, "IPv4 :80 10.0.0.2", "a"},
		{"node is gone, but wanted all the same", service(publish, numbered("", 80)), []*backends.Pod{pod(newPod("a", "10.0.0.1"), nowhere)}, "IPv4 :80 10.0.0.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, homeless := groupsOf(c.svc, c.pods, testZones)
			if got := describeGroups(groups); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := strings.Join(homeless, " "); got != c.homeless {
				t.Errorf("left out %q, want %q", got, c.homeless)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	svc := newService(numbered("", 80))
	p := newPod("a", "10.0.0.1")
	p.Spec.Hostname, p.Spec.Subdomain = "h", "s"
	groups, _ := groupsOf(svc, []*backends.Pod{p}, testZones)
	e := groups[0].endpoints[0]
	if *e.Hostname != "h" || *e.NodeName != "n1" || *e.Zone != "z1" || *e.TargetRef != (corev1.ObjectReference{Kind: "Pod", Namespace: "ns", Name: "a", UID: "uid-a"}) || e.Hints != nil {
		t.Errorf("endpoint %+v", e)
	}
	p.Spec.Subdomain, p.Spec.NodeName = "other", "zoneless"
	groups, _ = groupsOf(svc, []*backends.Pod{p}, testZones)
	if e = groups[0].endpoints[0]; e.Hostname != nil || e.Zone != nil {
		t.Errorf("endpoint %+v, want neither hostname nor zone", e)
	}
}

func TestHints(t *testing.T) {
	for _, c := range []struct {
		distribution, topology string
		ready                  bool
		zones, nodes           int
	}{
		{"", "", true, 0, 0},
		{"PreferClose", "", true, 1, 0},
		{"PreferSameZone", "", true, 1, 0},
		{"PreferSameNode", "", true, 1, 1},
		{"PreferSameNode", "", false, 0, 0},
		{"PreferSameNode", "Auto", true, 0, 0},
		{"PreferSameNode", "Disabled", true, 1, 1},
	} {
		svc := newService(numbered("", 80))
		svc.Annotations = map[string]string{corev1.AnnotationTopologyMode: c.topology}
		if c.distribution != "" {
			svc.Spec.TrafficDistribution = &c.distribution
		}
		p := newPod("a", "10.0.0.1")
		if !c.ready {
			p.Status.Conditions = nil
		}
		groups, _ := groupsOf(svc, []*backends.Pod{p}, testZones)
		h := ptr.Deref(groups[0].endpoints[0].Hints, discoveryv1.EndpointHints{})
		if len(h.ForZones) != c.zones || len(h.ForNodes) != c.nodes || c.zones > 0 && h.ForZones[0].Name != "z1" || c.nodes > 0 && h.ForNodes[0].Name != "n1" {
			t.Errorf("%+v: hints %+v", c, h)
		}
	}
}

func TestSourceOfService(t *testing.T) {
	svc := newService()
	svc.Labels = map[string]string{"l": "v", corev1.IsHeadlessService: "", discoveryv1.LabelManagedBy: "me", discoveryv1.LabelServiceName: "other"}
	want := map[string]string{"l": "v", discoveryv1.LabelManagedBy: managedBy, discoveryv1.LabelServiceName: "s"}
	if got := sourceOf(svc, metav1.OwnerReference{}); !maps.Equal(got.labels, want) {
		t.Errorf("labels %v, want %v", got.labels, want)
	}
	svc.Spec.ClusterIP = corev1.ClusterIPNone
	want[corev1.IsHeadlessService] = ""
	if got := sourceOf(svc, metav1.OwnerReference{}); !maps.Equal(got.labels, want) {
		t.Errorf("labels of a headless Service %v, want %v", got.labels, want)
	}
}

// Upstream's order of ports is that of digests, which no slice shows but by its order.
func TestPortOrder(t *testing.T) {
	ports := []corev1.ServicePort{numbered("http", 80), numbered("https", 443), numbered("metrics", 9090)}
	a := portsOf(newService(slices.Clone(ports)...), newPod("a"))
	slices.Reverse(ports)
	b := portsOf(newService(ports...), newPod("a"))
	if !slices.EqualFunc(a, b, func(x, y discoveryv1.EndpointPort) bool { return *x.Name == *y.Name && *x.Port == *y.Port }) {
		t.Error("the order of a Service's ports decides about that of its slices'")
	}
}
