package api_test

import (
	"errors"
	"testing"

	"pintle.dev/api"
)

// TestErrorSaysOnce: an error whose message is its cause's does not repeat it.
func TestErrorSaysOnce(t *testing.T) {
	cause := errors.New("the disk is full")
	for message, want := range map[string]string{
		"the disk is full": "the disk is full",
		"making it":        "making it: the disk is full",
	} {
		err := &api.Error{Status: api.NewError(507, "InsufficientStorage", "%s", message).Status, Err: cause}
		if err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
