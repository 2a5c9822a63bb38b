package rule

import (
	"math/bits"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"

	"pintle.dev/object"
)

// optional is a term of a value that there need not be: its value is nil then.
func optional(elem *Type, value func(*frame) *object.Value) term {
	return term{typ: &Type{kind: optionalKind, elem: elem}, value: value, attribute: true}
}

// none is an optional that is never there.
func none() term {
	t := optional(nil, func(f *frame) *object.Value { f.cost++; return nil })
	t.attribute = false
	return t
}

// optionalOf is an optional of a value that is there; when nonZero is set, not of one that is its type's zero value.
func (c *compiler) optionalOf(of term, nonZero bool) term {
	box := of.boxed()
	if box == nil || nonZero && of.typ.mixed() {
		return c.no()
	}
	slot, typ := c.slots, of.typ
	c.slots++
	t := optional(typ, func(f *frame) *object.Value {
		v := &f.vars[slot]
		v.made = box(f)
		f.cost++
		if f.erred || nonZero && typ.zero(&v.made) {
			return nil
		}
		return &v.made
	})
	t.attribute = false
	return t
}

// zero reports whether v is what CEL takes for nothing. A list or map of a document never is.
func (t *Type) zero(v *object.Value) bool {
	switch t.kind {
	case boolKind:
		return !v.Bool()
	case intKind:
		return intOf(v) == 0
	case doubleKind:
		return v.Float() == 0
	case stringKind:
		return v.Str() == ""
	}
	return t.schema == nil && v.Len() == 0
}

// end is an optional of the first or last item of a list.
func (c *compiler) end(list term, last bool) term {
	if list.kind() != listKind || list.typ.elem == nil {
		return c.no()
	}
	elem := list.typ.elem
	t := optional(elem, func(f *frame) *object.Value {
		l := list.value(f)
		f.cost++
		if f.erred || l.Len() == 0 {
			return nil
		}
		at := 0
		if last {
			at = l.Len() - 1
		}
		v := l.Index(at)
		if v.IsNull() || !elem.admits(v) {
			f.fail()
		}
		return v
	})
	t.attribute = false
	return t
}

// bound is what optMap and optFlatMap are turned into, where there is a value: a macro without a loop that names the value
// and has another expression for its result. As in cel-go, the value is found out again when it is named first.
func (c *compiler) bound(e ast.ComprehensionExpr) term {
	init := e.AccuInit()
	if init.Kind() != ast.CallKind || init.AsCall().FunctionName() != "value" || !init.AsCall().IsMemberFunction() || len(c.scope) == bits.UintSize {
		return c.no()
	}
	of := c.expr(init.AsCall().Target())
	if c.unknown || of.kind() != optionalKind || of.typ.elem == nil {
		return c.no()
	}
	slot, depth := c.slots, len(c.scope)
	c.slots++
	named := read(of.typ.elem, func(f *frame) *object.Value {
		v := &f.vars[slot]
		if v.at == nil {
			v.at = of.value(f)
			f.cost++
			if k := v.at.Kind(); v.at == nil || (k == object.List || k == object.Map) && v.at.Len() == 0 {
				f.fail() // what is empty is changed by adding to it
			}
		}
		f.cost++
		return v.at
	})
	named.attribute, named.ident = true, 1
	c.scope = append(c.scope, binding{name: e.AccuVar(), term: named, slot: slot, lazy: true})
	result := c.expr(e.Result())
	c.scope = c.scope[:depth]
	c.named &= 1<<depth - 1
	return c.begun(result, func(f *frame) { f.vars[slot].at = nil })
}

// begun is a term before which something is done.
func (c *compiler) begun(t term, first func(*frame)) term {
	return c.choice(func(f *frame) bool { first(f); return true }, t, t)
}

// within is the type of what an optional is of, or of a value that is none.
func (t term) within() *Type {
	if t.kind() == optionalKind {
		return t.typ.elem
	}
	return t.typ
}

