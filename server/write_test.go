package server

import (
	"strings"
	"testing"
)

// step is one request of a table and what must come of it.
type step struct {
	request string
	body    string
	headers []string
	code    int
	want    []string // parts of the answer
	not     []string // what must not be in it
}

func run(t *testing.T, s *Server, steps []step) {
	t.Helper()
	for _, st := range steps {
		a := ask(t, s, st.request, st.body, st.headers...)
		if a.code != st.code {
			t.Errorf("%s %s: code %d, want %d: %s", st.request, st.body, a.code, st.code, a.body)
		}
		for _, w := range st.want {
			if !strings.Contains(a.body, w) {
				t.Errorf("%s %s: no %s in %s", st.request, st.body, w, a.body)
			}
		}
		for _, w := range st.not {
			if strings.Contains(a.body, w) {
				t.Errorf("%s %s: %s in %s", st.request, st.body, w, a.body)
			}
		}
	}
}

const (
	mergePatch = "Content-Type: application/merge-patch+json"
	jsonPatch  = "Content-Type: application/json-patch+json"
	applyPatch = "Content-Type: application/apply-patch+yaml"
	smPatch    = "Content-Type: application/strategic-merge-patch+json"
)

func TestWrites(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	run(t, s, []step{
		{"POST " + base, configMap("c"), nil, 201, []string{`"f:data":{".":{},"f:k":{}}`, `"manager":"golden"`}, nil},
		{"PUT " + base + "/c", strings.Replace(configMap("c"), `"v"`, `"w"`, 1), nil, 200, []string{`"k":"w"`}, nil},
		{"PUT " + base + "/d", configMap("c"), nil, 400, []string{"the name of the object (c) does not match the name on the URL (d)"}, nil},
		{"PUT " + base + "/d", configMap("d"), nil, 404, nil, nil},
		{"PATCH " + base + "/c", `{"data":{"x":"1","k":null}}`, []string{mergePatch}, 200, []string{`"x":"1"`}, []string{`"k":`}},
		{"PATCH " + base + "/c", `[{"op":"add","path":"/data/y","value":"2"}]`, []string{jsonPatch}, 200, []string{`"y":"2"`}, nil},
		{"PATCH " + base + "/c", `{"metadata":{"labels":{"app":null}}}`, []string{smPatch}, 200, nil, []string{`"app"`}},
		{"PATCH " + base + "/c", `{"data":{"a":1}}`, []string{mergePatch}, 422, []string{`"field":"patch"`}, nil},
		{"PATCH " + base + "/c", `{}`, []string{applyPatch}, 422, []string{"fieldManager: Required value"}, nil},
		{"DELETE " + base + "/c", `{"preconditions":{"uid":"x"}}`, nil, 409, []string{"the UID in the precondition (x)"}, nil},
		{"PATCH " + base + "/c", `{"metadata":{"finalizers":["a.b/c"]}}`, []string{mergePatch}, 200, nil, nil},
		{"DELETE " + base + "/c?propagationPolicy=Foreground", ``, nil, 200, []string{`"deletionTimestamp"`, `["a.b/c","foregroundDeletion"]`}, nil},
		{"PATCH " + base + "/c", `{"metadata":{"finalizers":["new.x/y"]}}`, []string{mergePatch}, 422, []string{"no new finalizers can be added"}, nil},
		{"PATCH " + base + "/c", `{"metadata":{"finalizers":null}}`, []string{mergePatch}, 200, nil, nil},
		{"GET " + base + "/c", ``, nil, 404, nil, nil},
	})
}

func TestUpdateThatChangesNothingCommitsNothing(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	before := s.Store.Revision()
	for _, st := range []step{
		{request: "PUT " + path + "/c", body: configMap("c")},
		{request: "PATCH " + path + "/c", body: `{}`, headers: []string{mergePatch}},
		{request: "PATCH " + path + "/c", body: `[]`, headers: []string{jsonPatch}},
	} {
		if a := ask(t, s, st.request, st.body, st.headers...); a.code != 200 {
			t.Errorf("%s: %d %s", st.request, a.code, a.body)
		}
	}
	if after := s.Store.Revision(); after != before {
		t.Errorf("revision went from %d to %d", before, after)
	}
}

