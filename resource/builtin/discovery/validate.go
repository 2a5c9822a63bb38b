package discovery

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

// How much an EndpointSlice may hold, after upstream.
const (
	maxEndpoints = 1000
	maxAddresses = 100 // of an endpoint
	maxPorts     = 20000
	maxTopology  = 16 // entries of an endpoint
	maxHints     = 8  // of an endpoint, of each kind
)

func validate(_ context.Context, _ *resource.Write, o, old *discoveryv1.EndpointSlice) field.ErrorList {
	if o == nil {
		return nil
	}
	at := field.NewPath("addressType")
	var errs field.ErrorList
	if o.AddressType == "" {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = rules.Enum(at, "", o.AddressType, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	}
	errs = append(errs, validatePorts(o.Ports, field.NewPath("ports"))...)
	bad := validateEndpoints(o, field.NewPath("endpoints"))
	// Endpoints that an earlier release found valid may stay as they are.
	if len(bad) > 0 && (old == nil || !equality.Semantic.DeepEqual(o.Endpoints, old.Endpoints)) {
		errs = append(errs, bad...)
	}
	if old != nil {
		errs = append(errs, rules.Fixed(at, o.AddressType, old.AddressType)...)
	}
	return errs
}

func validatePorts(ports []discoveryv1.EndpointPort, path *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	repeats := rules.Repeats(ports, func(p *discoveryv1.EndpointPort) string { return *p.Name })
	for i := range ports {
		p, at := &ports[i], path.Index(i)
		if *p.Name != "" {
			errs = append(errs, rules.Invalid(at, *p.Name, rules.DNSLabel(*p.Name), "name")...)
		}
		if repeats(i) {
			errs = append(errs, field.Duplicate(at.Child("name"), *p.Name))
		}
		errs = append(errs, rules.Enum(at, "protocol", *p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		if p.AppProtocol != nil {
			errs = append(errs, rules.Invalid(at, *p.AppProtocol, rules.QualifiedName(*p.AppProtocol), "appProtocol")...)
		}
	}
	return errs
}

func validateEndpoints(o *discoveryv1.EndpointSlice, path *field.Path) field.ErrorList {
	if len(o.Endpoints) > maxEndpoints {
		return field.ErrorList{field.TooMany(path, len(o.Endpoints), maxEndpoints)}
	}
	var errs field.ErrorList
	for i := range o.Endpoints {
		e, at := &o.Endpoints[i], path.Index(i)
		switch n := len(e.Addresses); {
		case n == 0:
			errs = append(errs, field.Required(at.Child("addresses"), "must contain at least 1 address"))
		case n > maxAddresses:
			errs = append(errs, field.TooMany(at.Child("addresses"), n, maxAddresses))
		}
		for j, address := range e.Addresses {
			errs = append(errs, validateAddress(o.AddressType, address, at.Child("addresses").Index(j))...)
		}
		if e.NodeName != nil {
			errs = append(errs, rules.Invalid(at, *e.NodeName, rules.DNSSubdomain(*e.NodeName), "nodeName")...)
		}
		if n := len(e.DeprecatedTopology); n > 0 {
			topology := at.Child("deprecatedTopology")
			if n > maxTopology {
				errs = append(errs, field.TooMany(topology, n, maxTopology))
			}
			errs = append(errs, rules.Labels(topology, e.DeprecatedTopology)...)
		}
		if e.Hostname != nil {
			errs = append(errs, rules.Invalid(at, *e.Hostname, rules.DNSLabel(*e.Hostname), "hostname")...)
		}
		if e.Hints != nil {
			errs = append(errs, validateHints(e.Hints, at.Child("hints"))...)
		}
	}
	return errs
}

// validateAddress judges an address. Those of types that are not known are not looked at.
func validateAddress(t discoveryv1.AddressType, s string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch t {
	case discoveryv1.AddressTypeFQDN:
		return validation.IsFullyQualifiedDomainName(at, s)
	case discoveryv1.AddressTypeIPv4:
		if !netutils.IsIPv4String(s) {
			errs = append(errs, field.Invalid(at, s, "must be a valid IPv4 address"))
		}
	case discoveryv1.AddressTypeIPv6:
		if !netutils.IsIPv6String(s) {
			errs = append(errs, field.Invalid(at, s, "must be a valid IPv6 address"))
		}
	default:
		return nil
	}
	return append(errs, rules.NonSpecialIP(at, s)...)
}

// validateHints looks at no more once a list is too long, as upstream.
func validateHints(h *discoveryv1.EndpointHints, path *field.Path) field.ErrorList {
	zones, nodes := path.Child("forZones"), path.Child("forNodes")
	if n := len(h.ForZones); n > maxHints {
		return field.ErrorList{field.TooMany(zones, n, maxHints)}
	}
	var errs field.ErrorList
	repeats := rules.Repeats(h.ForZones, func(z *discoveryv1.ForZone) string { return z.Name })
	for i, z := range h.ForZones {
		if repeats(i) {
			errs = append(errs, field.Duplicate(zones.Index(i).Child("name"), z.Name))
		}
		errs = append(errs, rules.Invalid(zones.Index(i), z.Name, rules.LabelValue(z.Name), "name")...)
	}
	if n := len(h.ForNodes); n > maxHints {
		return append(errs, field.TooMany(nodes, n, maxHints))
	}
	repeats = rules.Repeats(h.ForNodes, func(n *discoveryv1.ForNode) string { return n.Name })
	for i, n := range h.ForNodes {
		if repeats(i) {
			errs = append(errs, field.Duplicate(nodes.Index(i).Child("name"), n.Name))
		}
		errs = append(errs, rules.Invalid(nodes.Index(i), n.Name, rules.DNSSubdomain(n.Name), "name")...)
	}
	return errs
}
