package apiextensions

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// codec reads and writes v1. Schemas, nearly all of a definition, are read by schemaReader and written by schemaWriter: by
// reflection it costs several times as much, and their types have what is below items and additionalProperties read once
// more, at each level.
var codec = resource.TypedCodec[definition]{
	APIVersion: api.CustomResourceDefinitions.Group + "/v1", Kind: "CustomResourceDefinition",
	Marshalers: json.MarshalToFunc(func(e *jsontext.Encoder, s *props) error {
		w := schemaWriters.Get().(*schemaWriter)
		defer schemaWriters.Put(w)
		w.b, w.err = w.b[:0], nil
		w.schema(s)
		if w.err != nil {
			return w.err
		}
		return e.WriteValue(w.b)
	}),
	Unmarshalers: json.UnmarshalFromFunc(readSchema),
}

var schemaWriters = sync.Pool{New: func() any { return new(schemaWriter) }}

// schemaWriter appends the JSON of schemas, as the tags of their Go type say.
type schemaWriter struct {
	b   []byte
	err error
}

func (w *schemaWriter) schema(s *props) {
	w.b = append(w.b, '{')
	w.text("id", s.ID)
	w.text("$schema", string(s.Schema))
	w.pointer("$ref", s.Ref)
	w.text("description", s.Description)
	w.text("type", s.Type)
	w.text("format", s.Format)
	w.text("title", s.Title)
	w.value("default", s.Default)
	w.float("maximum", s.Maximum)
	w.yes("exclusiveMaximum", s.ExclusiveMaximum)
	w.float("minimum", s.Minimum)
	w.yes("exclusiveMinimum", s.ExclusiveMinimum)
	w.integer("maxLength", s.MaxLength)
	w.integer("minLength", s.MinLength)
	w.text("pattern", s.Pattern)
	w.integer("maxItems", s.MaxItems)
	w.integer("minItems", s.MinItems)
	w.yes("uniqueItems", s.UniqueItems)
	w.float("multipleOf", s.MultipleOf)
	w.values("enum", s.Enum)
	w.integer("maxProperties", s.MaxProperties)
	w.integer("minProperties", s.MinProperties)
	w.texts("required", s.Required)
	if s.Items != nil {
		w.name("items")
		switch {
		case len(s.Items.JSONSchemas) > 0:
			w.list(s.Items.JSONSchemas)
		case s.Items.Schema != nil:
			w.schema(s.Items.Schema)
		default:
			w.b = append(w.b, "null"...)
		}
	}
	w.schemas("allOf", s.AllOf)
	w.schemas("oneOf", s.OneOf)
	w.schemas("anyOf", s.AnyOf)
	if s.Not != nil {
		w.name("not")
		w.schema(s.Not)
	}
	w.named("properties", s.Properties)
	w.either("additionalProperties", s.AdditionalProperties)
	w.named("patternProperties", s.PatternProperties)
	if len(s.Dependencies) > 0 {
		w.other("dependencies", s.Dependencies)
	}
	w.either("additionalItems", s.AdditionalItems)
	w.named("definitions", s.Definitions)
	if s.ExternalDocs != nil {
		w.other("externalDocs", s.ExternalDocs)
	}
	w.value("example", s.Example)
	w.yes("nullable", s.Nullable)
	if s.XPreserveUnknownFields != nil {
		w.name("x-kubernetes-preserve-unknown-fields")
		w.b = strconv.AppendBool(w.b, *s.XPreserveUnknownFields)
	}
	w.yes("x-kubernetes-embedded-resource", s.XEmbeddedResource)
	w.yes("x-kubernetes-int-or-string", s.XIntOrString)
	w.texts("x-kubernetes-list-map-keys", s.XListMapKeys)
	w.pointer("x-kubernetes-list-type", s.XListType)
	w.pointer("x-kubernetes-map-type", s.XMapType)
	if len(s.XValidations) > 0 {
		w.other("x-kubernetes-validations", s.XValidations)
	}
	w.b = append(w.b, '}')
}

// name begins a member.
func (w *schemaWriter) name(name string) {
	w.comma()
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *schemaWriter) comma() {
	if last := w.b[len(w.b)-1]; last != '{' && last != '[' {
		w.b = append(w.b, ',')
	}
}

func (w *schemaWriter) quote(s string) {
	b, err := jsontext.AppendQuote(w.b, s)
	if err != nil {
		w.err = err // not UTF-8
		return
	}
	w.b = b
}

func (w *schemaWriter) text(name, s string) {
	if s != "" {
		w.name(name)
		w.quote(s)
	}
}

func (w *schemaWriter) pointer(name string, s *string) {
	if s != nil {
		w.name(name)
		w.quote(*s)
	}
}

func (w *schemaWriter) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	w.b = append(w.b, '[')
	for _, s := range list {
		w.comma()
		w.quote(s)
	}
	w.b = append(w.b, ']')
}

func (w *schemaWriter) yes(name string, is bool) {
	if is {
		w.name(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *schemaWriter) integer(name string, n *int64) {
	if n != nil {
		w.name(name)
		w.b = strconv.AppendInt(w.b, *n, 10)
	}
}

func (w *schemaWriter) float(name string, f *float64) {
	switch {
	case f == nil:
	case *f == math.Trunc(*f) && math.Abs(*f) < 1e15 && !math.Signbit(*f):
		w.name(name)
		w.b = strconv.AppendInt(w.b, int64(*f), 10)
	default:
		w.other(name, *f)
	}
}

func (w *schemaWriter) raw(v apiextensionsv1.JSON) {
	if len(v.Raw) == 0 {
		w.b = append(w.b, "null"...)
		return
	}
	w.b = append(w.b, v.Raw...)
}

func (w *schemaWriter) value(name string, v *apiextensionsv1.JSON) {
	if v != nil {
		w.name(name)
		w.raw(*v)
	}
}

func (w *schemaWriter) values(name string, list []apiextensionsv1.JSON) {
	if len(list) == 0 {
		return
	}
	w.name(name)
	w.b = append(w.b, '[')
	for i, v := range list {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.raw(v)
	}
	w.b = append(w.b, ']')
}

func (w *schemaWriter) schemas(name string, list []props) {
	if len(list) > 0 {
		w.name(name)
		w.list(list)
	}
}

func (w *schemaWriter) list(list []props) {
	w.b = append(w.b, '[')
	for i := range list {
		w.comma()
		w.schema(&list[i])
	}
	w.b = append(w.b, ']')
}

func (w *schemaWriter) named(name string, schemas map[string]props) {
	if len(schemas) == 0 {
		return
	}
	w.name(name)
	w.b = append(w.b, '{')
	for _, member := range slices.Sorted(maps.Keys(schemas)) {
		w.comma()
		w.quote(member)
		w.b = append(w.b, ':')
		s := schemas[member]
		w.schema(&s)
	}
	w.b = append(w.b, '}')
}

func (w *schemaWriter) either(name string, e *apiextensionsv1.JSONSchemaPropsOrBool) {
	switch {
	case e == nil:
	case e.Schema != nil:
		w.name(name)
		w.schema(e.Schema)
	default:
		w.name(name)
		w.b = strconv.AppendBool(w.b, e.Allows)
	}
}

// other writes what is rare.
func (w *schemaWriter) other(name string, v any) {
	text, err := json.Marshal(v, jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))
	if err != nil {
		w.err = err
		return
	}
	w.name(name)
	w.b = append(w.b, text...)
}
