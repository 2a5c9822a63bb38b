package core

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// Services defines core/v1 Service. Cluster IPs and node ports are claimed in the commit that writes the Service, so
// two can never hold the same one.
func Services() *resource.Definition {
	status := corev1.ServiceSpec{}.SwaggerDoc()
	return resource.Typed[corev1.Service]{
		Definition: resource.Definition{
			Resource: api.Services, Kind: "Service", Singular: "service", ShortNames: []string{"svc"}, Categories: []string{"all"}, Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.ChangedMetadata, resource.WholeMetadata},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Type", Type: "string", Description: status["type"]},
				{Name: "Cluster-IP", Type: "string", Description: status["clusterIP"]},
				{Name: "External-IP", Type: "string", Description: status["externalIPs"]},
				{Name: "Port(s)", Type: "string", Description: status["ports"]},
				resource.AgeColumn,
				{Name: "Selector", Type: "string", Priority: 1, Description: status["selector"]},
			}}},
			Subresources: map[string]resource.Subresource{"status": {Verbs: []api.Verb{api.Get, api.Patch, api.Update}}},
			Index: []resource.IndexField{
				{Name: "spec.clusterIP", Values: func(o *resource.Object) []string { return []string{o.Value.(*corev1.Service).Spec.ClusterIP} }},
				{Name: "spec.type", Values: func(o *resource.Object) []string { return []string{string(o.Value.(*corev1.Service).Spec.Type)} }},
			},
			ValidateName:   apivalidation.NameIsDNS1035Label,
			CreateOnUpdate: true,
			ReturnDeleted:  true,
		},
		Default:  defaultService,
		Prepare:  prepareService,
		Validate: validateService,
		Refuse:   refuseService,
		Claim:    claimService,
		Warn: func(_ context.Context, w *resource.Write, o, _ *corev1.Service) []string {
			if o == nil || w.Subresource != "" {
				return nil
			}
			return serviceWarnings(o)
		},
		Cells: serviceCells,
	}.Define()
}

// serviceWarnings names what is accepted but ignored, deprecated or written in an unusual way.
func serviceWarnings(o *corev1.Service) []string {
	var warnings []string
	spec, s := field.NewPath("spec"), &o.Spec
	if _, ok := o.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		warnings = append(warnings, "annotation "+corev1.DeprecatedAnnotationTopologyAwareHints+" is deprecated, please use "+corev1.AnnotationTopologyMode+" instead")
	}
	if !isHeadless(s) {
		for i, v := range s.ClusterIPs {
			warnings = append(warnings, warnAddress(spec.Child("clusterIPs").Index(i), v)...)
		}
	}
	for i, v := range s.ExternalIPs {
		warnings = append(warnings, warnAddress(spec.Child("externalIPs").Index(i), v)...)
	}
	if s.LoadBalancerIP != "" {
		warnings = append(warnings, warnAddress(spec.Child("loadBalancerIP"), s.LoadBalancerIP)...)
	}
	for i, r := range s.LoadBalancerSourceRanges {
		warnings = append(warnings, warnPrefix(spec.Child("loadBalancerSourceRanges").Index(i), r)...)
	}
	switch external := s.Type == corev1.ServiceTypeExternalName; {
	case external && len(s.ExternalIPs) > 0:
		warnings = append(warnings, `spec.externalIPs is ignored when spec.type is "ExternalName"`)
	case !external && s.ExternalName != "":
		warnings = append(warnings, `spec.externalName is ignored when spec.type is not "ExternalName"`)
	}
	return warnings
}

// warnAddress warns of an address that only lenient parsers read, and of an IPv6 address that others write otherwise.
func warnAddress(p *field.Path, v string) []string {
	a, err := netip.ParseAddr(v)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%s: IP address was accepted, but will be invalid in a future Kubernetes release: %v", p, err)}
	case a.Is6() && a.String() != v:
		return []string{fmt.Sprintf("%s: IPv6 address %q is not in RFC 5952 canonical format (%q), which may cause controller apply-loops", p, v, a)}
	}
	return nil
}

// warnPrefix is warnAddress for a range.
func warnPrefix(p *field.Path, v string) []string {
	r, err := netip.ParsePrefix(v)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%s: IP prefix was accepted, but will be invalid in a future Kubernetes release: %v", p, err)}
	case r.Addr().Is6() && r.String() != v:
		return []string{fmt.Sprintf("%s: IPv6 prefix %q is not in RFC 5952 canonical format (%q), which may cause controller apply-loops", p, v, r)}
	}
	return nil
}

