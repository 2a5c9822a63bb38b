package cri

import (
	"errors"

	"golang.org/x/sys/unix"
)

// busy reports that a control group is in use.
func busy(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOTEMPTY) }
