package cni

import (
	"net/netip"
	"testing"
)

func TestSubnetIsKept(t *testing.T) {
	dir := t.TempDir()
	if p := Subnet(dir); p.IsValid() {
		t.Errorf("subnet %s of an empty directory", p)
	}
	if _, err := Write(Config{Dir: dir, CIDR: "10.244.7.0/24", Data: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	if p := Subnet(dir); p.String() != "10.244.7.0/24" {
		t.Errorf("subnet %s, want the one written", p)
	}
}

func TestFree(t *testing.T) {
	preferred := netip.MustParsePrefix("10.244.0.0/24")
	for _, c := range []struct {
		want  string
		taken []string
	}{
		{"10.244.0.0/24", []string{"127.0.0.1/8", "192.0.2.2/24", "fd00::2/64"}},
		{"10.244.2.0/24", []string{"10.244.0.1/24", "10.244.1.9/32"}},
		{"10.244.0.0/24", []string{"10.0.0.1/8"}}, // none is free
	} {
		var taken []netip.Prefix
		for _, s := range c.taken {
			taken = append(taken, netip.MustParsePrefix(s))
		}
		if got := Free(preferred, taken); got.String() != c.want {
			t.Errorf("with %v: %s, want %s", c.taken, got, c.want)
		}
	}
}
