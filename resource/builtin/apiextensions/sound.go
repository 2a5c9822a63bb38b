package apiextensions

import (
	"reflect"
	"regexp/syntax"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/json"

	"pintle.dev/schema"
)

type props = apiextensionsv1.JSONSchemaProps

// sound reports whether upstream's validation certainly accepts the root schema of a version, but for its CEL rules, of
// which it sees only that nothing is wrong with how they are written down. It knows the keywords that are usual; when it
// says no, the schema may still be fine.
func sound(root *props) bool {
	if root.Type != "object" || root.Nullable || root.Default != nil || len(root.Enum) > 0 || root.MaxProperties != nil || root.MinProperties != nil ||
		root.AdditionalProperties != nil || root.XMapType != nil || hasJunctors(root) {
		return false // not at a root, or not with a status subresource
	}
	for _, name := range []string{"apiVersion", "kind"} {
		if p, ok := root.Properties[name]; ok && (p.Type != "string" || p.Default != nil) {
			return false
		}
	}
	if m, ok := root.Properties["metadata"]; ok && !saysOnly(&m, "object") {
		return false
	}
	return soundNode(root)
}

// soundNode is sound for a schema at any place, and all below it.
func soundNode(s *props) bool {
	if !soundKeywords(s) || s.XEmbeddedResource || s.XPreserveUnknownFields != nil && !*s.XPreserveUnknownFields {
		return false
	}
	if s.Properties != nil && s.AdditionalProperties != nil || s.Items != nil && s.Type != "array" ||
		(s.Properties != nil || s.AdditionalProperties != nil || s.XMapType != nil) && s.Type != "object" {
		return false
	}
	switch s.Type {
	case "string", "integer", "number", "boolean", "object":
		if s.XIntOrString {
			return false
		}
	case "array":
		if s.XIntOrString || s.Items == nil || s.Items.Schema == nil || len(s.Items.JSONSchemas) > 0 || !soundNode(s.Items.Schema) {
			return false
		}
	case "":
		if s.XIntOrString == (s.XPreserveUnknownFields != nil) {
			return false
		}
	default:
		return false
	}
	var p props // out of the loop, within which it would escape in a recursive function; it is large
	for _, p = range s.Properties {
		if !soundNode(&p) {
			return false
		}
	}
	if a := s.AdditionalProperties; a != nil && a.Schema != nil && !soundNode(a.Schema) {
		return false
	}
	if !soundKind(s.XMapType, "granular", "atomic") || !soundList(s) {
		return false
	}
	if s.Default != nil {
		if whole := *s; !schema.DefaultFits(&whole) { // a copy, as what is shown to it escapes
			return false
		}
	}
	return soundJunctors(s, s)
}

// soundKeywords checks what alternatives may say as well.
func soundKeywords(s *props) bool {
	if s.ID != "" || s.Schema != "" || s.Ref != nil || s.PatternProperties != nil || s.Definitions != nil || s.Dependencies != nil ||
		s.AdditionalItems != nil || s.UniqueItems || s.ExternalDocs != nil {
		return false
	}
	if s.Pattern != "" {
		// All that regexp.Compile may fail with, for a third of its time.
		if _, err := syntax.Parse(s.Pattern, syntax.Perl); err != nil {
			return false
		}
	}
	if s.Example != nil && !decodes(s.Example.Raw) {
		return false
	}
	return !slices.ContainsFunc(s.Enum, func(v apiextensionsv1.JSON) bool { return !decodes(v.Raw) })
}

// decodes reports whether upstream can read a value of the schema: there may be numbers out of range.
func decodes(raw []byte) bool {
	if len(raw) > 0 && raw[0] == '"' {
		return true
	}
	var v any
	return json.Unmarshal(raw, &v) == nil
}

func soundKind(kind *string, of ...string) bool { return kind == nil || slices.Contains(of, *kind) }

// soundList checks x-kubernetes-list-type and what follows from it.
func soundList(s *props) bool {
	if s.XListType == nil {
		return len(s.XListMapKeys) == 0
	}
	if s.Type != "array" {
		return false
	}
	item := s.Items.Schema
	switch *s.XListType {
	case "atomic":
		return len(s.XListMapKeys) == 0
	case "set":
		return len(s.XListMapKeys) == 0 && !item.Nullable && item.Type != "array" && (item.Type != "object" || item.XMapType != nil && *item.XMapType == "atomic")
	case "map":
		if len(s.XListMapKeys) == 0 || item.Type != "object" || item.Nullable {
			return false
		}
		for i, key := range s.XListMapKeys {
			p, ok := item.Properties[key]
			if !ok || p.Nullable || p.Type == "array" || p.Type == "object" || slices.Contains(s.XListMapKeys[:i], key) ||
				p.Default == nil && !slices.Contains(item.Required, key) {
				return false
			}
		}
		return true
	}
	return false
}

func hasJunctors(s *props) bool {
	return len(s.AllOf) > 0 || len(s.AnyOf) > 0 || len(s.OneOf) > 0 || s.Not != nil
}

// soundJunctors checks the alternatives that s names for what structure describes.
func soundJunctors(s, structure *props) bool {
	if !hasJunctors(s) {
		return true
	}
	alternatives := [][]props{s.AllOf, s.AnyOf, s.OneOf}
	if s == structure && s.XIntOrString && len(s.AnyOf) == 2 && saysOnly(&s.AnyOf[0], "integer") && saysOnly(&s.AnyOf[1], "string") {
		alternatives[1] = nil // what structural schemas may have beside x-kubernetes-int-or-string
	}
	for _, list := range alternatives {
		for i := range list {
			if !soundAlternative(&list[i], structure) {
				return false
			}
		}
	}
	return s.Not == nil || soundAlternative(s.Not, structure)
}

// saysOnly reports whether a schema is of a type and says nothing else.
func saysOnly(s *props, typ string) bool {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() && f.Addr().Interface() != &s.Type {
			return false
		}
	}
	return s.Type == typ
}

// soundAlternative checks a schema within allOf, anyOf, oneOf or not: it may only restrict values of what structure
// describes.
func soundAlternative(s, structure *props) bool {
	if !soundKeywords(s) || s.Type != "" || s.AdditionalProperties != nil || s.Default != nil || s.Title != "" || s.Description != "" || s.Nullable ||
		s.XPreserveUnknownFields != nil || s.XEmbeddedResource || s.XIntOrString || s.XListType != nil || s.XMapType != nil ||
		len(s.XListMapKeys) > 0 || len(s.XValidations) > 0 {
		return false
	}
	if s.Items != nil && (s.Items.Schema == nil || len(s.Items.JSONSchemas) > 0 || structure.Items == nil || !soundAlternative(s.Items.Schema, structure.Items.Schema)) {
		return false
	}
	for name, p := range s.Properties {
		of, ok := structure.Properties[name]
		if !ok || name == "metadata" || !soundAlternative(&p, &of) {
			return false
		}
	}
	return soundJunctors(s, structure)
}
