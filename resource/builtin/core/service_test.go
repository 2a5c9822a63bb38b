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
		}, []string{"spec.loadBalancerIP is ignored for headless services", "spec.externalIPs is ignored for headless services", "spec.SessionAffinity is ignored for headless services"}},
		"leading zeros": {func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"1.2.3.005"} }, []string{`spec.externalIPs[0]: non-standard IP address "1.2.3.005"`}},
		"long IPv6":     {func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"2001:db8:0::1"} }, []string{`spec.externalIPs[0]: IPv6 address "2001:db8:0::1" should be in RFC 5952`}},
		"ambiguous range": {func(s *corev1.ServiceSpec) {
			s.Type, s.LoadBalancerSourceRanges = corev1.ServiceTypeLoadBalancer, []string{"10.0.0.1/8"}
		}, []string{`spec.loadBalancerSourceRanges[0]: CIDR value "10.0.0.1/8" is ambiguous`}},
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
