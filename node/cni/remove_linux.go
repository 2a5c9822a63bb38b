package cni

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove removes the network device. Nothing happens when there is none.
func (c Config) Remove() error { return remove(c.Bridge()) }

// RemoveFormer removes the devices of other ranges that were configured for the same leases before, unless pods are
// attached to them still: what is sent to those ranges, by now another node's, would end there.
func (c Config) RemoveFormer() error {
	devices, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("listing the machine's network devices: %w", err)
	}
	var errs []error
	for _, d := range devices {
		if d.Name != c.Bridge() && c.owns(d) && !attached(d.Name) {
			errs = append(errs, remove(d.Name))
		}
	}
	return errors.Join(errs...)
}

// owns reports whether a device is the one of these leases with some range.
func (c Config) owns(d net.Interface) bool {
	as, err := d.Addrs()
	if err != nil {
		return false // it has just been removed
	}
	for _, a := range as {
		if p, err := netip.ParsePrefix(a.String()); err == nil && d.Name == (Config{Data: c.Data, CIDR: p.Masked().String()}).Bridge() {
			return true
		}
	}
	return false
}

// attached reports whether a bridge has ports.
func attached(bridge string) bool {
	ports, err := os.ReadDir(filepath.Join("/sys/class/net", bridge, "brif"))
	return err != nil || len(ports) > 0
}

func remove(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("removing the pod network's device: %w", err)
	}
	defer unix.Close(s)
	down, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("removing the pod network's device: %w", err)
	}
	err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, down) // flags 0: not up
	if err == nil {
		var text *byte
		if text, err = unix.BytePtrFromString(name); err == nil {
			err = deleteBridge(s, text)
		}
	}
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("removing the pod network's device %s: %w", name, err)
	}
	return nil
}
