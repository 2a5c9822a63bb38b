package cluster

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const betaDefinitions = "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions"

// TestBetaDefinitions: a definition as it was written before apiextensions v1 can be made, used, and read in both
// versions.
func TestBetaDefinitions(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", betaDefinitions, `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"crons.example.com"},
		"spec":{"group":"example.com","version":"v1","names":{"plural":"crons","kind":"Cron"},
		"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
		"additionalPrinterColumns":[{"name":"Spec","type":"string","JSONPath":".spec.cronSpec"}],
		"validation":{"openAPIV3Schema":{"properties":{"spec":{"required":["cronSpec"],"properties":{"cronSpec":{"type":"string","pattern":"^\\S+$"},"replicas":{"type":"integer","minimum":1}},
			"anyOf":[{"properties":{"replicas":{"type":"integer","maximum":10}}}]}}}}}}`, 201,
		`"version":"v1"`, `"versions":[{"name":"v1","served":true,"storage":true}]`, `"JSONPath":".spec.cronSpec"`, `"scope":"Namespaced"`, `"preserveUnknownFields":true`,
		`"conversion":{"strategy":"None"}`, `"type":"NonStructuralSchema"`, `"reason":"Violations"`,
		`spec.preserveUnknownFields: Invalid value: true: must be false`, `spec.versions[0].schema.openAPIV3Schema.type: Required value: must not be empty at the root`)
	want(t, sys, "GET", definitions+"/crons.example.com", "", 200, `"apiVersion":"apiextensions.k8s.io/v1"`, `"preserveUnknownFields":true`,
		`"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"properties":{"spec":`, `"jsonPath":".spec.cronSpec"`, `"subresources":{"status":{}`, `!"validation"`)
	want(t, sys, "GET", betaDefinitions+"/crons.example.com", "", 200, `"validation":{"openAPIV3Schema":{"properties":{"spec":`, `"JSONPath":".spec.cronSpec"`)

	const crons = "/apis/example.com/v1/namespaces/default/crons"
	cron := func(spec string) string {
		return `{"apiVersion":"example.com/v1","kind":"Cron","metadata":{"name":"c"},"spec":` + spec + `}`
	}
	want(t, sys, "POST", crons, cron(`{"cronSpec":"a b"}`), 422, `spec.cronSpec in body should match`)
	want(t, sys, "POST", crons, cron(`{"cronSpec":"a","replicas":11}`), 422, `should be less than or equal to 10`)
	want(t, sys, "POST", crons, cron(`{"cronSpec":"a","replicas":2,"unknown":{"kept":[1]}}`), 201, `"unknown":{"kept":[1]}`)
	want(t, sys, "PATCH", crons+"/c/status", `{"status":{"replicas":1}}`, 200, `"replicas":1`)
	want(t, sys, "GET", crons+"/c/scale", "", 200, `"spec":{"replicas":2}`, `"status":{"replicas":1}`)
	want(t, sys, "PATCH", crons+"/c", `{"spec":{"replicas":0}}`, 422, `spec.replicas in body should be greater than or equal to 1`)

	// What replaces it in v1 may stay as it is, and become structural.
	want(t, sys, "PATCH", definitions+"/crons.example.com", `{"metadata":{"labels":{"a":"b"}}}`, 200, `"NonStructuralSchema"`)
	want(t, sys, "PATCH", definitions+"/crons.example.com", `{"spec":{"preserveUnknownFields":false,"versions":[{"name":"v1","served":true,"storage":true,
		"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"cronSpec":{"type":"string"}}}}}}}]}}`, 200, `!NonStructuralSchema`, `"Established"`)
	want(t, sys, "GET", crons+"/c", "", 200, `"spec":{"cronSpec":"a"}`, `!"unknown"`)
}

// TestBetaDocuments: of earlier definitions, OpenAPI v3 has the schemas that are structural, and v2 those that say all
// there may be.
func TestBetaDocuments(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	for _, tt := range []struct {
		plural, kind, spec string
		v3, v2             bool
	}{
		{"as", "A", `"preserveUnknownFields":false,"validation":{"openAPIV3Schema":{"type":"object","properties":{"ofA":{"type":"string"}}}}`, true, true},
		{"bs", "B", `"preserveUnknownFields":true,"validation":{"openAPIV3Schema":{"type":"object","properties":{"ofB":{"type":"string"}}}}`, true, false},
		{"cs", "C", `"preserveUnknownFields":true,"validation":{"openAPIV3Schema":{"properties":{"ofC":{"type":"string"}}}}`, false, false},
	} {
		want(t, sys, "POST", betaDefinitions, `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"`+tt.plural+`.example.com"},
			"spec":{"group":"example.com","version":"v1","names":{"plural":"`+tt.plural+`","kind":"`+tt.kind+`"},`+tt.spec+`}}`, 201)
		for path, has := range map[string]bool{"/openapi/v3/apis/example.com/v1": tt.v3, "/openapi/v2": tt.v2} {
			_, doc := call(t, sys, "GET", path, "")
			if !strings.Contains(doc, `"com.example.v1.`+tt.kind+`"`) || strings.Contains(doc, `"of`+tt.kind+`"`) != has {
				t.Errorf("%s of %s has the schema's fields: %t, want %t", path, tt.kind, !has, has)
			}
		}
	}
}

