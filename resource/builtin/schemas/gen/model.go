package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// schema is one OpenAPI v3 schema; encoding/json sorts its members.
type schema map[string]any

// special are the types whose JSON is not that of their Go structure: what their OpenAPISchemaType, ...Format and
// ...OneOfTypes methods answer.
var special = map[string]schema{
	"io.k8s.apimachinery.pkg.apis.meta.v1.Time":         {"type": "string", "format": "date-time"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime":    {"type": "string", "format": "date-time"},
	"io.k8s.apimachinery.pkg.apis.meta.v1.Duration":     {"type": "string"},
	"io.k8s.apimachinery.pkg.api.resource.Quantity":     {"oneOf": []schema{{"type": "string"}, {"type": "number"}}},
	"io.k8s.apimachinery.pkg.util.intstr.IntOrString":   {"format": "int-or-string", "oneOf": []schema{{"type": "integer"}, {"type": "string"}}},
	apiextensionsModel + "JSON":                         {},
	apiextensionsModel + "JSONSchemaPropsOrArray":       {},
	apiextensionsModel + "JSONSchemaPropsOrBool":        {},
	apiextensionsModel + "JSONSchemaPropsOrStringArray": {},
}

const apiextensionsModel = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

// scalars are the JSON type, format and zero value of Go's builtin types.
var scalars = map[string]struct {
	typ, format string
	zero        any
}{
	"uint": {"integer", "int32", 0}, "uint8": {"integer", "byte", 0}, "uint16": {"integer", "int32", 0},
	"uint32": {"integer", "int64", 0}, "uint64": {"integer", "int64", 0},
	"int": {"integer", "int32", 0}, "int8": {"integer", "byte", 0}, "int16": {"integer", "int32", 0},
	"int32": {"integer", "int32", 0}, "int64": {"integer", "int64", 0}, "byte": {"integer", "byte", 0}, "rune": {"integer", "int32", 0},
	"float64": {"number", "double", 0}, "float32": {"number", "float", 0},
	"bool": {"boolean", "", false}, "string": {"string", "", ""}, "time.Time": {"string", "date-time", ""},
}

// appendDoc appends a line: the type's name, a tab and its schema.
func appendDoc(out *bytes.Buffer, d *decl) error {
	s, err := d.schema()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\t", d.name)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(s)
}

func (d *decl) schema() (schema, error) {
	s := schema{}
	if t := describe(d.comments); t != "" {
		s["description"] = t
	}
	extend(s, d.comments)
	if sp, ok := special[d.model()]; ok {
		for k, v := range sp {
			s[k] = v
		}
		return s, nil
	}
	s["type"] = "object"
	props := schema{}
	var required []string
	for _, f := range d.members() {
		p, err := f.schema()
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.goName, err)
		}
		props[f.name()] = p
		if f.required() {
			required = append(required, f.name())
		}
	}
	if len(props) > 0 {
		s["properties"] = props
	}
	if len(required) > 0 {
		s["required"] = required
	}
	if u := d.union(); u != nil {
		s["x-kubernetes-unions"] = []schema{u}
	}
	switch {
	case d.path == metaPath && (d.name == "DeleteOptions" || d.name == "WatchEvent"):
		s["x-kubernetes-group-version-kind"] = d.src.kindsOfAll(d.name)
	case d.path == metaPath && d.isKind():
		// Registered as unversioned kinds of the core group, wherever they are served.
		s["x-kubernetes-group-version-kind"] = []schema{{"group": "", "version": "v1", "kind": d.name}}
	case d.isKind():
		s["x-kubernetes-group-version-kind"] = []schema{{"group": d.group, "version": d.path[strings.LastIndex(d.path, "/")+1:], "kind": d.name}}
	}
	return s, nil
}

