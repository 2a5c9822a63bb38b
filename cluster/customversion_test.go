package cluster

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestVersionsDifferInSubresources: each version of a custom kind has the subresources that it declares, and where it has
// no status, status is a field like any other, of its main resource's writers. Whatever is asked of a deprecated version,
// its warning comes first.
func TestVersionsDifferInSubresources(t *testing.T) {
	const base, body = "/apis/example.com/v1/namespaces/default/counts", `{"apiVersion":"example.com/v1","kind":"Count","metadata":{"name":"c"},`
	const schema = `"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer"},"m":{"type":"integer"}}},
		"status":{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer"}}}}}}`
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"counts.example.com"},
		"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"counts","kind":"Count"},"versions":[
		{"name":"v1","served":true,"storage":true,"deprecated":true,"deprecationWarning":"old","subresources":{"scale":{"specReplicasPath":".spec.n","statusReplicasPath":".status.n"}},`+schema+`},
		{"name":"v2","served":true,"storage":false,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.m","statusReplicasPath":".status.n"}},`+schema+`}]}}`, 201)
	want(t, sys, "APPLY", base+"/c?fieldManager=a", body+`"spec":{"n":1,"m":2}}`, 201)
	want(t, sys, "GET", strings.Replace(base, "v1", "v2", 1)+"/c/scale", "", 200, `"replicas":2`)
	want(t, sys, "APPLY", base+"/c?fieldManager=b", body+`"status":{"a":"x"}}`, 200, `{"manager":"b","operation":"Apply"`, `"fieldsV1":{"f:status":{"f:a":{}}}`)
	want(t, sys, "PATCH", base+"/c?fieldManager=c", `{"status":{"n":1}}`, 200, `{"manager":"c","operation":"Update"`, `"fieldsV1":{"f:status":{"f:n":{}}}`)
	for _, c := range []struct {
		method, path, body string
		code               int
		warnings           []string
	}{
		{"GET", "/c/scale", "", 200, []string{`299 - "old"`}},
		{"GET", "/c/status", "", 404, []string{`299 - "old"`}},
		{"PATCH", "/d", "{}", 404, []string{`299 - "old"`}},
		{"PUT", "/c", "{", 400, []string{`299 - "old"`}},
		{"PATCH", "", "{}", 400, []string{`299 - "old"`}},
		{"PATCH", "/c", `{"spec":{"z":1}}`, 200, []string{`299 - "old"`, `299 - "unknown field \"spec.z\""`}},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, sys.URL()+base+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", map[string]string{"PUT": "application/json", "PATCH": "application/merge-patch+json"}[c.method])
		p, err := sys.adminClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		p.Body.Close()
		if got := p.Header.Values("Warning"); p.StatusCode != c.code || !slices.Equal(got, c.warnings) {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, p.StatusCode, got, c.code, c.warnings)
		}
	}
}
