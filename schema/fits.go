package schema

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/json"

	"pintle.dev/object"
)

// DefaultFits reports whether the default of a structural schema is certainly one that upstream lets its author write: a
// valid value without members that the schema does not know. When it says no, the default may still be fine: what has
// rules or embedded resources, and formats that mean something only to some of upstream's code, is not looked at.
func DefaultFits(p *apiextensionsv1.JSONSchemaProps) bool {
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
