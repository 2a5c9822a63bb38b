package server

import (
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/validation/spec"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
	"pintle.dev/server/describe"
)

// fitsSchema reports that a configuration certainly has only fields that the schema declares, with values of their
// types. When it is not certain, misfit decides.
func (q *request) fitsSchema(config *object.Value) bool {
	if q.d.Custom {
		return resource.Admits(q.v, config)
	}
	_, problems, err := q.v.Codec.Decode(object.AppendJSON(nil, config), false)
	return err == nil && len(problems) == 0
}

// listsNumbers reports whether there is a list in v that has nothing but numbers. A typed decoder takes one for bytes,
// where the schema has a string.
func listsNumbers(v *object.Value) bool {
	if v.Kind() == object.List {
		number := true
		for _, e := range v.Items() {
			if number = number && e.Kind() == object.Number; listsNumbers(e) {
				return true
			}
		}
		return number
	}
	for _, m := range v.Fields() {
		if listsNumbers(m) {
			return true
		}
	}
	return false
}

// misfit says, in the words of upstream's library, what of a configuration does not fit the schema; nil when all does.
// Upstream answers with a 500 of the same message.
func (q *request) misfit(config *object.Value) error {
	t, err := typedModel(q.d, q.v)
	if err != nil {
		return err
	}
	return misfitOf(t, config)
}

func misfitOf(t typed.ParseableType, config *object.Value) error {
	if _, err := t.FromUnstructured(config.ToAny()); err != nil {
		return api.BadRequest("failed to create typed patch object (%s): %s", described(config), err)
	}
	return nil
}

// mistyped says what of a document of a custom kind has another type than a version's schema declares, or is not declared:
// what a write of the status says of the rest, what a list may be where a string has a format, what another version's
// schema declares, what the schema declared when it was stored. Upstream cannot tell whose fields are whose then: an apply
// fails, another write forgets it for good.
func (q *request) mistyped(v *resource.Version, doc *object.Value) error {
	if resource.AdmitsBesides(v, doc) {
		return nil
	}
	return q.wordMisfit(v, doc, typed.AllowDuplicates)
}

// misread is mistyped for a document in another version than the request's, where upstream does not tolerate that a list
// which tells its items apart has two of one identity.
func (q *request) misread(v *resource.Version, doc *object.Value) error {
	if resource.AdmitsBesides(v, doc) && object.Distinct(doc, v.Shape) {
		return nil
	}
	return q.wordMisfit(v, doc)
}

func (q *request) wordMisfit(v *resource.Version, doc *object.Value, opts ...typed.ValidationOptions) error {
	t, err := typedModel(q.d, v)
	if err != nil {
		return nil // there is no schema to compare with
	}
	_, err = t.FromUnstructured(doc.ToAny(), opts...)
	return err
}

// typedModels holds what was built of the built-in models: at most as many as there are kinds.
var typedModels sync.Map // name -> typed.ParseableType

// typedModel is a version's schema as structured-merge-diff has it. It is for wording errors only: that of a custom kind
// is built each time.
func typedModel(d *resource.Definition, v *resource.Version) (typed.ParseableType, error) {
	if !d.Custom {
		return typedBuiltin(v.Model)
	}
	name, docs, err := describe.CustomModel(d, v)
	if err != nil {
		return typed.ParseableType{}, err
	}
	return typedOf(name, docs)
}

func typedBuiltin(name string) (typed.ParseableType, error) {
	if t, ok := typedModels.Load(name); ok {
		return t.(typed.ParseableType), nil
	}
	docs, err := schemas.Closure(name)
	if err != nil {
		return typed.ParseableType{}, err
	}
	t, err := typedOf(name, docs)
	if err == nil {
		typedModels.Store(name, t)
	}
	return t, err
}

// typedOf converts the OpenAPI schema of that name and those it refers to.
func typedOf(name string, docs map[string][]byte) (typed.ParseableType, error) {
	models := make(map[string]*spec.Schema, len(docs))
	for name, doc := range docs {
		s := new(spec.Schema)
		if err := json.Unmarshal(doc, s); err != nil {
			return typed.ParseableType{}, fmt.Errorf("reading the schema of %s: %w", name, err)
		}
		models[name] = s
	}
	converted, err := schemaconv.ToSchemaFromOpenAPI(models, false)
	if err != nil {
		return typed.ParseableType{}, fmt.Errorf("converting the schema of %s: %w", name, err)
	}
	return (&typed.Parser{Schema: smdschema.Schema{Types: converted.Types}}).Type(name), nil
}
