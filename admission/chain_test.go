package admission

import (
	"testing"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// TestCompletes says of which writes Admit may change the object; all others are stored as they were encoded before it.
func TestCompletes(t *testing.T) {
	all := All(nil)
	for _, c := range []struct {
		of          api.Resource
		subresource string
		want        bool
	}{
		{api.Pods, "", true},
		{api.Pods, "status", false},
		{api.Pods, "binding", false},
		{api.Nodes, "", true},
		{api.Nodes, "status", false},
		{api.Events, "", false},
		{api.ConfigMaps, "", false},
		{api.PriorityClasses, "", false},
	} {
		w := &resource.Write{Definition: &resource.Definition{Resource: c.of}, Subresource: c.subresource}
		if got := all.Completes(w); got != c.want {
			t.Errorf("%s/%s: %v, want %v", c.of, c.subresource, got, c.want)
		}
	}
}
