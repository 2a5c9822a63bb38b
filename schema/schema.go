// Package schema is structural OpenAPI schemas: what a CustomResourceDefinition says about the shape of its objects,
// compiled once into a form that prunes, defaults and validates an object.Value in a few microseconds. A Schema is also
// the object.Shape that steers merging and field ownership.
//
// The package does not know CustomResourceDefinitions, versions or conversion (package resource), and it does not judge
// whether a schema is a good one: the CustomResourceDefinition's validation does that before a Schema is compiled.
//
// Invariants:
//
//	C1 Validate decides validity by its own walk, exactly as upstream's library does; the wording of errors of values
//	   always comes from that library, and of CEL rules it is the same. A document the walk accepts costs no map, no
//	   reflection and no garbage. A schema that is not structural (CompileLoose) has no walk: the library alone decides.
//	C2 A Schema never changes after Compile and may be shared. What upstream's library needs is built on first use
//	   and may be dropped and built again.
//	C3 Prune, DropNulls and Default are idempotent, and Prune leaves nothing that a second Prune would report.
//
// Data flows in the order of upstream's decoder: Prune, DropNulls, Coerce, Default; later Validate.
package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"

	"pintle.dev/object"
)

// Schema is one node of a compiled schema, and all below it. The zero Schema admits everything and knows no field.
type Schema struct {
	properties []property // ascending by name
	additional *Schema    // of additionalProperties; nil when that is a boolean or absent
	items      *Schema
	fallback   *object.Value // the default; nil when there is none
	rules      *rules        // nil when the type is all there is to check
	keys       []string      // x-kubernetes-list-map-keys
	required   []string
	origin     *origin // of a root only

	fallbackSize int32 // bytes of JSON
	types        types
	flags        flags
}

type property struct {
	name string
	*Schema
}

type flags uint16

const (
	nullable   flags = 1 << iota
	preserving       // x-kubernetes-preserve-unknown-fields
	embedded         // x-kubernetes-embedded-resource
	additional       // additionalProperties is given
	closed           // additionalProperties is false
	listSet
	listMap
	mapAtomic
	belowDefault  // a default here or below
	belowEmbedded // an embedded resource here or below
	belowUnique   // a list of type set or map here or below
	belowRules    // x-kubernetes-validations here or below
)

// below are the flags a node takes over from those under it.
const below = belowDefault | belowEmbedded | belowUnique | belowRules

func (s *Schema) is(f flags) bool { return s != nil && s.flags&f != 0 }

// types is a set of JSON schema types. The empty set admits all.
type types uint8

const (
	typeObject types = 1 << iota
	typeArray
	typeString
	typeInteger
	typeNumber
	typeBoolean
)

var typeNames = map[string]types{
	"object": typeObject, "array": typeArray, "string": typeString, "integer": typeInteger, "number": typeNumber, "boolean": typeBoolean,
}

// origin is what only the root of a schema has.
type origin struct {
	source []byte // the schema's JSON
	loose  bool   // it is not structural: only upstream's library knows it
	library
}

// Compile turns the schema of a CustomResourceDefinition's version into a Schema. It fails for what a structural schema
// may not contain ($ref, definitions, several item schemas, ...) and for regular expressions or defaults that do not
// parse. A nil schema knows no field, as upstream treats a version without one.
func Compile(p *apiextensionsv1.JSONSchemaProps) (*Schema, error) {
	if p == nil {
		p = new(apiextensionsv1.JSONSchemaProps)
	}
	source, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding the schema: %w", err)
	}
	return compileRoot(p, source)
}

// CompileJSON is Compile for the JSON of a schema, which it keeps.
func CompileJSON(source []byte) (*Schema, error) {
	p := new(apiextensionsv1.JSONSchemaProps)
	if len(source) > 0 {
		if err := json.Unmarshal(source, p); err != nil {
			return nil, fmt.Errorf("decoding the schema: %w", err)
		}
	}
	return compileRoot(p, source)
}

