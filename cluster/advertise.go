package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// publishEndpoints keeps the Endpoints and the EndpointSlice of the kubernetes Service at the address this server listens
// on.
func publishEndpoints(ctx context.Context, c client.Client, addr *net.TCPAddr) error {
	ip := advertised(addr)
	if !ip.IsValid() {
		return nil
	}
	name, port := "https", int32(addr.Port)
	protocol, ready := corev1.ProtocolTCP, true
	e := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: metav1.NamespaceDefault, Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}},
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: ip.String()}},
			Ports:     []corev1.EndpointPort{{Name: name, Port: port, Protocol: protocol}},
		}},
	}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: e.Name, Namespace: e.Namespace, Labels: map[string]string{discoveryv1.LabelServiceName: e.Name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
	if ip.Is6() {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	if _, err := client.Endpoints.Update(ctx, c, e); err != nil {
		return fmt.Errorf("publishing the endpoints of the kubernetes service: %w", err)
	}
	if err := publishSlice(ctx, c, s); err != nil {
		return fmt.Errorf("publishing the endpoint slice of the kubernetes service: %w", err)
	}
	return nil
}

// publishSlice makes an EndpointSlice what it should be. One of another address type makes room, as its type is fixed.
func publishSlice(ctx context.Context, c client.Client, s *discoveryv1.EndpointSlice) error {
	current, err := client.EndpointSlices.Get(ctx, c, client.KeyOf(s))
	switch {
	case api.IsNotFound(err):
		_, err = client.EndpointSlices.Create(ctx, c, s)
		return err
	case err != nil:
		return err
	case current.AddressType == s.AddressType:
		_, err = client.EndpointSlices.Update(ctx, c, s)
		return err
	}
	if _, err := client.EndpointSlices.Delete(ctx, c, client.KeyOf(s), client.IfUID(current.UID)); err != nil {
		return err
	}
	_, err = client.EndpointSlices.Create(ctx, c, s)
	return err
}

// advertised is the address others reach a listener by: its own, or for one that listens on all or on loopback, which
// Endpoints may not hold, the machine's first global one, as upstream has it.
func advertised(addr *net.TCPAddr) netip.Addr {
	ip, _ := netip.AddrFromSlice(addr.IP)
	ip = ip.Unmap()
	if !ip.IsUnspecified() && !ip.IsLoopback() {
		return ip
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}
