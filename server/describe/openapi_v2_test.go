package describe

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"go.yaml.in/yaml/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cliresource "k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	utilproto "k8s.io/kube-openapi/pkg/util/proto"
	"k8s.io/kube-openapi/pkg/util/proto/validation"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
)

const protoV2Accept = "Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

// openAPIV2Doc is the JSON form. Parameters that are shared are put back in place.
type openAPIV2Doc struct {
	Paths       map[string]map[string]any
	Definitions map[string]any
	Parameters  map[string]any
}

func (d *openAPIV2Doc) resolve() {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				if m, ok := item.(map[string]any); ok {
					if ref, ok := m["$ref"].(string); ok && strings.HasPrefix(ref, "#/parameters/") {
						v[i] = d.Parameters[strings.TrimPrefix(ref, "#/parameters/")]
					}
				}
				walk(v[i])
			}
			slices.SortFunc(v, func(a, b any) int {
				x, _ := json.Marshal(a)
				y, _ := json.Marshal(b)
				return strings.Compare(string(x), string(y))
			})
		case map[string]any:
			for _, m := range v {
				walk(m)
			}
		}
	}
	for _, p := range d.Paths {
		walk(p)
		shared, _ := p["parameters"].([]any)
		delete(p, "parameters")
		for _, op := range p {
			op := op.(map[string]any)
			own, _ := op["parameters"].([]any)
			op["parameters"] = slices.DeleteFunc(slices.Concat(own, shared), func(p any) bool {
				name := p.(map[string]any)["name"] // alpha features that are not there
				return name == "shardSelector" || name == "ignoreStoreReadErrorWithClusterBreakingPotential"
			})
			walk(op)
		}
	}
}

func documentV2(t *testing.T, s http.Handler) (text string, doc openAPIV2Doc) {
	t.Helper()
	a := ask(t, s, "GET /openapi/v2")
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.code != 200 {
		t.Fatalf("%d %v", a.code, err)
	}
	return a.body, doc
}

// kinds are a registry of some of the built-in kinds, so that upstream's slow parser has less to do.
func someKinds(names ...string) []*resource.Definition {
	return slices.DeleteFunc(builtin.All(), func(d *resource.Definition) bool { return !slices.Contains(names, d.Resource.Name) })
}

// sameYAML compares what upstream's parser writes as YAML by what it says.
var sameYAML = protocmp.FilterField(&openapi_v2.Any{}, "yaml", cmp.Comparer(func(a, b string) bool {
	var x, y any
	return yaml.Unmarshal([]byte(a), &x) == nil && yaml.Unmarshal([]byte(b), &y) == nil && cmp.Equal(x, y)
}))

// TestOpenAPIV2Protobuf holds the protobuf form against what upstream's own parser makes of the JSON form.
func TestOpenAPIV2Protobuf(t *testing.T) {
	reg := resource.NewRegistry(append(someKinds("configmaps", "leases"), customDefinition(t, richCRD))...)
	s := serve(reg)
	text, _ := documentV2(t, s)
	want, err := openapi_v2.ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{protoV2Accept, strings.Replace(protoV2Accept, "v2@", "v2.", 1)} {
		a := ask(t, s, "GET /openapi/v2", accept)
		if typ := a.header.Get("Content-Type"); a.code != 200 || typ != "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" {
			t.Fatalf("%s: %d %s", accept, a.code, typ)
		}
		got := &openapi_v2.Document{}
		if err := proto.Unmarshal([]byte(a.body), got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform(), sameYAML,
			protocmp.SortRepeatedFields(&openapi_v2.Paths{}, "path"), protocmp.SortRepeatedFields(&openapi_v2.Properties{}, "additional_properties"),
			protocmp.SortRepeatedFields(&openapi_v2.Definitions{}, "additional_properties"), protocmp.SortRepeatedFields(&openapi_v2.ParameterDefinitions{}, "additional_properties"),
			protocmp.SortRepeatedFields(&openapi_v2.Responses{}, "response_code"), protocmp.SortRepeatedFields(&openapi_v2.Schema{}, "vendor_extension"),
			protocmp.SortRepeatedFields(&openapi_v2.Operation{}, "vendor_extension"),
		); diff != "" {
			t.Errorf("upstream's parser makes another message of the JSON form (-) than is served (+):\n%.4000s", diff)
		}
	}
}

