package rule

import (
	"math"
	"strings"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	cellibrary "k8s.io/apiserver/pkg/cel/library"

	"pintle.dev/object"
)

// Functions finds what cel-go calls for an overload or, under its name, for a function whose overload depends on the
// values. It returns nil when there is none.
type Functions func(name string) *functions.Overload

// inLibrary reports whether a function is one that cel-go calls with its evaluated arguments and charges for as costOf
// does. That is none of the operators which are no calls to it, nor of the functions of lists with a cost of their own
// that cel-go's ext package adds.
func inLibrary(function string) bool {
	switch function {
	case // operators, on values other than those that call.go knows
		"_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_", "-_",
		// the standard library
		"size", "matches", "contains", "startsWith", "endsWith",
		"bool", "int", "uint", "double", "string", "bytes", "duration", "timestamp", "type", "dyn",
		"getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek", "getHours", "getMinutes", "getSeconds", "getMilliseconds",
		"hasValue", "value",
		// strings and regular expressions
		"charAt", "indexOf", "lastIndexOf", "join", "lowerAscii", "upperAscii", "replace", "split", "substring", "trim", "find", "findAll", "format", "strings.quote",
		// lists
		"isSorted", "sum", "min", "max", "sets.contains", "sets.intersects", "sets.equivalent",
		// what strings mean
		"isURL", "url", "getScheme", "getHost", "getHostname", "getPort", "getEscapedPath", "getQuery",
		"isIP", "ip", "ip.isCanonical", "family", "isUnspecified", "isLoopback", "isLinkLocalMulticast", "isLinkLocalUnicast", "isGlobalUnicast",
		"isCIDR", "cidr", "containsIP", "containsCIDR", "masked", "prefixLength",
		"isQuantity", "quantity", "sign", "isInteger", "asInteger", "asApproximateFloat", "isGreaterThan", "isLessThan", "compareTo", "add", "sub",
		"isSemver", "semver", "major", "minor", "patch",
		"format.named", "validate":
		return true
	}
	_, format := cellibrary.ConstantFormats[formatName(function)]
	return format
}

// formatName is the name of the format that a function gives; "" when it gives none.
func formatName(function string) string {
	const prefix = "format."
	if len(function) > len(prefix) && function[:len(prefix)] == prefix {
		return function[len(prefix):]
	}
	return ""
}

// library is a call of a function that cel-go itself runs.
func (c *compiler) library(e ast.Expr, args []term) term {
	function, overload := e.AsCall().FunctionName(), c.overload(e)
	if !inLibrary(function) {
		return c.no()
	}
	impl := c.functions(overload)
	if impl == nil {
		impl = c.functions(function)
	}
	invoke := Invocation(impl, len(args))
	if invoke == nil {
		return c.no()
	}
	switch function {
	case "url":
		invoke = plainURLs(invoke, celURL)
	case "isURL":
		invoke = plainURLs(invoke, isURL)
	}
	boxes := make([]func(*frame) ref.Val, len(args))
	for i, a := range args {
		if boxes[i] = a.foreigner(); boxes[i] == nil || function == operators.Add && a.typ.unordered || function == overloads.TypeConvertDyn && a.typ.mixed() {
			return c.no() // a sum of sets is a set again
		}
	}
	if overloads.IsTypeConversionFunction(function) && len(args) == 1 && args[0].literal != nil {
		v := invoke(boxes[0](new(frame)))
		if isError(v) {
			return c.no() // cel-go refuses the rule
		}
		return c.literal(v) // as cel-go evaluates it beforehand
	}
	if len(args) > maxArguments {
		return c.no()
	}
	return c.native(e, func(f *frame) ref.Val {
		var found [maxArguments]ref.Val
		for i, box := range boxes {
			if found[i] = box(f); f.failed || f.erred {
				return types.NullValue
			}
		}
		values := append(f.arguments[:0], found[:len(boxes)]...) // the boxes had calls of their own in there
		if strings.HasPrefix(function, "sets.") {                // of lists that are too long, they would take minutes
			if f.charge(costOf(function, overload, values, nil)); f.failed {
				return types.NullValue
			}
			return invoke(values...)
		}
		v := invoke(values...)
		f.charge(costOf(function, overload, values, v))
		if isError(v) {
			f.fail()
		}
		return v
	})
}

// maxArguments is how many arguments a function has at most, with the value that it is a member of.
const maxArguments = 4

