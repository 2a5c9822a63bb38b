package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"pintle.dev/api"
)

var defaultRequests = corev1.ResourceList{
	corev1.ResourceCPU:    *resource.NewMilliQuantity(defaultCPU, resource.DecimalSI),
	corev1.ResourceMemory: *resource.NewQuantity(defaultMemory, resource.BinarySI),
}

// Pod is a pod to be scheduled with what plugins ask of it, worked out once.
type Pod struct {
	*corev1.Pod
	Requests Resources
	NonZero  Resources // Requests with defaults for containers that name none, for scoring
	Ports    []HostPort
	// Required is nodeSelector and required node affinity together.
	Required nodeaffinity.RequiredNodeAffinity
	// Preferred is nil when the pod prefers no nodes.
	Preferred *nodeaffinity.PreferredSchedulingTerms
}

// HostPort is a port of the node that a container takes for itself.
type HostPort struct {
	IP       string // "0.0.0.0" for all
	Protocol corev1.Protocol
	Port     int32
}

// NewPod works out what scheduling needs of a pod. It fails when the pod's preferred affinity cannot be read.
func NewPod(p *corev1.Pod) (*Pod, error) {
	q := &Pod{Pod: p, Ports: hostPorts(p), Required: nodeaffinity.GetRequiredNodeAffinity(p)}
	q.Requests, q.NonZero = requests(p)
	if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil && len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) > 0 {
		terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
		if err != nil {
			return nil, err
		}
		q.Preferred = terms
	}
	return q, nil
}

func hostPorts(p *corev1.Pod) []HostPort {
	var ports []HostPort
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.HostPort > 0 {
				h := HostPort{IP: port.HostIP, Protocol: port.Protocol, Port: port.HostPort}
				if h.IP == "" {
					h.IP = anyIP
				}
				if h.Protocol == "" {
					h.Protocol = corev1.ProtocolTCP
				}
				ports = append(ports, h)
			}
		}
	}
	return ports
}

const anyIP = "0.0.0.0"

// overlaps reports whether both cannot be taken on one node.
func (h HostPort) overlaps(o HostPort) bool {
	return h.Port == o.Port && h.Protocol == o.Protocol && (h.IP == o.IP || h.IP == anyIP || o.IP == anyIP)
}

// placed is what a pod takes on its node, kept as long as it counts there.
type placed struct {
	key      api.Key
	node     string
	requests Resources
	nonZero  Resources
	ports    []HostPort
	assumed  bool // decided, but not seen bound yet
}
