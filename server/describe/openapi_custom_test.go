package describe

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"

	"pintle.dev/resource"
)

// customSchemasOfAllSorts are schemas that between them use every keyword, where it may stand.
var customSchemasOfAllSorts = []string{
	`null`,
	`{"type":"object"}`,
	`{"type":"object","description":"Only described."}`,
	`{"type":"object","required":["spec"],"properties":{"spec":{"type":"object"}}}`,
	`{"type":"object","required":["metadata","kind","spec"],"properties":{"spec":{"type":"object","nullable":true}}}`,
	`{"type":"object","x-kubernetes-preserve-unknown-fields":true}`,
	`{"type":"object","x-kubernetes-preserve-unknown-fields":true,"description":"Loose.","properties":{"a":{"type":"string","nullable":true}}}`,
	`{"type":"object","properties":{"metadata":{"type":"object","properties":{"name":{"type":"string","pattern":"^a","maxLength":3}}}}}`,
	`{"type":"object","title":"t","example":{"spec":{}},"externalDocs":{"url":"https://example.com"},"properties":{"spec":{"type":"object","title":"t","example":[1,"x",null],"externalDocs":{"description":"d"}}}}`,
	`{"type":"object","minProperties":1,"maxProperties":9,"properties":{"spec":{"type":"object","minProperties":0,"maxProperties":0}}}`,
	`{"type":"object","properties":{"a":{"type":"string","format":"date-time"},"b":{"type":"integer","format":"int64"},"c":{"type":"number","format":"double"},"d":{"type":"string","format":"byte"},"e":{"type":"boolean"},"f":{"type":"string","format":"made-up"}}}`,
	`{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":5,"exclusiveMinimum":true,"exclusiveMaximum":true,"multipleOf":2.5}}}`,
	`{"type":"object","properties":{"a":{"type":"integer","minimum":-1e21,"maximum":9223372036854775807},"b":{"type":"number","minimum":0.1,"maximum":1e300,"multipleOf":0.001}}}`,
	`{"type":"object","properties":{"a":{"type":"string","minLength":0,"maxLength":0,"pattern":""},"b":{"type":"string","pattern":"^[\\w\"<>&]+$"}}}`,
	`{"type":"object","properties":{"a":{"type":"string","enum":["b","a",""]},"b":{"type":"integer","enum":[2,1]},"c":{"enum":["x",null],"type":"string","nullable":true},"d":{"type":"object","enum":[{"a":1}]}}}`,
	`{"type":"object","properties":{"a":{"type":"string","default":""},"b":{"type":"integer","default":0},"c":{"type":"boolean","default":false},"d":{"type":"object","default":{},"properties":{"e":{"type":"string","default":"x"}}},"f":{"type":"array","items":{"type":"string"},"default":["a"]},"g":{"type":"string","nullable":true,"default":null}}}`,
	`{"type":"object","properties":{"a":{"type":"array","items":{"type":"string"}},"b":{"type":"array","items":{"type":"array","items":{"type":"object","properties":{"c":{"type":"string"}}}}}}}`,
	`{"type":"object","properties":{"a":{"type":"array","minItems":0,"maxItems":3,"x-kubernetes-list-type":"set","items":{"type":"string"}},"b":{"type":"array","x-kubernetes-list-type":"atomic","items":{"type":"object"}}}}`,
	`{"type":"object","properties":{"a":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["x","y"],"items":{"type":"object","required":["x"],"properties":{"x":{"type":"string"},"y":{"type":"integer","default":1}}}}}}`,
	`{"type":"object","properties":{"a":{"type":"array","nullable":true,"items":{"type":"string","nullable":true}},"b":{"type":"array","items":{"type":"object","nullable":true,"properties":{"c":{"type":"string"}}}}}}`,
	`{"type":"object","properties":{"a":{"type":"object","additionalProperties":{"type":"string"}},"b":{"type":"object","additionalProperties":true},"c":{"type":"object","additionalProperties":{"type":"object","additionalProperties":{"type":"integer"}}}}}`,
	`{"type":"object","properties":{"a":{"type":"object","additionalProperties":{"type":"object","nullable":true,"properties":{"b":{"type":"string"}}}},"c":{"type":"object","nullable":true,"additionalProperties":{"type":"string"}}}}`,
	`{"type":"object","properties":{"a":{"type":"object","x-kubernetes-map-type":"atomic","properties":{"b":{"type":"string"}}},"c":{"type":"object","x-kubernetes-map-type":"granular","additionalProperties":{"type":"string"}}}}`,
	`{"type":"object","properties":{"a":{"x-kubernetes-int-or-string":true},"b":{"x-kubernetes-int-or-string":true,"nullable":true,"description":"d"},"c":{"type":"array","items":{"x-kubernetes-int-or-string":true}},"d":{"type":"object","additionalProperties":{"x-kubernetes-int-or-string":true}}}}`,
	`{"type":"object","properties":{"a":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]},"b":{"x-kubernetes-int-or-string":true,"allOf":[{"anyOf":[{"type":"integer"},{"type":"string"}]},{"minimum":1}]},"c":{"x-kubernetes-int-or-string":true,"allOf":[{"minimum":1}]}}}`,
	`{"type":"object","properties":{"a":{"x-kubernetes-int-or-string":true,"anyOf":[{"minimum":1},{"pattern":"x"}]},"b":{"x-kubernetes-int-or-string":true,"anyOf":[{"minimum":1}],"allOf":[{"maximum":2}]},"c":{"x-kubernetes-int-or-string":true,"pattern":"^\\d+%?$","default":"10%","enum":[1,"a"]}}}`,
	`{"type":"object","properties":{"a":{"x-kubernetes-preserve-unknown-fields":true},"b":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"c":{"type":"string","nullable":true}}},"d":{"type":"array","items":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}`,
	`{"type":"object","properties":{"a":{"x-kubernetes-preserve-unknown-fields":true,"nullable":true},"b":{"type":"string","x-kubernetes-preserve-unknown-fields":true},"c":{"type":"array","x-kubernetes-preserve-unknown-fields":true,"items":{"type":"string"}},"d":{"x-kubernetes-preserve-unknown-fields":true,"description":"anything","example":1}}}`,
	`{"type":"object","properties":{"a":{"type":"object","additionalProperties":{"x-kubernetes-preserve-unknown-fields":true}},"b":{"type":"object","additionalProperties":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"c":{"type":"string"}}}}}}`,
	`{"type":"object","properties":{"a":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"spec":{"type":"object"}}},"b":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}}`,
	`{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}},"b":{"type":"object","additionalProperties":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"s":{"type":"string"}}}}}}`,
	`{"type":"object","properties":{"a":{"type":"object","nullable":true,"x-kubernetes-embedded-resource":true,"required":["metadata","apiVersion"],"properties":{"apiVersion":{"type":"string","enum":["v1"]},"kind":{"type":"string"},"metadata":{"type":"object"},"spec":{"type":"object"}}}}}`,
	`{"type":"object","properties":{"a":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"spec":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}}}}`,
	`{"type":"object","properties":{"a":{"type":"string","allOf":[{"minLength":1},{"maxLength":3}],"anyOf":[{"pattern":"a"},{"pattern":"b"}],"oneOf":[{"enum":["a"]},{"enum":["b"]}],"not":{"enum":["c"]}}}}`,
	`{"type":"object","oneOf":[{"required":["a"]},{"required":["b"]}],"anyOf":[{"properties":{"a":{"minLength":1}}}],"allOf":[{"not":{"required":["a","b"]}}],"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`,
	`{"type":"object","x-kubernetes-validations":[{"rule":"self.a == 1","message":"m","reason":"FieldValueInvalid","fieldPath":".a","optionalOldSelf":true},{"rule":"true","messageExpression":"'x'"}],"properties":{"a":{"type":"integer","x-kubernetes-validations":[{"rule":"self > 0"}]}}}`,
	`{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","x-kubernetes-validations":[{"rule":"self != ''"}]},"x-kubernetes-validations":[{"rule":"self.size() < 4"}],"maxItems":4},"b":{"type":"object","additionalProperties":{"type":"integer","x-kubernetes-validations":[{"rule":"self != 0"}]}}}}`,
	`{"type":"object","required":["a","b","c"],"properties":{"a":{"type":"string","nullable":true},"b":{"type":"object","nullable":true,"required":["x"],"properties":{"x":{"type":"string"}}},"c":{"type":"object","required":["d"],"properties":{"d":{"type":"integer","nullable":true}}}}}`,
	`{"type":"object","properties":{"":{"type":"string"},"a.b/c":{"type":"string"},"ü":{"type":"string"},"$ref":{"type":"string"},"x-kubernetes-y":{"type":"string"},"properties":{"type":"object","properties":{"items":{"type":"array","items":{"type":"string"}}}},"default":{"type":"string","nullable":true}}}`,
	`{"type":"object","properties":{"a":{"type":"string","description":""},"b":{"type":"string","description":"with \"quotes\", <tags> & a\nline"}}}`,
	`{"type":"object","properties":{"spec":{"type":"object","properties":{"replicas":{"type":"integer","format":"int32"}}},"status":{"type":"object","properties":{"replicas":{"type":"integer"},"selector":{"type":"string"}}}}}`,
	`{"type":"object","properties":{"metadata":{"type":"object"},"kind":{"type":"string"},"apiVersion":{"type":"string","description":"own words"}}}`,
	`{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","not":{"enum":[0]},"allOf":[{"minimum":-5}]},"anyOf":[{"minItems":1},{"items":{"minimum":0}}]}}}`,
	`{"type":"object","properties":{"b":{"type":"object","additionalProperties":{"type":"string","oneOf":[{"pattern":"a"}]}}}}`,
	`{"type":"object","properties":{"spec":{"type":"object","required":["a"],"additionalProperties":{"type":"string","nullable":true}}}}`,
}

