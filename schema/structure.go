package schema

import (
	"bytes"

	"pintle.dev/object"
)

// Structure is what of a structural schema's JSON, which must be compact, decides what becomes of an object that is read
// under it: which members it keeps, what it fills in and where null may stand. Two schemas with equal structures read every
// object alike, however they describe it and whatever values they allow. It is the schema itself when it cannot be told
// apart.
func Structure(source []byte) []byte {
	return structure(structureWriter{in: source})
}

// Ownership is what of a structural schema's JSON, which must be compact, decides whose fields are whose in an object: its
// Structure, and how lists and maps are merged.
func Ownership(source []byte) []byte {
	return structure(structureWriter{in: source, merging: true})
}

func structure(w structureWriter) []byte {
	w.out = make([]byte, 0, len(w.in)/4)
	if end := w.schema(0); end != len(w.in) || w.odd {
		return w.in
	}
	return w.out
}

type structureWriter struct {
	in, out []byte
	merging bool // what says how lists and maps are merged matters as well
	odd     bool // something is not as in a structural schema
}

// schema copies the members of the schema at a position that matter, and returns the position after it.
func (w *structureWriter) schema(at int) int {
	return w.members(at, func(name []byte, at int) int {
		start := len(w.out)
		w.name(name)
		switch string(name) {
		case "type", "nullable", "default", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string":
			return w.value(at)
		case "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type":
			if w.merging {
				return w.value(at)
			}
		case "properties":
			return w.members(at, func(property []byte, at int) int {
				w.name(property)
				return w.schema(at)
			})
		case "items", "additionalProperties":
			if w.isMap(at) {
				return w.schema(at)
			}
			return w.value(at)
		}
		w.out = w.out[:start]
		return object.Skip(w.in, at)
	})
}

func (w *structureWriter) isMap(at int) bool { return at < len(w.in) && w.in[at] == '{' }

// members has each called for the members of the map at a position.
func (w *structureWriter) members(at int, each func(name []byte, at int) int) int {
	if !w.isMap(at) {
		w.odd = true
		return object.Skip(w.in, at)
	}
	w.out = append(w.out, '{')
	end := object.Walk(w.in, at, each)
	w.out = append(w.out, '}')
	return end
}

// name begins a member. One with escapes may be that of a keyword, written otherwise.
func (w *structureWriter) name(name []byte) {
	w.odd = w.odd || bytes.IndexByte(name, '\\') >= 0
	w.out = append(append(append(w.out, '"'), name...), '"', ':')
}

func (w *structureWriter) value(at int) int {
	end := object.Skip(w.in, at)
	w.out = append(w.out, w.in[at:end]...)
	return end
}