// CompileLoose is CompileJSON for a schema that need not be structural, as those of apiextensions v1beta1. One that is not
// only validates, in the way and at the cost of upstream's library: it prunes nothing, has no defaults and knows no field.
func CompileLoose(source []byte) (*Schema, error) {
	u, err := newUpstream(source, nil, true)
	if err != nil {
		return nil, err
	}
	if u.structural != nil && len(structuralschema.ValidateStructural(nil, u.structural)) == 0 {
		return CompileJSON(source)
	}
	return &Schema{flags: preserving, origin: &origin{source: source, loose: true}}, nil
}

// Structural reports whether the root s of a schema is that of a structural one: false only for what CompileLoose took.
func (s *Schema) Structural() bool { return s != nil && !s.origin.loose }

func compileRoot(p *apiextensionsv1.JSONSchemaProps, source []byte) (*Schema, error) {
	s, err := compile(p)
	if err != nil {
		return nil, err
	}
	s.origin = &origin{source: source}
	return s, nil
}

func compile(p *apiextensionsv1.JSONSchemaProps) (*Schema, error) {
	if p.Ref != nil || len(p.PatternProperties) > 0 || len(p.Definitions) > 0 || len(p.Dependencies) > 0 || p.AdditionalItems != nil {
		return nil, fmt.Errorf("the schema is not structural: it has $ref, patternProperties, definitions, dependencies or additionalItems")
	}
	s := &Schema{required: p.Required}
	if p.Type != "" {
		if s.types = typeNames[p.Type]; s.types == 0 {
			return nil, fmt.Errorf("type: unknown type %q", p.Type)
		}
	}
	if p.XIntOrString {
		s.types = typeInteger | typeString
	}
	s.set(nullable, p.Nullable)
	s.set(preserving, p.XPreserveUnknownFields != nil && *p.XPreserveUnknownFields)
	s.set(embedded|belowEmbedded, p.XEmbeddedResource)
	s.set(belowRules, len(p.XValidations) > 0)
	if p.XListType != nil {
		s.set(listSet|belowUnique, *p.XListType == "set")
		s.set(listMap|belowUnique, *p.XListType == "map")
		s.keys = p.XListMapKeys
	}
	s.set(mapAtomic, p.XMapType != nil && *p.XMapType == "atomic")
	if err := s.compileChildren(p); err != nil {
		return nil, err
	}
	var err error
	if s.rules, err = compileRules(p, s); err != nil {
		return nil, err
	}
	if p.Default != nil && len(p.Default.Raw) > 0 {
		v, err := object.Parse(p.Default.Raw)
		if err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
		if !v.IsNull() {
			// A default that does not follow its own schema is cut to size once, as upstream's PruneDefaults does.
			new(pruner).prune(v, s)
			s.fallback, s.fallbackSize = v, int32(len(object.AppendJSON(nil, v)))
			s.flags |= belowDefault
		}
	}
	return s, nil
}

func (s *Schema) set(f flags, on bool) {
	if on {
		s.flags |= f
	}
}

