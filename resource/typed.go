package resource

import (
	"context"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"pintle.dev/object"
	"pintle.dev/resource/builtin/schemas"
	"pintle.dev/store"
)

// Typed is how a built-in kind whose Go type is T is written down: its Definition with hooks that see *T. Old is nil
// on create, New is nil on delete.
type Typed[T any] struct {
	Definition
	Prepare  func(ctx context.Context, w *Write, new, old *T)
	Default  func(o *T)
	Validate func(ctx context.Context, w *Write, new, old *T) field.ErrorList
	Warn     func(ctx context.Context, w *Write, new, old *T) []string
	Refuse   func(ctx context.Context, v store.View, w *Write, new, old *T) error
	Claim    func(ctx context.Context, v store.View, w *Write, new, old *T) ([]store.Write, error)
	// Terminate sees a copy of the object whose deletion begins.
	Terminate   func(ctx context.Context, w *Write, new *T)
	GracePeriod func(o *T, requested *int64) int64
	Finalize    func(o *T) bool
	// Cells and RowConditions become Hooks.Cells. They see what CellFields choose of an object; nil stands for all.
	Cells         func(o *T) []any
	RowConditions func(o *T) []metav1.TableRowCondition
	CellFields    *object.Pick
}

// Define turns t into a Definition. Versions that name no Codec, Model or Shape get those of T, and those without Columns
// the ones of the stored version.
func (t Typed[T]) Define() *Definition {
	d := t.Definition
	if d.ListKind == "" {
		d.ListKind = d.Kind + "List"
	}
	for i := range d.Versions {
		v := &d.Versions[i]
		if v.Columns == nil {
			v.Columns = d.Storage().Columns
		}
		if v.Codec == nil {
			v.Codec = TypedCodec[T]{APIVersion: v.APIVersion(), Kind: d.Kind}
		}
		if v.Model == "" {
			v.Model = schemas.Name(reflect.TypeFor[T]())
		}
		if v.Shape == nil {
			v.Shape = schemas.Shape(v.Model)
		}
	}
	if t.Prepare != nil {
		d.Hooks.Prepare = func(ctx context.Context, w *Write) { t.Prepare(ctx, w, as[T](w.New), as[T](w.Old)) }
	}
	if t.Default != nil {
		d.Hooks.Default = func(o *Object) { t.Default(as[T](o)) }
	}
	if t.Validate != nil {
		d.Hooks.Validate = func(ctx context.Context, w *Write) field.ErrorList {
			return t.Validate(ctx, w, as[T](w.New), as[T](w.Old))
		}
	}
	if t.Warn != nil {
		d.Hooks.Warn = func(ctx context.Context, w *Write) []string { return t.Warn(ctx, w, as[T](w.New), as[T](w.Old)) }
	}
	if t.Refuse != nil {
		d.Hooks.Refuse = func(ctx context.Context, v store.View, w *Write) error {
			return t.Refuse(ctx, v, w, as[T](w.New), as[T](w.Old))
		}
	}
	if t.Claim != nil {
		d.Hooks.Claim = func(ctx context.Context, v store.View, w *Write) ([]store.Write, error) {
			return t.Claim(ctx, v, w, as[T](w.New), as[T](w.Old))
		}
	}
	if t.Terminate != nil {
		d.Hooks.Terminate = func(ctx context.Context, w *Write) { t.Terminate(ctx, w, as[T](w.New)) }
	}
	if t.GracePeriod != nil {
		d.Hooks.GracePeriod = func(o *Object, requested *int64) int64 { return t.GracePeriod(as[T](o), requested) }
	}
	if t.Finalize != nil {
		d.Hooks.Finalize = func(o *Object) bool { return t.Finalize(as[T](o)) }
	}
	if t.Cells != nil {
		d.Hooks.Cells = t.cells
	}
	return &d
}

func (t Typed[T]) cells(_ *Version, doc []byte) ([]any, []metav1.TableRowCondition, error) {
	if t.CellFields != nil {
		doc = t.CellFields.Append(nil, doc)
	}
	decoded, _, err := t.Storage().Codec.Decode(doc, true)
	if err != nil {
		return nil, nil, err
	}
	o := as[T](decoded)
	if t.RowConditions == nil {
		return t.Cells(o), nil, nil
	}
	return t.Cells(o), t.RowConditions(o), nil
}

func as[T any](o *Object) *T {
	if o == nil {
		return nil
	}
	return o.Value.(*T)
}

// TypedCodec reads and writes the JSON of a Go type of k8s.io/api. *T must be a metav1.Object with TypeMeta.
type TypedCodec[T any] struct {
	APIVersion, Kind string
	// Marshalers write, and Unmarshalers read, parts of T that are large, and dear to write or read as their types say; nil
	// for most.
	Marshalers   *json.Marshalers
	Unmarshalers *json.Unmarshalers
}

