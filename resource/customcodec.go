package resource

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	jsonx "github.com/go-json-experiment/json"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/object"
)

// Decode implements Codec. It does what upstream's decoder of custom resources does: metadata becomes an ObjectMeta,
// fields the schema does not know are dropped and reported, null goes where the schema has no use for it, and the
// metadata of embedded resources is brought into form. Defaults are left to the hook.
func (v *customVersion) Decode(data []byte, stored bool) (*Object, []string, error) {
	var doc *object.Value
	var duplicates []string
	var err error
	if stored {
		doc, err = object.Parse(data)
	} else {
		doc, duplicates, err = object.ParseStrict(data)
	}
	if err != nil {
		return nil, nil, err
	}
	o, problems, err := v.DecodeDocument(doc, stored)
	return o, append(duplicates, problems...), err
}

// DecodeDocument implements DocumentCodec.
func (v *customVersion) DecodeDocument(doc *object.Value, stored bool) (*Object, []string, error) {
	if _, err := v.compiled(); err != nil {
		return nil, nil, fmt.Errorf("the schema of %s %s: %w", v.apiVersion, v.kind.names.Kind, err)
	}
	if doc.Kind() != object.Map {
		return nil, nil, fmt.Errorf("json: cannot unmarshal %s into Go value of type map[string]interface {}", doc.Kind())
	}
	meta, unknown, err := decodeMeta(doc.Get("metadata"), stored)
	if err != nil {
		return nil, nil, err
	}
	doc.Remove("metadata")
	if stored {
		// What is stored is in the version it says, which need not be the one that is stored now.
		if w := v.kind.byAPIVersion(doc.Get("apiVersion").Str()); w != nil {
			v = w
		}
	}
	more, err := v.normalize(doc, stored)
	if err != nil {
		return nil, nil, err
	}
	var problems []string
	for _, path := range append(unknown, more...) {
		problems = append(problems, `unknown field "`+path+`"`)
	}
	return &Object{Meta: meta, Value: doc}, problems, nil
}

// DecodeStored implements DocumentCodec.
func (v *customVersion) DecodeStored(doc *object.Value) (*Object, error) {
	meta, _, err := decodeMeta(doc.Get("metadata"), true)
	if err != nil {
		return nil, err
	}
	rest := doc.Without("metadata")
	return &Object{Meta: meta, Value: &rest}, nil
}

// DecodeApplied implements DocumentCodec. What the schema of an apply lets pass in metadata though nobody can read it,
// such as a time that is none, is dropped: upstream looks at it through accessors that find nothing there.
func (v *customVersion) DecodeApplied(doc *object.Value) (*Object, error) {
	meta, _, err := decodeMeta(doc.Get("metadata"), true)
	if err != nil {
		return nil, err
	}
	doc.Remove("metadata")
	return &Object{Meta: meta, Value: doc}, nil
}

// prune removes what the version's schema does not declare.
func (v *customVersion) prune(doc *object.Value) (unknown []string) {
	if s := v.schema(); s != nil && !v.kind.preserve {
		unknown = s.Prune(doc)
	}
	return unknown
}

// normalize brings a document into the form of the version's schema and returns the paths of what it dropped.
func (v *customVersion) normalize(doc *object.Value, stored bool) ([]string, error) {
	s := v.schema()
	var unknown []string
	if !v.kind.preserve {
		unknown = s.Prune(doc)
		s.DropNulls(doc)
	}
	more, err := s.Coerce(doc, stored)
	return append(unknown, more...), err
}

