package describe

import (
	"slices"
	"strings"
	"testing"

	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
)

// TestOpenAPIV3Protobuf holds the protobuf form against what upstream's own parser makes of the JSON form.
func TestOpenAPIV3Protobuf(t *testing.T) {
	reg := resource.NewRegistry(append(someKinds("configmaps", "leases"), customDefinition(t, richCRD))...)
	s := serve(reg)
	sameYAML := protocmp.FilterField(&openapi_v3.Any{}, "yaml", cmp.Comparer(func(a, b string) bool {
		var x, y any
		return yaml.Unmarshal([]byte(a), &x) == nil && yaml.Unmarshal([]byte(b), &y) == nil && cmp.Equal(x, y)
	}))
	for _, name := range []string{"apis/coordination.k8s.io/v1", "apis/example.com/v1", "version"} {
		text := ask(t, s, "GET /openapi/v3/"+name)
		want, err := openapi_v3.ParseDocument([]byte(text.body))
		if err != nil {
			t.Fatal(err)
		}
		for _, accept := range []string{"v3@v1.0", "v3.v1.0"} {
			a := ask(t, s, "GET /openapi/v3/"+name, "Accept: application/com.github.proto-openapi.spec."+accept+"+protobuf")
			if typ := a.header.Get("Content-Type"); a.code != 200 || typ != "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" || a.header.Get("ETag") != text.header.Get("ETag") {
				t.Fatalf("%s: %d %v", name, a.code, a.header)
			}
			got := &openapi_v3.Document{}
			if err := proto.Unmarshal([]byte(a.body), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform(), sameYAML,
				protocmp.SortRepeatedFields(&openapi_v3.Paths{}, "path"), protocmp.SortRepeatedFields(&openapi_v3.Properties{}, "additional_properties"),
				protocmp.SortRepeatedFields(&openapi_v3.SchemasOrReferences{}, "additional_properties"),
				protocmp.SortRepeatedFields(&openapi_v3.MediaTypes{}, "additional_properties"),
				protocmp.SortRepeatedFields(&openapi_v3.Responses{}, "response_or_reference"),
				protocmp.SortRepeatedFields(&openapi_v3.Schema{}, "specification_extension"),
				protocmp.SortRepeatedFields(&openapi_v3.Operation{}, "specification_extension"),
			); diff != "" {
				t.Errorf("%s: upstream's parser makes another message of the JSON form (-) than is served (+):\n%.4000s", name, diff)
			}
		}
	}
}

// TestOpenAPIPiecesAreBounded checks that only as many pieces are kept as fit into the budget, and none of kinds that are
// gone.
func TestOpenAPIPiecesAreBounded(t *testing.T) {
	a, b := customDefinition(t, cronTab), customDefinition(t, richCRD)
	reg := resource.NewRegistry(append(builtin.All(), a, b)...)
	s := serve(reg)
	cache := &s.openapi.pieces
	first := ask(t, s, "GET /openapi/v2").body
	both := cache.used
	if cache.order.Len() != 2 || both == 0 {
		t.Fatalf("%d entries of %d bytes", cache.order.Len(), both)
	}
	cache.budget = both - 1
	for range 2 { // which need what the budget does not hold
		if again := ask(t, s, "GET /openapi/v2").body; again != first {
			t.Error("a document of pieces made anew differs")
		}
		ask(t, s, "GET /openapi/v3/apis/example.com/v1", "Accept: application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
		if cache.used > cache.budget || len(cache.byKey) != cache.order.Len() {
			t.Errorf("%d bytes of %d, %d keys, %d entries", cache.used, cache.budget, len(cache.byKey), cache.order.Len())
		}
	}
	cache.budget = 1 << 20
	ask(t, s, "GET /openapi/v2")
	reg.Put(customDefinition(t, strings.Replace(cronTab, "when to run", "when it runs", 1)))
	if text := ask(t, s, "GET /openapi/v2").body; !strings.Contains(text, "when it runs") {
		t.Error("a changed CRD is not shown")
	}
	for key := range cache.byKey {
		if doc := s.openapi.documents["apis/example.com/v1"]; !slices.Contains(doc.kinds, key.kind) {
			t.Errorf("pieces of %s are kept that is gone", key.kind.def.Resource)
		}
	}
}
