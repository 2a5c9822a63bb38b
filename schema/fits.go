package schema

import (
	"bytes"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/json"

	"pintle.dev/object"
)

// DefaultFits reports whether the default of a structural schema is certainly one that upstream lets its author write: a
// valid value without members that the schema does not know. When it says no, the default may still be fine: what has
// rules or embedded resources, and formats that mean something only to some of upstream's code, is not looked at.
func DefaultFits(p *apiextensionsv1.JSONSchemaProps) bool {
	if oneOfEnum(p) {
		return true
	}
	if raw := p.Default.Raw; len(raw) == 0 || raw[0] != '"' {
		var decoded any
		if err := json.Unmarshal(raw, &decoded); err != nil || decoded == nil {
			return false
		}
	}
	formats := true
	Each(p, func(s *apiextensionsv1.JSONSchemaProps) {
		if f, err := effectiveFormat(s); err != nil || f != s.Format {
			formats = false
		}
	})
	if !formats {
		return false
	}
	s, err := compile(p)
	if err != nil || s.is(belowEmbedded|belowRules) {
		return false
	}
	v, err := object.Parse(p.Default.Raw)
	return err == nil && object.Equal(v, s.fallback) && s.valid(v)
}

// oneOfEnum reports whether the default is one of the strings that the schema lists, and is to meet nothing else: most
// defaults are of that kind.
func oneOfEnum(p *apiextensionsv1.JSONSchemaProps) bool {
	if p.Type != "string" || !bytes.HasPrefix(p.Default.Raw, []byte(`"`)) || p.Format != "" || p.Pattern != "" || p.MinLength != nil || p.MaxLength != nil ||
		len(p.AllOf) > 0 || len(p.AnyOf) > 0 || len(p.OneOf) > 0 || p.Not != nil || len(p.XValidations) > 0 || p.XEmbeddedResource {
		return false
	}
	return slices.ContainsFunc(p.Enum, func(v apiextensionsv1.JSON) bool { return bytes.Equal(v.Raw, p.Default.Raw) })
}
