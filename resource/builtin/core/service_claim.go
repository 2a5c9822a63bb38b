package core

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// The ranges services are served from. The first cluster IP is that of the kubernetes Service.
var (
	clusterRange      = netip.MustParsePrefix("10.96.0.0/16")
	KubernetesService = clusterRange.Addr().Next().String()
)

const (
	nodePortFirst = 30000
	nodePortLast  = 32767
	// The lower part of either range is left to those who ask for a certain address or port (KEP-3070, KEP-3668):
	// automatic allocation turns to it only when the rest is taken.
	staticIPs   = 256
	staticPorts = 86
)

const (
	claimClusterIP = "clusterip"
	claimNodePort  = "nodeport"
)

// claimService allocates what o needs and has not, claims what it has and old had not, and releases the rest.
func claimService(_ context.Context, v store.View, w *resource.Write, o, old *corev1.Service) ([]store.Write, error) {
	c := newClaimer(v, w, old)
	if o != nil {
		if err := c.allocate(o, old); err != nil {
			return nil, err
		}
	}
	return c.writes(w.Request.Key, o)
}

// refuseService says what cannot be allocated: upstream does that before it validates.
func refuseService(_ context.Context, v store.View, w *resource.Write, o, old *corev1.Service) error {
	return newClaimer(v, w, old).allocate(o.DeepCopy(), old)
}

func newClaimer(v store.View, w *resource.Write, old *corev1.Service) *claimer {
	c := &claimer{view: v, dryRun: w.DryRun, held: map[api.Key]bool{}, wanted: map[api.Key]bool{}}
	if old != nil {
		c.hold(&old.Spec)
	}
	return c
}

type claimer struct {
	view   store.View
	dryRun bool
	shown  int32            // the largest node port that a dry run has claimed
	held   map[api.Key]bool // by the object as it was
	wanted map[api.Key]bool // by the object as it will be
}

func (c *claimer) hold(s *corev1.ServiceSpec) {
	for _, ip := range s.ClusterIPs {
		if ip != corev1.ClusterIPNone {
			c.held[resource.ClaimKey(claimClusterIP, ip)] = true
		}
	}
	for _, p := range s.Ports {
		if p.NodePort != 0 {
			c.held[portKey(p.NodePort)] = true
		}
	}
	if s.HealthCheckNodePort != 0 {
		c.held[portKey(s.HealthCheckNodePort)] = true
	}
}

func portKey(port int32) api.Key {
	return resource.ClaimKey(claimNodePort, strconv.Itoa(int(port)))
}

// free reports whether nobody holds the key but the object itself.
func (c *claimer) free(k api.Key) bool {
	return !c.wanted[k] && (c.held[k] || c.view.Get(api.Claims, k) == nil)
}

// allocate stops at the first that cannot be had, and that is all that is reported then.
func (c *claimer) allocate(o, old *corev1.Service) error {
	invalid := func(errs ...*field.Error) error { return api.Invalid("", "Service", o.Name, errs) }
	s, spec := &o.Spec, field.NewPath("spec")
	if s.Type != corev1.ServiceTypeExternalName {
		if errs := settleFamilies(s, old, spec); len(errs) > 0 {
			return invalid(errs...)
		}
	}
	switch {
	case !needsClusterIP(s) || isHeadless(s):
	case old != nil && needsClusterIP(&old.Spec):
		for _, ip := range s.ClusterIPs { // which cannot change
			c.wanted[resource.ClaimKey(claimClusterIP, ip)] = true
		}
	default:
		if err := c.allocateIP(s, spec); err != nil {
			return invalid(err)
		}
	}
	kept := old != nil && needsHealthCheckPort(&old.Spec) // and cannot change
	if needsHealthCheckPort(s) && kept {
		c.wanted[portKey(old.Spec.HealthCheckNodePort)] = true
	}
	switch {
	case !hasNodePorts(s):
	case old == nil:
		if err := c.allocatePorts(s, spec.Child("ports")); err != nil {
			return invalid(err)
		}
	default:
		if err := c.reallocatePorts(s, &old.Spec, spec.Child("ports")); err != nil {
			return invalid(err)
		}
		if p := repeatedNodePort(s.Ports); p != nil {
			return api.BadRequest("duplicate nodePort: {%s %d}", p.Protocol, p.NodePort) // upstream's has no field, and is a 500
		}
	}
	if needsHealthCheckPort(s) && !kept {
		if err := c.allocatePort(&s.HealthCheckNodePort, spec.Child("healthCheckNodePort"), "failed to allocate requested HealthCheck NodePort %d: "); err != nil {
			return invalid(err)
		}
	}
	return nil
}

