package describe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cliresource "k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi/openapitest"
	"k8s.io/client-go/rest"
	explain "k8s.io/kubectl/pkg/explain/v2"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
	"pintle.dev/resource/builtin/apiextensions"
	"pintle.dev/resource/builtin/schemas"
)

const cronTab = `{"metadata":{"name":"crontabs.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
"names":{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
"schema":{"openAPIV3Schema":{"type":"object","description":"CronTab runs things.","properties":{
"spec":{"type":"object","description":"what is wanted","required":["cronSpec"],"properties":{
"cronSpec":{"type":"string","description":"when to run"},
"replicas":{"type":"integer","default":1},
"port":{"x-kubernetes-int-or-string":true},
"template":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}},
"status":{"type":"object","properties":{"replicas":{"type":"integer"}}}}}}}]},
"status":{"acceptedNames":{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"}}}`

func customDefinition(t testing.TB, source string) *resource.Definition {
	t.Helper()
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := json.Unmarshal([]byte(source), crd); err != nil {
		t.Fatal(err)
	}
	crd.Status.Conditions = append(crd.Status.Conditions,
		apiextensionsv1.CustomResourceDefinitionCondition{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue})
	o, err := resource.TypedObject(crd)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := resource.Seal(apiextensions.CustomResourceDefinitions(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := resource.FromCRD(rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// discoveryClient is client-go's discovery of a server of the built-in kinds and CronTab.
func discoveryClient(t *testing.T, reg *resource.Registry) *discovery.DiscoveryClient {
	t.Helper()
	s := serve(reg)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientGoDiscovery compares what client-go makes of aggregated discovery with what it makes of the single lists.
func TestClientGoDiscovery(t *testing.T) {
	c := discoveryClient(t, resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...))
	_, aggregated, err := c.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	c.UseLegacyDiscovery = true
	_, single, err := c.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	names := func(lists []string) string { slices.Sort(lists); return strings.Join(lists, "\n") }
	var a, b []string
	for _, l := range aggregated {
		for _, r := range l.APIResources {
			a = append(a, l.GroupVersion+" "+r.Name+" "+r.Kind+" "+strings.Join(r.Verbs, ","))
		}
	}
	for _, l := range single {
		for _, r := range l.APIResources {
			b = append(b, l.GroupVersion+" "+r.Name+" "+r.Kind+" "+strings.Join(r.Verbs, ","))
		}
	}
	if len(a) < 20 || names(a) != names(b) {
		t.Errorf("aggregated:\n%s\nsingle:\n%s", names(a), names(b))
	}
	v, err := c.ServerVersion()
	if err != nil || v.Minor != "37" {
		t.Errorf("version %v %v", v, err)
	}
}

// TestKubectlExplain runs kubectl's own explain against the documents.
func TestKubectlExplain(t *testing.T) {
	c := discoveryClient(t, resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...))
	for _, tc := range []struct {
		resource schema.GroupVersionResource
		path     string
		want     []string
	}{
		{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "spec.containers.ports",
			[]string{"KIND:       Pod", "FIELD: ports <[]ContainerPort>", "containerPort\t<integer> -required-", "hostPort\t<integer>", "Number of port to expose on the pod's IP address."}},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "spec.strategy.type",
			[]string{"GROUP:      apps", "ENUM:\n    Recreate\n    RollingUpdate"}},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "crontabs"}, "",
			[]string{"KIND:       CronTab", "CronTab runs things.", "apiVersion\t<string>", "metadata\t<ObjectMeta>", "spec\t<Object>"}},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "crontabs"}, "spec",
			[]string{"cronSpec\t<string> -required-", "when to run", "replicas\t<integer>"}},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "crontabs"}, "spec.template.metadata.name",
			[]string{"Name must be unique within a namespace."}},
	} {
		var out bytes.Buffer
		var path []string
		if tc.path != "" {
			path = strings.Split(tc.path, ".")
		}
		if err := explain.PrintModelDescription(path, &out, c.OpenAPIV3(), tc.resource, false, 0, "plaintext"); err != nil {
			t.Errorf("explain %s %s: %v", tc.resource.Resource, tc.path, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("explain %s %s: no %q in\n%s", tc.resource.Resource, tc.path, want, out.String())
			}
		}
	}
}

