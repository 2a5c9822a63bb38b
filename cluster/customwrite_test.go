package cluster

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// gauges have a scale of their own paths, which objects may leave out, and an embedded resource.
const gauges = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gauges.example.com"},
	"spec":{"group":"example.com","scope":"Cluster","names":{"plural":"gauges","kind":"Gauge"},
	"versions":[{"name":"v1","served":true,"storage":true,
		"subresources":{"status":{},"scale":{"specReplicasPath":".spec.count","statusReplicasPath":".status.count"}},
		"schema":{"openAPIV3Schema":{"type":"object","properties":{
			"spec":{"type":"object","nullable":true,"properties":{
				"count":{"type":"integer"},
				"bare":{"type":"object"},
				"level":{"type":"number"},
				"levels":{"type":"object","additionalProperties":{"type":"number"}},
				"name":{"type":"string","default":"x","maxLength":20}RULES}},
			"part":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true},
			"status":{"type":"object","properties":{"count":{"type":"integer"}}}}}}}]}}`

// TestCustomWrites writes custom resources at the corners of upstream's rules; the answers are those of its server.
func TestCustomWrites(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	const all = "/apis/example.com/v1/gauges"
	gauge := func(name, rest string) string {
		return `{"apiVersion":"example.com/v1","kind":"Gauge","metadata":{"name":"` + name + `"}` + rest + `}`
	}
	const merge, apply = "application/merge-patch+json", "application/apply-patch+yaml"
	ruled := strings.Replace(gauges, "RULES", `,"extra":{"type":"string","x-kubernetes-validations":[{"rule":"self != 'bad'","message":"must not be bad"}]}`, 1)
	for i, c := range []struct {
		request, mime, body string
		code                int
		want, warning       string
	}{
		{"POST " + definitions, "", strings.Replace(gauges, "RULES", `,"extra":{"type":"string"}`, 1), 201, "", ""},

		// What does not say what it is, and what says that it is something else.
		{"POST " + all, "", `{"apiVersion":"example.com/v1","metadata":"x"}`, 400, `Object 'Kind' is missing in '{\"apiVersion\":\"example.com/v1\",\"metadata\":\"x\"}' ({\"apiVersion\":\"example.com/v1\" ...)`, ""},
		{"POST " + all, "application/yaml", "metadata: {name: x}\n", 400, `Object 'Kind' is missing in 'metadata: {name: x}\n' (6d657461646174613a207b6e616d653a20787d0a)`, ""},
		{"POST " + all, "", `{"apiVersion":"a/b/c","kind":"Gauge","metadata":{}}`, 400, `(must be of type Gauge): unexpected GroupVersion string: a/b/c (`, ""},
		{"POST " + all, "", `{"apiVersion":null,"kind":"Gauge","metadata":{}}`, 400, `Gauge in version \"\" cannot be handled as a Gauge: .apiVersion accessor error: \u003cnil\u003e is of the type \u003cnil\u003e, expected string`, ""},
		{"POST " + all, "", `{"kind":"Gauge","metadata":{"x":1}}`, 400, `the API version in the data () does not match the expected API version (example.com/v1)`, `299 - "unknown field \"metadata.x\""`},
		{"POST " + all, "application/yaml", "apiVersion: 5\n", 400, `(61706956657273696f6e3a20350a)`, ""},
		{"POST " + all, "", `{"apiVersion":"example.com/v1","kind":"Dial","metadata":{"name":"N_"},"spec":{"count":-1,"level":"high"},"part":{}}`, 422,
			`Dial.example.com \"N_\" is invalid: [kind: Invalid value: \"Dial\": must be Gauge, part.apiVersion: Required value, part.kind: Required value]`, ""},

		// null has no members.
		{"POST " + all, "", gauge("null", `,"spec":null`), 201, `"spec":null`, ""},
		// Errors of the values come before those of the scale.
		{"POST " + all, "", gauge("a", `,"spec":{"count":-1,"level":"high"}`), 422, `[spec.level: Invalid value: \"string\": spec.level in body must be of type number: \"string\", .spec.count: Invalid value: -1: should be a non-negative integer]`, ""},

		// A number that is written with a fraction is none for an integer, in patches too.
		{"POST " + all, "", gauge("f", `,"spec":{"level":2}`), 201, "", ""},
		{"PATCH " + all + "/f", merge, `{"spec":{"name":3.0}}`, 422, `must be of type string: \"number\"`, ""},
		{"PATCH " + all + "/f", "application/json-patch+json", `[{"op":"add","path":"/spec/name","value":3.0}]`, 422, `must be of type string: \"number\"`, ""},
		{"PATCH " + all + "/f", "application/json-patch+json", `[{"op":"add","path":"/spec/level","value":3.0}]`, 200, `"level":3,`, ""},
		{"PATCH " + all + "/f", merge, `{"spec":{"level":3.0}}`, 200, `"generation":3,`, ""}, // as upstream, which has stored 3
		// Unknown fields of metadata come first.
		{"PATCH " + all + "/f?fieldValidation=Strict", merge, `{"metadata":{"zz":1},"bad":1}`, 422, `unknown field \"metadata.zz\", unknown field \"bad\"`, ""},
		// What a write of the status says of the rest is not stored. What does not fit the schema there costs the ownership.
		{"PATCH " + all + "/f/status", merge, `{"spec":{"level":7}}`, 200, `"managedFields":[`, ""},
		{"PATCH " + all + "/f/status", merge, `{"spec":true}`, 200, `Z"},"spec":{"level":3,`, ""},
		// It may even say that it is something else, which costs it too.
		{"POST " + all, "", gauge("g", `,"spec":{"count":7}`), 201, `"managedFields":[`, ""},
		{"PATCH " + all + "/g/status", merge, `{"kind":"X","status":{"count":4}}`, 200, `Z"},"spec":{"count":7,"name":"x"},"status":{"count":4}}`, ""},
		{"PATCH " + all + "/g/status", merge, `{"apiVersion":"v1","status":{"count":5}}`, 200, `"apiVersion":"example.com/v1","kind":"Gauge"`, ""},
		{"PATCH " + all + "/g/status?fieldValidation=Strict", merge, `{"apiVersion":"example.com/v9"}`, 422, `strict decoding error: unknown field \"spec\", unknown field \"status\"`, ""},
		{"PATCH " + all + "/g", merge, `{"kind":"X"}`, 422, `kind: Invalid value: \"X\": must be Gauge`, ""},
		{"PATCH " + all + "/f", "application/json-patch+json", `[{"op":"replace","path":"","value":[]}]`, 422, `"field":"patch"`, ""},

		// A scale that is not counted can be patched, but not read.
		{"POST " + all, "", gauge("b", `,"spec":{}`), 201, "", ""},
		{"GET " + all + "/b/scale", "", "", 404, `the spec replicas field \".spec.count\" does not exist`, ""},
		{"PATCH " + all + "/b/scale", merge, `{"status":{"replicas":7}}`, 400, `the spec replicas field \".spec.count\" cannot be empty`, ""},
		{"PATCH " + all + "/b/scale", merge, `{"spec":{"replicas":-3}}`, 422, `.spec.count: Invalid value: -3: should be a non-negative integer`, ""},
		{"PATCH " + all + "/b/scale", merge, `{"spec":{"replicas":3}}`, 200, `"spec":{"replicas":3}`, ""},
		{"GET " + all + "/b", "", "", 200, `"count":3`, ""},
		// As a Table it has the columns of all scales; a count of none is left out of its JSON.
		{"TABLE " + all + "/b/scale", "", "", 200, `"cells":["b",3,0,`, ""},
		{"TABLE " + all + "/b/scale", "", "", 200, `{"name":"Desired","type":"integer","format":"","description":"Number of desired replicas","priority":0}`, ""},
		{"PATCH " + all + "/b/scale", merge, `{"spec":{"replicas":0}}`, 200, "", ""},
		{"TABLE " + all + "/b/scale", "", "", 200, `"cells":["b",null,0,`, ""},

		// What is applied keeps its nulls; what is created does not.
		{"POST " + all, "", gauge("c", `,"spec":{"level":null,"levels":{"a":null,"b":1}}`), 201, `"spec":{"levels":{"b":1},"name":"x"}`, ""},
		{"PATCH " + all + "/d?fieldManager=m", apply, gauge("d", `,"spec":{"level":null}`), 422, `spec.level in body must be of type number: \"null\"`, ""},
		{"PATCH " + all + "/d?fieldManager=m", apply, gauge("d", `,"spec":{"levels":{"a":null}}`), 422, `spec.levels.a in body must be of type number: \"null\"`, ""},
		{"PATCH " + all + "/d?fieldManager=m", apply, gauge("d", `,"spec":{"name":null}`), 201, `"name":"x"`, ""},
		{"PATCH " + all + "/d?fieldManager=m", apply, gauge("d", `,"part":{"apiVersion":"v1","kind":null}`), 422, `part.kind: Invalid value: null: must be a string`, ""},
		// It is pruned all the same: apply knows nothing of what an object without declared members may have.
		{"PATCH " + all + "/d?fieldManager=m", apply, gauge("d", `,"spec":{"bare":{"a":1}}`), 200, `"bare":{}`, ""},
		// What the schema of metadata lets pass and nobody can read is dropped.
		{"PATCH " + all + "/h?fieldManager=m", apply, `{"apiVersion":"example.com/v1","kind":"Gauge","metadata":{"name":"h","creationTimestamp":"x","generation":1.5,"managedFields":[null]}}`, 201, `"generation":1,"creationTimestamp":"2`, ""},
		{"PATCH " + all + "/h?fieldManager=m", apply, `{"apiVersion":"example.com/v1","kind":"Gauge","metadata":{"name":"h","generation":"x"}}`, 400, `.metadata.generation: expected numeric (int or float), got string`, ""},
		// A reference has a key even when it says no uid.
		{"PATCH " + all + "/d?fieldManager=m", apply, `{"apiVersion":"example.com/v1","kind":"Gauge","metadata":{"name":"d","ownerReferences":[{"kind":"x"}]}}`, 422, `metadata.ownerReferences[0].uid: Required value: must not be empty`, ""},

		// What a new rule forgives, it warns of; but only where nothing changes.
		{"POST " + all, "", gauge("e", `,"spec":{"extra":"bad"}`), 201, "", ""},
		{"PATCH " + definitions + "/gauges.example.com", merge, ruled, 200, "", ""},
		{"PATCH " + all + "/e", merge, `{"spec":{"count":1}}`, 200, `"extra":"bad"`, `299 - "spec.extra: Invalid value: \"bad\": must not be bad"`},
		{"PATCH " + all + "/e", merge, `{"spec":{"extra":"good"}}`, 200, `"extra":"good"`, ""},
		{"PATCH " + all + "/e", merge, `{"spec":{"extra":"bad"}}`, 422, `spec.extra: Invalid value: \"bad\": must not be bad`, ""},
		{"PATCH " + all + "/e", "application/json-patch+json", `[{"op":"add","path":"/apiVersion","value":null}]`, 422, `: .apiVersion accessor error: \u003cnil\u003e is of the type \u003cnil\u003e, expected string"`, ""},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		accept := "application/json"
		if method == "TABLE" {
			method, accept = "GET", "application/json;as=Table;v=v1;g=meta.k8s.io"
		}
		r, err := http.NewRequestWithContext(t.Context(), method, sys.URL()+path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		r.Header.Set("Content-Type", c.mime)
		p, err := sys.adminClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p.Body)
		p.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if p.StatusCode != c.code || !strings.Contains(string(b), c.want) {
			t.Errorf("%d: %s %s: %d %s, want %d %s", i, c.request, c.body, p.StatusCode, b, c.code, c.want)
		}
		if got := p.Header.Values("Warning"); !slices.Equal(got, slices.DeleteFunc([]string{c.warning}, func(w string) bool { return w == "" })) {
			t.Errorf("%d: %s %s: warnings %q, want %q", i, c.request, c.body, got, c.warning)
		}
	}
}