func (s *Schema) compileChildren(p *apiextensionsv1.JSONSchemaProps) error {
	adopt := func(at string, p *apiextensionsv1.JSONSchemaProps) (*Schema, error) {
		c, err := compile(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		s.flags |= c.flags & below
		return c, nil
	}
	for name := range p.Properties {
		child := p.Properties[name]
		c, err := adopt(name, &child)
		if err != nil {
			return err
		}
		s.properties = append(s.properties, property{strings.Clone(name), c})
	}
	slices.SortFunc(s.properties, func(a, b property) int { return strings.Compare(a.name, b.name) })
	var err error
	if a := p.AdditionalProperties; a != nil {
		s.flags |= additional
		s.set(closed, !a.Allows && a.Schema == nil)
		if a.Schema != nil {
			if s.additional, err = adopt("additionalProperties", a.Schema); err != nil {
				return err
			}
		}
	}
	if p.Items != nil {
		if p.Items.Schema == nil || len(p.Items.JSONSchemas) > 0 {
			return fmt.Errorf("items: must be one schema")
		}
		if s.items, err = adopt("items", p.Items.Schema); err != nil {
			return err
		}
	}
	return nil
}

// property is the schema of a declared member; nil when it is not declared.
func (s *Schema) property(name string) *Schema {
	if s == nil {
		return nil
	}
	ps := s.properties
	if len(ps) <= 12 {
		for i := range ps {
			if ps[i].name == name {
				return ps[i].Schema
			}
		}
		return nil
	}
	i, ok := slices.BinarySearchFunc(ps, name, func(p property, name string) int { return strings.Compare(p.name, name) })
	if !ok {
		return nil
	}
	return ps[i].Schema
}

// member is the schema a member of that name falls under: its property or that of additionalProperties.
func (s *Schema) member(name string) *Schema {
	if p := s.property(name); p != nil {
		return p
	}
	if s == nil {
		return nil
	}
	return s.additional
}

// Property is the schema of a declared member, for those who look at a part of a schema (status); nil when it is not
// declared.
func (s *Schema) Property(name string) *Schema { return s.property(name) }

// DescribesMetadata reports whether the schema says more of the root's metadata than that it is an object, or has rules
// that may look at it: only then need a document that is validated carry its metadata.
func (s *Schema) DescribesMetadata() bool {
	if s.origin.loose || s.is(belowRules) || slices.Contains(s.required, "metadata") || s.rules != nil {
		return true
	}
	m := s.property("metadata")
	return m != nil && (len(m.properties) > 0 || len(m.required) > 0 || m.rules != nil || m.additional != nil)
}

// Field implements object.Shape.
func (s *Schema) Field(name string) object.Shape {
	if name == "metadata" && (s.origin != nil || s.is(embedded)) {
		return metadataShape()
	}
	if m := s.member(name); m != nil {
		return m
	}
	return nil
}

// Declares implements object.Shape.
func (s *Schema) Declares(name string) bool {
	if s.origin != nil || s.is(embedded) {
		switch name {
		case "apiVersion", "kind", "metadata":
			return true
		}
	}
	return s.property(name) != nil
}

// Item implements object.Shape.
func (s *Schema) Item() object.Shape {
	if s.items == nil {
		return nil
	}
	return s.items
}

// Atomic implements object.Shape. A list without x-kubernetes-list-type is atomic.
func (s *Schema) Atomic() bool {
	if s.types == typeArray {
		return !s.is(listSet | listMap)
	}
	return s.is(mapAtomic)
}

// Set implements object.Shape.
func (s *Schema) Set() bool { return s.is(listSet) }

// Keys implements object.Shape.
func (s *Schema) Keys() []string {
	if !s.is(listMap) {
		return nil
	}
	return s.keys
}

// KeyDefault implements object.Shape.
func (s *Schema) KeyDefault(key string) string {
	if p := s.items.property(key); p != nil && p.fallback != nil {
		return string(object.AppendJSON(nil, p.fallback))
	}
	return ""
}

// Patch implements object.Shape: custom resources have no strategic merge patch.
func (s *Schema) Patch() (string, []string) { return "", nil }

// metadataShape is the shape of metav1.ObjectMeta, as the OpenAPI document of the built-in types has it.
var metadataShape = sync.OnceValue(func() *Schema {
	str := func() *Schema { return &Schema{types: typeString} }
	text := &Schema{types: typeObject, flags: additional, additional: str()}
	none := object.NewString("")
	reference := &Schema{types: typeObject, flags: mapAtomic, properties: []property{
		{"uid", &Schema{types: typeString, fallback: &none}}, // so that a reference without one has a key
	}}
	return &Schema{types: typeObject, properties: []property{
		{"annotations", text},
		{"finalizers", &Schema{types: typeArray, flags: listSet, items: str()}},
		{"labels", text},
		{"managedFields", &Schema{types: typeArray}},
		{"ownerReferences", &Schema{types: typeArray, flags: listMap, keys: []string{"uid"}, items: reference}},
	}}
})
