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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/dump"

	"pintle.dev/controller/backends"
)

// capacity is the most addresses an Endpoints object holds; beyond, it is truncated, and says so.
const capacity = 1000

// serves reports whether the pod may be an endpoint: one that is ending may only where the Service wants even those.
func serves(p *backends.Pod, publishNotReady bool) bool {
	return p.Addressable() && (publishNotReady || !p.Terminating())
}

// address is the pod's endpoint address in the Service's primary IP family; ok is false when the pod has none.
func address(p *backends.Pod, svc *corev1.Service) (a corev1.EndpointAddress, ok bool) {
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
	node := p.Spec.NodeName
	a = corev1.EndpointAddress{IP: ips[i].IP, TargetRef: p.Reference(), NodeName: &node, Hostname: p.Hostname(svc)}
	return a, true
}

func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6() && !ip.Is4In6()
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
func subsets(svc *corev1.Service, pods []*backends.Pod) []corev1.EndpointSubset {
	groups := map[string][]endpoint{}
	for _, p := range pods {
		if !serves(p, svc.Spec.PublishNotReadyAddresses) {
			continue
		}
		a, ok := address(p, svc)
		if !ok {
			continue
		}
		ready, _ := p.Readiness()
		e := endpoint{address: a, ready: ready || svc.Spec.PublishNotReadyAddresses}
		if len(svc.Spec.Ports) == 0 && svc.Spec.ClusterIP == corev1.ClusterIPNone {
			e.ports = []endpointPort{noPort}
		}
		for i := range svc.Spec.Ports {
			sp := &svc.Spec.Ports[i]
			n, ok := p.Port(sp)
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