// notStructuralSchemas are such as come from v1beta1. They are not shown.
var notStructuralSchemas = []string{
	`{"properties":{"spec":{"properties":{"a":{"type":"string"}}}}}`,
	`{"type":"object","properties":{"a":{"type":"array"}}}`,
	`{"type":"object","properties":{"a":{"description":"no type"}}}`,
	`{"type":"object","anyOf":[{"properties":{"b":{"type":"string"}}}],"properties":{"a":{"type":"string"}}}`,
	`{"type":"object","properties":{"metadata":{"type":"object","description":"own words"},"kind":{"type":"string","enum":["X"]},"apiVersion":{"type":"string","description":"own words"}}}`,
	`{"type":"object","properties":{"a":{"type":"array","items":{"type":"integer","not":{"enum":[0]},"allOf":[{"minimum":-5}]},"anyOf":[{"minItems":1},{"items":{"minimum":0}}]},"b":{"type":"object","additionalProperties":{"type":"string","oneOf":[{"pattern":"a"}]},"not":{"additionalProperties":{"maxLength":1}}}}}`,
	`{"type":"object","required":["a"],"additionalProperties":{"type":"string","nullable":true}}`,
	`{"type":"object","additionalProperties":{"type":"string"}}`,
}

// customSource is a CRD of a schema.
func customSource(scope, schema, more string) string {
	return fmt.Sprintf(`{"metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":%q,%s
"names":{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"},
"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":%s}}]},
"status":{"acceptedNames":{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"}}}`, scope, more, schema)
}

