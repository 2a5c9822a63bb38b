// Package discovery defines the kinds of the discovery.k8s.io API group: EndpointSlice.
package discovery

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

const group = "discovery.k8s.io"

// EndpointSlices defines discovery.k8s.io EndpointSlice.
func EndpointSlices() *resource.Definition {
	doc := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return resource.Typed[discoveryv1.EndpointSlice]{
		Definition: resource.Definition{
			Resource: api.EndpointSlices, Kind: "EndpointSlice", Singular: "endpointslice", Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.WholeMetadata},
			Versions: []resource.Version{{Group: group, Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "AddressType", Type: "string", Description: doc["addressType"]},
				{Name: "Ports", Type: "string", Description: doc["ports"]},
				{Name: "Endpoints", Type: "string", Description: doc["endpoints"]},
				resource.AgeColumn,
			}}, beta()},
			Index: []resource.IndexField{{Name: api.IndexService, Internal: true, Values: serviceOf}},
		},
		Default:  setDefaults,
		Prepare:  prepare,
		Validate: validate,
		Warn:     warn,
		Cells: func(o *discoveryv1.EndpointSlice) []any {
			return []any{o.Name, string(o.AddressType), portsCell(o.Ports), endpointsCell(o.Endpoints), resource.Age(o.CreationTimestamp)}
		},
	}.Define()
}

func serviceOf(o *resource.Object) []string {
	name := o.Meta.Labels[discoveryv1.LabelServiceName]
	if name == "" {
		return nil
	}
	return []string{api.Key{Namespace: o.Meta.Namespace, Name: name}.String()}
}

func setDefaults(o *discoveryv1.EndpointSlice) {
	for i := range o.Ports {
		p := &o.Ports[i]
		if p.Name == nil {
			p.Name = new(string)
		}
		if p.Protocol == nil {
			p.Protocol = ptr.To(corev1.ProtocolTCP)
		}
	}
}

// prepare counts as a new generation what changes endpoints, ports or labels, and keeps to the older version what only
// that can write.
func prepare(_ context.Context, w *resource.Write, o, old *discoveryv1.EndpointSlice) {
	if o == nil {
		return
	}
	switch {
	case old == nil:
		o.Generation = 1
	case !equality.Semantic.DeepEqual(o.Endpoints, old.Endpoints) || !equality.Semantic.DeepEqual(o.Ports, old.Ports) ||
		o.AddressType != old.AddressType || !equality.Semantic.DeepEqual(o.Labels, old.Labels):
		o.Generation = old.Generation + 1
	}
	if w.Version.Name != betaVersion {
		dropTopology(o, old)
	}
	// Upstream's storage does not tell empty from absent, which is shown as null.
	if len(o.Endpoints) == 0 {
		o.Endpoints = nil
	}
	if len(o.Ports) == 0 {
		o.Ports = nil
	}
}

// dropTopology removes from a write of the version v1 the topology of endpoints, which only v1beta1 may write, unless the
// endpoints are as they were. The name of a node that the topology held before, and that nodeName does not, moves there.
func dropTopology(o, old *discoveryv1.EndpointSlice) {
	has := func(o *discoveryv1.EndpointSlice) bool {
		for i := range o.Endpoints {
			if o.Endpoints[i].DeprecatedTopology != nil {
				return true
			}
		}
		return false
	}
	if !has(o) || old != nil && equality.Semantic.DeepEqual(o.Endpoints, old.Endpoints) {
		return
	}
	before := map[string]bool{}
	if old != nil {
		for i := range old.Endpoints {
			if node := old.Endpoints[i].DeprecatedTopology[corev1.LabelHostname]; node != "" {
				before[node] = true
			}
		}
	}
	for i := range o.Endpoints {
		e := &o.Endpoints[i]
		if node := e.DeprecatedTopology[corev1.LabelHostname]; e.NodeName == nil && before[node] && len(rules.DNSSubdomain(node)) == 0 {
			e.NodeName = &node
		}
		e.DeprecatedTopology = nil
	}
}

func warn(_ context.Context, _ *resource.Write, o, old *discoveryv1.EndpointSlice) []string {
	if o == nil || old != nil || o.AddressType != discoveryv1.AddressTypeFQDN {
		return nil
	}
	return []string{"spec.addressType: FQDN endpoints are deprecated"}
}

// shown is how many ports and addresses a cell lists.
const shown = 3

func portsCell(ports []discoveryv1.EndpointPort) string {
	var list []string
	for i := range ports {
		switch p := &ports[i]; {
		case len(list) == shown:
			return more(list, len(ports))
		case p.Port != nil:
			list = append(list, strconv.Itoa(int(*p.Port)))
		case p.Name != nil:
			list = append(list, *p.Name)
		default:
			list = append(list, "*")
		}
	}
	return more(list, len(ports))
}

func endpointsCell(endpoints []discoveryv1.Endpoint) string {
	var list []string
	count := 0
	for i := range endpoints {
		addresses := endpoints[i].Addresses
		count += len(addresses)
		list = append(list, addresses[:min(shown-len(list), len(addresses))]...)
	}
	return more(list, count)
}

// more writes the first of count things.
func more(list []string, count int) string {
	text := strings.Join(list, ",")
	switch {
	case count == 0:
		return "<unset>"
	case count > shown:
		return fmt.Sprintf("%s + %d more...", text, count-shown)
	}
	return text
}
