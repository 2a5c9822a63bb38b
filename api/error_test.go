package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

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

// TestInvalidIsBounded: what an answer tells of much that is wrong is bounded, in number and in bytes.
func TestInvalidIsBounded(t *testing.T) {
	for _, c := range []struct{ errs, length, told int }{{3, 10, 3}, {1000, 10, 1000}, {2500, 10, 1000}, {2, 3 << 20, 1}, {900, 10_000, 105}} {
		var errs field.ErrorList
		for i := range c.errs {
			errs = append(errs, field.Invalid(field.NewPath("l").Index(i), field.OmitValueType{}, strings.Repeat("x", c.length)))
		}
		e := api.Invalid("g", "K", "n", errs)
		more := ""
		if c.errs > c.told {
			more = fmt.Sprintf(", and %d more", c.errs-c.told)
		}
		if got := len(e.Status.Details.Causes); got != c.told || !strings.HasSuffix(e.Status.Message, more) {
			t.Errorf("of %d errors of %d bytes %d are told: %.100s", c.errs, c.length, got, e.Status.Message)
		}
	}
}
