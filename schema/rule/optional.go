package rule

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"

	"pintle.dev/object"
)

// optional is a term of a value that there need not be: its value is nil then.
func optional(elem *Type, value func(*frame) *object.Value) term {
	return term{typ: &Type{kind: optionalKind, elem: elem}, value: value, attribute: true}
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

// optionalIndex is a list's item or a map's value that is asked for by [?] or of what is optional itself. It knows those
// with a literal.
func (c *compiler) optionalIndex(of, at term) term {
	from := of.within()
	switch key := at.literal.(type) {
	case string:
		if from.kind == mapKind {
			return c.optionalMember(of, key)
		}
	case int64:
		if from.kind == listKind && from.elem != nil {
			return c.optionalStep(of, from.elem, func(_ *frame, v *object.Value) *object.Value { return v.Index(int(key)) })
		}
	}
	return c.no()
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
	switch function {
	case operators.Index:
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
