package describe

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
)

// customSchemas are the schemas of a custom kind's objects and lists: the author's, completed by what every Kubernetes
// object has. Without them kubectl takes apiVersion, kind and metadata for unknown fields.
func customSchemas(def *resource.Definition, v *resource.Version) (entries, error) {
	root := object.NewMap()
	if source := resource.SchemaJSON(v); source != nil {
		parsed, err := object.Parse(source)
		if err != nil {
			return nil, fmt.Errorf("schema of %s in %s: %w", def.Resource, v.APIVersion(), err)
		}
		complete(parsed)
		addObjectProperties(parsed, typeDoc, schemaPrefix)
		root = *parsed
	}
	root.Set("type", object.NewString("object"))
	extend(&root, v, def.KindOf(v))
	list := listSchema(def, v, schemaPrefix)
	return entries{modelName(def, v): object.AppendJSON(nil, &root), modelListName(def, v): object.AppendJSON(nil, &list)}, nil
}

// CustomModel is the name of the OpenAPI v3 schema of a custom kind's objects in a version, and that schema with those it
// refers to, by name.
func CustomModel(def *resource.Definition, v *resource.Version) (name string, docs map[string][]byte, err error) {
	own, err := customSchemas(def, v)
	if err != nil {
		return "", nil, err
	}
	if docs, err = schemas.Closure(objectMetaModel); err != nil {
		return "", nil, err
	}
	name = modelName(def, v)
	docs[name] = own[name]
	return name, docs, nil
}

// listSchema is the schema of a custom kind's lists. The prefix of references tells v2 from v3.
func listSchema(def *resource.Definition, v *resource.Version, prefix string) object.Value {
	l := object.NewMap()
	l.Set("type", object.NewString("object"))
	l.Set("description", object.NewString(fmt.Sprintf("%s is a list of %s", listKind(def, v), def.KindOf(v))))
	l.Set("required", object.NewList(object.NewString("items")))
	addObjectProperties(&l, typeDoc, prefix)
	props := l.Get("properties")
	props.Set("metadata", describedRef(listMetaModel, partialListDoc["metadata"], prefix))
	items := props.Set("items", object.NewMap())
	items.Set("type", object.NewString("array"))
	items.Set("description", object.NewString(fmt.Sprintf("List of %s. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", def.Resource.Name)))
	items.Set("items", ref(modelName(def, v), prefix))
	extend(&l, v, listKind(def, v))
	return l
}

// Documentation of the members that every object has.
var (
	typeDoc        = metav1.TypeMeta{}.SwaggerDoc()
	partialDoc     = metav1.PartialObjectMetadata{}.SwaggerDoc()
	partialListDoc = metav1.PartialObjectMetadataList{}.SwaggerDoc()
	embeddedDoc    = map[string]string{
		"apiVersion": "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
		"kind":       "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
	}
)

func ref(model, prefix string) object.Value {
	r := object.NewMap()
	r.Set("$ref", object.NewString(prefix+model))
	return r
}

// describedRef is a reference with a description. OpenAPI v3 ignores what stands beside a reference, so that it is wrapped
// in an allOf there.
func describedRef(model, description, prefix string) object.Value {
	r := ref(model, prefix)
	if prefix == schemaPrefix {
		all := object.NewMap()
		all.Set("allOf", object.NewList(r))
		r = all
	}
	r.Set("description", object.NewString(description))
	return r
}

// kindExtension is the member of a schema that says of which kinds it is.
const kindExtension = "x-kubernetes-group-version-kind"

// extend says of which kind a schema is, and which fields the kind's objects can be selected by.
func extend(s *object.Value, v *resource.Version, kind string) {
	k := object.NewMap()
	k.Set("group", object.NewString(v.Group))
	k.Set("version", object.NewString(v.Name))
	k.Set("kind", object.NewString(kind))
	s.Set(kindExtension, object.NewList(k))
	var fields []object.Value
	for _, path := range resource.SelectableFields(v) {
		f := object.NewMap()
		f.Set("fieldPath", object.NewString(path))
		fields = append(fields, f)
	}
	if fields != nil {
		s.Set("x-kubernetes-selectable-fields", object.NewList(fields...))
	}
}

// addObjectProperties gives a schema apiVersion, kind and metadata.
func addObjectProperties(s *object.Value, doc map[string]string, prefix string) {
	props := s.Get("properties")
	if props.Kind() != object.Map {
		props = s.Set("properties", object.NewMap())
	}
	for _, name := range []string{"apiVersion", "kind"} {
		p := props.Set(name, object.NewMap())
		p.Set("type", object.NewString("string"))
		p.Set("description", object.NewString(doc[name]))
	}
	props.Set("metadata", describedRef(objectMetaModel, partialDoc["metadata"], prefix))
}

// addEmbeddedProperties gives the schema of an embedded object what objects have.
func addEmbeddedProperties(s *object.Value, prefix string) {
	addObjectProperties(s, embeddedDoc, prefix)
	required := s.Get("required")
	if required.Kind() != object.List {
		required = s.Set("required", object.NewList())
	}
	for _, name := range []string{"kind", "apiVersion"} {
		if !contains(required, name) {
			required.Append(object.NewString(name))
		}
	}
}

func contains(list *object.Value, s string) bool {
	for _, item := range list.Items() {
		if item.Str() == s {
			return true
		}
	}
	return false
}

// complete walks a structural schema and says what its extensions imply: an integer or a string may stand where
// x-kubernetes-int-or-string is set, an embedded resource has a kind and metadata.
func complete(s *object.Value) {
	for _, p := range s.Get("properties").Fields() {
		complete(p)
	}
	for _, name := range []string{"items", "additionalProperties"} {
		if sub := s.Get(name); sub.Kind() == object.Map {
			complete(sub)
		}
	}
	if s.Get("x-kubernetes-int-or-string").Bool() {
		addIntOrString(s)
	}
	if s.Get("x-kubernetes-embedded-resource").Bool() {
		addEmbeddedProperties(s, schemaPrefix)
	}
}

func addIntOrString(s *object.Value) {
	either := object.NewList(ofType("integer"), ofType("string"))
	anyOf, all := s.Get("anyOf"), s.Get("allOf")
	switch {
	case anyOf == nil && all.Len() > 0 && isEither(all.Index(0).Get("anyOf")), isEither(anyOf):
	case anyOf == nil:
		s.Set("anyOf", either)
	default:
		first := object.NewMap()
		first.Set("anyOf", either)
		if all == nil {
			s.Set("allOf", object.NewList(first))
		} else {
			all.Insert(0, first)
		}
	}
}

func ofType(typ string) object.Value {
	s := object.NewMap()
	s.Set("type", object.NewString(typ))
	return s
}

// isEither reports an anyOf of an integer and a string.
func isEither(anyOf *object.Value) bool {
	return anyOf.Len() == 2 && anyOf.Index(0).Get("type").Str() == "integer" && anyOf.Index(1).Get("type").Str() == "string"
}
