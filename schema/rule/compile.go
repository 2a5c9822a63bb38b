package rule

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"

	"pintle.dev/object"
)

// Compile compiles a checked expression, a rule or the message of one, whose self is of the given type. So is oldSelf, or
// an optional of it. It returns nil when there is something in the expression that only cel-go knows. Functions are those
// of the environment it was checked in.
func Compile(checked *ast.AST, self *Type, functions Functions) *Rule {
	c := &compiler{checked: checked, self: self, functions: functions}
	t := c.expr(checked.Expr())
	if c.unknown || t.kind() != boolKind && t.kind() != stringKind {
		return nil
	}
	return &Rule{holds: t.bool, text: t.string, exact: t.exact, certain: !c.inexact, slots: c.slots, names: c.names, recalls: c.recalls}
}

type compiler struct {
	checked   *ast.AST
	self      *Type
	functions Functions
	scope     []binding // the innermost last
	loops     []loop    // the innermost last
	slots     int       // variables so far
	names     int       // places so far that name a member
	recalls   int       // places so far that recall a value
	named     variables // that the expression at hand names

	// unknown says that there is something that only cel-go knows. What is compiled from then on is never run.
	unknown bool
	inexact bool // some term is not exact
}

// binding is a variable of a macro.
type binding struct {
	name string
	term term
	slot int // where it is in the frame

	// lazy says that it is found out when it is named first, which an expression that names it then costs more for.
	lazy bool
}

// loop is a macro whose variables are in scope.
type loop struct {
	slot  int
	first int  // the index of its first variable in scope
	fixed bool // it goes through the same list whenever it is come to
}

// variables are some of those in scope: a bit for each, by its index.
type variables uint64

// no gives up. The term is one of a scalar, so that those above need not look out for it.
func (c *compiler) no() term {
	c.unknown = true
	return constant(false)
}

func (c *compiler) expr(e ast.Expr) term {
	before := c.named
	c.named = 0
	t := c.node(e)
	c.inexact = c.inexact || !t.exact
	t.named = c.named
	c.named |= before
	return t
}

func (c *compiler) node(e ast.Expr) term {
	switch e.Kind() {
	case ast.LiteralKind:
		return c.literal(e.AsLiteral())
	case ast.IdentKind:
		return c.ident(e)
	case ast.SelectKind:
		if c.checked.ReferenceMap()[e.ID()] == nil {
			return c.selection(e.AsSelect())
		}
	case ast.ListKind:
		return c.list(e.AsList())
	case ast.MapKind:
		return c.mapOf(e.AsMap())
	case ast.CallKind:
		return c.call(e)
	case ast.ComprehensionKind:
		return c.fold(e.AsComprehension())
	}
	return c.no()
}

// lookup is the innermost variable of that name; nil when there is none.
func (c *compiler) lookup(name string) *binding {
	for i := len(c.scope) - 1; i >= 0; i-- {
		if c.scope[i].name == name {
			c.named |= 1 << i
			return &c.scope[i]
		}
	}
	return nil
}

// isOptional reports whether e is not a value but an optional of one.
func (c *compiler) isOptional(e ast.Expr) bool {
	return c.checked.GetType(e.ID()).TypeName() == types.OptionalType.TypeName()
}

func (c *compiler) ident(e ast.Expr) term {
	r := c.checked.ReferenceMap()[e.ID()]
	if r == nil || r.Value != nil || r.Name != e.AsIdent() {
		return c.no()
	}
	if c.checked.GetType(e.ID()).Kind() == types.TypeKind {
		return c.typeName(r.Name)
	}
	if b := c.lookup(r.Name); b != nil {
		return b.term
	}
	var t term
	switch {
	case r.Name == cel.ScopedVarName:
		t = read(c.self, func(f *frame) *object.Value { f.cost++; return f.self })
	case r.Name == cel.OldScopedVarName && c.isOptional(e):
		t = optional(c.self, func(f *frame) *object.Value { f.cost++; return f.old })
	case r.Name == cel.OldScopedVarName:
		t = read(c.self, func(f *frame) *object.Value { f.cost++; return f.old })
	default:
		return c.no()
	}
	t.attribute, t.exact, t.ident = true, true, 1
	return t
}

