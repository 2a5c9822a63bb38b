package server

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/resource"
)

// customSchemas are the schemas of a custom kind's objects and lists: the author's, completed by what every Kubernetes
// object has. Without them kubectl takes apiVersion, kind and metadata for unknown fields.
func customSchemas(def *resource.Definition, v *resource.Version) (object, list []byte, err error) {
	root := map[string]any{}
	if source := resource.SchemaJSON(v); source != nil {
		if err := json.Unmarshal(source, &root); err != nil {
			return nil, nil, fmt.Errorf("schema of %s in %s: %w", def.Resource, v.APIVersion(), err)
		}
		complete(root)
		addObjectProperties(root, partialDoc["metadata"], typeDoc)
	}
	root["type"] = "object"
	root["x-kubernetes-group-version-kind"] = []any{kindExtension(v, def.KindOf(v))}
	if object, err = json.Marshal(root); err != nil {
		return nil, nil, err
	}
	items := map[string]any{
		"type": "array", "items": ref(modelName(def, v)),
		"description": fmt.Sprintf("List of %s. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", def.Resource.Name),
	}
	l := map[string]any{
		"type": "object", "description": fmt.Sprintf("%s is a list of %s", listKind(def, v), def.KindOf(v)),
		"required":                        []string{"items"},
		"properties":                      map[string]any{"items": items},
		"x-kubernetes-group-version-kind": []any{kindExtension(v, listKind(def, v))},
	}
	addObjectProperties(l, partialListDoc["metadata"], typeDoc)
	l["properties"].(map[string]any)["metadata"] = describedRef(listMetaModel, partialListDoc["metadata"])
	list, err = json.Marshal(l)
	return object, list, err
}

// Documentation of the members that every object has.
var (
	typeDoc        = metav1.TypeMeta{}.SwaggerDoc()
	partialDoc     = metav1.PartialObjectMetadata{}.SwaggerDoc()
	partialListDoc = metav1.PartialObjectMetadataList{}.SwaggerDoc()
	embeddedDoc    = map[string]string{
		"apiVersion": "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
		"kind":       "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
	}
)

func ref(model string) map[string]any { return map[string]any{"$ref": schemaPrefix + model} }

// describedRef wraps a reference in an allOf, as OpenAPI ignores what stands beside one.
func describedRef(model, description string) map[string]any {
	return map[string]any{"allOf": []any{ref(model)}, "description": description}
}

func kindExtension(v *resource.Version, kind string) map[string]any {
	return map[string]any{"group": v.Group, "version": v.Name, "kind": kind}
}

// addObjectProperties gives a schema apiVersion, kind and metadata.
func addObjectProperties(s map[string]any, metadata string, doc map[string]string) {
	props, ok := s["properties"].(map[string]any)
	if !ok {
		props = map[string]any{}
		s["properties"] = props
	}
	props["apiVersion"] = map[string]any{"type": "string", "description": doc["apiVersion"]}
	props["kind"] = map[string]any{"type": "string", "description": doc["kind"]}
	props["metadata"] = describedRef(objectMetaModel, metadata)
}

// complete walks a structural schema and says what its extensions imply: an integer or a string may stand where
// x-kubernetes-int-or-string is set, an embedded resource has a kind and metadata.
func complete(s map[string]any) {
	if props, ok := s["properties"].(map[string]any); ok {
		for _, p := range props {
			if p, ok := p.(map[string]any); ok {
				complete(p)
			}
		}
	}
	for _, name := range []string{"items", "additionalProperties"} {
		if sub, ok := s[name].(map[string]any); ok {
			complete(sub)
		}
	}
	if on, _ := s["x-kubernetes-int-or-string"].(bool); on {
		addIntOrString(s)
	}
	if on, _ := s["x-kubernetes-embedded-resource"].(bool); on {
		addObjectProperties(s, partialDoc["metadata"], embeddedDoc)
		required, _ := s["required"].([]any)
		for _, name := range []string{"kind", "apiVersion"} {
			if !contains(required, name) {
				required = append(required, name)
			}
		}
		s["required"] = required
	}
}

func contains(list []any, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func addIntOrString(s map[string]any) {
	either := []any{map[string]any{"type": "integer"}, map[string]any{"type": "string"}}
	anyOf, has := s["anyOf"].([]any)
	all, _ := s["allOf"].([]any)
	switch {
	case !has && len(all) > 0 && isEither(all[0]):
	case !has:
		s["anyOf"] = either
	case !isEither(map[string]any{"anyOf": anyOf}):
		s["allOf"] = append([]any{map[string]any{"anyOf": either}}, all...)
	}
}

// isEither reports a schema that already says anyOf integer, string.
func isEither(s any) bool {
	m, _ := s.(map[string]any)
	list, _ := m["anyOf"].([]any)
	if len(list) != 2 {
		return false
	}
	a, _ := list[0].(map[string]any)
	b, _ := list[1].(map[string]any)
	return a["type"] == "integer" && b["type"] == "string"
}
