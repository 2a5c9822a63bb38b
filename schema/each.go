package schema

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// Each calls see with s and every schema in it. What structural schemas cannot have is in there too: schemas of
// v1beta1 need not be structural. What see is shown may be a copy, which is overwritten once it returns.
func Each(s *apiextensionsv1.JSONSchemaProps, see func(*apiextensionsv1.JSONSchemaProps)) {
	if s != nil {
		v := visit{see: see}
		v.each(s, 0)
	}
}

// visit shows schemas. Members are copied to be shown, as those of a map have no address; a copy is large, so that there is
// one at each depth.
type visit struct {
	see    func(*apiextensionsv1.JSONSchemaProps)
	copies []*apiextensionsv1.JSONSchemaProps
}

func (v *visit) each(s *apiextensionsv1.JSONSchemaProps, depth int) {
	if s == nil {
		return
	}
	v.see(s)
	if s.Items != nil {
		v.each(s.Items.Schema, depth)
		v.list(s.Items.JSONSchemas, depth)
	}
	v.list(s.AllOf, depth)
	v.list(s.AnyOf, depth)
	v.list(s.OneOf, depth)
	v.each(s.Not, depth)
	for _, either := range []*apiextensionsv1.JSONSchemaPropsOrBool{s.AdditionalProperties, s.AdditionalItems} {
		if either != nil {
			v.each(either.Schema, depth)
		}
	}
	for _, named := range []map[string]apiextensionsv1.JSONSchemaProps{s.Properties, s.PatternProperties, s.Definitions} {
		for name := range named {
			v.each(v.copy(named[name], depth), depth+1)
		}
	}
	for _, d := range s.Dependencies {
		v.each(d.Schema, depth)
	}
}

func (v *visit) list(l []apiextensionsv1.JSONSchemaProps, depth int) {
	for i := range l {
		v.each(&l[i], depth)
	}
}

func (v *visit) copy(s apiextensionsv1.JSONSchemaProps, depth int) *apiextensionsv1.JSONSchemaProps {
	if depth == len(v.copies) {
		v.copies = append(v.copies, new(apiextensionsv1.JSONSchemaProps))
	}
	*v.copies[depth] = s
	return v.copies[depth]
}
