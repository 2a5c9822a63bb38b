package client

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validation"
)

func TestValidEventName(t *testing.T) {
	for _, name := range []string{"pod-1.17a", "a.b.c", "-a.1", "a.-b.1", "a-.1", "A.1", "a:b.1", "a..1", ".1", strings.Repeat("a", 253) + ".1", strings.Repeat("a", 250) + ".1"} {
		if got, want := validEventName(name), len(validation.NameIsDNSSubdomain(name, false)) == 0; got != want {
			t.Errorf("%q is valid: %v, want %v", name, got, want)
		}
	}
}