// TestKubectlFieldValidation asks what kubectl asks before create and apply: whether fieldValidation is understood.
func TestKubectlFieldValidation(t *testing.T) {
	c := discoveryClient(t, resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...))
	v := cliresource.NewQueryParamVerifierV3(nil, c.OpenAPIV3(), cliresource.QueryParamFieldValidation)
	for _, gvk := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Pod"}, {Version: "v1", Kind: "Namespace"},
		{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "example.com", Version: "v1", Kind: "CronTab"},
	} {
		if err := v.HasSupport(gvk); err != nil {
			t.Errorf("%s: %v", gvk, err)
		}
	}
}

type openAPIOperation struct {
	ID          string `json:"operationId"`
	Description string
	Action      string `json:"x-kubernetes-action"`
	Kind        any    `json:"x-kubernetes-group-version-kind"`
	Parameters  []struct{ Name string }
	Body        struct{ Content map[string]any } `json:"requestBody"`
	Responses   map[string]any
}

type openAPIDoc struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas map[string]map[string]any
	}
}

// operations are the document's operations by "method path", each with the parameters of its path.
func (d openAPIDoc) operations(t *testing.T) map[string]openAPIOperation {
	t.Helper()
	ops := map[string]openAPIOperation{}
	for path, item := range d.Paths {
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			var op openAPIOperation
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatal(err)
			}
			if shared := item["parameters"]; shared != nil {
				if err := json.Unmarshal(shared, &op.Parameters); err != nil {
					t.Fatal(err)
				}
				var own openAPIOperation
				if err := json.Unmarshal(raw, &own); err != nil {
					t.Fatal(err)
				}
				op.Parameters = append(op.Parameters, own.Parameters...)
			}
			ops[method+" "+path] = op
		}
	}
	return ops
}

func openAPIDocOf(t *testing.T, reg *resource.Registry, name string) openAPIDoc {
	t.Helper()
	s := serve(reg)
	a := ask(t, s, "GET /openapi/v3/"+name)
	var doc openAPIDoc
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || a.code != 200 {
		t.Fatalf("%s: %d %v", name, a.code, err)
	}
	return doc
}

// TestOpenAPIAgainstUpstream compares with the documents of an earlier upstream release that client-go's tests carry:
// the operations of the kinds served here, and the types of the fields that both have. Excepted is what upstream itself
// has changed since.
func TestOpenAPIAgainstUpstream(t *testing.T) {
	paths, err := openapitest.NewEmbeddedFileClient().Paths()
	if err != nil {
		t.Fatal(err)
	}
	reg := resource.NewRegistry(builtin.All()...)
	for _, name := range []string{"api/v1", "apis/apps/v1"} {
		raw, err := paths[name].Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		var upstream openAPIDoc
		if err := json.Unmarshal(raw, &upstream); err != nil {
			t.Fatal(err)
		}
		doc := openAPIDocOf(t, reg, name)
		ours, theirs := doc.operations(t), upstream.operations(t)
		ids := map[string]string{}
		for at, op := range ours {
			if other, taken := ids[op.ID]; taken {
				t.Errorf("%s and %s have the ID %s", at, other, op.ID)
			}
			ids[op.ID] = at
			up, ok := theirs[at]
			if !ok {
				t.Errorf("%s is not upstream's", at)
				continue
			}
			if op.ID != up.ID || op.Action != up.Action || op.Description != up.Description || !reflect.DeepEqual(op.Kind, up.Kind) {
				t.Errorf("%s: %s %s %q %v; upstream %s %s %q %v", at, op.ID, op.Action, op.Description, op.Kind, up.ID, up.Action, up.Description, up.Kind)
			}
			// In order, and with those of the path first.
			if got, want := parametersSince(op), parametersSince(up); !slices.Equal(got, want) {
				t.Errorf("%s: parameters %q, upstream %q", at, got, want)
			}
			for code := range up.Responses {
				if op.Responses[code] == nil {
					t.Errorf("%s: no response %s", at, code)
				}
			}
			if len(op.Body.Content) == 0 && len(up.Body.Content) > 0 {
				t.Errorf("%s: no body", at)
			}
		}
		for at := range theirs {
			if served := ours[at].ID != ""; !served && openAPIExpected(reg, name, at) {
				t.Errorf("%s is missing", at)
			}
		}
		compareSchemas(t, doc, upstream)
	}
}

