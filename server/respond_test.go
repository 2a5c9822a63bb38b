package server

import (
	"strings"
	"testing"
)

// TestLinesOfJSON: as on upstream compact JSON ends with a newline and indented JSON does not; and a Status that the client
// takes in no form is indented, as are all answers to curl.
func TestLinesOfJSON(t *testing.T) {
	s := open(t)
	want(t, s, 201, "POST /api/v1/namespaces/default/configmaps", configMap("c"), "")
	const curl, table, none = "User-Agent: curl/8.5", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io", "Accept: image/png"
	for _, c := range []struct {
		code         int
		path, header string
		indented     bool
	}{
		{200, "/api/v1/namespaces/default/configmaps/c", "", false},
		{200, "/api/v1/namespaces/default/configmaps/c", curl, true},
		{200, "/api/v1/namespaces/default/configmaps/c", table, false},
		{200, "/api/v1/namespaces/default/configmaps", "", false},
		{200, "/api/v1/namespaces/default/configmaps", curl, true},
		{200, "/api/v1/namespaces/default/configmaps?pretty=true", "", true},
		{200, "/api/v1/namespaces/default/configmaps?pretty=false", curl, false},
		{404, "/api/v1/namespaces/default/configmaps/d", "", false},
		{404, "/api/v1/namespaces/default/configmaps/d", table + ",application/json", false},
		{404, "/api/v1/namespaces/default/configmaps/d", table, true},
		{406, "/api/v1/namespaces/default/configmaps/c", none, true},
		{200, "/api/v1", "", false},
		{200, "/api/v1", curl, true},
		{200, "/api", curl, true},
		{406, "/api", table, true},
	} {
		a := want(t, s, c.code, "GET "+c.path, "", c.header)
		if got := strings.HasPrefix(a.body, "{\n  \""); got != c.indented {
			t.Errorf("%s, %s: indented %v, want %v: %s", c.path, c.header, got, c.indented, a.body)
		}
		if got := strings.HasSuffix(a.body, "}\n"); got == c.indented {
			t.Errorf("%s, %s: ends with %q", c.path, c.header, a.body[max(0, len(a.body)-4):])
		}
	}
}
