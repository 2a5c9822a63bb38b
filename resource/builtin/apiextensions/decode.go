package apiextensions

import (
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// errUnusual says that a schema has something in it that schemaReader leaves to upstream's decoder: what is wrong, unknown,
// or null where a schema has no need for it.
var errUnusual = errors.New("the schema is to be read as its type says")

// readSchema reads the schema that d is at.
func readSchema(d *jsontext.Decoder, s *props) error {
	text, err := d.ReadValue()
	if err != nil {
		return err
	}
	r := schemaReader{text: string(text), options: d.Options()} // a copy, which what is read shares
	if !r.schema(s) {
		return errUnusual
	}
	return nil
}

// schemaReader reads schemas off JSON that is known to be well-formed, as the tags of their Go type say. Its methods report
// false when they cannot.
type schemaReader struct {
	text    string
	at      int
	options json.Options // for what is rare
}

func (r *schemaReader) schema(s *props) bool {
	if !r.open('{') {
		return false
	}
	for r.more('}') {
		var name string
		if !r.string(&name) || !r.member(name, s) {
			return false
		}
	}
	return true
}

// member reads what names and describes values, and hands on the rest.
func (r *schemaReader) member(name string, s *props) bool {
	switch name {
	case "id":
		return r.string(&s.ID)
	case "$schema":
		return r.string((*string)(&s.Schema))
	case "$ref":
		return r.string(made(&s.Ref))
	case "description":
		return r.string(&s.Description)
	case "type":
		return r.string(&s.Type)
	case "format":
		return r.string(&s.Format)
	case "title":
		return r.string(&s.Title)
	case "default":
		return r.optional(&s.Default)
	case "example":
		return r.optional(&s.Example)
	case "enum":
		return r.values(&s.Enum)
	case "nullable":
		return r.bool(&s.Nullable)
	case "x-kubernetes-preserve-unknown-fields":
		return r.bool(made(&s.XPreserveUnknownFields))
	case "x-kubernetes-embedded-resource":
		return r.bool(&s.XEmbeddedResource)
	case "x-kubernetes-int-or-string":
		return r.bool(&s.XIntOrString)
	case "x-kubernetes-list-map-keys":
		return r.strings(&s.XListMapKeys)
	case "x-kubernetes-list-type":
		return r.string(made(&s.XListType))
	case "x-kubernetes-map-type":
		return r.string(made(&s.XMapType))
	case "x-kubernetes-validations":
		return other(r, &s.XValidations)
	case "externalDocs":
		return other(r, &s.ExternalDocs)
	case "dependencies":
		return other(r, &s.Dependencies)
	}
	return r.limit(name, s) || r.below(name, s)
}

// limit reads a member that bounds values; false for others, too.
func (r *schemaReader) limit(name string, s *props) bool {
	switch name {
	case "maximum":
		return r.float(made(&s.Maximum))
	case "exclusiveMaximum":
		return r.bool(&s.ExclusiveMaximum)
	case "minimum":
		return r.float(made(&s.Minimum))
	case "exclusiveMinimum":
		return r.bool(&s.ExclusiveMinimum)
	case "multipleOf":
		return r.float(made(&s.MultipleOf))
	case "maxLength":
		return r.integer(made(&s.MaxLength))
	case "minLength":
		return r.integer(made(&s.MinLength))
	case "pattern":
		return r.string(&s.Pattern)
	case "maxItems":
		return r.integer(made(&s.MaxItems))
	case "minItems":
		return r.integer(made(&s.MinItems))
	case "uniqueItems":
		return r.bool(&s.UniqueItems)
	case "maxProperties":
		return r.integer(made(&s.MaxProperties))
	case "minProperties":
		return r.integer(made(&s.MinProperties))
	case "required":
		return r.strings(&s.Required)
	}
	return false
}

// below reads a member that has schemas in it; false for others, too.
func (r *schemaReader) below(name string, s *props) bool {
	switch name {
	case "items":
		items := made(&s.Items)
		if r.next() == '[' {
			return r.list(&items.JSONSchemas)
		}
		return r.schema(made(&items.Schema))
	case "allOf":
		return r.list(&s.AllOf)
	case "oneOf":
		return r.list(&s.OneOf)
	case "anyOf":
		return r.list(&s.AnyOf)
	case "not":
		return r.schema(made(&s.Not))
	case "properties":
		return r.named(&s.Properties)
	case "patternProperties":
		return r.named(&s.PatternProperties)
	case "definitions":
		return r.named((*map[string]props)(&s.Definitions))
	case "additionalProperties":
		return r.either(made(&s.AdditionalProperties))
	case "additionalItems":
		return r.either(made(&s.AdditionalItems))
	}
	return false
}

// made is what p points to from now on.
func made[T any](p **T) *T {
	*p = new(T)
	return *p
}

// next is what the next value or end begins with.
func (r *schemaReader) next() byte {
	for {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
			r.at++
		default:
			return c
		}
	}
}

