package cni

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func deleteBridge(socket int, name *byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCBRDELBR, uintptr(unsafe.Pointer(name))); errno != 0 {
		return errno
	}
	return nil
}
