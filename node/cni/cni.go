// Package cni writes the pod network's configuration for a node that has none: a bridge with addresses of the node's
// pod CIDR, host ports, and masquerading to the outside. It configures no other node and enforces no policy.
package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
)

// Config is one node's pod network.
type Config struct {
	Dir  string // of the conflist
	CIDR string // of the node's pods
	Data string // where address leases are kept
	MTU  int    // 0 for the device's default
}

// Bridge is the name of the network device: one for each place that leases are kept in and each range of addresses, so
// that two nodes of one machine do not meet.
func (c Config) Bridge() string {
	h := fnv.New32a()
	h.Write([]byte(c.Data + " " + c.CIDR))
	return fmt.Sprintf("pintle-%08x", h.Sum32())
}

// Foreign are the ranges of the machine's addresses, but for those of the devices that Write's configuration makes for
// leases kept in data. Two devices with one range, as two clusters on a machine would have, or one left over from an
// earlier cluster, would keep the host from its pods: the kernel sends to the device that came first.
func Foreign(data string) ([]netip.Prefix, error) {
	devices, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing the machine's network devices: %w", err)
	}
	var all []netip.Prefix
	for _, d := range devices {
		as, err := d.Addrs()
		if err != nil {
			return nil, fmt.Errorf("reading the addresses of %s: %w", d.Name, err)
		}
		for _, a := range as {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && d.Name != (Config{Data: data, CIDR: p.Masked().String()}).Bridge() {
				all = append(all, p.Masked())
			}
		}
	}
	return all, nil
}

// fileName sorts first among configurations, of which runtimes take the first.
const fileName = "10-pintle.conflist"

// Write makes the configuration, or brings it up to date. It returns the file's path.
func Write(c Config) (string, error) {
	p, err := netip.ParsePrefix(c.CIDR)
	if err != nil {
		return "", fmt.Errorf("pod CIDR %q: %w", c.CIDR, err)
	}
	everywhere := "0.0.0.0/0"
	if p.Addr().Is6() {
		everywhere = "::/0"
	}
	type m = map[string]any
	bridge := m{
		"type": "bridge", "bridge": c.Bridge(), "isGateway": true, "ipMasq": true, "hairpinMode": true, "promiscMode": false,
		"ipam": m{"type": "host-local", "dataDir": c.Data, "ranges": [][]m{{{"subnet": p.Masked().String()}}}, "routes": []m{{"dst": everywhere}}},
	}
	if c.MTU > 0 {
		bridge["mtu"] = c.MTU
	}
	b, err := json.MarshalIndent(m{
		"cniVersion": "0.4.0", "name": "pintle",
		"plugins": []m{bridge, {"type": "portmap", "capabilities": m{"portMappings": true}, "snat": true}},
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the pod network's configuration: %w", err)
	}
	b = append(b, '\n')
	path := filepath.Join(c.Dir, fileName)
	if old, err := os.ReadFile(path); err == nil && string(old) == string(b) {
		return path, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the pod network's configuration: %w", err)
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", fmt.Errorf("making the directory of the pod network's configuration: %w", err)
	}
	tmp := path + ".tmp" // runtimes read *.conf and *.conflist only
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return "", fmt.Errorf("writing the pod network's configuration: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("writing the pod network's configuration: %w", err)
	}
	return path, nil
}
