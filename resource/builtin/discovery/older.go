package discovery

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	discoveryv1beta1 "k8s.io/api/discovery/v1beta1"

	"pintle.dev/resource"
)

const betaVersion = "v1beta1"

// beta is the version that Kubernetes served until 1.24: the zone of an endpoint is an entry of its topology, a map that
// has the node under kubernetes.io/hostname as well.
func beta() resource.Version {
	v := resource.Older[discoveryv1beta1.EndpointSlice](group, betaVersion)
	v.AsStored = false
	v.Codec = betaCodec{resource.TypedCodec[discoveryv1beta1.EndpointSlice]{APIVersion: v.APIVersion(), Kind: "EndpointSlice"}}
	return v
}

// betaCodec reads and writes the older version; in flight and stored, an EndpointSlice is a v1 one.
type betaCodec struct {
	json resource.TypedCodec[discoveryv1beta1.EndpointSlice]
}

// Decode implements resource.Codec.
func (c betaCodec) Decode(data []byte, stored bool) (*resource.Object, []string, error) {
	o, problems, err := c.json.Decode(data, stored)
	if err != nil {
		return nil, nil, err
	}
	b := o.Value.(*discoveryv1beta1.EndpointSlice)
	s := &discoveryv1.EndpointSlice{
		TypeMeta: b.TypeMeta, ObjectMeta: b.ObjectMeta, AddressType: discoveryv1.AddressType(b.AddressType),
		Endpoints: each(b.Endpoints, fromBeta),
		Ports:     each(b.Ports, func(p *discoveryv1beta1.EndpointPort) discoveryv1.EndpointPort { return discoveryv1.EndpointPort(*p) }),
	}
	o, err = resource.TypedObject(s)
	return o, problems, err
}

// Encode implements resource.Codec.
func (c betaCodec) Encode(dst []byte, o *resource.Object) ([]byte, error) {
	s := o.Value.(*discoveryv1.EndpointSlice)
	t, err := resource.TypedObject(&discoveryv1beta1.EndpointSlice{
		ObjectMeta: s.ObjectMeta, AddressType: discoveryv1beta1.AddressType(s.AddressType),
		Endpoints: each(s.Endpoints, toBeta),
		Ports: each(s.Ports, func(p *discoveryv1.EndpointPort) discoveryv1beta1.EndpointPort {
			return discoveryv1beta1.EndpointPort(*p)
		}),
	})
	if err != nil {
		return nil, err
	}
	return c.json.Encode(dst, t)
}

// NewMessage implements resource.MessageCodec.
func (betaCodec) NewMessage() any { return new(discoveryv1beta1.EndpointSlice) }

// fromBeta moves the zone out of the topology. The name of the host stays in it only where it is not nodeName.
func fromBeta(b *discoveryv1beta1.Endpoint) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{
		Addresses: b.Addresses, Conditions: discoveryv1.EndpointConditions(b.Conditions), Hostname: b.Hostname,
		TargetRef: b.TargetRef, NodeName: b.NodeName,
	}
	if h := b.Hints; h != nil {
		e.Hints = &discoveryv1.EndpointHints{
			ForZones: each(h.ForZones, func(z *discoveryv1beta1.ForZone) discoveryv1.ForZone { return discoveryv1.ForZone(*z) }),
			ForNodes: each(h.ForNodes, func(n *discoveryv1beta1.ForNode) discoveryv1.ForNode { return discoveryv1.ForNode(*n) }),
		}
	}
	topology := maps.Clone(b.Topology)
	if zone, ok := topology[corev1.LabelTopologyZone]; ok {
		e.Zone = &zone
		delete(topology, corev1.LabelTopologyZone)
	}
	if node, ok := topology[corev1.LabelHostname]; ok && b.NodeName != nil && node == *b.NodeName {
		delete(topology, corev1.LabelHostname)
	}
	if len(topology) > 0 {
		e.DeprecatedTopology = topology
	}
	return e
}

func toBeta(e *discoveryv1.Endpoint) discoveryv1beta1.Endpoint {
	b := discoveryv1beta1.Endpoint{
		Addresses: e.Addresses, Conditions: discoveryv1beta1.EndpointConditions(e.Conditions), Hostname: e.Hostname,
		TargetRef: e.TargetRef, NodeName: e.NodeName,
	}
	if h := e.Hints; h != nil {
		b.Hints = &discoveryv1beta1.EndpointHints{
			ForZones: each(h.ForZones, func(z *discoveryv1.ForZone) discoveryv1beta1.ForZone { return discoveryv1beta1.ForZone(*z) }),
			ForNodes: each(h.ForNodes, func(n *discoveryv1.ForNode) discoveryv1beta1.ForNode { return discoveryv1beta1.ForNode(*n) }),
		}
	}
	if e.DeprecatedTopology == nil && e.Zone == nil && e.NodeName == nil {
		return b
	}
	b.Topology = make(map[string]string, len(e.DeprecatedTopology)+2)
	maps.Copy(b.Topology, e.DeprecatedTopology)
	if e.Zone != nil {
		b.Topology[corev1.LabelTopologyZone] = *e.Zone
	}
	if e.NodeName != nil && b.Topology[corev1.LabelHostname] == "" {
		b.Topology[corev1.LabelHostname] = *e.NodeName
	}
	return b
}

// each converts a list; a nil one stays nil.
func each[A, B any](list []A, convert func(*A) B) []B {
	if list == nil {
		return nil
	}
	out := make([]B, len(list))
	for i := range list {
		out[i] = convert(&list[i])
	}
	return out
}
