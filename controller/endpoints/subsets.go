package endpoints

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/dump"
)

// capacity is the most addresses an Endpoints object holds; beyond, it is truncated, and says so.
const capacity = 1000

// pod is the part of a Pod that matters to a Service.
type pod struct {
	Metadata struct {
		Namespace         string       `json:"namespace"`
		Name              string       `json:"name"`
		UID               types.UID    `json:"uid"`
		DeletionTimestamp *metav1.Time `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		NodeName       string      `json:"nodeName"`
		Hostname       string      `json:"hostname"`
		Subdomain      string      `json:"subdomain"`
		Containers     []container `json:"containers"`
		InitContainers []container `json:"initContainers"`
	} `json:"spec"`
	Status struct {
		Phase      corev1.PodPhase `json:"phase"`
		PodIP      string          `json:"podIP"`
		PodIPs     []corev1.PodIP  `json:"podIPs"`
		Conditions []struct {
			Type               corev1.PodConditionType `json:"type"`
			Status             corev1.ConditionStatus  `json:"status"`
			LastTransitionTime metav1.Time             `json:"lastTransitionTime"`
		} `json:"conditions"`
	} `json:"status"`
}

type container struct {
	RestartPolicy *corev1.ContainerRestartPolicy `json:"restartPolicy"`
	Ports         []corev1.ContainerPort         `json:"ports"`
}

// readiness reports whether the pod is ready, and since when it is or is not.
func (p *pod) readiness() (ready bool, since time.Time) {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// serves reports whether the pod may be an endpoint at all: it has an address, has not ended, and is not ending unless
// the Service wants even those.
func (p *pod) serves(publishNotReady bool) bool {
	ended := p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	hasIP := p.Status.PodIP != "" || len(p.Status.PodIPs) > 0
	return !ended && hasIP && (publishNotReady || p.Metadata.DeletionTimestamp == nil)
}

// address is the pod's endpoint address in the Service's primary IP family; ok is false when the pod has none.
func (p *pod) address(svc *corev1.Service) (a corev1.EndpointAddress, ok bool) {
	var six bool
	switch {
	case len(svc.Spec.IPFamilies) > 0:
		six = svc.Spec.IPFamilies[0] == corev1.IPv6Protocol
	case svc.Spec.ClusterIP != "" && svc.Spec.ClusterIP != corev1.ClusterIPNone:
		six = isIPv6(svc.Spec.ClusterIP)
	default:
		six = isIPv6(p.Status.PodIP)
	}
	ips := p.Status.PodIPs
	if len(ips) == 0 {
		ips = []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	i := slices.IndexFunc(ips, func(ip corev1.PodIP) bool { return isIPv6(ip.IP) == six })
	if i < 0 {
		return a, false
	}
	a = corev1.EndpointAddress{
		IP: ips[i].IP,
		TargetRef: &corev1.ObjectReference{
			Kind: "Pod", Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, UID: p.Metadata.UID,
		},
	}
	node := p.Spec.NodeName
	a.NodeName = &node
	if p.Spec.Hostname != "" && p.Spec.Subdomain == svc.Name && p.Metadata.Namespace == svc.Namespace {
		a.Hostname = p.Spec.Hostname
	}
	return a, true
}

func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6() && !ip.Is4In6()
}

// port resolves a Service's target port in the pod; ok is false when it names no port of the pod.
func (p *pod) port(sp *corev1.ServicePort) (n int32, ok bool) {
	if sp.TargetPort.Type == intstr.Int {
		return sp.TargetPort.IntVal, true
	}
	find := func(c *container) bool {
		for _, cp := range c.Ports {
			if cp.Name == sp.TargetPort.StrVal && cp.Protocol == sp.Protocol {
				n = cp.ContainerPort
				return true
			}
		}
		return false
	}
	for i := range p.Spec.Containers {
		if find(&p.Spec.Containers[i]) {
			return n, true
		}
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways && find(c) {
			return n, true
		}
	}
	return 0, false
}

// endpointPort is a port as a map key.
type endpointPort struct {
	name, appProtocol string
	hasAppProtocol    bool
	port              int32
	protocol          corev1.Protocol
}

func (k endpointPort) api() corev1.EndpointPort {
	p := corev1.EndpointPort{Name: k.name, Port: k.port, Protocol: k.protocol}
	if k.hasAppProtocol {
		p.AppProtocol = &k.appProtocol
	}
	return p
}

// noPort stands for the addresses of a headless Service without ports.
var noPort = endpointPort{port: -1}

// endpoint is an address with what it serves.
type endpoint struct {
	address corev1.EndpointAddress
	ready   bool
	ports   []endpointPort // sorted
}

// subsets computes the subsets of a Service's Endpoints: addresses that serve the same ports share one. The order of
// everything is upstream's, which is that of hashes.
func subsets(svc *corev1.Service, pods []*pod) []corev1.EndpointSubset {
	groups := map[string][]endpoint{}
	for _, p := range pods {
		if !p.serves(svc.Spec.PublishNotReadyAddresses) {
			continue
		}
		a, ok := p.address(svc)
		if !ok {
			continue
		}
		ready, _ := p.readiness()
		e := endpoint{address: a, ready: ready || svc.Spec.PublishNotReadyAddresses}
		if len(svc.Spec.Ports) == 0 && svc.Spec.ClusterIP == corev1.ClusterIPNone {
			e.ports = []endpointPort{noPort}
		}
		for i := range svc.Spec.Ports {
			sp := &svc.Spec.Ports[i]
			n, ok := p.port(sp)
			if !ok {
				continue
			}
			k := endpointPort{name: sp.Name, port: n, protocol: sp.Protocol}
			if sp.AppProtocol != nil {
				k.appProtocol, k.hasAppProtocol = *sp.AppProtocol, true
			}
			if !slices.Contains(e.ports, k) {
				e.ports = append(e.ports, k)
			}
		}
		if len(e.ports) == 0 {
			continue
		}
		slices.SortFunc(e.ports, func(a, b endpointPort) int {
			return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.name, b.name), cmp.Compare(a.appProtocol, b.appProtocol))
		})
		var key strings.Builder
		for _, k := range e.ports {
			fmt.Fprintf(&key, "%d/%s/%s/%t%s,", k.port, k.protocol, k.name, k.hasAppProtocol, k.appProtocol)
		}
		groups[key.String()] = append(groups[key.String()], e)
	}
	var out []corev1.EndpointSubset
	for _, g := range groups {
		out = append(out, subset(g))
	}
	sortByHash(out)
	return out
}

func subset(es []endpoint) (s corev1.EndpointSubset) {
	slices.SortFunc(es, func(a, b endpoint) int {
		return cmp.Or(compareIP(a.address.IP, b.address.IP), strings.Compare(string(a.address.TargetRef.UID), string(b.address.TargetRef.UID)))
	})
	for _, e := range es {
		if e.ready {
			s.Addresses = append(s.Addresses, e.address)
		} else {
			s.NotReadyAddresses = append(s.NotReadyAddresses, e.address)
		}
	}
	for _, k := range es[0].ports {
		if k != noPort {
			s.Ports = append(s.Ports, k.api())
		}
	}
	sortByHash(s.Ports)
	return s
}

func compareIP(a, b string) int {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return bytes.Compare(as16(x), as16(y))
}

func as16(a netip.Addr) []byte {
	b := a.As16()
	return b[:]
}

// sortByHash orders as upstream does, by a digest of each element.
func sortByHash[T any](list []T) {
	if len(list) < 2 {
		return
	}
	type hashed struct {
		sum   [md5.Size]byte
		value T
	}
	hs := make([]hashed, len(list))
	for i, v := range list {
		hs[i] = hashed{md5.Sum([]byte(dump.ForHash(v))), v}
	}
	slices.SortFunc(hs, func(a, b hashed) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	for i, h := range hs {
		list[i] = h.value
	}
}

// truncate cuts the addresses down to capacity, those that are not ready first, each subset by its share. It reports
// whether there were too many.
func truncate(ss []corev1.EndpointSubset) bool {
	ready, notReady := 0, 0
	for i := range ss {
		ready += len(ss[i].Addresses)
		notReady += len(ss[i].NotReadyAddresses)
	}
	if ready+notReady <= capacity {
		return false
	}
	cutReady := ready > capacity
	room, total := capacity-ready, notReady
	if cutReady {
		room, total = capacity, ready
	}
	left := room
	for i := range ss {
		list := &ss[i].NotReadyAddresses
		if cutReady {
			ss[i].NotReadyAddresses = nil
			list = &ss[i].Addresses
		}
		n := min(left, int(math.Ceil(float64(len(*list))/float64(total)*float64(room))))
		*list = (*list)[:n]
		left -= n
	}
	return true
}