// TestCustomAgainstBuilder holds the description of custom kinds, in both versions of OpenAPI, against upstream's builder.
func TestCustomAgainstBuilder(t *testing.T) {
	sources := []string{cronTab, richCRD, looseCRD}
	for i, schema := range customSchemasOfAllSorts {
		sources = append(sources, customSource([]string{"Namespaced", "Cluster"}[i%2], schema, ""))
	}
	for i, schema := range customSchemasOfAllSorts[1:] {
		if i%8 == 0 {
			sources = append(sources, customSource("Namespaced", schema, `"preserveUnknownFields":true,`))
		}
	}
	for _, schema := range notStructuralSchemas {
		source := customSource("Namespaced", schema, `"preserveUnknownFields":true,`)
		sources = append(sources, strings.Replace(source, `"status":{`, `"status":{"conditions":[{"type":"NonStructuralSchema","status":"True"}],`, 1))
	}
	for _, source := range sources {
		crd := new(apiextensionsv1.CustomResourceDefinition)
		if err := json.Unmarshal([]byte(source), crd); err != nil {
			t.Fatal(err, source)
		}
		def := customDefinition(t, source)
		t.Run("", func(t *testing.T) {
			compareV3(t, crd, def)
			compareV2(t, crd, def)
			if t.Failed() {
				t.Log(source)
			}
		})
	}
}

func compareV3(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, def *resource.Definition) {
	t.Helper()
	spec, err := builder.BuildOpenAPIV3(crd, "v1", builder.Options{IncludeSelectableFields: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	type document struct {
		Info       any
		Paths      map[string]any
		Components struct{ Schemas map[string]any }
	}
	var want, got document
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	a := ask(t, serve(resource.NewRegistry(def)), "GET /openapi/v3/apis/example.com/v1")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Info, got.Info); diff != "" {
		t.Errorf("what v3 is called: -upstream, +ours\n%s", diff)
	}
	if diff := cmp.Diff(want.Paths, got.Paths); diff != "" {
		t.Errorf("paths of v3: -upstream, +ours\n%s", diff)
	}
	if diff := cmp.Diff(want.Components.Schemas, got.Components.Schemas); diff != "" {
		t.Errorf("schemas of v3: -upstream, +ours\n%s", diff)
	}
}

func compareV2(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, def *resource.Definition) {
	t.Helper()
	spec, err := builder.BuildOpenAPIV2(crd, "v1", builder.Options{V2: true, IncludeSelectableFields: true})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var want openAPIV2Doc
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	_, got := documentV2(t, serve(resource.NewRegistry(def)))
	want.resolve()
	got.resolve()
	for _, d := range want.Definitions {
		pruneDefaults(d)
	}
	for name, item := range want.Paths {
		if diff := cmp.Diff(item, got.Paths[name]); diff != "" {
			t.Errorf("%s in v2: -upstream, +ours\n%s", name, diff)
		}
	}
	for _, name := range []string{modelName(def, &def.Versions[0]), modelListName(def, &def.Versions[0])} {
		if diff := cmp.Diff(want.Definitions[name], got.Definitions[name]); diff != "" {
			t.Errorf("%s in v2: -upstream, +ours\n%s", name, diff)
		}
	}
}

// pruneDefaults does what upstream does with its builder's schemas.
func pruneDefaults(schema any) {
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	delete(s, "default")
	props, _ := s["properties"].(map[string]any)
	for _, p := range props {
		pruneDefaults(p)
	}
	pruneDefaults(s["items"])
	pruneDefaults(s["additionalProperties"])
}