// decodeOptions are encoding/json's semantics with field names that must match in case, as upstream decodes. Errors need not
// be encoding/json's, for which the whole value would be checked before: whoever gets one asks another decoder.
var decodeOptions = json.JoinOptions(
	jsonv1.DefaultOptionsV1(),
	json.MatchCaseInsensitiveNames(false),
	json.RejectUnknownMembers(true),
	jsontext.AllowDuplicateNames(false),
	jsontext.AllowInvalidUTF8(false),
	jsonv1.ReportErrorsWithLegacySemantics(false),
)

// storedOptions read what Encode wrote: duplicates, unknown members and invalid UTF-8 were dealt with on the way in.
var storedOptions = json.JoinOptions(
	decodeOptions,
	json.RejectUnknownMembers(false),
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
)

var encodeOptions = json.JoinOptions(jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))

// Decode implements Codec.
func (c TypedCodec[T]) Decode(data []byte, stored bool) (*Object, []string, error) {
	v := new(T)
	var problems []string
	options := decodeOptions
	if stored {
		options = storedOptions
	} else if err := checkQuantities[T](data); err != nil {
		return nil, nil, err
	}
	if c.Unmarshalers != nil {
		options = json.JoinOptions(options, json.WithUnmarshalers(c.Unmarshalers))
	}
	if err := json.Unmarshal(data, v, options); err != nil {
		// Whatever the fast decoder dislikes is judged, and worded, by the decoder upstream uses.
		v = new(T)
		strict, err := kjson.UnmarshalStrict(data, v)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range strict {
			problems = append(problems, s.Error())
		}
	}
	o, err := TypedObject(v)
	return o, problems, err
}

// TypedObject wraps a pointer to a typed object; the object is shared, not copied.
func TypedObject(v any) (*Object, error) {
	a, ok := v.(metav1.ObjectMetaAccessor)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", v)
	}
	m, ok := a.GetObjectMeta().(*metav1.ObjectMeta)
	if !ok {
		return nil, fmt.Errorf("%T has metadata of type %T", v, a.GetObjectMeta())
	}
	return &Object{Meta: m, Value: v}, nil
}

// Encode implements Codec.
func (c TypedCodec[T]) Encode(dst []byte, o *Object) ([]byte, error) {
	v, ok := o.Value.(*T)
	if !ok {
		return nil, fmt.Errorf("encoding %s: have %T, want *%s", c.Kind, o.Value, reflect.TypeFor[T]())
	}
	reflect.ValueOf(v).Elem().FieldByName("TypeMeta").Set(reflect.ValueOf(metav1.TypeMeta{APIVersion: c.APIVersion, Kind: c.Kind}))
	buf := appendWriter(dst)
	options := encodeOptions
	if c.Marshalers != nil {
		options = json.JoinOptions(options, json.WithMarshalers(c.Marshalers))
	}
	err := json.MarshalWrite(&buf, v, options)
	return buf, err
}

// EncodeStatus is Encode for an object that differs from one written as JSON in its metadata and status at most, of which
// the rest is copied: a pod's spec is half of what there is to write of it, and a definition's schemas are nearly all. Both
// members are there, as they are structs.
func (c TypedCodec[T]) EncodeStatus(dst []byte, o *Object, stored []byte) ([]byte, error) {
	v, ok := o.Value.(*T)
	if !ok {
		return nil, fmt.Errorf("encoding %s: have %T, want *%s", c.Kind, o.Value, reflect.TypeFor[T]())
	}
	buf := append(appendWriter(dst), '{')
	for name, text := range object.Members(stored) {
		if len(buf) > len(dst)+1 {
			buf = append(buf, ',')
		}
		buf = append(append(append(buf, '"'), name...), `":`...)
		var err error
		switch string(name) {
		case "metadata":
			err = json.MarshalWrite(&buf, o.Meta, encodeOptions)
		case "status":
			err = json.MarshalWrite(&buf, reflect.ValueOf(v).Elem().FieldByName("Status").Addr().Interface(), encodeOptions)
		default:
			buf = append(buf, text...)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(buf, '}'), nil
}

// StatusCodec is a Codec that can write what a write of the status makes of an object.
type StatusCodec interface {
	EncodeStatus(dst []byte, o *Object, stored []byte) ([]byte, error)
}

type appendWriter []byte

func (w *appendWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// Fits reports whether o, of a caller in process, is of the Go type that the codec reads and writes.
func Fits(c Codec, o *Object) bool {
	t, ok := c.(interface{ holds(v any) bool })
	return ok && t.holds(o.Value)
}

func (c TypedCodec[T]) holds(v any) bool { _, ok := v.(*T); return ok }