// Encode implements Codec. An object in another version is converted on the way, without changing it.
func (v *customVersion) Encode(dst []byte, o *Object) ([]byte, error) {
	o, err := toVersion(v, o)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"apiVersion":`...)
	dst = api.AppendString(dst, v.apiVersion)
	dst = append(dst, `,"kind":`...)
	dst = api.AppendString(dst, v.kind.names.Kind)
	dst = append(dst, `,"metadata":`...)
	if dst, err = appendMeta(dst, o.Meta); err != nil {
		return dst, err
	}
	for name, m := range documentOf(o).Fields() {
		if name == "apiVersion" || name == "kind" || name == "metadata" {
			continue
		}
		dst = append(dst, ',')
		dst = append(api.AppendString(dst, name), ':')
		dst = object.AppendJSON(dst, m)
	}
	return append(dst, '}'), nil
}

// Document implements DocumentCodec.
func (v *customVersion) Document(o *Object) (*object.Value, error) {
	o, err := toVersion(v, o)
	if err != nil {
		return nil, err
	}
	whole, err := withMeta(documentOf(o), o.Meta)
	if err != nil {
		return nil, err
	}
	whole.Set("apiVersion", object.NewString(v.apiVersion))
	whole.Set("kind", object.NewString(v.kind.names.Kind))
	return whole, nil
}

// decodeMeta reads an object's metadata. Fields that ObjectMeta does not have are dropped and their paths returned. With
// lenient set malformed fields are dropped too.
func decodeMeta(v *object.Value, lenient bool) (*metav1.ObjectMeta, []string, error) {
	meta := new(metav1.ObjectMeta)
	if v == nil || metaOf(v, meta) == nil {
		return meta, nil, nil
	}
	// Whatever is not plain is judged, and worded, by upstream.
	meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(map[string]any{"metadata": v.ToAny()},
		objectmeta.ObjectMetaOptions{DropMalformedFields: lenient, ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, nil, err
	}
	if !found || meta == nil {
		meta = new(metav1.ObjectMeta)
	}
	slices.Sort(unknown)
	return meta, unknown, nil
}

var errNotPlain = errors.New("not the plain form")

// metaOf fills meta from a document that has just the fields and types of ObjectMeta.
func metaOf(v *object.Value, meta *metav1.ObjectMeta) error {
	if v.Kind() != object.Map {
		return errNotPlain
	}
	for name, m := range v.Fields() {
		var err error
		switch name {
		case "name":
			err = plainString(&meta.Name, m)
		case "generateName":
			err = plainString(&meta.GenerateName, m)
		case "namespace":
			err = plainString(&meta.Namespace, m)
		case "selfLink":
			err = plainString(&meta.SelfLink, m)
		case "uid":
			err = plainString(&meta.UID, m)
		case "resourceVersion":
			err = plainString(&meta.ResourceVersion, m)
		case "generation":
			meta.Generation, err = plainInt(m)
		case "creationTimestamp":
			err = plainTime(&meta.CreationTimestamp, m)
		case "deletionTimestamp":
			meta.DeletionTimestamp = new(metav1.Time)
			err = plainTime(meta.DeletionTimestamp, m)
		case "deletionGracePeriodSeconds":
			var n int64
			n, err = plainInt(m)
			meta.DeletionGracePeriodSeconds = &n
		case "labels":
			meta.Labels, err = plainMap(m)
		case "annotations":
			meta.Annotations, err = plainMap(m)
		case "finalizers":
			meta.Finalizers, err = plainList(m)
		case "ownerReferences":
			err = decodePart(m, &meta.OwnerReferences)
		case "managedFields":
			err = decodePart(m, &meta.ManagedFields)
		default:
			err = errNotPlain
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func plainString[T ~string](to *T, v *object.Value) error {
	if v.Kind() != object.String {
		return errNotPlain
	}
	*to = T(strings.Clone(v.Str()))
	return nil
}

func plainInt(v *object.Value) (int64, error) {
	n, ok := v.Int()
	if !ok || v.IsFloat() {
		return 0, errNotPlain
	}
	return n, nil
}

func plainTime(to *metav1.Time, v *object.Value) error {
	t, err := time.Parse(time.RFC3339, v.Str())
	if v.Kind() != object.String || err != nil {
		return errNotPlain
	}
	*to = metav1.Time{Time: t.Local()}
	return nil
}

func plainMap(v *object.Value) (map[string]string, error) {
	if v.Kind() != object.Map {
		return nil, errNotPlain
	}
	m := make(map[string]string, v.Len())
	for k, e := range v.Fields() {
		if e.Kind() != object.String {
			return nil, errNotPlain
		}
		m[k] = e.Str()
	}
	return m, nil
}

func plainList(v *object.Value) ([]string, error) {
	if v.Kind() != object.List {
		return nil, errNotPlain
	}
	l := make([]string, 0, v.Len())
	for _, e := range v.Items() {
		if e.Kind() != object.String {
			return nil, errNotPlain
		}
		l = append(l, e.Str())
	}
	return l, nil
}

func decodePart(v *object.Value, to any) error {
	if err := jsonx.Unmarshal(object.AppendJSON(nil, v), to, decodeOptions); err != nil {
		return errNotPlain
	}
	return nil
}

// appendMeta appends an ObjectMeta without its managedFields, in the order of its Go fields, as the codec of built-ins
// writes it.
func appendMeta(dst []byte, m *metav1.ObjectMeta) ([]byte, error) {
	w := memberWriter{append(dst, '{')}
	w.text("name", m.Name)
	w.text("generateName", m.GenerateName)
	w.text("namespace", m.Namespace)
	w.text("selfLink", m.SelfLink)
	w.text("uid", string(m.UID))
	w.text("resourceVersion", m.ResourceVersion)
	w.number("generation", m.Generation)
	w.time("creationTimestamp", &m.CreationTimestamp)
	w.time("deletionTimestamp", m.DeletionTimestamp)
	if m.DeletionGracePeriodSeconds != nil {
		w.member("deletionGracePeriodSeconds")
		w.b = fmt.Append(w.b, *m.DeletionGracePeriodSeconds)
	}
	w.texts("labels", m.Labels)
	w.texts("annotations", m.Annotations)
	if len(m.OwnerReferences) > 0 {
		w.member("ownerReferences")
		refs, err := jsonx.Marshal(m.OwnerReferences, encodeOptions)
		if err != nil {
			return dst, fmt.Errorf("encoding metadata.ownerReferences: %w", err)
		}
		w.b = append(w.b, refs...)
	}
	if len(m.Finalizers) > 0 {
		w.member("finalizers")
		w.b = append(w.b, '[')
		for i, f := range m.Finalizers {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = api.AppendString(w.b, f)
		}
		w.b = append(w.b, ']')
	}
	return append(w.b, '}'), nil
}

// memberWriter appends members to an object; those that are empty are left out.
type memberWriter struct{ b []byte }

func (w *memberWriter) member(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(api.AppendString(w.b, name), ':')
}

func (w *memberWriter) text(name, value string) {
	if value != "" {
		w.member(name)
		w.b = api.AppendString(w.b, value)
	}
}

func (w *memberWriter) number(name string, n int64) {
	if n != 0 {
		w.member(name)
		w.b = fmt.Append(w.b, n)
	}
}

func (w *memberWriter) time(name string, t *metav1.Time) {
	if t != nil && !t.IsZero() {
		w.member(name)
		w.b = append(w.b, '"')
		w.b = t.UTC().AppendFormat(w.b, time.RFC3339)
		w.b = append(w.b, '"')
	}
}

func (w *memberWriter) texts(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	w.member(name)
	keys := make([]string, 0, 8)
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for i, k := range keys {
		w.b = append(w.b, "{,"[min(i, 1)])
		w.b = append(api.AppendString(w.b, k), ':')
		w.b = api.AppendString(w.b, m[k])
	}
	w.b = append(w.b, '}')
}

// MetaValue is metadata as a document, for those who look at a whole object: rules, paths and field ownership.
func MetaValue(m *metav1.ObjectMeta) (*object.Value, error) {
	b, err := appendMeta(nil, m)
	if err != nil {
		return nil, err
	}
	return object.Parse(b)
}