// clientIPAffinity is the default session affinity timeout, in seconds: three hours.
const clientIPAffinity = 10800

func defaultService(o *corev1.Service) {
	s := &o.Spec
	if s.SessionAffinity == "" {
		s.SessionAffinity = corev1.ServiceAffinityNone
	}
	switch s.SessionAffinity {
	case corev1.ServiceAffinityNone:
		s.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		if s.SessionAffinityConfig == nil || s.SessionAffinityConfig.ClientIP == nil || s.SessionAffinityConfig.ClientIP.TimeoutSeconds == nil {
			s.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](clientIPAffinity)}}
		}
	}
	if s.Type == "" {
		s.Type = corev1.ServiceTypeClusterIP
	}
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Protocol == "" {
			p.Protocol = corev1.ProtocolTCP
		}
		if p.TargetPort == (intstr.IntOrString{}) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if s.ExternalTrafficPolicy == "" && isExternal(s) {
		s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if s.InternalTrafficPolicy == nil && (needsClusterIP(s)) {
		s.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
	}
	if s.Type == corev1.ServiceTypeLoadBalancer && s.AllocateLoadBalancerNodePorts == nil {
		s.AllocateLoadBalancerNodePorts = ptr.To(true)
	}
	for i := range o.Status.LoadBalancer.Ingress {
		if in := &o.Status.LoadBalancer.Ingress[i]; in.IP != "" && in.IPMode == nil && s.Type == corev1.ServiceTypeLoadBalancer {
			in.IPMode = ptr.To(corev1.LoadBalancerIPModeVIP)
		}
	}
}

func needsClusterIP(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeClusterIP || s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer
}

// hasNodePorts reports a type that may have node ports, needsNodePort one of whose ports each must have one.
func hasNodePorts(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer
}

func needsNodePort(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeLoadBalancer && ptr.Deref(s.AllocateLoadBalancerNodePorts, true)
}