// parametersSince are the names of an operation's parameters but those that upstream has added since that release.
func parametersSince(op openAPIOperation) []string {
	var names []string
	for _, p := range op.Parameters {
		if !slices.Contains([]string{"fieldValidation", "sendInitialEvents", "shardSelector", "ignoreStoreReadErrorWithClusterBreakingPotential", "stream"}, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// openAPIExpected reports whether an upstream operation is one of a kind that is served here.
func openAPIExpected(reg *resource.Registry, name, at string) bool {
	_, operation, _ := strings.Cut(at, " ")
	rest, ok := strings.CutPrefix(operation, "/"+name+"/")
	if !ok {
		return false
	}
	rest = strings.TrimPrefix(rest, "watch/")
	parts := strings.Split(strings.TrimPrefix(rest, "namespaces/{namespace}/"), "/")
	group, version := strings.TrimPrefix(path.Dir(name), "apis/"), path.Base(name)
	if group == "api" {
		group = ""
	}
	d, _ := reg.Lookup(group, version, parts[0])
	return d != nil && (len(parts) < 3 || parts[2] != "proxy" && parts[2] != "ephemeralcontainers")
}

func compareSchemas(t *testing.T, doc, upstream openAPIDoc) {
	t.Helper()
	compared := 0
	for model, up := range upstream.Components.Schemas {
		own, ok := doc.Components.Schemas[model]
		if !ok {
			continue // of a kind that is not served
		}
		for _, ext := range []string{"type", "format", "x-kubernetes-map-type"} {
			if !reflect.DeepEqual(own[ext], up[ext]) {
				t.Errorf("%s: %s is %v, upstream %v", model, ext, own[ext], up[ext])
			}
		}
		props, _ := own["properties"].(map[string]any)
		upProps, _ := up["properties"].(map[string]any)
		for field, u := range upProps {
			o, ok := props[field].(map[string]any)
			if !ok {
				if field != "source" && field != "resourceClaims" {
					t.Errorf("%s has no %s", model, field)
				}
				continue
			}
			compared++
			for _, ext := range []string{"type", "format", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"} {
				if u := u.(map[string]any); !reflect.DeepEqual(o[ext], u[ext]) && model != metaModel+"LabelSelectorRequirement" {
					t.Errorf("%s.%s: %s is %v, upstream %v", model, field, ext, o[ext], u[ext])
				}
			}
			if a, b := reference(o), reference(u.(map[string]any)); a != b && !strings.HasSuffix(a, "VolumeResourceRequirements") {
				t.Errorf("%s.%s refers to %s, upstream %s", model, field, a, b)
			}
		}
	}
	if compared < 300 {
		t.Errorf("only %d fields compared", compared)
	}
}

// reference is what a schema, or its items, refer to.
func reference(s map[string]any) string {
	if r, ok := s["$ref"].(string); ok {
		return r
	}
	if all, ok := s["allOf"].([]any); ok && len(all) == 1 {
		return reference(all[0].(map[string]any))
	}
	for _, in := range []string{"items", "additionalProperties"} {
		if sub, ok := s[in].(map[string]any); ok {
			return reference(sub)
		}
	}
	return ""
}

// TestOpenAPIDocumentsAreWhole checks that every reference of every document resolves.
func TestOpenAPIDocumentsAreWhole(t *testing.T) {
	reg := resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...)
	s := serve(reg)
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal([]byte(ask(t, s, "GET /openapi/v3").body), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Paths) < 7 {
		t.Errorf("index: %v", index.Paths)
	}
	for name, p := range index.Paths {
		a := ask(t, s, "GET "+p.ServerRelativeURL)
		if a.code != 200 || a.header.Get("Cache-Control") != "public, immutable" {
			t.Errorf("%s: %d %v", name, a.code, a.header)
		}
		var doc openAPIDoc
		if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
			t.Fatal(err)
		}
		for _, r := range schemas.References([]byte(a.body)) {
			if doc.Components.Schemas[r] == nil {
				t.Errorf("%s refers to %s, which is missing", name, r)
			}
		}
	}
}

func TestOpenAPICaching(t *testing.T) {
	reg := resource.NewRegistry(builtin.All()...)
	s := serve(reg)
	core := ask(t, s, "GET /openapi/v3/api/v1")
	tag := core.header.Get("ETag")
	if core.code != 200 || tag == "" || core.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", core.code, core.header)
	}
	if a := ask(t, s, "GET /openapi/v3/api/v1", "If-None-Match: "+tag); a.code != 304 || a.body != "" {
		t.Errorf("same tag: %d", a.code)
	}
	if a := ask(t, s, "GET /openapi/v3/api/v1?hash=OLD"); a.code != 301 || a.header.Get("Location") != "/openapi/v3/api/v1?hash="+strings.Trim(tag, `"`) {
		t.Errorf("old hash: %d %v", a.code, a.header)
	}
	if a := ask(t, s, "GET /openapi/v3/api/v1", "Accept-Encoding: gzip"); a.header.Get("Content-Encoding") != "gzip" || len(a.body) > len(core.body)/3 {
		t.Errorf("compressed: %v, %d of %d bytes", a.header, len(a.body), len(core.body))
	}
	if a := ask(t, s, "GET /openapi/v3/api/v1", "Accept: application/xml"); a.code != 406 {
		t.Errorf("XML: %d", a.code)
	}
	if a := ask(t, s, "GET /openapi/v3/api/v1?hash="+strings.Trim(tag, `"`)); a.code != 200 || a.header.Get("Cache-Control") != "public, immutable" || a.header.Get("Expires") == "" || a.header.Get("Vary") != "Accept" {
		t.Errorf("with the hash: %d %v", a.code, a.header)
	}
	if a := ask(t, s, "GET /openapi/v3/apis/example.com/v1"); a.code != 404 {
		t.Errorf("unknown: %d", a.code)
	}
	before := s.openapi.document("api/v1")
	index := ask(t, s, "GET /openapi/v3").header.Get("ETag")
	reg.Put(customDefinition(t, cronTab))
	if a := ask(t, s, "GET /openapi/v3/apis/example.com/v1"); a.code != 200 || !strings.Contains(a.body, "com.example.v1.CronTab") {
		t.Errorf("a new CRD: %d", a.code)
	}
	if s.openapi.document("api/v1") != before {
		t.Error("a new CRD made the document of another group anew")
	}
	if ask(t, s, "GET /openapi/v3").header.Get("ETag") == index {
		t.Error("a new CRD left the index as it was")
	}
	custom := s.openapi.document("apis/example.com/v1").hash
	reg.Put(customDefinition(t, strings.Replace(cronTab, "when to run", "when it runs", 1)))
	if a := ask(t, s, "GET /openapi/v3/apis/example.com/v1"); !strings.Contains(a.body, "when it runs") || s.openapi.document("apis/example.com/v1").hash == custom {
		t.Error("a changed description is not shown")
	}
}

