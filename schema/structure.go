package schema

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Structure is what of a structural schema's JSON decides what becomes of an object that is read under it: which members
// it keeps, what it fills in and where null may stand. Two schemas with equal structures read every object alike, however
// they describe it and whatever values they allow. It is the schema itself when it cannot be told apart.
func Structure(source []byte) []byte {
	if len(source) == 0 {
		return source
	}
	w := structureWriter{in: jsontext.NewDecoder(bytes.NewReader(source))}
	if err := w.schema(); err != nil {
		return source
	}
	return w.out
}

type structureWriter struct {
	in  *jsontext.Decoder
	out []byte
}

// schema copies the members of a schema that matter.
func (w *structureWriter) schema() error {
	return w.members(func(name []byte) error {
		start := len(w.out)
		w.out = append(append(w.out, name...), ':')
		switch string(name) {
		case `"type"`, `"nullable"`, `"default"`, `"x-kubernetes-preserve-unknown-fields"`, `"x-kubernetes-embedded-resource"`, `"x-kubernetes-int-or-string"`:
			return w.value()
		case `"properties"`:
			return w.members(func(property []byte) error {
				w.out = append(append(w.out, property...), ':')
				return w.schema()
			})
		case `"items"`, `"additionalProperties"`:
			if w.in.PeekKind() == '{' {
				return w.schema()
			}
			return w.value()
		}
		w.out = w.out[:start]
		return w.in.SkipValue()
	})
}

// members calls each for the members of an object, with the name in JSON and the value still to be read.
func (w *structureWriter) members(each func(name []byte) error) error {
	if kind := w.in.PeekKind(); kind != '{' {
		return fmt.Errorf("have %s, want an object", kind)
	}
	if _, err := w.in.ReadToken(); err != nil {
		return err
	}
	w.out = append(w.out, '{')
	for w.in.PeekKind() != '}' {
		name, err := w.in.ReadValue()
		if err != nil {
			return err
		}
		if bytes.IndexByte(name, '\\') >= 0 {
			return fmt.Errorf("the name %s may be that of a keyword, written otherwise", name)
		}
		if err := each(name); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	_, err := w.in.ReadToken()
	return err
}

func (w *structureWriter) value() error {
	v, err := w.in.ReadValue()
	w.out = append(w.out, v...)
	return err
}