// richCRD uses what v2 cannot say.
const richCRD = `{"metadata":{"name":"riches.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
"names":{"plural":"riches","singular":"rich","kind":"Rich","listKind":"RichList"},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
"selectableFields":[{"jsonPath":".spec.name"},{"jsonPath":".spec.mode"}],
"schema":{"openAPIV3Schema":{"type":"object","description":"Rich has everything.","required":["spec"],"properties":{
"spec":{"type":"object","required":["maybe","name"],"title":"a title","externalDocs":{"url":"https://example.com","description":"more"},
"x-kubernetes-validations":[{"rule":"self.name != 'x'","message":"not x"}],"properties":{
"name":{"type":"string","minLength":1,"maxLength":12,"pattern":"^[a-z]+$","default":"a","example":"b"},
"maybe":{"type":"array","nullable":true,"items":{"type":"string"}},
"nullobject":{"type":"object","nullable":true,"properties":{"a":{"type":"string"}}},
"onlymaybe":{"type":"object","required":["gone"],"properties":{"gone":{"type":"string","nullable":true}}},
"nullvalues":{"type":"object","required":["a"],"additionalProperties":{"type":"string","nullable":true}},
"replicas":{"type":"integer","format":"int32","minimum":0,"maximum":10,"exclusiveMaximum":true,"multipleOf":1,"default":1},
"ratio":{"type":"number","minimum":0.25},
"port":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}]},
"odd":{"x-kubernetes-int-or-string":true,"anyOf":[{"minimum":1},{"pattern":"x"}]},
"mode":{"type":"string","enum":["a","b"]},
"any":{"x-kubernetes-preserve-unknown-fields":true},
"loose":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"a":{"type":"string"}}},
"template":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{"spec":{"type":"object"}},"required":["kind"]},
"open":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true},
"free":{"type":"object","additionalProperties":true},
"ints":{"type":"object","additionalProperties":{"type":"integer"},"maxProperties":3,"minProperties":1,"x-kubernetes-map-type":"atomic"},
"set":{"type":"array","items":{"type":"string"},"x-kubernetes-list-type":"set","maxItems":4,"minItems":1},
"list":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"},"v":{"type":"string","nullable":true}}}},
"either":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"oneOf":[{"required":["a"]},{"required":["b"]}],"not":{"required":["a","b"]}}}},
"status":{"type":"object","properties":{"replicas":{"type":"integer"}}}}}}}]},
"status":{"acceptedNames":{"plural":"riches","singular":"rich","kind":"Rich","listKind":"RichList"}}}`

// looseCRD preserves unknown fields everywhere.
var looseCRD = `{"metadata":{"name":"looses.example.com"},"spec":{"group":"example.com","scope":"Cluster",
"names":{"plural":"looses","singular":"loose","kind":"Loose","listKind":"LooseList"},
"versions":[{"name":"v1","served":true,"storage":true,
"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"spec":{"type":"object"}}}}}]},
"status":{"acceptedNames":{"plural":"looses","singular":"loose","kind":"Loose","listKind":"LooseList"}}}`

func TestOpenAPIV2Document(t *testing.T) {
	reg := resource.NewRegistry(builtin.All()...)
	s := serve(reg)
	text, doc := documentV2(t, s)
	// The names of shared parameters hash what they say: these are upstream's.
	for _, name := range []string{"allowWatchBookmarks-HC2hJt-J", "body-2Y1dVQaQ", "namespace-vgWSWtn3", "pretty-tJGM1-ng", "command-Py3eQybp"} {
		if doc.Parameters[name] == nil {
			t.Errorf("there is no parameter %s", name)
		}
	}
	for ref := range strings.SplitSeq(text, `"$ref":"#/`) {
		kind, rest, _ := strings.Cut(ref, "/")
		name, _, _ := strings.Cut(rest, `"`)
		if kind == "definitions" && doc.Definitions[name] == nil || kind == "parameters" && doc.Parameters[name] == nil {
			t.Errorf("nothing is at #/%s/%s", kind, name)
		}
	}
	if strings.Contains(text, "components/schemas") || strings.Contains(text, `"oneOf":[`) {
		t.Error("v3 shows through")
	}
	for name, want := range map[string]string{
		"io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
		"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":  "date-time",
	} {
		d, _ := doc.Definitions[name].(map[string]any)
		if d["type"] != "string" || d["format"] != want {
			t.Errorf("%s: %v", name, d)
		}
	}
	// What v3 says of built-in kinds, v2 says too.
	v3 := openAPIDocOf(t, reg, "apis/apps/v1")
	for at, op := range v3.operations(t) {
		method, path, _ := strings.Cut(at, " ")
		other, _ := doc.Paths[path][method].(map[string]any)
		if other["operationId"] != op.ID || !strings.Contains(text, op.ID) {
			t.Errorf("%s: operation %v, in v3 %s", at, other["operationId"], op.ID)
		}
	}
}