func TestCustomSchemas(t *testing.T) {
	def := customDefinition(t, cronTab)
	got, err := customSchemas(def, &def.Versions[0])
	if err != nil {
		t.Fatal(err)
	}
	object, list := got["com.example.v1.CronTab"], got["com.example.v1.CronTabList"]
	for _, want := range []string{
		`"port":{"anyOf":[{"type":"integer"},{"type":"string"}],"x-kubernetes-int-or-string":true}`,
		`"required":["kind","apiVersion"]`,
		`"metadata":{"allOf":[{"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],"description":`,
		`"x-kubernetes-group-version-kind":[{"group":"example.com","kind":"CronTab","version":"v1"}]`,
	} {
		if !strings.Contains(string(object), want) {
			t.Errorf("no %s in %s", want, object)
		}
	}
	for _, want := range []string{
		`"items":{"description":"List of crontabs. More info: `, `"description":"CronTabList is a list of CronTab"`,
		`"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"`, `"required":["items"]`,
	} {
		if !strings.Contains(string(list), want) {
			t.Errorf("no %s in %s", want, list)
		}
	}
}

func BenchmarkOpenAPICore(b *testing.B) {
	doc := NewOpenAPI(resource.NewRegistry(builtin.All()...)).document("api/v1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := doc.pack(openAPIJSON); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenAPICustom(b *testing.B) {
	def := customDefinition(b, bigCRD())
	kind := newOpenAPIKind(def, &def.Versions[0])
	for name, pack := range map[string]func(openAPIForm) (kindPieces, error){"v2": kind.packV2, "v3": kind.packV3} {
		for form := range openAPIForms {
			b.Run(fmt.Sprintf("%s/%d", name, form), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := pack(form); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// bigCRD has a schema of about 20 KB.
func bigCRD() string {
	var props strings.Builder
	for i := range 140 {
		fmt.Fprintf(&props, `"field%d":{"type":"string","maxLength":100,"description":%q},`, i, strings.Repeat("what the field means ", 4))
	}
	return strings.Replace(cronTab, `"cronSpec":{`, props.String()+`"cronSpec":{`, 1)
}