func (c *claimer) allocateIP(s *corev1.ServiceSpec, spec *field.Path) *field.Error {
	if len(s.ClusterIPs) > 0 {
		ip := s.ClusterIPs[0]
		addr, err := netip.ParseAddr(ip)
		switch k := resource.ClaimKey(claimClusterIP, ip); {
		case err != nil || !clusterRange.Contains(addr) || addr == clusterRange.Addr():
			return field.Invalid(spec.Child("clusterIPs"), s.ClusterIPs, fmt.Sprintf(
				"failed to allocate IP %s: the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, ip, clusterRange))
		case !c.free(k):
			return field.Invalid(spec.Child("clusterIPs"), s.ClusterIPs, fmt.Sprintf("failed to allocate IP %s: provided IP is already allocated", ip))
		default:
			c.wanted[k] = true
		}
		return nil
	}
	base := clusterRange.Addr().As4()
	size := 1<<(32-clusterRange.Bits()) - 2 // without the network and the broadcast address
	n, ok := pick(size, staticIPs, func(n int) bool { return c.free(resource.ClaimKey(claimClusterIP, clusterIP(base, n))) })
	if !ok {
		return field.InternalError(spec.Child("clusterIPs"), fmt.Errorf("failed to allocate a serviceIP: range %s is full", clusterRange))
	}
	s.ClusterIP = clusterIP(base, n)
	s.ClusterIPs = []string{s.ClusterIP}
	c.wanted[resource.ClaimKey(claimClusterIP, s.ClusterIP)] = true
	return nil
}

// clusterIP is the address n+1 beyond base.
func clusterIP(base [4]byte, n int) string {
	v := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	v += uint32(n) + 1
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

// pick draws a number below size that is free, from reserved on while there is one.
func pick(size, reserved int, free func(n int) bool) (int, bool) {
	for _, part := range [...]struct{ from, n int }{{reserved, size - reserved}, {0, reserved}} {
		start := rand.IntN(part.n)
		for i := range part.n {
			if n := part.from + (start+i)%part.n; free(n) {
				return n, true
			}
		}
	}
	return 0, false
}

// allocatePorts gives each port of a new service its node port. Those of one number, which differ in their protocol,
// share the node port that the first of them to ask for one names, unless they ask for another.
func (c *claimer) allocatePorts(s *corev1.ServiceSpec, p *field.Path) *field.Error {
	given := map[int32]int32{} // node ports by port
	for i := range s.Ports {
		port := &s.Ports[i]
		if port.NodePort == 0 && !needsNodePort(s) {
			continue
		}
		shared, ok := given[port.Port]
		switch {
		case ok && port.NodePort == 0:
			port.NodePort = shared
			continue
		case ok && port.NodePort == shared:
			continue
		case !ok:
			if i := slices.IndexFunc(s.Ports, func(q corev1.ServicePort) bool { return q.Port == port.Port && q.NodePort != 0 }); i >= 0 {
				port.NodePort = s.Ports[i].NodePort
			}
		}
		if err := c.allocatePort(&port.NodePort, p.Index(i).Child("nodePort"), ""); err != nil {
			return err
		}
		if !ok {
			given[port.Port] = port.NodePort
		}
	}
	return nil
}

// reallocatePorts gives each port of a service that changes its node port: one that the service held may go to any port,
// several may ask for the same, and those that ask for none get one each.
func (c *claimer) reallocatePorts(s, old *corev1.ServiceSpec, p *field.Path) *field.Error {
	for i := range s.Ports {
		port := &s.Ports[i]
		asked := func(q corev1.ServicePort) bool { return q.NodePort == port.NodePort }
		switch {
		case port.NodePort == 0 && !needsNodePort(s):
		case port.NodePort != 0 && (slices.ContainsFunc(old.Ports, asked) || slices.ContainsFunc(s.Ports[:i], asked)):
			c.wanted[portKey(port.NodePort)] = true
		default:
			if err := c.allocatePort(&port.NodePort, p.Index(i).Child("nodePort"), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// repeatedNodePort is the first port whose protocol and node port an earlier one has too.
func repeatedNodePort(ports []corev1.ServicePort) *corev1.ServicePort {
	for i := range ports {
		p := &ports[i]
		if p.NodePort != 0 && slices.ContainsFunc(ports[:i], func(q corev1.ServicePort) bool { return q.NodePort == p.NodePort && q.Protocol == p.Protocol }) {
			return p
		}
	}
	return nil
}

// allocatePort claims *port, or one of the allocator's choice if it is zero. As upstream's allocator, which a dry run does
// not reach, it lets a dry run ask for ports out of the range, and shows it a port beyond the range or what was asked for.
func (c *claimer) allocatePort(port *int32, at *field.Path, prefix string) *field.Error {
	if prefix != "" {
		prefix = fmt.Sprintf(prefix, *port)
	}
	switch {
	case *port == 0 && c.dryRun:
		*port = cmp.Or(c.shown, nodePortLast+1) + 1
	case *port == 0:
		n, ok := pick(nodePortLast-nodePortFirst+1, staticPorts, func(n int) bool { return c.free(portKey(int32(nodePortFirst + n))) })
		if !ok {
			return field.InternalError(at, fmt.Errorf("failed to allocate a nodePort: range is full"))
		}
		*port = int32(nodePortFirst + n)
	case c.held[portKey(*port)] && !c.wanted[portKey(*port)]:
	case !c.dryRun && (*port < nodePortFirst || *port > nodePortLast):
		return field.Invalid(at, *port, fmt.Sprintf("%sprovided port is not in the valid range. The range of valid ports is %d-%d", prefix, nodePortFirst, nodePortLast))
	case !c.free(portKey(*port)):
		return field.Invalid(at, *port, prefix+"provided port is already allocated")
	}
	c.wanted[portKey(*port)] = true
	c.shown = max(c.shown, *port)
	return nil
}

// writes turns the difference between what was held and what is wanted into puts and deletes of claims.
func (c *claimer) writes(holder api.Key, o *corev1.Service) ([]store.Write, error) {
	var ws []store.Write
	if o != nil {
		holder.Name = o.Name // a create names none in its path
	}
	for k := range c.wanted {
		if c.held[k] && c.view.Get(api.Claims, k) != nil {
			continue
		}
		rec, err := resource.NewClaim(k.Namespace, k.Name, holder)
		if err != nil {
			return nil, err
		}
		ws = append(ws, store.Put(api.Claims, rec, 0))
	}
	for k := range c.held {
		if rec := c.view.Get(api.Claims, k); rec != nil && !c.wanted[k] {
			ws = append(ws, store.Delete(api.Claims, k, rec.Revision()))
		}
	}
	return ws, nil
}
