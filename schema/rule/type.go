package rule

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
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
	elem   *Type         // of a list's items or a map's values, or an optional's
	fields []field       // of an object, in order of their names
	schema common.Schema // nil when the values are made by a rule
	format string        // of strings that upstream has as something else; or intOrString

	// unordered says that lists are equal in whatever order their items are: those of type set and map.
	unordered bool
	numbered  bool     // the keys of a map, which the rule has made, are integers: their names are keyName's
	keys      []string // of a list of type map, when all are names in CEL too

	// merged says that some values are upstream's and others made by the rule, which differ in what they are no match for:
	// comparing with what is no list or map is an error to the former.
	merged bool
}

// intOrString is the format of what is an integer or a string, whatever the schema says besides.
const intOrString = "int-or-string"

// field is a property of an object.
type field struct {
	name  string // in JSON
	plain bool   // that is its name in CEL too
	typ   *Type
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
		t.format = intOrString
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
			t.format = s.Format()
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
			t.kind = objectKind
			for _, name := range slices.Sorted(maps.Keys(properties)) {
				plain, ok := apiservercel.Unescape(name)
				t.fields = append(t.fields, field{name, ok && plain == name, TypeOf(properties[name])})
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
			if i, ok := slices.BinarySearchFunc(t.fields, plain, field.compare); ok {
				return t.fields[i].typ, plain
			}
		}
	case mapKind:
		if !t.numbered {
			return t.elem, name
		}
	}
	return nil, ""
}

func (f field) compare(name string) int { return strings.Compare(f.name, name) }

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
	return t.schema == nil && u.schema == nil && t.merged == u.merged && t.numbered == u.numbered && t.elem.same(u.elem)
}

// either is the type of terms that are a t or a u; nil when they are not read alike. A list that is written out empty is
// of any type, as is an optional that is never there.
func (t *Type) either(u *Type) *Type {
	switch {
	case t.same(u):
		return t
	case t.kind != u.kind || t.kind != listKind && t.kind != mapKind && t.kind != optionalKind:
		return nil
	case t.elem == nil:
		return &Type{kind: t.kind, elem: u.elem, unordered: u.unordered, numbered: u.numbered, merged: true}
	case u.elem == nil, t.elem.same(u.elem) && t.numbered == u.numbered:
		return &Type{kind: t.kind, elem: t.elem, unordered: t.unordered || u.unordered, numbered: t.numbered, merged: true}
	}
	return nil
}

// keyed reports whether the keys of a map are values of a kind.
func (t *Type) keyed(k kind) bool {
	return k == stringKind && !t.numbered || k == intKind && t.numbered
}

// keyName is the name that the value of an integer key has in a map: names are in the order of their numbers, so that a map
// of a list's indexes is made without moving what is in it.
func keyName(key int64) string {
	var name [8]byte
	binary.BigEndian.PutUint64(name[:], uint64(key)^(1<<63))
	return string(name[:])
}

// keyOf is the key of that name.
func keyOf(name string) int64 {
	return int64(binary.BigEndian.Uint64([]byte(name)) ^ (1 << 63))
}

// key runs a term that is a key of a map for its name there; nil when it is no string or integer.
func (t term) key() func(*frame) string {
	switch t.kind() {
	case stringKind:
		return t.string
	case intKind:
		return func(f *frame) string { return keyName(t.int(f)) }
	}
	return nil
}

// mixed reports whether values of the type, or values in them, are merged.
func (t *Type) mixed() bool { return t != nil && (t.merged || t.elem.mixed()) }

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
	switch t.format {
	case intOrString:
		return v.Kind() == object.String || v.Kind() == object.Number && !v.IsFloat()
	case "duration":
		if _, err := time.ParseDuration(v.Str()); err == nil {
			return true
		}
	case "date-time":
		if _, err := time.Parse(time.RFC3339, v.Str()); err == nil {
			return true
		}
	}
	return !isError(t.upstream(v))
}

// upstream is v as upstream has its values in CEL. Common values are made here; upstream tries other layouts and units too.
func (t *Type) upstream(v *object.Value) ref.Val {
	s, isString := v.Str(), v.Kind() == object.String
	switch {
	case t.format == "duration" && isString:
		if d, err := time.ParseDuration(s); err == nil {
			return types.Duration{Duration: d}
		}
	case t.format == "date-time" && isString:
		if at, err := time.Parse(time.RFC3339, s); err == nil {
			return types.Timestamp{Time: at}
		}
	case t.format == intOrString && isString:
		return types.String(s)
	case t.format == intOrString && v.Kind() == object.Number && !v.IsFloat():
		return types.Int(intOf(v))
	}
	return common.UnstructuredToVal(v.ToAny(), t.schema)
}

func isError(v ref.Val) bool { return types.IsUnknownOrError(v) }
