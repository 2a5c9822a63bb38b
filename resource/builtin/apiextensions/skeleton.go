package apiextensions

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiserver/pkg/cel"
)

// skeleton is what upstream still has to judge of a definition whose schemas are sound: everything but the schemas, and of
// those what CEL rules see, unless the rules are plain or were accepted before. Its validation is a small part of the
// definition's. What is left out can only make rules look dearer than they are, as upstream estimates sizes: what it accepts
// of a skeleton it accepts of the whole, and seen is then to be remembered. ok is false when a schema may not be sound, or
// when other parts of the definition refer to schemas.
func skeleton(crd *definition) (_ *definition, seen []ruling, ok bool) {
	if crd.Spec.PreserveUnknownFields {
		return nil, nil, false
	}
	d, ok := withSchemas(crd, func(v *apiextensionsv1.CustomResourceDefinitionVersion) *props {
		s := v.Schema.OpenAPIV3Schema
		if len(v.SelectableFields) > 0 || !sound(s) {
			return nil
		}
		if b := bones(s, ""); b != nil && !soundRules(b) {
			if r := rulingOf(b); !accepted.has(r) {
				seen = append(seen, r)
				return b
			}
		}
		return &props{Type: "object"}
	})
	return d, seen, ok
}

// ruling stands for the skeleton of a schema with rules.
type ruling [sha256.Size]byte

func rulingOf(s *props) ruling {
	text, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("encoding what a schema's rules see: %v", err)) // it was decoded
	}
	return sha256.Sum256(text)
}

// accepted are the skeletons that upstream has accepted lately. The versions of a definition mostly have the same rules, an
// operator's definitions many of them, and who applies definitions anew or changes their conversion has them judged again:
// for upstream to compile a rule costs as much as all else that a definition takes.
var accepted rulings

type rulings struct {
	mu  sync.Mutex
	set map[ruling]struct{}
}

// maxRulings bounds what is remembered, at 32 bytes each; then it starts anew.
const maxRulings = 4096

func (r *rulings) has(k ruling) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.set[k]
	return ok
}

func (r *rulings) add(ks []ruling) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set == nil || len(r.set)+len(ks) > maxRulings {
		r.set = map[ruling]struct{}{}
	}
	for _, k := range ks {
		r.set[k] = struct{}{}
	}
}

// replaced is a definition as something to compare a skeleton with: its schemas are none that a skeleton has.
func replaced(crd *definition) *definition {
	d, _ := withSchemas(crd, func(*apiextensionsv1.CustomResourceDefinitionVersion) *props {
		return &props{Type: "object", Title: "replaced"}
	})
	return d
}

// withSchemas is crd with other schemas in place of those it has; ok is false when there is none for one of them.
func withSchemas(crd *definition, other func(*apiextensionsv1.CustomResourceDefinitionVersion) *props) (_ *definition, ok bool) {
	d := *crd
	d.Spec.Versions = append([]apiextensionsv1.CustomResourceDefinitionVersion(nil), crd.Spec.Versions...)
	for i := range d.Spec.Versions {
		v := &d.Spec.Versions[i]
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		s := other(v)
		if s == nil {
			return nil, false
		}
		v.Schema = &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: s}
	}
	return &d, true
}

// bones is what of s there is to see for the CEL rules in it and for those above, whose text is by: the members that a rule
// mentions, with their types and the limits that upstream takes sizes from. It is nil when there is nothing to see. Defaults
// go, and what has one counts as not required, as upstream has it; without list types, rules may compare less with the old
// object than they may.
func bones(s *props, by string) *props {
	for i := range s.XValidations {
		r := &s.XValidations[i]
		by += r.Rule + "\n" + r.MessageExpression + "\n" + r.FieldPath + "\n"
	}
	var properties map[string]props
	var required []string
	var p props // one for all members: it is large, and escapes
	for name := range s.Properties {
		p = s.Properties[name]
		from := ""
		if mentions(by, name) {
			from = by
		}
		c := bones(&p, from)
		if c == nil {
			continue
		}
		if properties == nil {
			properties = map[string]props{}
		}
		properties[name] = *c
		if p.Default == nil && slices.Contains(s.Required, name) {
			required = append(required, name)
		}
	}
	var items, additional *props
	if s.Items != nil {
		items = bones(s.Items.Schema, by)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		additional = bones(s.AdditionalProperties.Schema, by)
	}
	if by == "" && properties == nil && items == nil && additional == nil {
		return nil
	}
	b := &props{
		Type: s.Type, Format: s.Format, MaxLength: s.MaxLength, MaxItems: s.MaxItems, MaxProperties: s.MaxProperties, Enum: s.Enum,
		XIntOrString: s.XIntOrString, XPreserveUnknownFields: s.XPreserveUnknownFields, XMapType: s.XMapType, XValidations: s.XValidations,
		Properties: properties, Required: required, AdditionalProperties: s.AdditionalProperties,
	}
	if items != nil {
		b.Items = &apiextensionsv1.JSONSchemaPropsOrArray{Schema: items}
	}
	if additional != nil {
		b.AdditionalProperties = &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: additional}
	}
	return b
}

// mentions reports whether a member of that name may be read by the text of rules.
func mentions(by, name string) bool {
	if by == "" {
		return false
	}
	escaped, ok := cel.Escape(name)
	return strings.Contains(by, name) || ok && strings.Contains(by, escaped)
}
