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
	g.when, step = stepOf(step, accu)
	add := args(step, operators.Add)
	if len(add) != 2 || !isIdent(add[0], accu) || !isList(add[1], 1) {
		return nil
	}
	g.item = add[1].AsList().Elements()[0]
	return g
}

// stepOf is the condition of a loop's step, nil when there is none, and what it accumulates then.
func stepOf(step ast.Expr, accu string) (when, then ast.Expr) {
	if of := args(step, operators.Conditional); len(of) == 3 && isIdent(of[2], accu) {
		return of[0], of[1]
	}
	return nil, step
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
	over, holds, every := list.value, when.absorbed(), g.when == nil
	t := term{typ: &Type{kind: listKind, elem: item.typ}, exact: list.exact && item.exact, value: func(f *frame) *object.Value {
		from := over(f)
		if f.erred {
			return nil
		}
		v, erred := f.begin(slot, from), false
		v.made = object.NewList()
		if every {
			v.made = object.NewList(make([]object.Value, 0, from.Len())...)
		}
		for i := range from.Len() {
			if !f.come(v, from, i) {
				return nil
			}
			if holds(f) && !f.erred {
				f.cost += cost
				if made := box(f); !f.erred {
					v.made.Append(made)
				}
			}
			erred = erred || f.erred
			f.erred = false
		}
		f.cost++
		f.erred = erred
		return &v.made
	}}
	return t
}

// mapper is one of the macros transformMap and transformMapEntry, which make a map of something of each element.
type mapper struct {
	when  ast.Expr // whether the element gives an entry; nil when each does
	key   ast.Expr // nil when there is an entry
	value ast.Expr
	entry ast.Expr // a map that is written out
}

// mapInsert is the function that adds an entry to a map.
const mapInsert = "cel.@mapInsert"

// mapperOf is the mapper that was turned into e; nil when it was another macro.
func mapperOf(e ast.ComprehensionExpr) *mapper {
	accu := e.AccuVar()
	if e.AccuInit().Kind() != ast.MapKind || e.AccuInit().AsMap().Size() != 0 || !isLiteral(e.LoopCondition(), types.True) || !isIdent(e.Result(), accu) {
		return nil
	}
	m := &mapper{}
	var step ast.Expr
	m.when, step = stepOf(e.LoopStep(), accu)
	switch insert := args(step, mapInsert); {
	case len(insert) == 3 && isIdent(insert[0], accu):
		m.key, m.value = insert[1], insert[2]
	case len(insert) == 2 && isIdent(insert[0], accu):
		m.entry = insert[1]
	default:
		return nil
	}
	return m
}

// transformMap makes the map. A key that comes twice is an error.
func (c *compiler) transformMap(m *mapper, list term, slot int) term {
	when := constant(true)
	if m.when != nil {
		when = c.recalled(m.when, c.expr(m.when))
	}
	var elem *Type
	var numbered bool
	var add func(f *frame, to *object.Value)
	if m.entry != nil {
		entry := c.expr(m.entry)
		elem, numbered, add = entry.typ.elem, entry.typ.numbered, func(f *frame, to *object.Value) {
			for name, v := range entry.value(f).Fields() {
				f.insert(to, name, *v)
			}
		}
		c.unknown = c.unknown || entry.kind() != mapKind
	} else {
		key, value := c.expr(m.key), c.recalled(m.value, c.expr(m.value))
		box, nameOf := value.boxed(), key.key()
		numbered = key.kind() == intKind
		elem, add = value.typ, func(f *frame, to *object.Value) {
			name := nameOf(f)
			f.insert(to, name, box(f))
		}
		c.unknown = c.unknown || nameOf == nil || box == nil
	}
	if c.unknown || when.kind() != boolKind {
		return c.no()
	}
	over, holds := list.value, when.bool
	return term{typ: &Type{kind: mapKind, elem: elem, numbered: numbered}, value: func(f *frame) *object.Value {
		from := over(f)
		v := f.begin(slot, from)
		v.made = object.NewMap()
		for i := range from.Len() {
			if f.erred || !f.come(v, from, i) {
				return nil
			}
			if holds(f) {
				f.cost += 2 // for the name of the map and for adding
				add(f, &v.made)
			}
		}
		f.cost++
		return &v.made
	}}
}

// insert adds an entry to a map that is being made.
func (f *frame) insert(to *object.Value, name string, v object.Value) {
	if to.Get(name) != nil {
		f.fail()
	}
	to.Set(name, v)
}
