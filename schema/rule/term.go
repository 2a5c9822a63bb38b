package rule

import (
	"math"

	"github.com/google/cel-go/common/types/ref"

	"pintle.dev/object"
)

// term is a compiled expression. One of its functions is set, that of its type's kind; value is that of lists, maps and
// objects. Running it adds its cost to the frame.
type term struct {
	typ     *Type
	bool    func(*frame) bool
	int     func(*frame) int64
	double  func(*frame) float64
	string  func(*frame) string
	value   func(*frame) *object.Value
	foreign func(*frame) ref.Val // of what only cel-go knows

	// literal is what a constant is: a bool, int64, float64, string, ref.Val, or the *object.Value of a list or map; nil
	// otherwise.
	literal any
	// attribute says that cel-go would add a qualifier to the term rather than start with its value.
	attribute bool
	// exact says that, where the term is an error to cel-go, frame.erred is set and the cost is cel-go's. Errors of other
	// terms cannot be absorbed.
	exact bool
	// ident is the part of the cost that is for coming to a value by name, which branches of ?: and indexes do without.
	ident uint64
	// named are the variables that the expression names.
	named variables
}

func (t term) kind() kind { return t.typ.kind }

// read is a term of type t that reads the value which at gives.
func read(t *Type, at func(*frame) *object.Value) term {
	out := term{typ: t}
	switch t.kind {
	case boolKind:
		out.bool = func(f *frame) bool {
			v := at(f)
			if v.Kind() != object.Bool {
				f.fail()
			}
			return v.Bool()
		}
	case intKind:
		out.int = func(f *frame) int64 {
			v := at(f)
			if v.Kind() != object.Number || v.IsFloat() {
				f.fail()
				return 0
			}
			i, _ := v.Int()
			return i
		}
	case doubleKind:
		out.double = func(f *frame) float64 {
			v := at(f)
			if v.Kind() != object.Number {
				f.fail()
				return 0
			}
			return v.Float()
		}
	case stringKind:
		out.string = func(f *frame) string {
			v := at(f)
			if f.erred {
				return "e" // cel-go takes an error to be as long as one character
			}
			if v.Kind() != object.String {
				f.fail()
			}
			return v.Str()
		}
	case listKind, mapKind, objectKind:
		want := object.Map
		if t.kind == listKind {
			want = object.List
		}
		out.value = func(f *frame) *object.Value {
			v := at(f)
			if v.Kind() != want {
				f.fail()
			}
			return v
		}
	default:
		out.foreign = func(f *frame) ref.Val { return f.upstream(t, at(f)) }
	}
	return out
}

// constant is the term of a literal.
func constant(literal any) term {
	t := term{literal: literal, exact: true}
	switch l := literal.(type) {
	case bool:
		t.typ, t.bool = boolType, func(*frame) bool { return l }
	case int64:
		t.typ, t.int = intType, func(*frame) int64 { return l }
	case float64:
		t.typ, t.double = doubleType, func(*frame) float64 { return l }
	case string:
		t.typ, t.string = stringType, func(*frame) string { return l }
	}
	return t
}

func boolTerm(run func(*frame) bool) term      { return term{typ: boolType, bool: run} }
func intTerm(run func(*frame) int64) term      { return term{typ: intType, int: run} }
func doubleTerm(run func(*frame) float64) term { return term{typ: doubleType, double: run} }
func stringTerm(run func(*frame) string) term  { return term{typ: stringType, string: run} }

// boxed runs the term for its value as an item of a list; nil when it cannot be one.
func (t term) boxed() func(*frame) object.Value {
	switch t.kind() {
	case boolKind:
		return func(f *frame) object.Value { return object.NewBool(t.bool(f)) }
	case intKind:
		return func(f *frame) object.Value { return object.NewInt(t.int(f)) }
	case doubleKind:
		return func(f *frame) object.Value {
			d := t.double(f)
			if math.IsNaN(d) || math.IsInf(d, 0) {
				f.fail() // documents have no such numbers
				return object.Value{}
			}
			return object.NewFloat(d)
		}
	case stringKind:
		return func(f *frame) object.Value { return object.NewString(t.string(f)) }
	}
	if t.kind() == opaqueKind || t.kind() == optionalKind {
		return nil
	}
	return func(f *frame) object.Value {
		if v := t.value(f); v != nil {
			return *v
		}
		f.fail()
		return object.Value{}
	}
}