// Invocation calls an implementation as cel-go does for that number of arguments; nil when it does not.
func Invocation(impl *functions.Overload, args int) functions.FunctionOp {
	switch {
	case impl == nil || impl.NonStrict:
		return nil
	case args == 1 && impl.Unary != nil:
		return capable(impl.OperandTrait, func(v ...ref.Val) ref.Val { return impl.Unary(v[0]) })
	case args == 2 && impl.Binary != nil:
		return capable(impl.OperandTrait, func(v ...ref.Val) ref.Val { return impl.Binary(v[0], v[1]) })
	case impl.Function != nil:
		return capable(impl.OperandTrait, impl.Function)
	}
	return nil
}

// capable keeps op from being called on what lacks a trait. Some of that cel-go tries as a receiver: here it is an error.
func capable(trait int, op functions.FunctionOp) functions.FunctionOp {
	if trait == 0 {
		return op
	}
	return func(v ...ref.Val) ref.Val {
		if !v[0].Type().HasTrait(trait) {
			return types.NoSuchOverloadErr()
		}
		return op(v...)
	}
}

var libraryCosts = &cellibrary.CostEstimator{}

// costOf is what cel-go and upstream's library charge for a call.
func costOf(function, overload string, args []ref.Val, result ref.Val) uint64 {
	if cost := libraryCosts.CallCost(function, overload, args, result); cost != nil {
		return *cost
	}
	switch overload {
	case overloads.StartsWithString, overloads.EndsWithString:
		return traversal(sizeOf(args[1]))
	case overloads.StringToBytes, overloads.BytesToString, overloads.ExtQuoteString, overloads.ExtFormatString:
		return traversal(sizeOf(args[0]))
	case overloads.LessString, overloads.GreaterString, overloads.LessEqualsString, overloads.GreaterEqualsString,
		overloads.LessBytes, overloads.GreaterBytes, overloads.LessEqualsBytes, overloads.GreaterEqualsBytes,
		overloads.Equals, overloads.NotEquals:
		return traversal(min(sizeOf(args[0]), sizeOf(args[1])))
	case overloads.AddString, overloads.AddBytes:
		return traversal(sizeOf(args[0]) + sizeOf(args[1]))
	case overloads.Matches, overloads.MatchesString:
		return matching(sizeOf(args[0]), sizeOf(args[1]))
	case overloads.ContainsString:
		return traversal(sizeOf(args[0])) * traversal(sizeOf(args[1]))
	case "list_sets_contains_list", "list_sets_intersects_list":
		return 1 + uint64(sizeOf(args[0])*sizeOf(args[1]))
	case "list_sets_equivalent_list":
		return 1 + 2*uint64(sizeOf(args[0])*sizeOf(args[1]))
	}
	return 1
}

// matching is what it costs to match a string of n characters with a pattern.
func matching(n, pattern int) uint64 {
	return traversal(1+n) * uint64(math.Ceil(float64(pattern)*0.25))
}

// sizeOf is what counts of a value in the cost of a call.
func sizeOf(v ref.Val) int {
	if optional, ok := v.(*types.Optional); ok && optional.HasValue() {
		return sizeOf(optional.GetValue())
	}
	if s, ok := v.(traits.Sizer); ok {
		return int(s.Size().(types.Int))
	}
	return 1
}

// foreign is a term of a value that only cel-go knows.
func foreign(run func(*frame) ref.Val) term {
	return term{typ: opaqueType, foreign: run}
}

// foreigner runs the term for its value as cel-go has it; nil when that is not known.
func (t term) foreigner() func(*frame) ref.Val {
	switch t.kind() {
	case boolKind:
		return func(f *frame) ref.Val { return types.Bool(t.bool(f)) }
	case intKind:
		return func(f *frame) ref.Val { return types.Int(t.int(f)) }
	case doubleKind:
		return func(f *frame) ref.Val { return types.Double(t.double(f)) }
	case stringKind:
		return func(f *frame) ref.Val { return types.String(t.string(f)) }
	case opaqueKind:
		return t.foreign
	}
	switch {
	case !t.typ.convertible():
		return nil
	case t.literal != nil:
		v := new(frame).celValue(t.typ, t.literal.(*object.Value))
		return func(*frame) ref.Val { return v }
	}
	return func(f *frame) ref.Val { return f.celValue(t.typ, t.value(f)) }
}

// upstream is v as upstream has values of type t in CEL.
func (f *frame) upstream(t *Type, v *object.Value) ref.Val {
	if f.failed || f.erred {
		return types.NullValue
	}
	u := t.upstream(v)
	if isError(u) {
		f.fail()
	}
	return u
}

