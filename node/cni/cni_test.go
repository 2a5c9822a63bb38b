package cni

import (
	"net"
	"net/netip"
	"os/exec"
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

// bridge makes a network device as the bridge plugin does; the test is skipped where that is not allowed.
func bridge(t *testing.T, c Config) string {
	t.Helper()
	name := c.Bridge()
	p := netip.MustParsePrefix(c.CIDR)
	for _, args := range [][]string{
		{"link", "add", name, "type", "bridge"},
		{"addr", "add", netip.PrefixFrom(p.Addr().Next(), p.Bits()).String(), "dev", name},
		{"link", "set", name, "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("making network devices: %v: %s", err, out)
		}
	}
	t.Cleanup(func() {
		if err := remove(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// TestRemoveFormer has a range replaced by another: its device goes when no pod is attached to it any more, and no other.
func TestRemoveFormer(t *testing.T) {
	data := t.TempDir()
	now := Config{Data: data, CIDR: "10.252.1.0/24"}
	former := Config{Data: data, CIDR: "10.252.2.0/24"}
	used := bridge(t, former)
	kept := []string{bridge(t, now), bridge(t, Config{Data: t.TempDir(), CIDR: "10.252.3.0/24"}), used}
	present := func(name string) bool {
		_, err := net.InterfaceByName(name)
		return err == nil
	}
	port := "p" + used[len(used)-8:]
	if out, err := exec.Command("ip", "link", "add", port, "master", used, "type", "veth", "peer", "name", "q"+port[1:]).CombinedOutput(); err != nil {
		t.Skipf("attaching a device: %v: %s", err, out)
	}
	if err := now.RemoveFormer(); err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		if !present(name) {
			t.Errorf("%s is gone", name)
		}
	}
	if out, err := exec.Command("ip", "link", "del", port).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := now.RemoveFormer(); err != nil {
		t.Fatal(err)
	}
	if present(used) {
		t.Errorf("%s, of a former range, is still there", used)
	}
	if !present(kept[0]) || !present(kept[1]) {
		t.Error("another device was removed")
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