func TestPinnedUpdateLosesToNewer(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	a := ask(t, s, "POST "+path, configMap("c"))
	pinned := strings.Replace(configMap("c"), `"name"`, `"resourceVersion":"`+a.at(t, "metadata", "resourceVersion")+`","name"`, 1)
	run(t, s, []step{
		{"PUT " + path + "/c", strings.Replace(pinned, `"v"`, `"1"`, 1), nil, 200, nil, nil},
		{"PUT " + path + "/c", strings.Replace(pinned, `"v"`, `"2"`, 1), nil, 409, []string{"the object has been modified"}, nil},
	})
}

func TestDeleteCollection(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	for _, n := range []string{"a", "b", "c"} {
		ask(t, s, "POST "+path, configMap(n))
	}
	run(t, s, []step{
		{"DELETE " + path + "?labelSelector=app%3Db", ``, nil, 200, []string{`"name":"b"`}, []string{`"name":"a"`}},
		{"GET " + path, ``, nil, 200, []string{`"name":"a"`, `"name":"c"`}, []string{`"name":"b"`}},
		{"DELETE " + path, ``, nil, 200, nil, nil},
		{"GET " + path, ``, nil, 200, []string{`"items":[]`}, nil},
	})
}

// TestEvictionWarnings: what is unknown in an eviction is warned of, as in other bodies.
func TestEvictionWarnings(t *testing.T) {
	s := open(t)
	const pods = "/api/v1/namespaces/default/pods"
	if a := ask(t, s, "POST "+pods, `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`); a.code != 201 {
		t.Fatalf("create: %d %s", a.code, a.body)
	}
	a := ask(t, s, "POST "+pods+"/p/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"},"nonsense":1}`)
	if w := a.header.Values("Warning"); a.code != 201 || len(w) != 1 || !strings.Contains(w[0], `unknown field \"nonsense\"`) {
		t.Errorf("%d, warnings %q: %s", a.code, w, a.body)
	}
}

// TestEmptyData: null data is stored as empty data, and no data differs from empty data where none may change, but for the
// texts of a ConfigMap.
func TestEmptyData(t *testing.T) {
	s := open(t)
	const base = "/api/v1/namespaces/default/configmaps"
	if a := ask(t, s, "POST "+base, `{"metadata":{"name":"null"},"binaryData":{"k":null}}`); a.code != 201 || !strings.Contains(a.body, `"binaryData":{"k":""}`) {
		t.Errorf("null: %d %s", a.code, a.body)
	}
	for _, kind := range []string{"configmaps", "secrets"} {
		base := "/api/v1/namespaces/default/" + kind
		if a := ask(t, s, "POST "+base, `{"metadata":{"name":"fixed"},"immutable":true}`); a.code != 201 {
			t.Fatalf("%s: %d %s", kind, a.code, a.body)
		}
		if a := ask(t, s, "PUT "+base+"/fixed", `{"metadata":{"name":"fixed"},"immutable":true}`); a.code != 200 {
			t.Errorf("%s as they are: %d %s", kind, a.code, a.body)
		}
		data := map[string]string{"configmaps": "binaryData", "secrets": "data"}[kind]
		if a := ask(t, s, "PUT "+base+"/fixed", `{"metadata":{"name":"fixed"},"immutable":true,"`+data+`":{}}`); a.code != 422 || !strings.Contains(a.body, data+": Forbidden: field is immutable when `immutable` is set") {
			t.Errorf("%s with data that are empty: %d %s", kind, a.code, a.body)
		}
	}
	if a := ask(t, s, "PUT "+base+"/fixed", `{"metadata":{"name":"fixed"},"immutable":true,"data":{}}`); a.code != 200 {
		t.Errorf("texts that are empty: %d %s", a.code, a.body)
	}
}