// TestOpenAPIV2Incremental checks that a new CRD costs its own description and nothing else.
func TestOpenAPIV2Incremental(t *testing.T) {
	reg := resource.NewRegistry(append(someKinds("configmaps"), customDefinition(t, cronTab))...)
	s := serve(reg)
	first := ask(t, s, "GET /openapi/v2")
	if a := ask(t, s, "GET /openapi/v2", "If-None-Match: W/\"x\", "+first.header.Get("ETag")); a.code != 304 || a.body != "" || a.header.Get("ETag") != first.header.Get("ETag") {
		t.Errorf("same tag: %d %v", a.code, a.header)
	}
	pieces := func() map[*byte]bool {
		list, err := s.openapi.piecesV2(s.openapi.wholeNow(), openAPIJSON)
		if err != nil {
			t.Fatal(err)
		}
		kept := map[*byte]bool{}
		for _, p := range list {
			if p.size > 100 {
				kept[&p.deflated[0]] = true
			}
		}
		return kept
	}
	before := pieces()
	reg.Put(customDefinition(t, looseCRD))
	second := ask(t, s, "GET /openapi/v2", "If-None-Match: "+first.header.Get("ETag"))
	if second.code != 200 || !strings.Contains(second.body, "com.example.v1.Loose") || strings.Contains(first.body, "com.example.v1.Loose") {
		t.Errorf("a new CRD: %d", second.code)
	}
	after := pieces()
	for p := range maps.Keys(before) {
		if !after[p] {
			t.Error("a new CRD made a piece anew")
		}
	}
	if len(after) != len(before)+2 {
		t.Errorf("%d pieces, then %d", len(before), len(after))
	}
	packed := ask(t, s, "GET /openapi/v2", "Accept-Encoding: gzip;q=0.5")
	z, err := gzip.NewReader(strings.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z) // which checks the sum of the pieces' sums
	if err != nil || string(text) != second.body || packed.header.Get("Vary") != "Accept" {
		t.Errorf("compressed: %v, %d bytes of %d, %v", err, len(text), len(second.body), packed.header)
	}
	if a := ask(t, s, "GET /openapi/v2", "Accept: application/xml"); a.code != 406 {
		t.Errorf("XML: %d", a.code)
	}
}

// TestKubectlV2 runs what kubectl does with the v2 document: before it applies what v3 does not know (lists, unknown
// kinds), and to validate in place of the server.
func TestKubectlV2(t *testing.T) {
	reg := resource.NewRegistry(append(someKinds("configmaps", "namespaces", "customresourcedefinitions"), customDefinition(t, cronTab))...)
	c := discoveryClient(t, reg)
	mux := http.NewServeMux()
	mux.Handle("/", serve(reg))
	mux.HandleFunc("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"CustomResourceDefinitionList","apiVersion":"apiextensions.k8s.io/v1","items":[]}`)
	})
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	dyn, err := dynamic.NewForConfig(&rest.Config{Host: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := c.OpenAPISchema()
	if err != nil {
		t.Fatal(err)
	}
	v := cliresource.NewQueryParamVerifier(dyn, c, cliresource.QueryParamFieldValidation)
	for _, tc := range []struct {
		gvk  schema.GroupVersionKind
		want string
	}{
		{schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, ""},
		{schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "CronTab"}, ""},
		{schema.GroupVersionKind{Version: "v1", Kind: "Foo"}, "/v1, Kind=Foo doesn't support fieldValidation"},
	} {
		if err := v.HasSupport(tc.gvk); (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
			t.Errorf("%s: %v, want %q", tc.gvk, err, tc.want)
		}
	}
	models, err := utilproto.NewOpenAPIData(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ model, object, want string }{
		{"io.k8s.api.core.v1.ConfigMap", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"b"}}`, ""},
		{"io.k8s.api.core.v1.ConfigMap", `{"bogus":1}`, "unknown field \"bogus\""},
		{"com.example.v1.CronTab", `{"apiVersion":"example.com/v1","kind":"CronTab","metadata":{"name":"a"},"spec":{"cronSpec":"x","port":"http","template":{"x":1}}}`, ""},
		{"com.example.v1.CronTab", `{"spec":{"replicas":1}}`, "missing required field \"cronSpec\""},
	} {
		var obj any
		if err := json.Unmarshal([]byte(tc.object), &obj); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, err := range validation.ValidateModel(obj, models.LookupModel(tc.model), "") {
			got = append(got, err.Error())
		}
		if all := strings.Join(got, "; "); (all == "") != (tc.want == "") || !strings.Contains(all, tc.want) {
			t.Errorf("%s: %s", tc.object, all)
		}
	}
}
