package rule

import (
	"github.com/google/cel-go/common/ast"

	"pintle.dev/object"
)

// optional is a term of a value that there need not be: its value is nil then.
func optional(elem *Type, value func(*frame) *object.Value) term {
	return term{typ: &Type{kind: optionalKind, elem: elem}, value: value, attribute: true}
}

// optionalMember is a field that is selected by ?. or from what is optional itself.
func (c *compiler) optionalMember(of term, name string) term {
	from := of.typ
	if of.kind() == optionalKind {
		from = of.typ.elem
	}
	member, name := from.member(name)
	if member == nil {
		return c.no()
	}
	isMap, near := from.kind == mapKind, c.names
	c.names++
	t := optional(member, func(f *frame) *object.Value {
		v := of.value(f)
		if v == nil || f.erred {
			return nil
		}
		if !from.admits(v) {
			f.fail()
		}
		m := v.GetNear(name, &f.near[near])
		if m == nil || m.IsNull() && !isMap {
			return nil
		}
		f.cost++
		if m.IsNull() || !member.admits(m) {
			f.fail()
		}
		return m
	})
	t.exact, t.ident = of.exact, of.ident
	return t
}

// optionalSelect is the operator ?. with a field's name.
func (c *compiler) optionalSelect(call ast.CallExpr) term {
	of, name := c.expr(call.Args()[0]), call.Args()[1]
	if of.kind() != objectKind && of.kind() != mapKind && of.kind() != optionalKind || !of.attribute || of.ident == 0 {
		return c.no() // what has no name costs otherwise
	}
	text, ok := c.expr(name).literal.(string)
	if !ok {
		return c.no()
	}
	return c.optionalMember(of, text)
}

// ofOptional is a function of an optional value.
func (c *compiler) ofOptional(function string, args []term) term {
	of := args[0]
	elem := of.typ.elem
	switch function {
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
	case "orValue":
		slot := c.slots
		c.slots++
		there := read(elem, func(f *frame) *object.Value { return f.vars[slot].at })
		return c.choice(func(f *frame) bool {
			f.vars[slot].at = of.value(f)
			return f.vars[slot].at != nil
		}, there, args[1])
	}
	return c.no()
}
