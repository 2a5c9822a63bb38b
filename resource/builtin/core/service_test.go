package core

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"pintle.dev/resource"
)

// service is a valid Service, changed.
func service(change func(s *corev1.ServiceSpec)) *corev1.Service {
	o := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	change(&o.Spec)
	defaultService(o)
	pairClusterIPs(&o.Spec, nil)
	return o
}

func TestServiceValidation(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *corev1.ServiceSpec)
		want   string
	}{
		"two protocols": {func(s *corev1.ServiceSpec) {
			s.Ports = []corev1.ServicePort{{Name: "a", Port: 53}, {Name: "b", Port: 53, Protocol: "UDP"}}
		}, ""},
		"the same port twice": {func(s *corev1.ServiceSpec) {
			s.Ports = []corev1.ServicePort{{Name: "a", Port: 53}, {Name: "b", Port: 53}}
		}, `spec.ports[1]: Duplicate value: {"protocol":"TCP","port":53,"targetPort":0}`},
		"distribution": {func(s *corev1.ServiceSpec) { s.TrafficDistribution = ptr.To("PreferClose") }, ""},
		"unknown distribution": {func(s *corev1.ServiceSpec) { s.TrafficDistribution = ptr.To("Far") },
			`spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"`},
		"health check port": {func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalTrafficPolicy, s.HealthCheckNodePort = "LoadBalancer", "Local", -1
		}, `spec.healthCheckNodePort: Invalid value: -1: must be between 1 and 65535, inclusive`},
	} {
		t.Run(name, func(t *testing.T) {
			errs := validateService(t.Context(), new(resource.Write), service(c.change), nil)
			got := ""
			if len(errs) > 0 {
				got = errs.ToAggregate().Error()
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestServiceWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *corev1.ServiceSpec)
		want   []string // beginnings
	}{
		"plain": {func(*corev1.ServiceSpec) {}, nil},
		"headless": {func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.LoadBalancerIP, s.ExternalIPs, s.SessionAffinity = "None", "1.2.3.4", []string{"1.2.3.5"}, corev1.ServiceAffinityClientIP
		}, nil},
		"leading zeros": {func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"1.2.3.005"} },
			[]string{`spec.externalIPs[0]: IP address was accepted, but will be invalid in a future Kubernetes release: ParseAddr("1.2.3.005"): IPv4 field has octet with leading zero`}},
		"no address": {func(s *corev1.ServiceSpec) { s.LoadBalancerIP = "x" },
			[]string{`spec.loadBalancerIP: IP address was accepted, but will be invalid in a future Kubernetes release: ParseAddr("x"): unable to parse IP`}},
		"long IPv6": {func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"2001:db8:0::1"} },
			[]string{`spec.externalIPs[0]: IPv6 address "2001:db8:0::1" is not in RFC 5952 canonical format ("2001:db8::1"), which may cause controller apply-loops`}},
		"ranges": {func(s *corev1.ServiceSpec) {
			s.Type, s.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"10.0.0.1/8", " 10.0.0.0/8", "2001:db8:0::/64"}
		}, []string{
			`spec.loadBalancerSourceRanges[1]: IP prefix was accepted, but will be invalid in a future Kubernetes release: netip.ParsePrefix(" 10.0.0.0/8")`,
			`spec.loadBalancerSourceRanges[2]: IPv6 prefix "2001:db8:0::/64" is not in RFC 5952 canonical format ("2001:db8::/64")`}},
		"external name": {func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName, s.ExternalIPs = corev1.ServiceTypeExternalName, "a.b", []string{"1.2.3.4"}
		}, []string{`spec.externalIPs is ignored when spec.type is "ExternalName"`}},
		"name of no use": {func(s *corev1.ServiceSpec) { s.ExternalName = "a.b" }, []string{`spec.externalName is ignored when spec.type is not "ExternalName"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := serviceWarnings(service(c.change))
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestServiceUpdate: what an update leaves out stays, what it changes is refused or dropped by the type.
func TestServiceUpdate(t *testing.T) {
	nodePorts := func(s *corev1.ServiceSpec) {
		s.Type = "NodePort"
		s.Ports = []corev1.ServicePort{{Name: "a", Port: 80, NodePort: 30001}, {Name: "b", Port: 81, NodePort: 30002}}
	}
	const classNeeds = "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"
	for name, c := range map[string]struct {
		old, change func(s *corev1.ServiceSpec)
		ports       []int32 // the node ports that come of it
		want        []string
	}{
		"addresses left out":     {nil, func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "", nil }, nil, nil},
		"one address left out":   {nil, func(s *corev1.ServiceSpec) { s.ClusterIPs = nil }, nil, nil},
		"another address":        {nil, func(s *corev1.ServiceSpec) { s.ClusterIP = "10.96.0.10" }, nil, []string{`spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: may not change once set`}},
		"only another address":   {nil, func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "10.96.0.10", nil }, nil, []string{`spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: may not change once set`}},
		"class of no balancer":   {nil, func(s *corev1.ServiceSpec) { s.LoadBalancerClass = ptr.To("x") }, nil, []string{classNeeds, classNeeds}},
		"node ports left out":    {nodePorts, func(s *corev1.ServiceSpec) { s.Ports[0].NodePort, s.Ports[1].NodePort = 0, 0 }, []int32{30001, 30002}, nil},
		"port of the same name":  {nodePorts, func(s *corev1.ServiceSpec) { s.Ports[0].Port, s.Ports[0].NodePort = 90, 0 }, []int32{30001, 30002}, nil},
		"port of another name":   {nodePorts, func(s *corev1.ServiceSpec) { s.Ports[0].Name, s.Ports[0].NodePort = "c", 0 }, []int32{0, 30002}, nil},
		"node port given away":   {nodePorts, func(s *corev1.ServiceSpec) { s.Ports[0].NodePort, s.Ports[1].NodePort = 0, 30001 }, []int32{0, 30001}, nil},
		"type without ports":     {nodePorts, func(s *corev1.ServiceSpec) { s.Type, s.Ports[0].NodePort = "ClusterIP", 30002 }, []int32{0, 0}, nil},
		"type without, port new": {nodePorts, func(s *corev1.ServiceSpec) { s.Type, s.Ports[0].NodePort = "ClusterIP", 30003 }, []int32{30003, 30002}, []string{"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'", "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"}},
	} {
		t.Run(name, func(t *testing.T) {
			old := service(func(s *corev1.ServiceSpec) {
				s.ClusterIP = "10.96.0.9"
				if c.old != nil {
					c.old(s)
				}
			})
			o := old.DeepCopy()
			c.change(&o.Spec)
			w := &resource.Write{Old: new(resource.Object)}
			prepareService(t.Context(), w, o, old)
			var got []string
			for _, err := range validateService(t.Context(), w, o, old) {
				got = append(got, err.Error())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("refused with %q, want %q", got, c.want)
			}
			var ports []int32
			for _, p := range o.Spec.Ports {
				ports = append(ports, p.NodePort)
			}
			if c.ports != nil && !slices.Equal(ports, c.ports) {
				t.Errorf("node ports %d, want %d", ports, c.ports)
			}
			if c.want == nil && (o.Spec.ClusterIP != "10.96.0.9" || !slices.Equal(o.Spec.ClusterIPs, []string{"10.96.0.9"})) {
				t.Errorf("addresses %s %s", o.Spec.ClusterIP, o.Spec.ClusterIPs)
			}
		})
	}
}
