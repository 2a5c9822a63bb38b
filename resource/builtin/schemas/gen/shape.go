package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// appendShape appends a line that says how values of the type merge; package schemas reads it and its comment has the
// grammar.
func appendShape(out *bytes.Buffer, d *decl) error {
	out.WriteString(d.name)
	if isAtomic(d.comments) {
		out.WriteByte('!')
	}
	if _, ok := special[d.model()]; !ok {
		for _, f := range d.members() {
			s, err := f.shape(d)
			if err != nil {
				return fmt.Errorf("field %s: %w", f.goName, err)
			}
			out.WriteString(" " + s)
		}
	}
	out.WriteByte('\n')
	return nil
}

func isAtomic(comments []string) bool {
	t := tags(comments)
	return slices.Contains(t["structType"], "atomic") || slices.Contains(t["mapType"], "atomic") || slices.Contains(t["listType"], "atomic")
}

func (f *field) shape(in *decl) (string, error) {
	t := tags(f.comments)
	mergeKey, strategy := f.tag.Get("patchMergeKey"), f.tag.Get("patchStrategy")
	resolved := f.typ.resolved()
	keys := f.listKeys()
	var of string
	if resolved.kind == sliceKind && !resolved.isBytes() {
		elem, err := valueShape(resolved.elem, in)
		if err != nil {
			return "", err
		}
		merges := slices.Contains(strings.Split(strategy, ","), "merge")
		switch {
		case keys != nil:
			of = "+" + strings.Join(keys, ",") + "+" + elem
		case slices.Contains(t["listType"], "set"):
			of = "=" + elem
		case slices.Contains(t["listType"], "atomic") || !merges:
			of = "-" + elem
		default:
			of = "=" + elem
		}
	} else {
		v, err := valueShape(f.typ, in)
		if err != nil {
			return "", err
		}
		of = v
		if of != "" && isAtomic(f.comments) {
			of += "!"
		}
	}
	if strategy != "" {
		of += "@" + strategy + ":" + mergeKey
	}
	if of == "" {
		v, err := f.defaultValue()
		if err != nil {
			return "", err
		}
		// A zero value is worth saying only where a list's items are known by it.
		_, marked := tags(f.comments)["default"]
		if v != nil && (marked || in.keys[f.name()] || v != "" && v != 0 && v != false) {
			j, err := json.Marshal(v)
			if err != nil {
				return "", err
			}
			if bytes.ContainsAny(j, " \n") {
				return "", fmt.Errorf("default %s contains white space", j)
			}
			of = "#" + string(j)
		}
	}
	if of == "" {
		return f.name(), nil
	}
	return f.name() + ":" + of, nil
}

// listKeys are the members that an item of the field, an associative list, is known by; nil for all else.
func (f *field) listKeys() []string {
	if resolved := f.typ.resolved(); resolved.kind != sliceKind || resolved.isBytes() {
		return nil
	}
	t := tags(f.comments)
	switch key := f.tag.Get("patchMergeKey"); {
	case slices.Contains(t["listType"], "map"):
		return t["listMapKey"]
	case slices.Contains(t["listType"], "set"), slices.Contains(t["listType"], "atomic"), key == "":
		return nil
	case slices.Contains(strings.Split(f.tag.Get("patchStrategy"), ","), "merge"):
		return []string{key}
	}
	return nil
}

// findKeys notes in each type by which of its fields a list somewhere knows its items.
func findKeys(types map[string][]*decl) {
	for _, decls := range types {
		for _, d := range decls {
			if special[d.model()] != nil {
				continue
			}
			for _, f := range d.members() {
				keys := f.listKeys()
				if keys == nil {
					continue
				}
				if item := f.typ.resolved().elem.resolved(); item.kind == namedKind {
					if item.decl.keys == nil {
						item.decl.keys = map[string]bool{}
					}
					for _, key := range keys {
						item.decl.keys[key] = true
					}
				}
			}
		}
	}
}

// valueShape is the shape of a value without markers of its own; "" for scalars.
func valueShape(t *typ, in *decl) (string, error) {
	t = t.resolved()
	switch {
	case t.isBytes():
		return "", nil
	case t.kind == sliceKind:
		e, err := valueShape(t.elem, in)
		return "-" + e, err
	case t.kind == mapKind:
		e, err := valueShape(t.elem, in)
		return "%" + e, err
	case t.kind == namedKind:
		switch {
		case special[t.decl.model()] != nil || len(t.decl.members()) == 0 && t.decl.hasMethod("UnmarshalJSON"):
			return "", nil
		case t.decl.path == in.path:
			return t.decl.name, nil
		default:
			return t.decl.model(), nil
		}
	}
	return "", nil
}
