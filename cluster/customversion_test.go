package cluster

import (
	"fmt"
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

// TestOwnersOutliveSchemas: who owns what is brought into line with the schema as it is now, by version. Where an object
// does not fit the schema of a version that owners speak, nobody can tell whose fields are whose: an apply is refused,
// another write forgets it.
func TestOwnersOutliveSchemas(t *testing.T) {
	const list, set = `{"type":"array","items":{"type":"string"}}`, `{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}`
	definition := func(plural string, versions ...string) string {
		var b strings.Builder
		for i, properties := range versions {
			if properties == "" {
				continue
			}
			if b.Len() > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, `{"name":"v%d","served":true,"storage":%t,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{%s}}}}}}`, i+1, i == 0, properties)
		}
		return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"` + plural + `.example.com"},"spec":{"group":"example.com",
			"scope":"Cluster","names":{"plural":"` + plural + `","kind":"T` + plural + `"},"versions":[` + b.String() + `]}}`
	}
	items := func(keys ...string) string {
		return `"x":{"type":"string"},"l":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["` + strings.Join(keys, `","`) + `"],"items":{"type":"object",
			"required":["k","v"],"properties":{"k":{"type":"string"},"v":{"type":"integer"}}}}`
	}
	sys := startTest(t, Config{NoControllers: true})
	for i, c := range []struct {
		name        string
		was, is     []string // properties of v1 and v2
		first       string   // what a applies in v2, or if there is none v1
		method, doc string   // what b does then, in v1
		code        int
		want        []string
	}{
		{"a list becomes atomic", []string{`"l":` + set + `,"x":{"type":"string"}`}, []string{`"l":` + list + `,"x":{"type":"string"}`}, `{"l":["p"]}`,
			"PATCH", `{"spec":{"x":"1"}}`, 200, []string{`{"manager":"a","operation":"Apply"`, `"fieldsV1":{"f:spec":{"f:l":{}}}`}},
		{"nothing else changes", []string{`"l":` + set}, []string{`"l":` + list}, `{"l":["p"]}`,
			"PATCH", `{}`, 200, []string{`"fieldsV1":{"f:spec":{"f:l":{}}}`}},
		{"a list is atomic in the owner's version only", []string{`"l":` + set, `"l":` + list}, nil, `{"l":["p"]}`,
			"PATCH", `{"spec":{"l":["p","q"]}}`, 200, []string{`!"manager":"a"`, `"f:l":{"v:\"q\"":{}}`}},
		{"the owner's version has less", []string{`"x":{"type":"string"},"y":{"type":"string"}`, `"x":{"type":"string"}`}, nil, `{"x":"1"}`,
			"APPLY", `{"y":"1"}`, 400, []string{`"failed to convert new object: .spec.y: field not declared in schema"`}},
		{"the owner's version has less than is there", []string{`"x":{"type":"string"},"y":{"type":"string","default":"d"}`, `"x":{"type":"string"}`}, nil, `{"x":"1"}`,
			"APPLY", `{"x":"1"}`, 400, []string{`".spec.y: field not declared in schema"`}},
		{"an update that the owner's version cannot show", []string{`"x":{"type":"string"},"y":{"type":"string"}`, `"x":{"type":"string"}`}, nil, `{"x":"1"}`,
			"PATCH", `{"spec":{"y":"1"}}`, 200, []string{`!managedFields`}},
		{"items that the owner's version cannot tell apart", []string{items("k", "v"), items("k")}, nil, `{"x":"1"}`,
			"APPLY", `{"l":[{"k":"a","v":1},{"k":"a","v":2}]}`, 400, []string{`"failed to convert new object: .spec.l: duplicate entries for key [k=\"a\"]"`}},
		{"another type", []string{`"x":{"type":"string"}`}, []string{`"x":{"type":"integer"}`}, `{"x":"1"}`,
			"APPLY", `{}`, 400, []string{`failed to create typed live object (/o; example.com/v1, Kind=T`, `): .spec.x: expected numeric (int or float), got string"`}},
		{"the owner's version is gone", []string{`"x":{"type":"string"}`, `"x":{"type":"string"}`}, []string{`"x":{"type":"string"}`, ""}, `{"x":"1"}`,
			"APPLY", `{"x":"1"}`, 400, []string{`"request to convert CR to an invalid group/version: example.com/v2"`}},
		{"the owner's version is gone and nothing changes", []string{`"x":{"type":"string"}`, `"x":{"type":"string"}`}, []string{`"x":{"type":"string"}`, ""}, `{"x":"1"}`,
			"PATCH", `{}`, 200, []string{`!managedFields`}},
		{"an owner in no version of the kind is sent", []string{`"x":{"type":"string"}`}, nil, `{"x":"1"}`, "PATCH",
			`{"metadata":{"managedFields":[{"manager":"c","operation":"Apply","apiVersion":"example.com/v9","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:x":{}}}}]}}`,
			200, []string{`!managedFields`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			plural := fmt.Sprintf("t%ds", i)
			want(t, sys, "POST", definitions, definition(plural, c.was...), 201)
			path := func(version string) string { return "/apis/example.com/" + version + "/" + plural + "/o?fieldManager=" }
			applied := func(version, spec string) string {
				return `{"apiVersion":"example.com/` + version + `","kind":"T` + plural + `","metadata":{"name":"o"},"spec":` + spec + `}`
			}
			first := fmt.Sprintf("v%d", len(c.was))
			want(t, sys, "APPLY", path(first)+"a", applied(first, c.first), 201)
			if c.is != nil {
				want(t, sys, "PATCH", definitions+"/"+plural+".example.com", definition(plural, c.is...), 200)
			}
			doc := c.doc
			if c.method == "APPLY" {
				doc = applied("v1", doc)
			}
			want(t, sys, c.method, path("v1")+"b", doc, c.code, c.want...)
		})
	}
	// What a manager applies anew is pruned in all versions that owners speak, whatever it leaves out.
	want(t, sys, "POST", definitions, definition("prunes", `"x":{"type":"string"},"y":{"type":"string"}`, `"x":{"type":"string"}`), 201)
	for _, c := range []struct {
		version, manager, spec string
		code                   int
		want                   string
	}{
		{"v1", "b", `{"x":"1"}`, 201, ""},
		{"v2", "a", `{"x":"1"}`, 200, ""},
		{"v1", "b", `{"x":"1","y":"1"}`, 400, `"failed to prune fields: failed add back owned items: failed to convert merged object at version example.com/v2: .spec.y: field not declared in schema"`},
	} {
		want(t, sys, "APPLY", "/apis/example.com/"+c.version+"/prunes/o?fieldManager="+c.manager,
			`{"apiVersion":"example.com/`+c.version+`","kind":"Tprunes","metadata":{"name":"o"},"spec":`+c.spec+`}`, c.code, c.want)
	}
}