// open begins a map or a list.
func (r *schemaReader) open(with byte) bool {
	if r.next() != with {
		return false
	}
	r.at++
	return true
}

// more reports whether there is another member or item before the end.
func (r *schemaReader) more(end byte) bool {
	if r.next() != end {
		return true
	}
	r.at++
	return false
}

// raw passes over a value, whose text it returns.
func (r *schemaReader) raw() string {
	first, start := r.next(), r.at
	for depth := 0; ; {
		switch r.text[r.at] {
		case '"':
			r.quoted()
		case '{', '[':
			depth++
			r.at++
		case '}', ']':
			depth--
			r.at++
		default:
			r.at++
		}
		if depth == 0 && (first == '"' || first == '{' || first == '[' || r.at == len(r.text) || strings.IndexByte(" \t\r\n,]}", r.text[r.at]) >= 0) {
			return r.text[start:r.at]
		}
	}
}

// quoted passes over a string. It returns what is between the quotes as it is written, and whether there are escapes in it.
func (r *schemaReader) quoted() (text string, escapes bool) {
	start := r.at + 1
	for i := start; ; {
		i += strings.IndexByte(r.text[i:], '"')
		slashes := 0
		for r.text[i-1-slashes] == '\\' {
			slashes++
		}
		if i++; slashes%2 == 0 {
			r.at = i
			text = r.text[start : i-1]
			return text, strings.IndexByte(text, '\\') >= 0
		}
	}
}

func (r *schemaReader) string(to *string) bool {
	if r.next() != '"' {
		return false
	}
	start := r.at
	text, escapes := r.quoted()
	if escapes {
		b, err := jsontext.AppendUnquote(nil, r.text[start:r.at])
		if err != nil {
			return false
		}
		text = string(b)
	}
	*to = text
	return true
}

func (r *schemaReader) strings(to *[]string) bool {
	if !r.open('[') {
		return false
	}
	list := []string{}
	for r.more(']') {
		var text string
		if !r.string(&text) {
			return false
		}
		list = append(list, text)
	}
	*to = list
	return true
}

func (r *schemaReader) bool(to *bool) bool {
	text := r.raw()
	*to = text == "true"
	return *to || text == "false"
}

func (r *schemaReader) integer(to *int64) bool {
	n, err := strconv.ParseInt(r.raw(), 10, 64)
	*to = n
	return err == nil
}

func (r *schemaReader) float(to *float64) bool {
	if c := r.next(); c != '-' && (c < '0' || c > '9') {
		return false
	}
	f, err := strconv.ParseFloat(r.raw(), 64)
	*to = f
	return err == nil
}

// value reads any JSON, of which null is left out.
func (r *schemaReader) value() (v apiextensionsv1.JSON) {
	if text := r.raw(); text != "null" {
		v.Raw = []byte(text)
	}
	return v
}

func (r *schemaReader) optional(to **apiextensionsv1.JSON) bool {
	if v := r.value(); v.Raw != nil {
		*to = &v
	}
	return true
}

func (r *schemaReader) values(to *[]apiextensionsv1.JSON) bool {
	if !r.open('[') {
		return false
	}
	list := []apiextensionsv1.JSON{}
	for r.more(']') {
		list = append(list, r.value())
	}
	*to = list
	return true
}

func (r *schemaReader) list(to *[]props) bool {
	if !r.open('[') {
		return false
	}
	list := make([]props, 0, 2) // as int-or-string has
	for r.more(']') {
		list = append(list, props{})
		if !r.schema(&list[len(list)-1]) {
			return false
		}
	}
	*to = list
	return true
}

func (r *schemaReader) named(to *map[string]props) bool {
	if !r.open('{') {
		return false
	}
	m := map[string]props{}
	var s props // out of the loop, within which it would escape in a recursive function; it is large
	for r.more('}') {
		s = props{}
		var name string
		if !r.string(&name) || !r.schema(&s) {
			return false
		}
		m[name] = s
	}
	*to = m
	return true
}

func (r *schemaReader) either(to *apiextensionsv1.JSONSchemaPropsOrBool) bool {
	if r.next() != '{' {
		return r.bool(&to.Allows)
	}
	to.Allows = true
	return r.schema(made(&to.Schema))
}

// other reads what is rare, by reflection.
func other[T any](r *schemaReader, to *T) bool {
	v := new(T) // which escapes, as the schema around to need not
	err := json.Unmarshal([]byte(r.raw()), v, r.options)
	*to = *v
	return err == nil
}
