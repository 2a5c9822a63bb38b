package apiextensions

import (
	"context"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"pintle.dev/resource"
)

// ofSchema is a definition of one version with the schema of YAML text.
func ofSchema(t *testing.T, text string) *definition {
	t.Helper()
	s := new(apiextensionsv1.JSONSchemaProps)
	if err := yaml.UnmarshalStrict([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return &definition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: []apiextensionsv1.CustomResourceDefinitionVersion{
		{Name: "v1", Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: s}}}}}
}

func TestWarn(t *testing.T) {
	plain := ofSchema(t, `{type: object, properties: {
		a: {type: string, format: date-time}, b: {type: integer, format: int64}, c: {type: number, format: double},
		d: {type: string, format: k8s-short-name}, e: {type: array, x-kubernetes-list-type: set, items: {type: string}}}}`)
	odd := ofSchema(t, `{type: object, properties: {
		a: {type: string, format: zip}, b: {type: integer, format: uint64}, c: {type: array, items: {type: string, format: zip}},
		d: {anyOf: [{format: first}, {not: {format: second}}]}, e: {type: object, additionalProperties: {type: object, format: third}},
		f: {type: array, x-kubernetes-list-type: set, items: {type: object}},
		g: {type: array, x-kubernetes-list-type: set, items: {type: array, items: {type: string}}}}}`)
	all := []string{
		`unrecognized format "first"`, `unrecognized format "second"`, `unrecognized format "third"`, `unrecognized format "uint64"`,
		`unrecognized format "zip"`,
		`x-kubernetes-list-type: set for items of type "array" is not supported by server-side apply or CEL validation rules`,
		`x-kubernetes-list-type: set for items of type "object" is not supported by server-side apply or CEL validation rules`,
	}
	more := ofSchema(t, `{type: object, properties: {a: {type: string, format: zip}, b: {type: string, format: new}}}`)
	for _, c := range []struct {
		name, subresource string
		crd, old          *definition
		want              []string
	}{
		{name: "nothing to say", crd: plain},
		{name: "no schema", crd: &definition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1"}}}}},
		{name: "every place", crd: odd, want: all},
		{name: "nothing new", crd: odd, old: odd},
		{name: "one more", crd: more, old: odd, want: []string{`unrecognized format "new"`}},
		{name: "taken away", crd: plain, old: odd},
		{name: "status", subresource: "status", crd: odd, old: plain},
	} {
		if got := warn(context.Background(), &resource.Write{Subresource: c.subresource}, c.crd, c.old); !slices.Equal(got, c.want) {
			t.Errorf("%s: warnings\n%q, want\n%q", c.name, got, c.want)
		}
	}
}