// TestAppliesOfNothingChangeNothing: an apply that asks for nothing that is not so leaves the object as it is, though
// another version's schema would fill something in. What its endpoint ignores asks for something, as on upstream.
func TestAppliesOfNothingChangeNothing(t *testing.T) {
	const base, body = "/apis/example.com/v2/namespaces/default/counts/c", `{"apiVersion":"example.com/v2","kind":"Count","metadata":{"name":"c"}`
	schema := func(x string) string {
		return `"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer"},"x":` + x + `}},
			"status":{"type":"object","properties":{"n":{"type":"integer"}}}}}}`
	}
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"counts.example.com"},
		"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"counts","kind":"Count"},"versions":[
		{"name":"v1","served":true,"storage":true,`+schema(`{"type":"string"}`)+`},{"name":"v2","served":true,"storage":false,`+schema(`{"type":"string","default":"d"}`)+`}]}}`, 201)
	v1 := func(s string) string { return strings.Replace(s, "v2", "v1", 1) }
	was := want(t, sys, "APPLY", v1(base)+"?fieldManager=a", v1(body)+`,"spec":{"n":1}}`, 201, `"generation":1`, `!"x"`)
	want(t, sys, "APPLY", base+"?fieldManager=b", body+`}`, 200, `"generation":1`, `!"x"`)
	want(t, sys, "APPLY", v1(base)+"?fieldManager=a", v1(body)+`,"spec":{"n":1},"status":{"n":2}}`, 200)
	if now := want(t, sys, "GET", v1(base), "", 200); now != was {
		t.Errorf("the object is\n%s\nand was\n%s", now, was)
	}
	want(t, sys, "APPLY", base+"?fieldManager=b", body+`,"spec":{"n":1}}`, 200, `"generation":1`, `!"x":`, `{"manager":"b","operation":"Apply","apiVersion":"example.com/v2","fieldsType"`)
	want(t, sys, "APPLY", base+"?fieldManager=b", body+`,"status":{"n":2}}`, 200, `"generation":2`, `"x":"d"`, `!"status":{`)
}

// TestApplyReorders: items of a list that tells them apart go where the configuration has them, though nothing else changes.
func TestApplyReorders(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"lists.example.com"},"spec":{"group":"example.com",
		"scope":"Cluster","names":{"plural":"lists","kind":"Listed"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{
		"spec":{"type":"object","properties":{"s":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}}}}}}}]}}`, 201)
	apply := func(manager, items string, code, generation int, becomes string) {
		t.Helper()
		want(t, sys, "APPLY", "/apis/example.com/v1/lists/o?fieldManager="+manager, `{"apiVersion":"example.com/v1","kind":"Listed","metadata":{"name":"o"},"spec":{"s":`+items+`}}`,
			code, fmt.Sprintf(`"generation":%d`, generation), `"s":`+becomes)
	}
	apply("a", `["x","y","z"]`, 201, 1, `["x","y","z"]`)
	apply("a", `["x","y","z"]`, 200, 1, `["x","y","z"]`)
	apply("b", `["z","x"]`, 200, 2, `["y","z","x"]`)
	apply("a", `["z","y","x"]`, 200, 3, `["z","y","x"]`)
}

// TestPrunedRaisesGeneration: what an apply or a Scale sets where the schema declares nothing is dropped before it is stored,
// and yet the object counts as changed each time.
func TestPrunedRaisesGeneration(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"loose.example.com"},"spec":{"group":"example.com",
		"scope":"Cluster","names":{"plural":"loose","kind":"Loose"},"versions":[{"name":"v1","served":true,"storage":true,
		"subresources":{"scale":{"specReplicasPath":".spec.n","statusReplicasPath":".status.n"}},
		"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"x":{"type":"object"}}}}}}}]}}`, 201)
	const path, doc = "/apis/example.com/v1/loose/o", `{"apiVersion":"example.com/v1","kind":"Loose","metadata":{"name":"o"},"spec":{"x":{"y":"1"}}}`
	for generation, code := range []int{201, 200} {
		want(t, sys, "APPLY", path+"?fieldManager=a", doc, code, fmt.Sprintf(`"generation":%d`, generation+1), `"f:x":{"f:y":{}}`, `"spec":{"x":{}}`)
	}
	want(t, sys, "PATCH", path+"/scale", `{"spec":{"replicas":3}}`, 200)
	want(t, sys, "GET", path, "", 200, `"generation":3`, `"spec":{"x":{}}`)
}
