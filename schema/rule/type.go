package rule

import (
	"slices"

	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"pintle.dev/object"
)

// kind is what the values of a Type are to CEL.
type kind uint8

const (
	opaqueKind kind = iota // whatever only cel-go's values know: times, int-or-string, what is preserved
	boolKind
	intKind
	doubleKind
	stringKind
	listKind
	mapKind    // of additionalProperties
	objectKind // of properties
	optionalKind
)

// Type is a schema as CEL's values are read by it.
type Type struct {
	kind   kind
	elem   *Type            // of a list's items or a map's values, or an optional's
	fields map[string]*Type // of an object, by their names in JSON
	schema common.Schema    // nil when the values are made by a rule

	// unordered says that lists are equal in whatever order their items are: those of type set and map.
	unordered bool
	keys      []string // of a list of type map, when all are names in CEL too
}

// Types of what rules make.
var (
	opaqueType = &Type{}
	boolType   = &Type{kind: boolKind}
	intType    = &Type{kind: intKind}
	doubleType = &Type{kind: doubleKind}
	stringType = &Type{kind: stringKind}
)

// TypeOf is the Type of a schema. That of a resource has to declare apiVersion, kind and metadata.
func TypeOf(s common.Schema) *Type {
	t := &Type{schema: s}
	if s.IsXIntOrString() {
		return t
	}
	switch s.Type() {
	case "boolean":
		t.kind = boolKind
	case "integer":
		t.kind = intKind
	case "number":
		t.kind = doubleKind
	case "string":
		switch s.Format() {
		case "duration", "date", "date-time", "byte":
		default:
			t.kind = stringKind
		}
	case "array":
		if s.Items() == nil {
			return t
		}
		switch s.XListType() {
		case "map", "set":
			t.unordered = true
			if keys := s.XListMapKeys(); !slices.ContainsFunc(keys, escaped) {
				t.keys = keys
			}
			fallthrough
		case "atomic", "":
			t.kind, t.elem = listKind, TypeOf(s.Items())
		}
	case "object":
		if properties := s.Properties(); properties != nil {
			t.kind, t.fields = objectKind, make(map[string]*Type, len(properties))
			for name, p := range properties {
				t.fields[name] = TypeOf(p)
			}
		} else if a := s.AdditionalProperties(); a != nil && a.Schema() != nil {
			t.kind, t.elem = mapKind, TypeOf(a.Schema())
		}
	}
	return t
}

// member is the type of the member of an object or map that CEL calls name, and its name in JSON; nil when there is none.
func (t *Type) member(name string) (*Type, string) {
	switch t.kind {
	case objectKind:
		if plain, ok := apiservercel.Unescape(name); ok {
			return t.fields[plain], plain
		}
	case mapKind:
		return t.elem, name
	}
	return nil, ""
}

// escaped reports whether a name is another one in CEL.
func escaped(name string) bool {
	in, ok := apiservercel.Escape(name)
	return !ok || in != name
}

// same reports whether terms of t and u are read alike.
func (t *Type) same(u *Type) bool {
	switch {
	case t == u:
		return true
	case t == nil || u == nil || t.kind != u.kind:
		return false
	case t.scalar(), t.kind == opaqueKind:
		return true
	}
	return t.schema == nil && u.schema == nil && t.elem.same(u.elem)
}

// either is the type of terms that are a t or a u; nil when they are not read alike. A list that is written out empty is
// of any type.
func (t *Type) either(u *Type) *Type {
	switch {
	case t.same(u):
		return t
	case t.kind != u.kind || t.kind != listKind && t.kind != mapKind:
		return nil
	case t.elem == nil:
		return &Type{kind: t.kind, elem: u.elem, unordered: u.unordered}
	case u.elem == nil, t.elem.same(u.elem):
		return &Type{kind: t.kind, elem: t.elem, unordered: t.unordered || u.unordered}
	}
	return nil
}

func (t *Type) scalar() bool { return boolKind <= t.kind && t.kind <= stringKind }

// admits reports whether v itself, not what is in it, can be read as a t that is not null.
func (t *Type) admits(v *object.Value) bool {
	switch t.kind {
	case boolKind:
		return v.Kind() == object.Bool
	case intKind:
		return v.Kind() == object.Number && !v.IsFloat()
	case doubleKind:
		return v.Kind() == object.Number
	case stringKind:
		return v.Kind() == object.String
	case listKind:
		return v.Kind() == object.List
	case mapKind, objectKind:
		return v.Kind() == object.Map
	}
	return !isError(t.upstream(v))
}
