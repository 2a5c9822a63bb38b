package schema

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// Each calls see with s and every schema in it. What structural schemas cannot have is in there too: schemas of
// v1beta1 need not be structural. What see is shown may be a copy, which is overwritten once it returns.
func Each(s *apiextensionsv1.JSONSchemaProps, see func(*apiextensionsv1.JSONSchemaProps)) {
	if s == nil {
		return
	}
	see(s)
	if s.Items != nil {
		Each(s.Items.Schema, see)
		for i := range s.Items.JSONSchemas {
			Each(&s.Items.JSONSchemas[i], see)
		}
	}
	for _, list := range [][]apiextensionsv1.JSONSchemaProps{s.AllOf, s.AnyOf, s.OneOf} {
		for i := range list {
			Each(&list[i], see)
		}
	}
	Each(s.Not, see)
	for _, either := range []*apiextensionsv1.JSONSchemaPropsOrBool{s.AdditionalProperties, s.AdditionalItems} {
		if either != nil {
			Each(either.Schema, see)
		}
	}
	for _, named := range []map[string]apiextensionsv1.JSONSchemaProps{s.Properties, s.PatternProperties, s.Definitions} {
		if len(named) == 0 {
			continue
		}
		var s apiextensionsv1.JSONSchemaProps // one for all: it is large, and escapes
		for _, s = range named {
			Each(&s, see)
		}
	}
	for _, d := range s.Dependencies {
		Each(d.Schema, see)
	}
}
