package core

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

const (
	onlyLoadBalancer = "may only be used when `type` is 'LoadBalancer'"
	onlyOnce         = "may not change once set"
	maxAffinity      = 86400 // seconds: a day

	annotationSourceRanges = "service.beta.kubernetes.io/load-balancer-source-ranges"
)

func supported[T ~string](p *field.Path, v T, values ...string) field.ErrorList {
	if slices.Contains(values, string(v)) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, string(v), values)}
}

func validateService(_ context.Context, w *resource.Write, o, old *corev1.Service) field.ErrorList {
	spec := field.NewPath("spec")
	if w.Subresource == "status" {
		return validateLoadBalancerStatus(&o.Status.LoadBalancer, &o.Spec, field.NewPath("status", "loadBalancer"))
	}
	s := &o.Spec
	var errs field.ErrorList
	if old != nil {
		errs = validateServiceUpdate(s, &old.Spec, spec)
	}
	errs = append(errs, validateTopologyAnnotations(o.Annotations)...)
	errs = append(errs, validateServiceType(s, spec)...)
	errs = append(errs, validateServicePorts(s.Ports, spec.Child("ports"))...)
	if d := s.TrafficDistribution; d != nil {
		errs = append(errs, supported(spec.Child("trafficDistribution"), *d, "PreferClose", "PreferSameNode", "PreferSameZone")...)
	}
	if s.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabels(s.Selector, spec.Child("selector"))...)
	}
	errs = append(errs, validateAffinity(s, spec)...)
	for i, ip := range s.ExternalIPs {
		p := spec.Child("externalIPs").Index(i)
		if bad := validation.IsValidIPForLegacyField(p, ip, false, nil); len(bad) > 0 {
			errs = append(errs, bad...)
		} else {
			errs = append(errs, rules.NonSpecialIP(p, ip)...)
		}
	}
	errs = append(errs, validateLoadBalancer(o, spec)...)
	return append(errs, validateTrafficPolicies(s, spec)...)
}

// validateTopologyAnnotations requires that the two names of the annotation for topology aware routing agree.
func validateTopologyAnnotations(annotations map[string]string) field.ErrorList {
	const mode, hints = corev1.AnnotationTopologyMode, corev1.DeprecatedAnnotationTopologyAwareHints
	m, isMode := annotations[mode]
	h, isHints := annotations[hints]
	if !isMode || !isHints || m == h {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("metadata", "annotations").Key(mode), m, "must match annotations["+hints+"] when both are specified")}
}

func validateServiceType(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Ports) == 0 && !isHeadless(s) && s.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(spec.Child("ports"), ""))
	}
	switch s.Type {
	case corev1.ServiceTypeLoadBalancer:
		for i := range s.Ports {
			if s.Ports[i].Port == 10250 {
				errs = append(errs, field.Invalid(spec.Child("ports").Index(i), s.Ports[i], "may not expose port 10250 externally since it is used by kubelet"))
			}
		}
		if isHeadless(s) {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), s.ClusterIPs[0], "may not be set to 'None' for LoadBalancer services"))
		}
	case corev1.ServiceTypeNodePort:
		if isHeadless(s) {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), s.ClusterIPs[0], "may not be set to 'None' for NodePort services"))
		}
	case corev1.ServiceTypeClusterIP:
		for i, p := range s.Ports {
			if p.NodePort != 0 {
				errs = append(errs, field.Forbidden(spec.Child("ports").Index(i).Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
			}
		}
	case corev1.ServiceTypeExternalName:
		const never = "may not be set for ExternalName services"
		if len(s.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(spec.Child("clusterIPs"), never))
		}
		if len(s.IPFamilies) > 0 {
			errs = append(errs, field.Forbidden(spec.Child("ipFamilies"), never))
		}
		if s.IPFamilyPolicy != nil {
			errs = append(errs, field.Forbidden(spec.Child("ipFamilyPolicy"), never))
		}
		// A trailing dot is how a resolver marks a name as absolute.
		if name := strings.TrimSuffix(s.ExternalName, "."); name == "" {
			errs = append(errs, field.Required(spec.Child("externalName"), ""))
		} else {
			for _, msg := range validation.IsDNS1123Subdomain(name) {
				errs = append(errs, field.Invalid(spec.Child("externalName"), name, msg))
			}
		}
	case "":
		errs = append(errs, field.Required(spec.Child("type"), ""))
	default:
		errs = append(errs, supported(spec.Child("type"), s.Type, "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")...)
	}
	type nodePort struct {
		protocol corev1.Protocol
		number   int32
	}
	seen := map[nodePort]bool{}
	for i, p := range s.Ports {
		n := nodePort{p.Protocol, p.NodePort}
		if seen[n] && n.number != 0 {
			errs = append(errs, field.Duplicate(spec.Child("ports").Index(i).Child("nodePort"), n.number))
		}
		seen[n] = true
	}
	return errs
}

