package rule

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"pintle.dev/object"
)

// fold is what a macro is turned into: a loop over a list or a map that goes on while a condition holds, and accumulates
// something. It is a quantifier, or one of map and filter, which always go on and accumulate a list.
func (c *compiler) fold(e ast.ComprehensionExpr) term {
	depth, outermost := len(c.scope), c.outermost
	c.outermost = depth
	defer func() {
		c.scope = c.scope[:depth]
		c.outermost = min(c.outermost, outermost)
	}()
	over := c.expr(e.IterRange())
	if over.kind() != listKind && over.kind() != mapKind {
		return c.no()
	}
	slot := c.slots
	c.slots++
	if q := quantifierOf(e); q != nil {
		c.bindElements(e, over.typ, slot)
		return c.quantify(q, over, slot)
	}
	if !isEmptyList(e.AccuInit()) || !isLiteral(e.LoopCondition(), types.True) || !isIdent(e.Result(), e.AccuVar()) {
		return c.no()
	}
	accu := term{typ: &Type{kind: listKind}, attribute: true, ident: 1}
	accu.value = func(f *frame) *object.Value { f.cost++; return &f.vars[slot].list }
	c.scope = append(c.scope, binding{name: e.AccuVar(), term: accu, slot: slot, accu: true})
	c.bindElements(e, over.typ, slot)
	step := c.expr(e.LoopStep())
	if c.unknown || !step.typ.same(accu.typ) {
		return c.no()
	}
	every := args(e.LoopStep(), operators.Conditional) == nil // element gives an item
	t := term{typ: accu.typ, value: func(f *frame) *object.Value {
		l := over.value(f)
		f.vars[slot].list = object.NewList()
		if every {
			f.vars[slot].list = object.NewList(make([]object.Value, 0, l.Len())...)
		}
		for i := range l.Len() {
			if f.erred || !f.proceed() {
				return nil
			}
			f.vars[slot].at, f.vars[slot].index = l.Index(i), i
			step.value(f) // the list grows where it is
		}
		return accu.value(f)
	}}
	if depth > 0 && c.outermost >= depth {
		t.value = remembered(slot, t.value)
	}
	return t
}

// remembered is the loop in a variable that comes to the same whenever an outer loop comes to it, as it names none of that
// one's variables. It is run once, and charged for each time.
func remembered(slot int, run func(*frame) *object.Value) func(*frame) *object.Value {
	return func(f *frame) *object.Value {
		v := &f.vars[slot]
		if v.made {
			f.charge(v.cost)
			return &v.list
		}
		before := f.cost
		list := run(f)
		v.made, v.cost = !f.failed && !f.erred, f.cost-before
		return list
	}
}

// bindElements brings the variables that go through a list's items or a map's keys into scope. Of two, the first has the
// item's index or the key, and the second the value.
func (c *compiler) bindElements(e ast.ComprehensionExpr, over *Type, slot int) {
	at := func(f *frame) *object.Value { f.cost++; return f.vars[slot].at }
	bind := func(name string, t term) {
		t.attribute, t.exact, t.ident = true, true, 1
		c.scope = append(c.scope, binding{name: name, term: t, slot: slot})
	}
	key := func(f *frame) string { return at(f).Name() }
	switch {
	case over.elem == nil:
		c.no() // nothing is ever put into that list
	case !e.HasIterVar2() && over.kind == mapKind:
		bind(e.IterVar(), stringTerm(key))
	case !e.HasIterVar2():
		bind(e.IterVar(), read(over.elem, at))
	case over.kind == mapKind:
		bind(e.IterVar(), stringTerm(key))
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

func isEmptyList(e ast.Expr) bool { return e.Kind() == ast.ListKind && e.AsList().Size() == 0 }

// quantify runs a predicate for the elements, at the cost of what cel-go does besides: it looks at what it has
// accumulated to know whether to go on, to add to it, and in the end.
func (c *compiler) quantify(q *quantifier, list term, slot int) term {
	predicate := c.expr(q.predicate)
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
	decided, erred := false, false
	for i := range over.Len() {
		f.cost += look
		if decided {
			break
		}
		if !f.proceed() {
			return false
		}
		f.cost++
		f.vars[slot].at, f.vars[slot].index = over.Index(i), i
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
	n, erred := 0, false
	for i := range over.Len() {
		if !f.proceed() {
			return false
		}
		f.vars[slot].at, f.vars[slot].index = over.Index(i), i
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

// appended is the step of map and filter, which adds one item to the list that is accumulated. cel-go too lets that list
// grow in place.
func (c *compiler) appended(e ast.Expr) (t term, ok bool) {
	call := e.AsCall()
	if call.FunctionName() != operators.Add || c.overload(e) != overloads.AddList || call.Args()[0].Kind() != ast.IdentKind {
		return term{}, false
	}
	b := c.lookup(call.Args()[0].AsIdent())
	if b == nil || !b.accu {
		return term{}, false
	}
	added := call.Args()[1]
	if added.Kind() != ast.ListKind || added.AsList().Size() != 1 || len(added.AsList().OptionalIndices()) > 0 {
		return c.no(), true
	}
	slot := b.slot
	item := c.expr(added.AsList().Elements()[0])
	switch elem := b.term.typ.elem; {
	case elem == nil:
		b.term.typ.elem = item.typ
	case !elem.same(item.typ):
		return c.no(), true
	}
	cost, box := uint64(2), item.boxed() // for the name of the list and for adding
	if c.unknown || box == nil {
		return c.no(), true
	}
	if item.literal == nil {
		cost += 10 // for the list of one item
	}
	return term{typ: b.term.typ, value: func(f *frame) *object.Value {
		f.cost += cost
		v := box(f)
		l := &f.vars[slot].list
		l.Append(v)
		return l
	}}, true
}
