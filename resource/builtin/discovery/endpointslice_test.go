package discovery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"pintle.dev/resource"
)

// slice is a valid one with an endpoint at each address.
func slice(t discoveryv1.AddressType, addresses ...string) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{AddressType: t}
	for _, a := range addresses {
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return o
}

func TestValidate(t *testing.T) {
	with := func(f func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
		o := slice(discoveryv1.AddressTypeIPv4, "10.0.0.1")
		f(o)
		return o
	}
	endpoint := func(f func(*discoveryv1.Endpoint)) *discoveryv1.EndpointSlice {
		return with(func(o *discoveryv1.EndpointSlice) { f(&o.Endpoints[0]) })
	}
	ports := func(ps ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
		return with(func(o *discoveryv1.EndpointSlice) { o.Ports = ps })
	}
	named := func(name string) discoveryv1.EndpointPort { return discoveryv1.EndpointPort{Name: &name} }
	for _, c := range []struct {
		name string
		o    *discoveryv1.EndpointSlice
		want string // the errors, without the values of long ones
	}{
		{"IPv4", slice(discoveryv1.AddressTypeIPv4, "10.0.0.1"), ""},
		{"IPv6", slice(discoveryv1.AddressTypeIPv6, "fd00::1"), ""},
		{"FQDN", slice(discoveryv1.AddressTypeFQDN, "a.example.com"), ""},
		{"FQDN of one label", slice(discoveryv1.AddressTypeFQDN, "a"), `endpoints[0].addresses[0]: Invalid value: "a": should be a domain with at least two segments separated by dots`},
		{"no type", slice("", "10.0.0.1"), "addressType: Required value"},
		{"IPv6 as IPv4", slice(discoveryv1.AddressTypeIPv4, "fd00::1"), `endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address`},
		{"IPv4 as IPv6", slice(discoveryv1.AddressTypeIPv6, "10.0.0.1"), `endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be a valid IPv6 address`},
		{"no address", slice(discoveryv1.AddressTypeIPv4, "a"), `endpoints[0].addresses[0]: Invalid value: "a": must be a valid IPv4 address; endpoints[0].addresses[0]: Invalid value: "a": must be a valid IP address`},
		{"link-local", slice(discoveryv1.AddressTypeIPv6, "fe80::1"), `endpoints[0].addresses[0]: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)`},
		{"too many endpoints", slice(discoveryv1.AddressTypeIPv4, make([]string, 1001)...), "endpoints: Too many: 1001: must have at most 1000 items"},
		{"too many ports", ports(make([]discoveryv1.EndpointPort, 20001)...), "ports: Too many: 20001: must have at most 20000 items"},
		{"ports of one name", ports(named("a"), named("b"), named("a")), `ports[2].name: Duplicate value: "a"`},
		{"two ports without names", ports(named(""), named("")), `ports[1].name: Duplicate value: ""`},
		{"long port name, but a label", ports(named("longer-than-fifteen-characters")), ""},
		{"bad protocol", ports(discoveryv1.EndpointPort{Protocol: ptr.To(corev1.Protocol("X"))}), `ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"`},
		{"appProtocol", ports(discoveryv1.EndpointPort{AppProtocol: ptr.To("example.com/p")}), ""},
		{"bad appProtocol", ports(discoveryv1.EndpointPort{AppProtocol: ptr.To("a b")}), `ports[0].appProtocol: Invalid value: "a b": name part must consist of`},
		{"bad node", endpoint(func(e *discoveryv1.Endpoint) { e.NodeName = ptr.To("A_") }), `endpoints[0].nodeName: Invalid value: "A_": a lowercase RFC 1123 subdomain`},
		{"hints", endpoint(func(e *discoveryv1.Endpoint) {
			e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z"}, {Name: "z"}}, ForNodes: []discoveryv1.ForNode{{Name: "n"}, {Name: "n"}}}
		}), `endpoints[0].hints.forZones[1].name: Duplicate value: "z"; endpoints[0].hints.forNodes[1].name: Duplicate value: "n"`},
		{"too many hints", endpoint(func(e *discoveryv1.Endpoint) {
			e.Hints = &discoveryv1.EndpointHints{ForZones: make([]discoveryv1.ForZone, 9), ForNodes: make([]discoveryv1.ForNode, 9)}
		}), "endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"},
		{"too much topology", endpoint(func(e *discoveryv1.Endpoint) {
			e.DeprecatedTopology = map[string]string{}
			for i := range 17 {
				e.DeprecatedTopology[fmt.Sprint("k", i)] = "v"
			}
		}), "endpoints[0].deprecatedTopology: Too many: 17: must have at most 16 items"},
		{"bad topology", endpoint(func(e *discoveryv1.Endpoint) { e.DeprecatedTopology = map[string]string{"a b": ""} }), `endpoints[0].deprecatedTopology: Invalid value: "a b": name part must consist of`},
	} {
		setDefaults(c.o)
		if got := text(validate(context.Background(), nil, c.o, nil)); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	bad := slice(discoveryv1.AddressTypeIPv4, "127.0.0.1")
	if got := text(validate(context.Background(), nil, bad, bad.DeepCopy())); got != "" {
		t.Errorf("endpoints that stay as they are: %s", got)
	}
}

func text(errs field.ErrorList) string {
	var list []string
	for _, e := range errs {
		list = append(list, e.Error())
	}
	return strings.Join(list, "; ")
}

func TestPrepare(t *testing.T) {
	stored := slice(discoveryv1.AddressTypeIPv4, "10.0.0.1")
	stored.Endpoints[0].DeprecatedTopology = map[string]string{corev1.LabelHostname: "n1", "a": "b"}
	stored.Generation = 3
	change := func(f func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
		o := stored.DeepCopy()
		f(o)
		return o
	}
	for _, c := range []struct {
		name, version string
		o, old        *discoveryv1.EndpointSlice
		generation    int64
		topology      bool
		node          string
	}{
		{"created", "v1", stored.DeepCopy(), nil, 1, false, ""},
		{"created by the older version", betaVersion, stored.DeepCopy(), nil, 1, true, ""},
		{"annotated", "v1", change(func(o *discoveryv1.EndpointSlice) { o.Annotations = map[string]string{"a": "b"} }), stored, 3, true, ""},
		{"labelled", "v1", change(func(o *discoveryv1.EndpointSlice) { o.Labels = map[string]string{"a": "b"} }), stored, 4, true, ""},
		{"other endpoints", "v1", change(func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses[0] = "10.0.0.2" }), stored, 4, false, "n1"},
		{"other endpoints by the older version", betaVersion, change(func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses[0] = "10.0.0.2" }), stored, 4, true, ""},
		{"a node that was not there before", "v1", change(func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].DeprecatedTopology[corev1.LabelHostname] = "n2" }), stored, 4, false, ""},
		{"other ports", "v1", change(func(o *discoveryv1.EndpointSlice) { o.Ports = make([]discoveryv1.EndpointPort, 1) }), stored, 4, true, ""},
	} {
		prepare(context.Background(), &resource.Write{Version: &resource.Version{Name: c.version}}, c.o, c.old)
		e := &c.o.Endpoints[0]
		if c.o.Generation != c.generation || (e.DeprecatedTopology != nil) != c.topology || ptr.Deref(e.NodeName, "") != c.node {
			t.Errorf("%s: generation %d, topology %v, node %q", c.name, c.o.Generation, e.DeprecatedTopology, ptr.Deref(e.NodeName, ""))
		}
	}
}