// typeName is the name of a type, which is a value too.
func (c *compiler) typeName(name string) term {
	for _, t := range []*types.Type{types.BoolType, types.IntType, types.UintType, types.DoubleType, types.StringType, types.BytesType} {
		if t.TypeName() == name {
			return c.literal(t)
		}
	}
	return c.no()
}

// base is what it costs to start with the value of a term instead of qualifying it further.
func (t term) base() uint64 {
	if t.attribute {
		return 0
	}
	return 1
}

func (c *compiler) selection(s ast.SelectExpr) term {
	of := c.expr(s.Operand())
	if of.kind() == optionalKind {
		if s.IsTestOnly() || of.ident == 0 {
			return c.no() // what has no name costs otherwise
		}
		return c.optionalMember(of, s.FieldName())
	}
	member, name := of.typ.member(s.FieldName())
	if member == nil {
		return c.no()
	}
	if s.IsTestOnly() {
		return c.has(of, name, member)
	}
	isMap, base, near := of.kind() == mapKind, of.base(), c.names
	c.names++
	t := read(member, func(f *frame) *object.Value {
		v := of.value(f)
		f.cost += base
		if f.erred {
			return nil
		}
		f.cost++
		m := v.GetNear(name, &f.near[near])
		switch {
		case m == nil, m.IsNull() && !isMap:
			f.err()
		case m.IsNull():
			f.fail()
		}
		return m
	})
	t.attribute, t.exact, t.ident = true, of.exact, 1
	if of.attribute {
		t.ident = of.ident
	}
	return t
}

// has is the macro: whether there is a member that CEL could read.
func (c *compiler) has(of term, name string, member *Type) term {
	if of.attribute && of.ident == 0 {
		return c.no() // of a branch, whose cost is odd
	}
	isMap, base, near := of.kind() == mapKind, of.base(), c.names
	c.names++
	t := boolTerm(func(f *frame) bool {
		v := of.value(f)
		f.cost += base
		if f.erred {
			f.cost-- // for the test that is not come to
			return false
		}
		m := v.GetNear(name, &f.near[near])
		if m == nil || m.IsNull() && !isMap {
			return false
		}
		if m.IsNull() || !member.admits(m) {
			f.fail()
		}
		return true
	})
	t.exact = of.exact
	return t
}

// index is a list's item or a map's value.
func (c *compiler) index(of, at term) term {
	if of.typ.elem == nil || c.unknown {
		return c.no() // an object, or a list that is always empty
	}
	base := of.base()
	cost := 1 + base
	if at.attribute {
		cost -= at.ident
	}
	var pick func(f *frame, v *object.Value) *object.Value
	switch {
	case of.kind() == listKind && at.kind() == intKind:
		pick = func(f *frame, v *object.Value) *object.Value {
			i := at.int(f)
			if i < 0 || i >= int64(v.Len()) {
				return nil
			}
			return v.Index(int(i))
		}
	case of.kind() == mapKind && of.typ.keyed(at.kind()):
		name := at.key()
		pick = func(f *frame, v *object.Value) *object.Value { return v.Get(name(f)) }
	default:
		return c.no()
	}
	t := read(of.typ.elem, func(f *frame) *object.Value {
		v := of.value(f)
		if f.erred {
			f.cost += base
			return nil
		}
		m := pick(f, v)
		if f.erred {
			f.failed = true // where cel-go stops is not known
			return nil
		}
		f.cost += cost
		switch {
		case m == nil:
			f.err()
		case m.IsNull():
			f.fail()
		}
		return m
	})
	t.attribute, t.ident = true, 1
	t.exact = of.exact
	if of.attribute {
		t.ident = of.ident
	}
	return t
}

// conditional is ?:, whose branches cost no more than what comes after their names.
func (c *compiler) conditional(when, then, or term) term {
	if when.kind() != boolKind {
		return c.no()
	}
	t := c.choice(func(f *frame) bool {
		if when.bool(f) {
			f.cost -= then.ident
			return true
		}
		f.cost -= or.ident
		return false
	}, then, or)
	t.attribute = true
	if t.kind() == boolKind && when.exact && then.exact && or.exact {
		t.exact = true
		t.bool = func(f *frame) bool {
			yes := when.bool(f)
			switch {
			case f.erred:
				return false
			case yes:
				f.cost -= then.ident
				return then.bool(f)
			}
			f.cost -= or.ident
			return or.bool(f)
		}
	}
	return t
}