func TestBetaDefinitionsAreJudged(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	beta := func(name, spec string) string {
		return `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"` + name + `"},"spec":{"group":"example.com","names":{"plural":"as","kind":"A"},` + spec + `}}`
	}
	const (
		v1     = `{"name":"v1","served":true,"storage":true`
		v2     = `{"name":"v2","served":true,"storage":false`
		column = `[{"name":"A","type":"string","JSONPath":".a"}]`
	)
	for _, tt := range []struct {
		name, spec string
		code       int
		want       string
	}{
		{"as.example.com", `"version":"v1","validation":{"openAPIV3Schema":{"type":"object","properties":{"a":{"type":"integer","default":1}}}},"preserveUnknownFields":false`, 422,
			`spec.validation.openAPIV3Schema.properties[a].default: Forbidden: must not be set (cannot set default values in apiextensions.k8s.io/v1beta1 CRDs, must use apiextensions.k8s.io/v1)`},
		{"as.example.com", `"version":"v1","validation":{"openAPIV3Schema":{"type":"object","properties":{"a":{"type":"integer","default":1}}}}`, 422,
			`is invalid: spec.validation.openAPIV3Schema.properties[a].default: Forbidden`},
		{"bs.example.com", `"version":"v1"`, 422, `metadata.name: Invalid value: \"bs.example.com\": must be spec.names.plural+\".\"+spec.group`},
		{"as.example.com", `"scope":"Everywhere","version":"v1"`, 422, `spec.scope: Unsupported value: \"Everywhere\"`},
		{"as.example.com", `"version":"v1","validation":{"openAPIV3Schema":{"properties":{"a":{"$ref":"#"}}}}`, 422, `$ref`},
		{"as.example.com", `"version":"v1","validation":{"openAPIV3Schema":{"properties":{"a":{"x-kubernetes-int-or-string":true}}}}`, 422, `type: Required value`},
		{"as.example.com", `"version":"v2","versions":[` + v1 + `}]`, 422, `spec.version: Invalid value: \"v2\": must match the first version in spec.versions`},
		{"as.example.com", `"scope":"Everywhere","version":"V_","versions":[` + v1 + `}]`, 422, `[spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\", spec.version: Invalid value: \"V_\": a DNS-1035 label`},
		{"as.example.com", `"validation":{},"versions":[` + v1 + `,"schema":{}},` + v2 + `}]`, 422, `spec.validation: Forbidden: top-level and per-version schemas are mutually exclusive`},
		{"as.example.com", `"subresources":{"status":{}},"versions":[` + v1 + `},` + v2 + `,"subresources":{}}]`, 422, `spec.subresources: Forbidden: top-level and per-version subresources are mutually exclusive`},
		{"as.example.com", `"versions":[` + v1 + `,"additionalPrinterColumns":` + column + `},` + v2 + `,"additionalPrinterColumns":` + column + `}]`, 422,
			`per-version additionalPrinterColumns may not all be set to identical values (top-level additionalPrinterColumns should be used instead)`},
		{"as.example.com", `"versions":[` + v1 + `,"schema":{}}]`, 422, `per-version schemas may not all be set to identical values (top-level validation should be used instead)`},
		{"as.example.com", `"version":"v1","preserveUnknownFields":false,"validation":{"openAPIV3Schema":{"type":"object"}},"conversion":{"strategy":"Webhook","conversionReviewVersions":["v9"],"webhookClientConfig":{"url":"https://a/b"}}`, 422,
			`must include at least one of v1, v1beta1`},
		{"as.example.com", `"version":"v1","surprise":1`, 201, `"version":"v1"`},
	} {
		code, body := call(t, sys, "POST", betaDefinitions, beta(tt.name, tt.spec))
		if code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s, want %d %s", tt.spec, code, body, tt.code, tt.want)
		}
	}
	const doubled = `{"spec":{"versions":[` + v1 + `,"schema":{}},` + v2 + `}],"validation":{}}}`
	want(t, sys, "PATCH", betaDefinitions+"/as.example.com", doubled, 422, `top-level and per-version schemas are mutually exclusive`)
	want(t, sys, "APPLY", betaDefinitions+"/as.example.com?fieldManager=m&force=true", `{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition",`+doubled[1:], 422, `top-level and per-version schemas are mutually exclusive`)
	want(t, sys, "PATCH", betaDefinitions+"/as.example.com", `{"spec":{"scope":"Cluster"}}`, 422, `spec.scope: Invalid value`, `field is immutable`)

	r, err := http.NewRequestWithContext(t.Context(), "GET", sys.URL()+betaDefinitions, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sys.adminClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	if w := p.Header.Get("Warning"); !strings.Contains(w, "apiextensions.k8s.io/v1beta1 CustomResourceDefinition is deprecated in v1.16+, unavailable in v1.22+") {
		t.Errorf("Warning %q", w)
	}
	b, err := io.ReadAll(p.Body)
	if err != nil || !strings.Contains(string(b), `"apiVersion":"apiextensions.k8s.io/v1beta1"`) {
		t.Errorf("%s %v", b, err)
	}
	want(t, sys, "GET", "/apis/apiextensions.k8s.io", "", 200, `"preferredVersion":{"groupVersion":"apiextensions.k8s.io/v1","version":"v1"}`, `apiextensions.k8s.io/v1beta1`)
	want(t, sys, "GET", "/openapi/v3/apis/apiextensions.k8s.io/v1beta1", "", 200, "v1beta1.CustomResourceDefinitionSpec")
}
