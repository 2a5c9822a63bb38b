package pebble

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// damageError says that a directory does not hold what was written to it, and what to do about it.
type damageError struct {
	dir   string
	cause error
}

func (e *damageError) Error() string {
	return fmt.Sprintf("the store in %s is damaged (%v): restore a backup into another directory with pintle restore", e.dir, e.cause)
}

func (e *damageError) Unwrap() error { return e.cause }

// damaged says that what was read makes no sense.
func (b *Backend) damaged(key []byte, err error) error {
	return &damageError{b.dir, fmt.Errorf("key %q: %w", bytes.ToValidUTF8(key, []byte("?")), err)}
}

// readError presents an error of reading from the open database. Damage ends the backend: nobody knows what else is
// damaged, and every hour it goes on is one more that the backup to be restored does not have.
func (b *Backend) readError(doing string, err error) error {
	var damage *damageError
	switch {
	case errors.As(err, &damage):
	case pebble.IsCorruptionError(err):
		damage = &damageError{b.dir, plain(err)}
	default:
		return fmt.Errorf("%s in %s: %w", doing, b.dir, plain(err))
	}
	b.fail(damage)
	return fmt.Errorf("%s: %w", doing, damage)
}
