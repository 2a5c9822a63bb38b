package rule

import (
	"slices"

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
		return c.listOfSome(l)
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

// listOfSome is a list that is written out with items that are there only if a value is.
func (c *compiler) listOfSome(l ast.ListExpr) term {
	var elem *Type
	items := make([]func(*frame) (object.Value, bool), l.Size())
	for i, e := range l.Elements() {
		t := c.expr(e)
		of, item := t.entry(slices.Contains(l.OptionalIndices(), int32(i)))
		if c.unknown || item == nil || elem != nil && of != nil && !elem.same(of) {
			return c.no()
		}
		if items[i] = item; of != nil {
			elem = of
		}
	}
	return term{typ: &Type{kind: listKind, elem: elem}, value: func(f *frame) *object.Value {
		f.cost += listCost
		values := make([]object.Value, 0, len(items))
		for _, item := range items {
			if v, ok := item(f); ok {
				values = append(values, v)
			}
		}
		v := object.NewList(values...)
		return &v
	}}
}

// entry is the type of a term that stands in a list or map, nil when that may be any, and runs it for its value and whether
// there is one; nil when it cannot be there.
func (t term) entry(optional bool) (*Type, func(*frame) (object.Value, bool)) {
	if optional {
		if t.kind() == optionalKind && t.typ.elem == nil { // which is never there
			return nil, func(f *frame) (object.Value, bool) { t.value(f); return object.Value{}, false }
		}
		if t.kind() != optionalKind || t.typ.elem.kind == opaqueKind || t.typ.elem.kind == optionalKind {
			return nil, nil
		}
		elem := t.typ.elem
		return elem, func(f *frame) (object.Value, bool) {
			v := t.value(f)
			if v == nil || f.erred {
				return object.Value{}, false
			}
			if !elem.admits(v) {
				f.fail()
			}
			return *v, true
		}
	}
	box := t.boxed()
	if box == nil {
		return nil, nil
	}
	return t.typ, func(f *frame) (object.Value, bool) { return box(f), true }
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

// mapOf is a map of strings or integers to values of one type that is written out, or an empty one. One of constants alone
// is made beforehand and costs nothing.
func (c *compiler) mapOf(m ast.MapExpr) term {
	type entry struct {
		key   func(*frame) string
		value func(*frame) (object.Value, bool)
	}
	var entries []entry
	var elem *Type
	fixed, numbered := true, false
	for i, e := range m.Entries() {
		e := e.AsMapEntry()
		key, of := c.expr(e.Key()), c.expr(e.Value())
		typ, value := of.entry(e.IsOptional())
		name, number := key.key(), key.kind() == intKind
		if c.unknown || name == nil || i > 0 && number != numbered || value == nil || elem != nil && typ != nil && !elem.same(typ) {
			return c.no()
		}
		if typ != nil {
			elem = typ
		}
		numbered, fixed = number, fixed && key.literal != nil && of.literal != nil
		entries = append(entries, entry{name, value})
	}
	build := func(f *frame) *object.Value {
		v := object.NewMap()
		for _, e := range entries {
			key := e.key(f)
			if value, ok := e.value(f); ok {
				f.insert(&v, key, value)
			} else if v.Get(key) != nil {
				f.fail() // what is not there takes away what was
			}
		}
		return &v
	}
	typ := &Type{kind: mapKind, elem: elem, numbered: numbered}
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
