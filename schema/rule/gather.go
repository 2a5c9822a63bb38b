package rule

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"

	"pintle.dev/object"
)

// gatherer is one of the macros map and filter, which make a list of something of each element.
type gatherer struct {
	when ast.Expr // whether the element gives an item; nil when each does
	item ast.Expr
}

// gathererOf is the gatherer that was turned into e; nil when it was another macro.
func gathererOf(e ast.ComprehensionExpr) *gatherer {
	accu, step := e.AccuVar(), e.LoopStep()
	if !isList(e.AccuInit(), 0) || !isLiteral(e.LoopCondition(), types.True) || !isIdent(e.Result(), accu) {
		return nil
	}
	g := &gatherer{}
	if of := args(step, operators.Conditional); len(of) == 3 && isIdent(of[2], accu) {
		g.when, step = of[0], of[1]
	}
	add := args(step, operators.Add)
	if len(add) != 2 || !isIdent(add[0], accu) || !isList(add[1], 1) {
		return nil
	}
	g.item = add[1].AsList().Elements()[0]
	return g
}

// isList reports whether e is a list of n items that is written out, none of them optional.
func isList(e ast.Expr, n int) bool {
	return e.Kind() == ast.ListKind && e.AsList().Size() == n && len(e.AsList().OptionalIndices()) == 0
}

// gather makes the list, in place as cel-go does.
func (c *compiler) gather(g *gatherer, list term, slot int) term {
	when := constant(true)
	if g.when != nil {
		when = c.recalled(g.when, c.expr(g.when))
	}
	item := c.recalled(g.item, c.expr(g.item))
	box := item.boxed()
	if c.unknown || when.kind() != boolKind || box == nil {
		return c.no()
	}
	cost := uint64(2) // for the name of the list and for adding
	if item.literal == nil {
		cost += 10 // for the list of one item
	}
	over, holds, every := list.value, when.bool, g.when == nil
	return term{typ: &Type{kind: listKind, elem: item.typ}, value: func(f *frame) *object.Value {
		from := over(f)
		v := f.begin(slot, from)
		v.list = object.NewList()
		if every {
			v.list = object.NewList(make([]object.Value, 0, from.Len())...)
		}
		for i := range from.Len() {
			if f.erred || !f.come(v, from, i) {
				return nil
			}
			if holds(f) {
				f.cost += cost
				v.list.Append(box(f))
			}
		}
		f.cost++
		return &v.list
	}}
}
