package server

import (
	"net/http"
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

// TestBindings binds pods the old way, by a Binding that names its pod.
func TestBindings(t *testing.T) {
	s := open(t)
	const all = "/api/v1/namespaces/default/bindings"
	if a := ask(t, s, "POST /api/v1/namespaces/default/pods", `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`); a.code != http.StatusCreated {
		t.Fatalf("%d %s", a.code, a.body)
	}
	for _, c := range []struct {
		request, body string
		code          int
		want          string
	}{
		{"POST " + all, `{}`, 400, "target.name: Required value"},
		{"POST " + all, `{"target":{"name":"n"}}`, 400, "Name parameter required."},
		{"POST " + all, `{"metadata":{"name":"q"},"target":{"name":"n"}}`, 404, `pods \"q\" not found`},
		{"POST " + all, `{"metadata":{"name":"p","namespace":"other"},"x":1}`, 400, "does not match the namespace sent on the request"},
		{"POST " + all, `{"metadata":{"name":"a/b"},"target":{"name":"n"}}`, 400, "may not contain '/'"},
		{"POST " + all, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}`, 400, "Pod in version"},
		{"POST " + all + "?dryRun=All", `{"metadata":{"name":"p"},"target":{"name":"n"}}`, 201, "Success"},
		{"POST " + all, `{"metadata":{"name":"p","labels":{"a":"b"}},"target":{"name":"n"}}`, 201, "Success"},
		{"POST " + all, `{"metadata":{"name":"p"},"target":{"name":"m"}}`, 409, `is already assigned to node`},
		{"GET /api/v1/namespaces/default/pods/p", "", 200, `"nodeName":"n"`},
		{"GET " + all, "", 405, "does not allow this method"},
		{"GET " + all + "/p", "", 404, "could not find the requested resource"},
		{"POST /api/v1/bindings", `{"metadata":{"name":"p"},"target":{"name":"m"}}`, 404, "could not find the requested resource"},
	} {
		a := ask(t, s, c.request, c.body)
		if a.code != c.code || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.request, c.body, a.code, a.body, c.code, c.want)
		}
		if got := a.header.Get("Warning"); strings.Contains(c.body, `"x"`) && got != `299 - "unknown field \"x\""` {
			t.Errorf("%s %s warns %s", c.request, c.body, got)
		}
	}
}
