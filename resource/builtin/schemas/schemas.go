// Package schemas knows the built-in API types as documents rather than as Go types: how their values merge (Shape) and
// how OpenAPI describes them (Docs). Both come from data that gen writes from the types' Go source, embedded, and read
// when first asked for: nothing happens at start-up, and using one type does not load the others.
//
// Types go by the names upstream's OpenAPI gives them: "io.k8s.api.core.v1.Pod". A name's last dot parts package and
// type; each package has two files.
//
// data/PACKAGE.shape has one line per type: its name, "!" when the type is atomic, and its fields, parted by spaces. A
// field is its JSON name, for all but plain scalars followed by a colon and what it holds:
//
//	field   = name [ ":" holds ]
//	holds   = [ value ] [ "!" ] [ "@" strategies ":" mergeKey ] [ "#" default ]
//	value   = Type            a type of this package, or with its whole name of another one
//	        | "%" [ value ]   a map of values ("" are scalars)
//	        | "-" [ value ]   an atomic list
//	        | "=" [ value ]   a set
//	        | "+" keys "+" [ value ]   an associative list and the keys, comma-separated, of its items
//
// "!" makes a map or struct atomic, "@" is its strategic merge patch directive, "#" a scalar's default as JSON.
//
// data/PACKAGE.doc is deflated and has one line per type: its name, a tab and its OpenAPI v3 schema as JSON.
package schemas

import (
	"bytes"
	"compress/flate"
	"embed"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"

	"pintle.dev/object"
)

//go:generate go run ./gen data

//go:embed data
var data embed.FS

// Name is the OpenAPI name of a Go type of k8s.io/api, apimachinery or apiextensions.
func Name(t reflect.Type) string {
	host, rest, _ := strings.Cut(t.PkgPath(), "/")
	parts := strings.Split(host, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(rest, "/", ".") + "." + t.Name()
}

func split(name string) (pkg, typ string) {
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], name[i+1:]
}

// Shape is how values of the named type merge. It is cheap: nothing is read before the shape's first use. A shape of a
// name that does not exist knows no fields.
func Shape(name string) object.Shape { return &shape{model: modelOf(name)} }

// Exists reports whether the data has the named type.
func Exists(name string) bool { return modelOf(name).load().found }

var models sync.Map // name -> *model

func modelOf(name string) *model {
	if m, ok := models.Load(name); ok {
		return m.(*model)
	}
	m, _ := models.LoadOrStore(name, &model{name: name})
	return m.(*model)
}

var packages sync.Map // package -> func() map[string]string

// shapeLines are the lines of a package's shape file by type: what follows the type's name.
func shapeLines(pkg string) map[string]string {
	f, ok := packages.Load(pkg)
	if !ok {
		f, _ = packages.LoadOrStore(pkg, sync.OnceValue(func() map[string]string {
			b, err := data.ReadFile("data/" + pkg + ".shape")
			if err != nil {
				return nil // no such package: none of its types exist
			}
			lines := make(map[string]string, bytes.Count(b, []byte("\n")))
			for line := range strings.Lines(string(b)) {
				line = strings.TrimSuffix(line, "\n")
				end := strings.IndexAny(line, " !")
				if end < 0 {
					end = len(line)
				}
				lines[line[:end]] = line[end:]
			}
			return lines
		}))
	}
	return f.(func() map[string]string)()
}

// model is a struct type.
type model struct {
	name string

	once   sync.Once
	found  bool
	atomic bool
	fields map[string]*shape // nil: a scalar without default
}

func (m *model) load() *model {
	m.once.Do(func() {
		pkg, typ := split(m.name)
		var line string
		line, m.found = shapeLines(pkg)[typ]
		line, m.atomic = strings.CutPrefix(line, "!")
		m.fields = make(map[string]*shape, strings.Count(line, " "))
		for f := range strings.FieldsSeq(line) {
			name, holds, ok := strings.Cut(f, ":")
			if !ok {
				m.fields[name] = nil
				continue
			}
			m.fields[name] = parseHolds(pkg, holds)
		}
	})
	return m
}

// shape implements object.Shape: a struct (model), a map or list (item), or a scalar with a default.
type shape struct {
	model      *model
	item       *shape // of a list or map; nil when its items are scalars
	kind       byte   // 0 for structs and scalars, else '%', '-', '=' or '+'
	atomic     bool
	keys       []string
	mergeKey   string
	strategies []string
	defaults   string
}

func parseHolds(pkg, s string) *shape {
	value, def, _ := strings.Cut(s, "#")
	value, patch, patched := strings.Cut(value, "@")
	value, atomic := strings.CutSuffix(value, "!")
	sh := parseValue(pkg, value)
	if sh == nil {
		sh = new(shape)
	}
	sh.atomic, sh.defaults = sh.atomic || atomic, def
	if patched {
		strategies, key, _ := strings.Cut(patch, ":")
		sh.mergeKey, sh.strategies = key, strings.Split(strategies, ",")
	}
	return sh
}