func needsHealthCheckPort(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeLoadBalancer && s.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func isExternal(s *corev1.ServiceSpec) bool {
	return s.Type == corev1.ServiceTypeLoadBalancer || s.Type == corev1.ServiceTypeNodePort ||
		s.Type == corev1.ServiceTypeClusterIP && len(s.ExternalIPs) > 0
}

func isHeadless(s *corev1.ServiceSpec) bool {
	return len(s.ClusterIPs) == 1 && s.ClusterIPs[0] == corev1.ClusterIPNone
}

func prepareService(_ context.Context, w *resource.Write, o, old *corev1.Service) {
	switch {
	case w.Creating():
		o.Status = corev1.ServiceStatus{}
		pairClusterIPs(&o.Spec, nil)
	case w.Subresource == "status":
		o.Spec = old.Spec
	default:
		o.Status = old.Status
		if o.Spec.Type != corev1.ServiceTypeLoadBalancer {
			o.Status.LoadBalancer = corev1.LoadBalancerStatus{}
		}
		keepAllocated(&o.Spec, &old.Spec)
		pairClusterIPs(&o.Spec, &old.Spec)
		dropUnneeded(&o.Spec, &old.Spec)
	}
}

// pairClusterIPs makes clusterIP and the first of clusterIPs agree where only one of them was given or changed.
func pairClusterIPs(s, old *corev1.ServiceSpec) {
	switch {
	case old == nil:
		if s.ClusterIP != "" && len(s.ClusterIPs) == 0 {
			s.ClusterIPs = []string{s.ClusterIP}
		}
	case s.ClusterIP == old.ClusterIP:
		if len(s.ClusterIPs) == 0 { // an older client sent clusterIP back without clusterIPs
			s.ClusterIPs = slices.Clone(old.ClusterIPs)
		}
	case slices.Equal(s.ClusterIPs, old.ClusterIPs):
		if s.ClusterIPs = nil; s.ClusterIP != "" {
			s.ClusterIPs = []string{s.ClusterIP}
		}
	}
}

// keepAllocated fills what a client that replaces the object leaves out although the server allocated it. A port is known
// by its name: the other things about it may have changed.
func keepAllocated(s, old *corev1.ServiceSpec) {
	if needsClusterIP(s) && needsClusterIP(old) {
		if s.ClusterIP == "" {
			s.ClusterIP = old.ClusterIP
		}
		if len(s.ClusterIPs) == 0 {
			s.ClusterIPs = slices.Clone(old.ClusterIPs)
		}
	}
	if needsNodePort(s) && needsNodePort(old) {
		before, asked := map[string]int32{}, map[int32]bool{}
		for _, p := range old.Ports {
			before[p.Name] = p.NodePort
		}
		for _, p := range s.Ports {
			asked[p.NodePort] = true
		}
		for i := range s.Ports {
			if p := &s.Ports[i]; p.NodePort == 0 && !asked[before[p.Name]] {
				p.NodePort = before[p.Name]
			}
		}
	}
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.HealthCheckNodePort == 0 {
		s.HealthCheckNodePort = old.HealthCheckNodePort
	}
}

// dropUnneeded clears what belonged to the old type and was not asked for anew, so that a patch of the type alone works.
func dropUnneeded(s, old *corev1.ServiceSpec) {
	if needsClusterIP(old) && !needsClusterIP(s) {
		if s.ClusterIP == old.ClusterIP && slices.Equal(s.ClusterIPs, old.ClusterIPs) {
			s.ClusterIP, s.ClusterIPs = "", nil
		}
		if slices.Equal(s.IPFamilies, old.IPFamilies) {
			s.IPFamilies = nil
		}
		if ptr.Equal(s.IPFamilyPolicy, old.IPFamilyPolicy) {
			s.IPFamilyPolicy = nil
		}
		if ptr.Equal(s.InternalTrafficPolicy, old.InternalTrafficPolicy) {
			s.InternalTrafficPolicy = nil
		}
	}
	if hasNodePorts(old) && !hasNodePorts(s) && !addsNodePort(s.Ports, old.Ports) {
		for i := range s.Ports {
			s.Ports[i].NodePort = 0
		}
	}
	if needsHealthCheckPort(old) && !needsHealthCheckPort(s) && s.HealthCheckNodePort == old.HealthCheckNodePort {
		s.HealthCheckNodePort = 0
	}
	if isExternal(old) && !isExternal(s) && s.ExternalTrafficPolicy == old.ExternalTrafficPolicy {
		s.ExternalTrafficPolicy = ""
	}
	if old.Type == corev1.ServiceTypeLoadBalancer && s.Type != corev1.ServiceTypeLoadBalancer {
		if ptr.Equal(s.AllocateLoadBalancerNodePorts, old.AllocateLoadBalancerNodePorts) {
			s.AllocateLoadBalancerNodePorts = nil
		}
		if ptr.Equal(s.LoadBalancerClass, old.LoadBalancerClass) {
			s.LoadBalancerClass = nil
		}
	}
}

// addsNodePort reports whether a node port is among ports that was not among those before.
func addsNodePort(ports, before []corev1.ServicePort) bool {
	return slices.ContainsFunc(ports, func(p corev1.ServicePort) bool {
		return p.NodePort != 0 && !slices.ContainsFunc(before, func(q corev1.ServicePort) bool { return q.NodePort == p.NodePort })
	})
}

func serviceCells(o *corev1.Service) []any {
	ip := "<none>"
	if len(o.Spec.ClusterIPs) > 0 {
		ip = o.Spec.ClusterIPs[0]
	} else if o.Spec.ClusterIP != "" {
		ip = o.Spec.ClusterIP
	}
	return []any{o.Name, string(o.Spec.Type), ip, externalIPCell(o), portsCell(o.Spec.Ports), resource.Age(o.CreationTimestamp),
		or(labels.FormatLabels(o.Spec.Selector), "<none>")}
}

func externalIPCell(o *corev1.Service) string {
	switch o.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return o.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		var list []string
		for _, in := range o.Status.LoadBalancer.Ingress {
			if in.IP != "" {
				list = append(list, in.IP)
			} else if in.Hostname != "" {
				list = append(list, in.Hostname)
			}
		}
		if list = append(list, o.Spec.ExternalIPs...); len(list) == 0 {
			return "<pending>"
		}
		return strings.Join(list, ",")
	}
	return or(strings.Join(o.Spec.ExternalIPs, ","), "<none>")
}

func portsCell(ports []corev1.ServicePort) string {
	var list []string
	for _, p := range ports {
		s := strconv.Itoa(int(p.Port))
		if p.NodePort > 0 {
			s += ":" + strconv.Itoa(int(p.NodePort))
		}
		list = append(list, s+"/"+string(p.Protocol))
	}
	return or(strings.Join(list, ","), "<none>")
}