// union says of a struct that is marked +union which of its fields there is one of, by the name of what they hold, and
// which field says so; nil for other types.
func (d *decl) union() schema {
	if _, ok := tags(d.comments)["union"]; !ok {
		return nil
	}
	fields, u := schema{}, schema{}
	for _, f := range d.members() {
		if _, ok := tags(f.comments)["unionDiscriminator"]; ok {
			u["discriminator"] = f.name()
		} else {
			fields[f.name()] = f.goName
		}
	}
	u["fields-to-discriminateBy"] = fields
	return u
}

// required follows the markers, and where there are none the absence of omitempty.
func (f *field) required() bool {
	t := tags(f.comments)
	if _, ok := t["required"]; ok {
		return true
	}
	if _, ok := t["optional"]; ok {
		return false
	}
	return !f.omitempty()
}

func (f *field) schema() (schema, error) {
	s := schema{}
	comments := f.comments
	if e := enumOf(f.typ); e != nil {
		l, err := e.enumLines()
		if err != nil {
			return nil, err
		}
		comments = append(append([]string(nil), comments...), l...)
	}
	if t := describe(comments); t != "" {
		s["description"] = t
	}
	extend(s, f.comments)
	if _, opts, _ := strings.Cut(f.tag.Get("json"), ","); opts == "string" {
		s["type"] = "string"
		return s, nil
	}
	v, err := f.defaultValue()
	if err != nil {
		return nil, err
	}
	if v != nil {
		s["default"] = v
	}
	if err := s.setType(f.typ); err != nil {
		return nil, err
	}
	return s.wrapRef(), nil
}

// wrapRef moves a reference that has siblings into an allOf, as OpenAPI ignores a reference's siblings.
func (s schema) wrapRef() schema {
	if r, ok := s["$ref"]; ok && len(s) > 1 {
		delete(s, "$ref")
		s["allOf"] = []schema{{"$ref": r}}
	}
	return s
}

// setType adds what follows from the Go type alone.
func (s schema) setType(t *typ) error {
	enum := enumOf(t)
	t = t.resolved()
	if t.isBytes() {
		s["type"], s["format"] = "string", "byte"
		return nil
	}
	switch t.kind {
	case builtinKind:
		b, ok := scalars[t.name]
		if !ok {
			return fmt.Errorf("no OpenAPI type for Go type %s", t.name)
		}
		s["type"] = b.typ
		if b.format != "" {
			s["format"] = b.format
		}
		if enum != nil {
			values, err := enum.enumValues()
			if err != nil {
				return err
			}
			s["enum"] = values
		}
	case anyKind:
		s["type"] = "object"
	case namedKind:
		s["$ref"] = "#/components/schemas/" + t.decl.model()
	case sliceKind, mapKind:
		e := schema{}
		if err := e.setType(t.elem); err != nil {
			return err
		}
		if t.kind == sliceKind {
			s["type"], s["items"] = "array", e
		} else {
			s["type"], s["additionalProperties"] = "object", e
		}
	}
	return nil
}

// resolved follows pointers and named types that are no structs.
func (t *typ) resolved() *typ {
	for {
		switch {
		case t.kind == pointerKind:
			t = t.elem
		case t.kind == namedKind && !t.decl.isStruct:
			t = t.decl.under
		default:
			return t
		}
	}
}

func (t *typ) isBytes() bool {
	return t.kind == sliceKind && t.elem.kind == builtinKind && (t.elem.name == "byte" || t.elem.name == "uint8")
}

func enumOf(t *typ) *decl {
	if t.kind == pointerKind {
		t = t.elem
	}
	if t.kind == namedKind && t.decl.isEnum() {
		return t.decl
	}
	return nil
}

func (d *decl) enumValues() ([]string, error) {
	var out []string
	for _, c := range d.enum {
		v, err := c.text(d.src)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	sort.Strings(out)
	return out, nil
}

var spaces = regexp.MustCompile(`\s+`)

// enumLines are the values as they are listed at the end of a field's description.
func (d *decl) enumLines() ([]string, error) {
	var out []string
	for _, c := range d.enum {
		v, err := c.text(d.src)
		if err != nil {
			return nil, err
		}
		doc := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(strings.Join(c.comments, " ")), c.name))
		out = append(out, fmt.Sprintf(" - `%q` %s", v, spaces.ReplaceAllString(doc, " ")))
	}
	if out == nil {
		return nil, nil
	}
	sort.Strings(out)
	return append([]string{"", "Possible enum values:"}, out...), nil
}

