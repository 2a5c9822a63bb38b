package cni

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Remove removes the network device. Nothing happens when there is none.
func (c Config) Remove() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("removing the pod network's device: %w", err)
	}
	defer unix.Close(s)
	down, err := unix.NewIfreq(c.Bridge())
	if err != nil {
		return fmt.Errorf("removing the pod network's device: %w", err)
	}
	err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, down) // flags 0: not up
	if err == nil {
		var name *byte
		if name, err = unix.BytePtrFromString(c.Bridge()); err == nil {
			err = deleteBridge(s, name)
		}
	}
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("removing the pod network's device %s: %w", c.Bridge(), err)
	}
	return nil
}
