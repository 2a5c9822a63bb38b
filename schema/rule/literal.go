package rule

import (
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"pintle.dev/object"
)

// literal is a scalar that is written out.
func (c *compiler) literal(v ref.Val) term {
	switch v := v.(type) {
	case types.Bool:
		return constant(bool(v))
	case types.Int:
		return constant(int64(v))
	case types.Double:
		return constant(float64(v))
	case types.String:
		return constant(string(v))
	}
	t := foreign(func(*frame) ref.Val { return v })
	t.literal = v
	return t
}

// list is a list that is written out. One of constants alone is made beforehand and costs nothing.
func (c *compiler) list(l ast.ListExpr) term {
	if len(l.OptionalIndices()) > 0 {
		return c.no()
	}
	elems := make([]term, l.Size())
	items := make([]func(*frame) object.Value, l.Size())
	fixed, alike := true, true
	for i, e := range l.Elements() {
		t := c.expr(e)
		elems[i], items[i] = t, t.boxed()
		fixed = fixed && t.literal != nil
		alike = alike && items[i] != nil && elems[0].typ.same(t.typ)
	}
	switch {
	case c.unknown:
		return c.no()
	case !alike:
		return c.foreignList(elems, fixed)
	}
	typ := &Type{kind: listKind}
	if len(elems) > 0 {
		typ.elem = elems[0].typ
	}
	build := func(f *frame) *object.Value {
		values := make([]object.Value, len(items))
		for i, item := range items {
			values[i] = item(f)
		}
		v := object.NewList(values...)
		return &v
	}
	if fixed {
		v := build(new(frame))
		return term{typ: typ, literal: v, value: func(*frame) *object.Value { return v }}
	}
	return term{typ: typ, value: func(f *frame) *object.Value {
		f.cost += listCost
		return build(f)
	}}
}

// What it costs to make a list or a map that is written out.
const (
	listCost = 10
	mapCost  = 30
)

// foreignList is a list of values of several types, or of such as only cel-go knows.
func (c *compiler) foreignList(elems []term, fixed bool) term {
	items := make([]func(*frame) ref.Val, len(elems))
	for i, t := range elems {
		if items[i] = t.foreigner(); items[i] == nil {
			return c.no()
		}
	}
	build := func(f *frame) ref.Val {
		values := make([]ref.Val, len(items))
		for i, item := range items {
			if values[i] = item(f); f.failed || f.erred {
				return types.NullValue
			}
		}
		return types.NewRefValList(types.DefaultTypeAdapter, values)
	}
	if fixed {
		return c.literal(build(new(frame)))
	}
	return foreign(func(f *frame) ref.Val {
		f.cost += listCost
		return build(f)
	})
}

// mapOf is a map of strings to values of one type that is written out, or an empty one. One of constants alone is made
// beforehand and costs nothing.
func (c *compiler) mapOf(m ast.MapExpr) term {
	type entry struct {
		key   func(*frame) string
		value func(*frame) object.Value
	}
	var entries []entry
	var elem *Type
	fixed := true
	for _, e := range m.Entries() {
		e := e.AsMapEntry()
		key, of := c.expr(e.Key()), c.expr(e.Value())
		value := of.boxed()
		if c.unknown || e.IsOptional() || key.kind() != stringKind || value == nil || elem != nil && !elem.same(of.typ) {
			return c.no()
		}
		elem, fixed = of.typ, fixed && key.literal != nil && of.literal != nil
		entries = append(entries, entry{key.string, value})
	}
	build := func(f *frame) *object.Value {
		v := object.NewMap()
		for _, e := range entries {
			key := e.key(f)
			f.insert(&v, key, e.value(f))
		}
		return &v
	}
	typ := &Type{kind: mapKind, elem: elem}
	if !fixed {
		return term{typ: typ, value: func(f *frame) *object.Value {
			f.cost += mapCost
			return build(f)
		}}
	}
	made := new(frame)
	v := build(made)
	if made.failed {
		return c.no()
	}
	return term{typ: typ, literal: v, value: func(*frame) *object.Value { return v }}
}