// choice is one of two terms.
func (c *compiler) choice(choose func(*frame) bool, then, or term) term {
	if (then.kind() == opaqueKind) != (or.kind() == opaqueKind) {
		left, right := then.foreigner(), or.foreigner()
		if left == nil || right == nil {
			return c.no()
		}
		then, or = foreign(left), foreign(right)
	}
	typ := then.typ.either(or.typ)
	if typ == nil {
		return c.no()
	}
	t := term{typ: typ}
	switch t.kind() {
	case boolKind:
		t.bool = either(choose, then.bool, or.bool)
	case intKind:
		t.int = either(choose, then.int, or.int)
	case doubleKind:
		t.double = either(choose, then.double, or.double)
	case stringKind:
		t.string = either(choose, then.string, or.string)
	case opaqueKind:
		t.foreign = either(choose, then.foreign, or.foreign)
	default:
		t.value = either(choose, then.value, or.value)
	}
	return t
}

func either[T any](choose func(*frame) bool, then, or func(*frame) T) func(*frame) T {
	return func(f *frame) T {
		if choose(f) {
			return then(f)
		}
		return or(f)
	}
}

// overload is the one function that a call is certain to mean; "" when that depends on the values.
func (c *compiler) overload(e ast.Expr) string {
	if r := c.checked.ReferenceMap()[e.ID()]; r != nil && len(r.OverloadIDs) == 1 {
		return r.OverloadIDs[0]
	}
	return ""
}

func (c *compiler) call(e ast.Expr) term {
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.OptSelect, operators.OptIndex:
		return c.optionalChain(call)
	}
	exprs := call.Args()
	if call.IsMemberFunction() {
		exprs = append([]ast.Expr{call.Target()}, exprs...)
	}
	args := make([]term, len(exprs))
	for i, a := range exprs {
		args[i] = c.expr(a)
	}
	if c.unknown {
		return c.no()
	}
	if !c.recallable(c.named) { // else the whole call may be
		for i, a := range exprs {
			args[i] = c.recalled(a, args[i])
		}
	}
	name := call.FunctionName()
	if len(args) > 0 && args[0].kind() == optionalKind {
		return c.ofOptional(name, args)
	}
	switch name {
	case "optional.none":
		return none()
	case "optional.of":
		return c.optionalOf(args[0], false)
	case "optional.ofNonZeroValue":
		return c.optionalOf(args[0], true)
	case "first", "last":
		return c.end(args[0], name == "last")
	case operators.Conditional:
		return c.conditional(args[0], args[1], args[2])
	case operators.Index:
		return c.index(args[0], args[1])
	case operators.LogicalAnd, operators.LogicalOr:
		return c.logical(name, args[0], args[1])
	case operators.Equals, operators.NotEquals:
		return c.equality(args[0], args[1], name == operators.NotEquals)
	}
	return c.function(e, args)
}

// logical is && and ||, which cost nothing. An error on one side does not matter when the other decides.
func (c *compiler) logical(op string, a, b term) term {
	if a.kind() != boolKind || b.kind() != boolKind {
		return c.no()
	}
	decides := op == operators.LogicalOr
	left, right := a.absorbed(), b.absorbed()
	t := boolTerm(func(f *frame) bool {
		before := f.erred
		f.erred = false
		if left(f) == decides && !f.erred {
			f.erred = before
			return decides
		}
		erred := f.erred
		f.erred = false
		if right(f) == decides && !f.erred {
			f.erred = before
			return decides
		}
		f.erred = f.erred || erred || before
		return !decides
	})
	t.exact = true
	return t
}

// absorbed runs a bool whose error, when it is exact, may be absorbed.
func (t term) absorbed() func(*frame) bool {
	if t.exact {
		return t.bool
	}
	return func(f *frame) bool {
		v := t.bool(f)
		f.failed = f.failed || f.erred
		return v
	}
}
