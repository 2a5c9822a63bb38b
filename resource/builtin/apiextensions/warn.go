package apiextensions

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"pintle.dev/resource"
	"pintle.dev/schema"
)

// warn tells of what the schemas of a definition say to no effect: formats that are not checked, and sets of objects or
// lists. An update is warned of only what it adds. A write of the status changes no schema.
func warn(_ context.Context, w *resource.Write, crd, old *definition) []string {
	if w.Subresource == "status" {
		return nil
	}
	formats, sets := ineffective(crd)
	if old != nil {
		oldFormats, oldSets := ineffective(old)
		maps.DeleteFunc(formats, func(text string, _ bool) bool { return oldFormats[text] })
		maps.DeleteFunc(sets, func(text string, _ bool) bool { return oldSets[text] })
	}
	return append(slices.Sorted(maps.Keys(formats)), slices.Sorted(maps.Keys(sets))...)
}

// ineffective are the warnings that the schemas of crd's versions deserve.
func ineffective(crd *definition) (formats, sets map[string]bool) {
	formats, sets = map[string]bool{}, map[string]bool{}
	see := func(s *apiextensionsv1.JSONSchemaProps) {
		if s.Format != "" {
			f := &spec.Schema{SchemaProps: spec.SchemaProps{Format: s.Format, Type: []string{s.Type}}}
			for _, name := range validation.GetUnrecognizedFormats(f, environment.DefaultCompatibilityVersion()) {
				formats[fmt.Sprintf("unrecognized format %q", name)] = true
			}
		}
		if s.XListType == nil || *s.XListType != "set" || s.Items == nil || s.Items.Schema == nil {
			return
		}
		if item := s.Items.Schema.Type; item == "object" || item == "array" {
			sets[fmt.Sprintf("x-kubernetes-list-type: set for items of type %q is not supported by server-side apply or CEL validation rules", item)] = true
		}
	}
	for i := range crd.Spec.Versions {
		if s := crd.Spec.Versions[i].Schema; s != nil && s.OpenAPIV3Schema != nil {
			schema.Each(s.OpenAPIV3Schema, see)
		}
	}
	return formats, sets
}
