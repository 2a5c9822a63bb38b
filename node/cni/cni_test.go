package cni

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

// TestForeign looks at the machine's own addresses: loopback is always among them.
func TestForeign(t *testing.T) {
	if _, err := net.InterfaceByName("lo"); err != nil {
		t.Skip("no loopback device")
	}
	got, err := Foreign(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(got, netip.MustParsePrefix("127.0.0.0/8")) {
		t.Errorf("foreign ranges %v, want 127.0.0.0/8 among them", got)
	}
}

func TestBridge(t *testing.T) {
	c := Config{Data: "/a", CIDR: "10.244.0.0/24"}
	if len(c.Bridge()) > 15 {
		t.Errorf("%q is too long for a device's name", c.Bridge())
	}
	for _, other := range []Config{{Data: "/b", CIDR: "10.244.0.0/24"}, {Data: "/a", CIDR: "10.244.1.0/24"}} {
		if c.Bridge() == other.Bridge() {
			t.Errorf("%+v and %+v share the device %s", c, other, c.Bridge())
		}
	}
}