func validateServicePorts(ports []corev1.ServicePort, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range ports {
		errs = append(errs, validateServicePort(&ports[i], len(ports) > 1, names, p.Index(i))...)
	}
	number := func(p *corev1.ServicePort) corev1.ServicePort {
		return corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}
	}
	repeats := rules.Repeats(ports, number)
	for i := range ports {
		if repeats(i) {
			errs = append(errs, field.Duplicate(p.Index(i), number(&ports[i])))
		}
	}
	return errs
}

func validateServicePort(o *corev1.ServicePort, nameRequired bool, names sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case o.Name == "" && nameRequired:
		errs = append(errs, field.Required(p.Child("name"), ""))
	case o.Name == "":
	default:
		for _, msg := range validation.IsDNS1123Label(o.Name) {
			errs = append(errs, field.Invalid(p.Child("name"), o.Name, msg))
		}
		if names.Has(o.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), o.Name))
		}
		names.Insert(o.Name)
	}
	for _, msg := range validation.IsValidPortNum(int(o.Port)) {
		errs = append(errs, field.Invalid(p.Child("port"), o.Port, msg))
	}
	errs = append(errs, supported(p.Child("protocol"), o.Protocol, portProtocols...)...)
	if o.TargetPort.Type == intstr.String {
		for _, msg := range validation.IsValidPortName(o.TargetPort.StrVal) {
			errs = append(errs, field.Invalid(p.Child("targetPort"), o.TargetPort.String(), msg))
		}
	} else {
		for _, msg := range validation.IsValidPortNum(int(o.TargetPort.IntVal)) {
			errs = append(errs, field.Invalid(p.Child("targetPort"), o.TargetPort.IntVal, msg))
		}
	}
	if o.AppProtocol != nil {
		for _, msg := range validation.IsQualifiedName(*o.AppProtocol) {
			errs = append(errs, field.Invalid(p.Child("appProtocol"), *o.AppProtocol, msg))
		}
	}
	return errs
}

func validateAffinity(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	config := spec.Child("sessionAffinityConfig")
	switch s.SessionAffinity {
	case corev1.ServiceAffinityNone:
		if s.SessionAffinityConfig != nil {
			return field.ErrorList{field.Forbidden(config, "must not be set when session affinity is None")}
		}
	case corev1.ServiceAffinityClientIP:
		if n := s.SessionAffinityConfig.ClientIP.TimeoutSeconds; *n <= 0 || *n > maxAffinity {
			return field.ErrorList{field.Invalid(config.Child("clientIP", "timeoutSeconds"), *n, "must be greater than 0 and less than 86400")}
		}
	default:
		return supported(spec.Child("sessionAffinity"), s.SessionAffinity, "ClientIP", "None")
	}
	return nil
}

func validateLoadBalancer(o *corev1.Service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	s := &o.Spec
	balanced := s.Type == corev1.ServiceTypeLoadBalancer
	if p := spec.Child("LoadBalancerSourceRanges"); len(s.LoadBalancerSourceRanges) > 0 {
		if !balanced {
			errs = append(errs, field.Forbidden(p, onlyLoadBalancer))
		}
		for i, r := range s.LoadBalancerSourceRanges {
			errs = append(errs, validation.IsValidCIDRForLegacyField(p.Index(i), strings.TrimSpace(r), false, nil)...)
		}
	} else if list, ok := o.Annotations[annotationSourceRanges]; ok {
		p := field.NewPath("metadata", "annotations").Key(annotationSourceRanges)
		if !balanced {
			errs = append(errs, field.Forbidden(p, onlyLoadBalancer))
		}
		if list = strings.TrimSpace(list); list != "" {
			for _, r := range strings.Split(list, ",") {
				errs = append(errs, validation.IsValidCIDRForLegacyField(p, strings.TrimSpace(r), false, nil)...)
			}
		}
	}
	if p := spec.Child("allocateLoadBalancerNodePorts"); balanced && s.AllocateLoadBalancerNodePorts == nil {
		errs = append(errs, field.Required(p, ""))
	} else if !balanced && s.AllocateLoadBalancerNodePorts != nil {
		errs = append(errs, field.Forbidden(p, onlyLoadBalancer))
	}
	return append(errs, validateLoadBalancerClass(s, spec)...)
}

