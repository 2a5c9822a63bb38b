package cluster

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
)

// The kubernetes Service and the objects that name its endpoints come back when somebody deletes them.
func TestKubernetesServiceIsKept(t *testing.T) {
	if !advertised(&net.TCPAddr{IP: net.IPv4zero}).IsValid() {
		t.Skip("the machine has no address that Endpoints may hold")
	}
	sys := startTest(t, Config{})
	c := sys.Client("test", auth.UserAdmin, auth.GroupMasters)
	key := api.Key{Namespace: "default", Name: "kubernetes"}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	service, err := client.Services.Get(ctx, c, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Services.Delete(ctx, c, key, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Endpoints.Delete(ctx, c, key, nil); err != nil {
		t.Fatal(err)
	}
	// An endpoint slice of another address type cannot be made right, only replaced.
	slice, err := client.EndpointSlices.Get(ctx, c, key)
	if err != nil {
		t.Fatal(err)
	}
	slice.UID, slice.ResourceVersion, slice.AddressType = "", "", discoveryv1.AddressTypeFQDN
	slice.Endpoints[0].Addresses[0] = "a.b"
	for made := false; !made; { // the system itself may make it again in between
		if _, err := client.EndpointSlices.Delete(ctx, c, key, nil); err != nil && !api.IsNotFound(err) {
			t.Fatal(err)
		}
		_, err := client.EndpointSlices.Create(ctx, c, slice)
		if err != nil && !api.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		made = err == nil
	}
	sys.running.Go(func() { sys.keepObjects(ctx, c, time.Millisecond) })
	defer cancel() // before the system ends
	for {
		s, serr := client.Services.Get(ctx, c, key)
		e, eerr := client.Endpoints.Get(ctx, c, key)
		es, eserr := client.EndpointSlices.Get(ctx, c, key)
		if serr == nil && eerr == nil && eserr == nil && es.AddressType != discoveryv1.AddressTypeFQDN {
			if s.UID == service.UID || s.Spec.ClusterIP != service.Spec.ClusterIP {
				t.Errorf("service %s at %s, want a new one at %s", s.UID, s.Spec.ClusterIP, service.Spec.ClusterIP)
			}
			if len(e.Subsets) != 1 || int(e.Subsets[0].Ports[0].Port) != sys.addr().Port {
				t.Errorf("endpoints %v, want the server's port %d", e.Subsets, sys.addr().Port)
			}
			if len(es.Endpoints) != 1 || len(es.Ports) != 1 || int(*es.Ports[0].Port) != sys.addr().Port || es.Labels[discoveryv1.LabelServiceName] != "kubernetes" {
				t.Errorf("endpoint slice %+v, want the server's port %d", es, sys.addr().Port)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("service: %v; endpoints: %v; endpoint slice: %v", serr, eerr, eserr)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestAdvertised(t *testing.T) {
	own := netip.MustParseAddr("192.0.2.7")
	if ip := advertised(&net.TCPAddr{IP: own.AsSlice()}); ip != own {
		t.Errorf("%s, want the listener's %s", ip, own)
	}
	for _, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4zero, net.IPv6loopback} {
		if got := advertised(&net.TCPAddr{IP: ip}); got.IsLoopback() || got.IsUnspecified() {
			t.Errorf("a listener on %s is advertised at %s, which Endpoints may not hold", ip, got)
		}
	}
}