// convertible reports whether cel-go's form of values of the type is known.
func (t *Type) convertible() bool {
	switch {
	case t.schema != nil, t.scalar():
		return true
	case t.kind == listKind, t.kind == mapKind:
		return t.elem == nil || t.elem.convertible()
	}
	return false
}

// celValue is v, of a type that is convertible, as cel-go has it.
func (f *frame) celValue(t *Type, v *object.Value) ref.Val {
	switch {
	case f.failed || f.erred:
		return types.NullValue
	case t.kind != opaqueKind && !t.admits(v):
		f.fail()
		return types.NullValue
	case t.kind == boolKind:
		return types.Bool(v.Bool())
	case t.kind == intKind:
		return types.Int(intOf(v))
	case t.kind == doubleKind:
		return types.Double(v.Float())
	case t.kind == stringKind:
		return types.String(v.Str())
	case t.schema != nil:
		return f.upstream(t, v)
	case t.kind == listKind:
		items := make([]ref.Val, v.Len())
		for i := range items {
			items[i] = f.celValue(t.elem, v.Index(i))
		}
		return types.NewRefValList(types.DefaultTypeAdapter, items)
	}
	entries := make(map[ref.Val]ref.Val, v.Len())
	for name, e := range v.Fields() {
		var key ref.Val = types.String(name)
		if t.numbered {
			key = types.Int(keyOf(name))
		}
		entries[key] = f.celValue(t.elem, e)
	}
	return types.NewRefValMap(types.DefaultTypeAdapter, entries)
}

// native is the term of e, whose value as cel-go has it run gives: of a type that is known here when there is one.
func (c *compiler) native(e ast.Expr, run func(*frame) ref.Val) term {
	switch t := c.checked.GetType(e.ID()); t.Kind() {
	case types.BoolKind:
		return boolTerm(func(f *frame) bool { v, ok := run(f).(types.Bool); f.want(ok); return bool(v) })
	case types.IntKind:
		return intTerm(func(f *frame) int64 { v, ok := run(f).(types.Int); f.want(ok); return int64(v) })
	case types.DoubleKind:
		return doubleTerm(func(f *frame) float64 { v, ok := run(f).(types.Double); f.want(ok); return float64(v) })
	case types.StringKind:
		return stringTerm(func(f *frame) string { v, ok := run(f).(types.String); f.want(ok); return string(v) })
	case types.ListKind, types.MapKind:
		if made := madeType(t); made != nil {
			return term{typ: made, value: func(f *frame) *object.Value {
				v := f.document(made, run(f))
				return &v
			}}
		}
	}
	return foreign(run)
}

// madeType is the type of values that functions make; nil when they are no scalars, lists and maps of strings alone.
func madeType(t *types.Type) *Type {
	switch t.Kind() {
	case types.BoolKind:
		return boolType
	case types.IntKind:
		return intType
	case types.DoubleKind:
		return doubleType
	case types.StringKind:
		return stringType
	case types.ListKind:
		if elem := madeType(t.Parameters()[0]); elem != nil {
			return &Type{kind: listKind, elem: elem, merged: true}
		}
	case types.MapKind:
		if elem := madeType(t.Parameters()[1]); elem != nil && t.Parameters()[0].Kind() == types.StringKind {
			return &Type{kind: mapKind, elem: elem, merged: true}
		}
	}
	return nil
}

// want fails when a value is not of its type.
func (f *frame) want(ok bool) {
	if !ok {
		f.fail()
	}
}

// document is a value of type t that cel-go made.
func (f *frame) document(t *Type, v ref.Val) object.Value {
	switch v := v.(type) {
	case types.Bool:
		f.want(t.kind == boolKind)
		return object.NewBool(bool(v))
	case types.Int:
		f.want(t.kind == intKind)
		return object.NewInt(int64(v))
	case types.Double:
		if d := float64(v); t.kind == doubleKind && !math.IsNaN(d) && !math.IsInf(d, 0) {
			return object.NewFloat(d)
		}
	case types.String:
		f.want(t.kind == stringKind)
		return object.NewString(string(v))
	case traits.Lister:
		f.want(t.kind == listKind)
		list := object.NewList()
		for it := v.Iterator(); !f.failed && it.HasNext() == types.True; {
			list.Append(f.document(t.elem, it.Next()))
		}
		return list
	case traits.Mapper:
		f.want(t.kind == mapKind)
		m := object.NewMap()
		for it := v.Iterator(); !f.failed && it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			f.want(ok)
			m.Set(string(name), f.document(t.elem, v.Get(key)))
		}
		return m
	}
	f.fail()
	return object.Value{}
}