func validateLoadBalancerClass(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	c := s.LoadBalancerClass
	switch {
	case c == nil:
		return nil
	case s.Type != corev1.ServiceTypeLoadBalancer:
		return field.ErrorList{field.Forbidden(spec.Child("loadBalancerClass"), onlyLoadBalancer)}
	}
	return rules.Invalid(spec, *c, rules.QualifiedName(*c), "loadBalancerClass")
}

func validateTrafficPolicies(s *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch p := spec.Child("externalTrafficPolicy"); {
	case !isExternal(s):
		if s.ExternalTrafficPolicy != "" {
			errs = append(errs, field.Invalid(p, s.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
		}
	case s.ExternalTrafficPolicy == "":
		if s.Type != corev1.ServiceTypeClusterIP {
			errs = append(errs, field.Required(p, ""))
		}
	default:
		errs = append(errs, supported(p, s.ExternalTrafficPolicy, "Cluster", "Local")...)
	}
	switch n := s.HealthCheckNodePort; {
	case n == 0:
	case needsHealthCheckPort(s):
		errs = append(errs, rules.Port(spec, n, "healthCheckNodePort")...)
	default:
		errs = append(errs, field.Invalid(spec.Child("healthCheckNodePort"), n, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
	}
	if p := s.InternalTrafficPolicy; p != nil {
		errs = append(errs, supported(spec.Child("internalTrafficPolicy"), *p, "Cluster", "Local")...)
	} else if needsClusterIP(s) {
		errs = append(errs, field.Required(spec.Child("internalTrafficPolicy"), ""))
	}
	return errs
}

// validateServiceUpdate checks what must stay while the type lets it. The class of a load balancer is judged here and with
// the rest of the spec, as upstream does.
func validateServiceUpdate(s, old *corev1.ServiceSpec, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	if needsClusterIP(s) && needsClusterIP(old) {
		if len(old.ClusterIPs) > 0 && (len(s.ClusterIPs) == 0 || s.ClusterIPs[0] != old.ClusterIPs[0]) {
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(0), s.ClusterIPs, onlyOnce))
		}
		if !isHeadless(s) && !isHeadless(old) && len(old.IPFamilies) > 0 && len(s.IPFamilies) > 0 && s.IPFamilies[0] != old.IPFamilies[0] {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(0), s.IPFamilies, onlyOnce))
		}
	}
	if s.Type == corev1.ServiceTypeLoadBalancer && old.Type == corev1.ServiceTypeLoadBalancer && !ptr.Equal(s.LoadBalancerClass, old.LoadBalancerClass) {
		errs = append(errs, field.Invalid(spec.Child("loadBalancerClass"), s.LoadBalancerClass, onlyOnce))
	}
	errs = append(errs, validateLoadBalancerClass(s, spec)...)
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.HealthCheckNodePort != old.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(spec.Child("healthCheckNodePort"), immutableField))
	}
	return errs
}

func validateLoadBalancerStatus(s *corev1.LoadBalancerStatus, of *corev1.ServiceSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if of.Type != corev1.ServiceTypeLoadBalancer && len(s.Ingress) > 0 {
		return field.ErrorList{field.Forbidden(p.Child("ingress"), "may only be used when `spec.type` is 'LoadBalancer'")}
	}
	for i, in := range s.Ingress {
		at := p.Child("ingress").Index(i)
		if in.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(at.Child("ip"), in.IP, false, nil)...)
		}
		if in.IPMode != nil {
			if in.IP == "" {
				errs = append(errs, field.Forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set"))
			} else {
				errs = append(errs, supported(at.Child("ipMode"), *in.IPMode, "Proxy", "VIP")...)
			}
		}
		if in.Hostname != "" {
			for _, msg := range validation.IsDNS1123Subdomain(in.Hostname) {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, msg))
			}
			if netutils.ParseIPSloppy(in.Hostname) != nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}