// optionalMember is a field that is selected by ?. or from what is optional itself.
func (c *compiler) optionalMember(of term, name string) term {
	member, name := of.within().member(name)
	if member == nil {
		return c.no()
	}
	near := c.names
	c.names++
	return c.optionalStep(of, member, func(f *frame, v *object.Value) *object.Value { return v.GetNear(name, &f.near[near]) })
}

// optionalStep is a value of type t that is within another, if both are there.
func (c *compiler) optionalStep(of term, t *Type, step func(*frame, *object.Value) *object.Value) term {
	from := of.within()
	out := optional(t, func(f *frame) *object.Value {
		v := of.value(f)
		if v == nil || f.erred {
			return nil
		}
		if !from.admits(v) {
			f.fail()
		}
		m := step(f, v)
		if m == nil || m.IsNull() && from.kind == objectKind {
			return nil
		}
		f.cost++
		if m.IsNull() || !t.admits(m) {
			f.fail()
		}
		return m
	})
	out.exact, out.ident = of.exact, of.ident
	return out
}

// optionalIndex is a list's item or a map's value that is asked for by [?] or of what is optional itself.
func (c *compiler) optionalIndex(of, at term) term {
	from := of.within()
	if name, ok := at.literal.(string); ok && from.kind == mapKind {
		return c.optionalMember(of, name)
	}
	name := uint64(0)
	if at.attribute {
		name = at.ident
	}
	var step func(f *frame, v *object.Value) *object.Value
	switch {
	case from.elem == nil:
		return c.no()
	case from.kind == mapKind && from.keyed(at.kind()):
		nameOf := at.key()
		step = func(f *frame, v *object.Value) *object.Value {
			key := nameOf(f)
			f.cost -= name
			return v.Get(key)
		}
	case from.kind == listKind && at.kind() == intKind:
		step = func(f *frame, v *object.Value) *object.Value {
			i := at.int(f)
			f.cost -= name
			if i < 0 || i >= int64(v.Len()) {
				return nil
			}
			return v.Index(int(i))
		}
	default:
		return c.no()
	}
	t := c.optionalStep(of, from.elem, step)
	t.exact = t.exact && at.literal != nil
	return t
}

// optionalChain is the operator ?. with a field's name or [?] with a key or an index.
func (c *compiler) optionalChain(call ast.CallExpr) term {
	of, at := c.expr(call.Args()[0]), c.expr(call.Args()[1])
	if c.unknown || !of.attribute || of.ident == 0 {
		return c.no() // what has no name costs otherwise
	}
	if call.FunctionName() == operators.OptIndex {
		return c.optionalIndex(of, at)
	}
	name, ok := at.literal.(string)
	if !ok {
		return c.no()
	}
	return c.optionalMember(of, name)
}

// ofOptional is a function of an optional value.
func (c *compiler) ofOptional(function string, args []term) term {
	of := args[0]
	elem := of.typ.elem
	if elem == nil && function != "hasValue" {
		return c.no()
	}
	switch function {
	case operators.Index:
		if of.ident == 0 {
			return c.no() // what has no name costs otherwise
		}
		return c.optionalIndex(of, args[1])
	case "hasValue":
		t := boolTerm(func(f *frame) bool { v := of.value(f); f.cost++; return v != nil })
		t.exact = of.exact
		return t
	case "value":
		return read(elem, func(f *frame) *object.Value {
			v := of.value(f)
			f.cost++
			if v == nil {
				f.fail()
			}
			return v
		})
	case "or", "orValue":
		slot := c.slots
		c.slots++
		at := func(f *frame) *object.Value { return f.vars[slot].at }
		there := read(elem, at)
		if function == "or" {
			there = optional(elem, at)
		}
		return c.choice(func(f *frame) bool {
			f.vars[slot].at = of.value(f)
			return f.vars[slot].at != nil
		}, there, args[1])
	}
	return c.no()
}
