package rule

import (
	"math/bits"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"pintle.dev/object"
)

// fold is what a macro is turned into: a loop over a list or a map that goes on while a condition holds, and accumulates
// something. It is a quantifier or a gatherer.
func (c *compiler) fold(e ast.ComprehensionExpr) term {
	if isList(e.IterRange(), 0) && isLiteral(e.LoopCondition(), types.False) {
		return c.bound(e)
	}
	over := c.recalled(e.IterRange(), c.expr(e.IterRange()))
	depth := len(c.scope)
	if over.kind() != listKind && over.kind() != mapKind || depth+maxBound > bits.UintSize {
		return c.no()
	}
	slot := c.slots
	c.slots++
	c.loops = append(c.loops, loop{slot: slot, first: depth, fixed: over.named == 0})
	defer func() {
		c.scope, c.loops = c.scope[:depth], c.loops[:len(c.loops)-1]
		c.named &= 1<<depth - 1
	}()
	c.bindElements(e, over.typ, slot)
	if q := quantifierOf(e); q != nil {
		return c.quantify(q, over, slot)
	}
	if g := gathererOf(e); g != nil {
		return c.gather(g, over, slot)
	}
	if m := mapperOf(e); m != nil {
		return c.transformMap(m, over, slot)
	}
	return c.no()
}

// maxBound is how many variables there may be of an element.
const maxBound = 2

// bindElements brings the variables that go through a list's items or a map's keys into scope. Of two, the first has the
// item's index or the key, and the second the value.
func (c *compiler) bindElements(e ast.ComprehensionExpr, over *Type, slot int) {
	at := func(f *frame) *object.Value { f.cost++; return f.vars[slot].at }
	bind := func(name string, t term) {
		t.attribute, t.exact, t.ident = true, true, 1
		c.scope = append(c.scope, binding{name: name, term: t, slot: slot})
	}
	key := stringTerm(func(f *frame) string { return at(f).Name() })
	if over.numbered {
		key = intTerm(func(f *frame) int64 { return keyOf(at(f).Name()) })
	}
	switch {
	case over.elem == nil:
		c.no() // nothing is ever put into that list
	case !e.HasIterVar2() && over.kind == mapKind:
		bind(e.IterVar(), key)
	case !e.HasIterVar2():
		bind(e.IterVar(), read(over.elem, at))
	case over.kind == mapKind:
		bind(e.IterVar(), key)
		bind(e.IterVar2(), read(over.elem, at))
	default:
		bind(e.IterVar(), intTerm(func(f *frame) int64 { f.cost++; return int64(f.vars[slot].index) }))
		bind(e.IterVar2(), read(over.elem, at))
	}
}

// quantifier is one of the macros all, exists and exists_one.
type quantifier struct {
	predicate ast.Expr
	one       bool
	decides   bool // when not one: the value of the predicate that settles it
}

// quantifierOf is the quantifier that was turned into e; nil when it was another macro.
func quantifierOf(e ast.ComprehensionExpr) *quantifier {
	accu := e.AccuVar()
	goOn, step := e.LoopCondition(), e.LoopStep()
	notFalse := args(goOn, operators.NotStrictlyFalse)
	if of := args(step, operators.LogicalAnd); len(of) == 2 && isIdent(of[0], accu) && isIdent(e.Result(), accu) && isLiteral(e.AccuInit(), types.True) &&
		len(notFalse) == 1 && isIdent(notFalse[0], accu) {
		return &quantifier{predicate: of[1]}
	}
	if of := args(step, operators.LogicalOr); len(of) == 2 && isIdent(of[0], accu) && isIdent(e.Result(), accu) && isLiteral(e.AccuInit(), types.False) && len(notFalse) == 1 {
		if not := args(notFalse[0], operators.LogicalNot); len(not) == 1 && isIdent(not[0], accu) {
			return &quantifier{predicate: of[1], decides: true}
		}
	}
	if of := args(step, operators.Conditional); len(of) == 3 && isIdent(of[2], accu) && isLiteral(goOn, types.True) && isLiteral(e.AccuInit(), types.IntZero) {
		add, is := args(of[1], operators.Add), args(e.Result(), operators.Equals)
		if len(add) == 2 && isIdent(add[0], accu) && isLiteral(add[1], types.IntOne) && len(is) == 2 && isIdent(is[0], accu) && isLiteral(is[1], types.IntOne) {
			return &quantifier{predicate: of[0], one: true}
		}
	}
	return nil
}

// args are those of e, if it is a call of that function.
func args(e ast.Expr, function string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != function {
		return nil
	}
	return e.AsCall().Args()
}

func isIdent(e ast.Expr, name string) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == name }

func isLiteral(e ast.Expr, v ref.Val) bool { return e.Kind() == ast.LiteralKind && e.AsLiteral() == v }

// quantify runs a predicate for the elements, at the cost of what cel-go does besides: it looks at what it has
// accumulated to know whether to go on, to add to it, and in the end.
func (c *compiler) quantify(q *quantifier, list term, slot int) term {
	predicate := c.recalled(q.predicate, c.expr(q.predicate))
	if c.unknown || predicate.kind() != boolKind {
		return c.no()
	}
	over, holds := list.value, predicate.absorbed()
	var t term
	if q.one {
		t = boolTerm(func(f *frame) bool { return one(f, over(f), slot, holds) })
	} else {
		t = boolTerm(func(f *frame) bool { return q.settled(f, over(f), slot, holds) })
	}
	t.exact = list.exact
	return t
}

// settled is all and exists: they stop at the element that decides. Errors before that do not matter.
func (q *quantifier) settled(f *frame, over *object.Value, slot int, holds func(*frame) bool) bool {
	if f.erred {
		return false
	}
	look := uint64(2) // for the name of what is accumulated, and whether that is false
	if q.decides {
		look = 3 // for negating it too
	}
	v, decided, erred := f.begin(slot, over), false, false
	for i := range over.Len() {
		f.cost += look
		if decided {
			break
		}
		if !f.come(v, over, i) {
			return false
		}
		f.cost++
		decided = holds(f) == q.decides && !f.erred
		erred = erred || f.erred
		f.erred = false
	}
	f.cost++
	f.erred = erred && !decided
	return decided == q.decides
}

// one is exists_one, which counts all elements that the predicate holds for.
func one(f *frame, over *object.Value, slot int, holds func(*frame) bool) bool {
	if f.erred {
		return false
	}
	v, n, erred := f.begin(slot, over), 0, false
	for i := range over.Len() {
		if !f.come(v, over, i) {
			return false
		}
		held := holds(f)
		switch {
		case f.erred:
			erred = true
			f.erred = false
		case held:
			f.cost += 2
			n++
		}
	}
	f.cost += 2
	f.erred = erred
	return n == 1
}
