package server

import (
	"strings"
	"testing"
)

// TestSubresourceOfVersion: a subresource that a version does not have gets upstream's 404 for the object; a method it would
// have, no 405.
func TestSubresourceOfVersion(t *testing.T) {
	s := open(t)
	declare(t, s, strings.Replace(benchDefinition, "}]},\n\"status\"",
		`,"subresources":{"status":{}}},{"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}}]},"status"`, 1))
	for version, want := range map[string]int{"v1": 405, "v1beta1": 404} {
		if a := ask(t, s, "POST /apis/bench.dev/"+version+"/namespaces/default/widgets/w/status", "{}"); a.code != want {
			t.Errorf("%s: %d %s", version, a.code, a.body)
		}
	}
}