func TestWarn(t *testing.T) {
	old := slice(discoveryv1.AddressTypeFQDN, "a.b")
	for _, c := range []struct {
		name   string
		o, old *discoveryv1.EndpointSlice
		want   []string
	}{
		{"FQDN", old, nil, []string{"spec.addressType: FQDN endpoints are deprecated"}},
		{"FQDN as before", old, old, nil},
		{"addresses", slice(discoveryv1.AddressTypeIPv4, "10.0.0.1"), nil, nil},
	} {
		if got := warn(context.Background(), nil, c.o, c.old); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestCells(t *testing.T) {
	port := func(n int32, name string) discoveryv1.EndpointPort {
		p := discoveryv1.EndpointPort{Port: &n}
		if n == 0 {
			p = discoveryv1.EndpointPort{Name: &name}
		}
		return p
	}
	for _, c := range []struct {
		ports []discoveryv1.EndpointPort
		want  string
	}{
		{nil, "<unset>"},
		{[]discoveryv1.EndpointPort{port(80, ""), port(0, "web"), {}}, "80,web,*"},
		{[]discoveryv1.EndpointPort{port(1, ""), port(2, ""), port(3, ""), port(4, ""), port(5, "")}, "1,2,3 + 2 more..."},
	} {
		if got := portsCell(c.ports); got != c.want {
			t.Errorf("ports %q, want %q", got, c.want)
		}
	}
	for _, c := range []struct {
		addresses [][]string
		want      string
	}{
		{nil, "<unset>"},
		{[][]string{{"a", "b"}, {"c"}}, "a,b,c"},
		{[][]string{{"a", "b"}, {"c", "d"}, {"e"}}, "a,b,c + 2 more..."},
	} {
		var es []discoveryv1.Endpoint
		for _, a := range c.addresses {
			es = append(es, discoveryv1.Endpoint{Addresses: a})
		}
		if got := endpointsCell(es); got != c.want {
			t.Errorf("endpoints %q, want %q", got, c.want)
		}
	}
}