// describe renders a comment as a description: lines of a paragraph joined, indented lines kept apart, markers and
// TODOs left out, nothing after a line of three dashes.
func describe(comments []string) string {
	var b []byte
	chop := func() {
		if len(b) > 0 {
			b = b[:len(b)-1]
		}
	}
	for _, l := range comments {
		if l == "---" {
			break
		}
		l = strings.TrimRight(l, " ")
		lead := strings.TrimLeft(l, " ")
		switch {
		case l == "":
			chop()
			b = append(b, "\n\n"...)
		case strings.HasPrefix(lead, "TODO"), strings.HasPrefix(lead, "+"):
		case l[0] == ' ' || l[0] == '\t':
			chop()
			b = append(append(append(b, '\n'), l...), '\n')
		default:
			b = append(append(b, l...), ' ')
		}
	}
	return strings.TrimSpace(string(b))
}

// extensions are the markers that become x-kubernetes members.
var extensions = map[string]string{
	"patchMergeKey": "x-kubernetes-patch-merge-key",
	"patchStrategy": "x-kubernetes-patch-strategy",
	"listMapKey":    "x-kubernetes-list-map-keys",
	"listType":      "x-kubernetes-list-type",
	"mapType":       "x-kubernetes-map-type",
	"structType":    "x-kubernetes-map-type",
}

func extend(s schema, comments []string) {
	for tag, values := range tags(comments) {
		name, ok := extensions[tag]
		switch {
		case tag == "k8s:openapi-gen":
			for _, v := range values {
				if x, v, ok := strings.Cut(v, ":"); ok && strings.HasPrefix(x, "x-kubernetes-") {
					s[x] = v
				}
			}
		case !ok:
		case len(values) > 1 || tag == "listMapKey":
			s[name] = values
		default:
			s[name] = values[0]
		}
	}
}

// defaultValue is the +default marker of the field or of its type, or the zero value that Go's JSON always writes.
func (f *field) defaultValue() (any, error) {
	comments, path := f.comments, f.owner.path
	for t := f.typ; ; {
		if v := tags(comments)["default"]; len(v) > 0 && v[0] != "" {
			return f.owner.src.defaultOf(v[0], path)
		}
		if t == nil {
			break
		}
		comments = nil
		if t.kind == namedKind {
			comments, path = t.decl.comments, t.decl.path
		}
		switch {
		case t.kind == pointerKind:
			t = t.elem
		case t.kind == namedKind && !t.decl.isStruct:
			t = t.decl.under
		default:
			t = nil
		}
	}
	return enforced(f.typ, f.omitempty()), nil
}

func (s *source) defaultOf(tag, path string) (any, error) {
	if name, ok := strings.CutPrefix(tag, "ref("); ok {
		name = strings.TrimSuffix(name, ")")
		if i := strings.LastIndex(name, "."); i >= 0 {
			path, name = name[:i], name[i+1:]
		}
		return s.constText(path, name)
	}
	var v any
	if err := json.Unmarshal([]byte(tag), &v); err != nil {
		return nil, fmt.Errorf("default %s: %w", tag, err)
	}
	return v, nil
}

func enforced(t *typ, omitempty bool) any {
	switch t.kind {
	case builtinKind:
		if b, ok := scalars[t.name]; ok && !omitempty {
			return b.zero
		}
	case namedKind:
		d := t.decl
		switch {
		case !d.isStruct:
			return enforced(d.under, omitempty)
		case d.hasMethod("UnmarshalJSON"):
		case len(d.fields) == 1 && d.fields[0].embedded:
			return enforced(d.fields[0].typ, omitempty)
		default:
			return schema{}
		}
	}
	return nil
}
