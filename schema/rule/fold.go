package rule

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types/ref"

	"pintle.dev/object"
)

// fold is what the macros all, exists, exists_one, map and filter are turned into: a loop over a list or the keys of a
// map that goes on while a condition holds, and accumulates something.
func (c *compiler) fold(e ast.ComprehensionExpr) term {
	over := c.expr(e.IterRange())
	if e.HasIterVar2() || over.kind() != listKind && over.kind() != mapKind {
		return c.no()
	}
	slot := c.slots
	c.slots += 2
	accu, reset := c.accumulator(e.AccuInit(), slot)
	element := c.element(over.typ, slot+1)
	if c.unknown {
		return c.no()
	}
	depth := len(c.scope)
	c.scope = append(c.scope, binding{name: e.AccuVar(), term: accu, slot: slot, accu: true}, binding{name: e.IterVar(), term: element, slot: slot + 1})
	goOn, step := c.expr(e.LoopCondition()), c.expr(e.LoopStep())
	c.scope = c.scope[:depth+1]
	result := c.expr(e.Result())
	c.scope = c.scope[:depth]
	if goOn.kind() != boolKind || !step.typ.same(accu.typ) {
		return c.no()
	}
	keep := accumulate(step, slot)
	loop := func(f *frame) {
		l := over.value(f)
		reset(&f.vars[slot])
		for i := range l.Len() {
			if !f.proceed() {
				return
			}
			f.vars[slot+1].at = l.Index(i)
			if !goOn.bool(f) {
				return
			}
			keep(f)
		}
	}
	return after(loop, result)
}

// accumulator is the variable in which a fold starting with init accumulates, and what sets it to that.
func (c *compiler) accumulator(init ast.Expr, slot int) (accu term, reset func(*variable)) {
	if init.Kind() == ast.ListKind && init.AsList().Size() == 0 {
		accu = term{typ: &Type{kind: listKind}, value: func(f *frame) *object.Value { f.cost++; return &f.vars[slot].list }}
		reset = func(v *variable) { v.list = object.NewList() }
	} else {
		switch start := c.expr(init).literal.(type) {
		case bool:
			accu = boolTerm(func(f *frame) bool { f.cost++; return f.vars[slot].flag })
			reset = func(v *variable) { v.flag = start }
		case int64:
			accu = intTerm(func(f *frame) int64 { f.cost++; return f.vars[slot].count })
			reset = func(v *variable) { v.count = start }
		default:
			return c.no(), nil
		}
	}
	accu.attribute, accu.ident = true, 1
	return accu, reset
}

// element is the variable that goes through a list's items or a map's keys.
func (c *compiler) element(over *Type, slot int) term {
	at := func(f *frame) *object.Value { f.cost++; return f.vars[slot].at }
	var t term
	switch {
	case over.kind == mapKind:
		t = stringTerm(func(f *frame) string { return at(f).Name() })
	case over.elem != nil:
		t = read(over.elem, at)
	default:
		return c.no() // nothing is ever put into that list
	}
	t.attribute, t.ident = true, 1
	return t
}

// accumulate runs a step and keeps what it gives.
func accumulate(step term, slot int) func(*frame) {
	switch step.kind() {
	case boolKind:
		return func(f *frame) { v := step.bool(f); f.vars[slot].flag = v }
	case intKind:
		return func(f *frame) { v := step.int(f); f.vars[slot].count = v }
	}
	return func(f *frame) { step.value(f) } // a list grows where it is
}

// after runs loop before result.
func after(loop func(*frame), result term) term {
	t := term{typ: result.typ}
	switch t.kind() {
	case boolKind:
		t.bool = func(f *frame) bool { loop(f); return result.bool(f) }
	case intKind:
		t.int = func(f *frame) int64 { loop(f); return result.int(f) }
	case opaqueKind:
		t.foreign = func(f *frame) ref.Val { loop(f); return result.foreign(f) }
	default:
		t.value = func(f *frame) *object.Value { loop(f); return result.value(f) }
	}
	return t
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
