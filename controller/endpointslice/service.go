package endpointslice

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"pintle.dev/controller/backends"
)

// sourceOf is a Service as a source.
func sourceOf(svc *corev1.Service, owner metav1.OwnerReference) *source {
	labels := make(map[string]string, len(svc.Labels)+3)
	for k, v := range svc.Labels {
		labels[k] = v
	}
	delete(labels, corev1.IsHeadlessService)
	if svc.Spec.ClusterIP == corev1.ClusterIPNone || svc.Spec.ClusterIP == "" {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[discoveryv1.LabelServiceName], labels[discoveryv1.LabelManagedBy] = svc.Name, managedBy
	return &source{namespace: svc.Namespace, name: svc.Name, owner: owner, labels: labels, limit: endpointsPerSlice}
}

// zones tells of a node whether there is one of that name, and its zone; nil when it has none.
type zones func(node string) (zone *string, known bool)

// groupsOf are the endpoints of a Service: those of each address type and set of ports, and for an address type that has
// none an empty group. homeless are the names of pods left out because there is no such node as theirs.
func groupsOf(svc *corev1.Service, pods []*backends.Pod, zones zones) (groups []group, homeless []string) {
	types := addressTypes(svc)
	at := map[string]int{} // in groups, by address type and numbers of the ports
	count := map[discoveryv1.AddressType]int{}
	var key []byte
	for _, p := range pods {
		if !p.Addressable() {
			continue
		}
		zone, known := zones(p.Spec.NodeName)
		if !known && !svc.Spec.PublishNotReadyAddresses {
			homeless = append(homeless, p.Metadata.Name)
			continue
		}
		for _, t := range types {
			addresses := addressesOf(p, t)
			if len(addresses) == 0 {
				continue
			}
			key = append(key[:0], t...)
			for i := range svc.Spec.Ports {
				key = append(key, ' ')
				if n, ok := p.Port(&svc.Spec.Ports[i]); ok {
					key = strconv.AppendInt(key, int64(n), 10)
				}
			}
			i, ok := at[string(key)]
			if !ok {
				i = len(groups)
				at[string(key)] = i
				groups = append(groups, group{addressType: t, ports: portsOf(svc, p)})
			}
			groups[i].endpoints = append(groups[i].endpoints, endpointOf(svc, p, addresses, zone))
			count[t]++
		}
	}
	for _, t := range types {
		if count[t] == 0 {
			groups = append(groups, group{addressType: t, ports: []discoveryv1.EndpointPort{}})
		}
	}
	return groups, homeless
}

// addressTypes are the types of the addresses of a Service: those of its IP families. A Service from before it had such
// goes by its cluster IP, a headless one has both.
func addressTypes(svc *corev1.Service) []discoveryv1.AddressType {
	var types []discoveryv1.AddressType
	for _, f := range svc.Spec.IPFamilies {
		switch f {
		case corev1.IPv4Protocol:
			types = append(types, discoveryv1.AddressTypeIPv4)
		case corev1.IPv6Protocol:
			types = append(types, discoveryv1.AddressTypeIPv6)
		}
	}
	switch ip := svc.Spec.ClusterIP; {
	case len(types) > 0:
		return types
	case ip == "" || ip == corev1.ClusterIPNone:
		return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
	default:
		return []discoveryv1.AddressType{typeOf(ip)}
	}
}

func typeOf(ip string) discoveryv1.AddressType {
	if netutils.IsIPv6String(ip) {
		return discoveryv1.AddressTypeIPv6
	}
	return discoveryv1.AddressTypeIPv4
}

// addressesOf are a pod's addresses of a type, in canonical form.
func addressesOf(p *backends.Pod, t discoveryv1.AddressType) (list []string) {
	for _, a := range p.Status.PodIPs {
		if ip := netutils.ParseIPSloppy(a.IP); ip != nil && netutils.IsIPv6(ip) == (t == discoveryv1.AddressTypeIPv6) {
			list = append(list, ip.String())
		}
	}
	return list
}

// portsOf are the ports of a Service as the pod has them, without those that it has not.
func portsOf(svc *corev1.Service, p *backends.Pod) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		if n, ok := p.Port(sp); ok {
			ports = append(ports, discoveryv1.EndpointPort{Name: &sp.Name, Port: &n, Protocol: &sp.Protocol, AppProtocol: sp.AppProtocol})
		}
	}
	sortPorts(ports)
	return ports
}

func endpointOf(svc *corev1.Service, p *backends.Pod, addresses []string, zone *string) discoveryv1.Endpoint {
	serving, _ := p.Readiness()
	terminating := p.Terminating()
	ready := svc.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Addresses:  addresses,
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  p.Reference(),
		Zone:       zone,
	}
	if p.Spec.NodeName != "" {
		e.NodeName = &p.Spec.NodeName
	}
	if name := p.Hostname(svc); name != "" {
		e.Hostname = &name
	}
	if ready {
		e.Hints = hints(svc, &e)
	}
	return e
}

// hints say whom a ready endpoint is meant for, as spec.trafficDistribution wants it; nil for everybody.
func hints(svc *corev1.Service, e *discoveryv1.Endpoint) *discoveryv1.EndpointHints {
	if mode := topologyMode(svc); mode == "Auto" || mode == "auto" {
		return nil // takes precedence
	}
	var h discoveryv1.EndpointHints
	switch ptr.Deref(svc.Spec.TrafficDistribution, "") {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		if e.NodeName != nil {
			h.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
		}
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
	default:
		return nil
	}
	if e.Zone != nil {
		h.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
	}
	if h.ForZones == nil && h.ForNodes == nil {
		return nil
	}
	return &h
}

// topologyMode is the annotation by which Services asked for hints before there was spec.trafficDistribution.
func topologyMode(svc *corev1.Service) string {
	if mode, ok := svc.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		return mode
	}
	return svc.Annotations[corev1.AnnotationTopologyMode]
}
