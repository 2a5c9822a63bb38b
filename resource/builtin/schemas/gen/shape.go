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
	var of string
	if resolved.kind == sliceKind && !resolved.isBytes() {
		elem, err := valueShape(resolved.elem, in)
		if err != nil {
			return "", err
		}
		merges := slices.Contains(strings.Split(strategy, ","), "merge")
		switch {
		case slices.Contains(t["listType"], "map"):
			of = "+" + strings.Join(t["listMapKey"], ",") + "+" + elem
		case slices.Contains(t["listType"], "set"):
			of = "=" + elem
		case slices.Contains(t["listType"], "atomic") || !merges:
			of = "-" + elem
		case mergeKey != "":
			of = "+" + mergeKey + "+" + elem
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
		// A zero value is worth saying only where a marker does: it may be the default of a list's key.
		_, marked := tags(f.comments)["default"]
		if v != nil && (marked || v != "" && v != 0 && v != false) {
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