func parseValue(pkg, s string) *shape {
	if s == "" {
		return nil
	}
	switch c := s[0]; c {
	case '%', '-', '=':
		return &shape{kind: c, atomic: c == '-', item: parseValue(pkg, s[1:])}
	case '+':
		keys, item, _ := strings.Cut(s[1:], "+")
		return &shape{kind: c, keys: strings.Split(keys, ","), item: parseValue(pkg, item)}
	}
	if !strings.Contains(s, ".") {
		s = pkg + "." + s
	}
	return &shape{model: modelOf(s)}
}

func (s *shape) scalar() bool { return s == nil || s.model == nil && s.kind == 0 }

func (s *shape) member(name string) *shape {
	switch {
	case s.model != nil:
		return s.model.load().fields[name]
	case s.kind == '%':
		return s.item
	}
	return nil
}

// Field implements object.Shape.
func (s *shape) Field(name string) object.Shape {
	if f := s.member(name); !f.scalar() {
		return f
	}
	return nil
}

// Has reports whether the type has the field. Maps have every field.
func (s *shape) Has(name string) bool {
	if s.model == nil {
		return s.kind == '%'
	}
	_, ok := s.model.load().fields[name]
	return ok
}

// Declares implements object.Shape.
func (s *shape) Declares(name string) bool { return s.model != nil && s.Has(name) }

// Item implements object.Shape.
func (s *shape) Item() object.Shape {
	if s.item.scalar() {
		return nil
	}
	return s.item
}

// Atomic implements object.Shape.
func (s *shape) Atomic() bool { return s.atomic || s.model != nil && s.model.load().atomic }

// Set implements object.Shape.
func (s *shape) Set() bool { return s.kind == '=' }

// Keys implements object.Shape.
func (s *shape) Keys() []string { return s.keys }

// KeyDefault implements object.Shape.
func (s *shape) KeyDefault(key string) string {
	if s.item == nil {
		return ""
	}
	if f := s.item.member(key); f != nil {
		return f.defaults
	}
	return ""
}

// Patch implements object.Shape.
func (s *shape) Patch() (mergeKey string, strategies []string) { return s.mergeKey, s.strategies }

// GoType implements object.GoTyped.
func (s *shape) GoType() (kind, name string) {
	switch {
	case s.model != nil:
		_, name = split(s.model.name)
		return "struct", name
	case s.kind == 0:
		return "", ""
	case s.kind == '%':
		return "map", ""
	}
	return "slice", ""
}

// Docs yields the name and the OpenAPI v3 schema, as JSON, of every type in a package ("io.k8s.api.core.v1"). Nothing
// is kept: who needs the schemas again asks again. References are "#/components/schemas/NAME".
func Docs(pkg string) (iter.Seq2[string, []byte], error) {
	f, err := data.ReadFile("data/" + pkg + ".doc")
	if err != nil {
		return nil, fmt.Errorf("reading the schemas of %s: %w", pkg, err)
	}
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(f)))
	if err != nil {
		return nil, fmt.Errorf("unpacking the schemas of %s: %w", pkg, err)
	}
	return func(yield func(string, []byte) bool) {
		for line := range bytes.Lines(b) {
			typ, doc, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
			if !yield(pkg+"."+string(typ), doc) {
				return
			}
		}
	}, nil
}

// Closure collects the schemas of the named types and of all they refer to, by name.
func Closure(names ...string) (map[string][]byte, error) {
	names = slices.Clone(names) // which is worked off in place
	loaded := map[string]map[string][]byte{}
	out := map[string][]byte{}
	for len(names) > 0 {
		name := names[len(names)-1]
		names = names[:len(names)-1]
		if out[name] != nil {
			continue
		}
		pkg, _ := split(name)
		if loaded[pkg] == nil {
			docs, err := Docs(pkg)
			if err != nil {
				return nil, err
			}
			loaded[pkg] = map[string][]byte{}
			for n, d := range docs {
				loaded[pkg][n] = d
			}
		}
		doc := loaded[pkg][name]
		if doc == nil {
			return nil, fmt.Errorf("there is no schema of %s", name)
		}
		out[name] = doc
		names = append(names, References(doc)...)
	}
	return out, nil
}

// References lists the names a schema refers to, in order, repeated as they come.
func References(doc []byte) []string {
	const ref = `"$ref":"#/components/schemas/`
	var names []string
	for {
		i := bytes.Index(doc, []byte(ref))
		if i < 0 {
			return names
		}
		doc = doc[i+len(ref):]
		names = append(names, string(doc[:bytes.IndexByte(doc, '"')]))
	}
}
