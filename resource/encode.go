package resource

import (
	"encoding"
	"encoding/base64"
	stdjson "encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// An encoder appends the JSON of the value at p, which is of the type it was made for: the same that json.Marshal makes
// under encodeOptions. Encoding is a tenth of what a pod costs from its creation until it runs, and most of that goes to
// asking by reflection which of a hundred fields are empty; the schemas of a CustomResourceDefinition cost four times as
// much by reflection. So the fields of a struct, what they begin with and how to see that they are empty are found once
// for each type. Whatever is rare in the API's types is left to json.Marshal.
type encoder func(dst []byte, p unsafe.Pointer) ([]byte, error)

var encoders sync.Map // reflect.Type -> encoder

// encoderOf returns the encoder of a type. A type that contains itself does so through a struct, whose encoder is made
// when it is first used.
func encoderOf(t reflect.Type) encoder {
	if e, ok := encoders.Load(t); ok {
		return e.(encoder)
	}
	e := makeEncoder(t)
	encoders.Store(t, e)
	return e
}

func makeEncoder(t reflect.Type) encoder {
	switch t {
	case reflect.TypeFor[metav1.Time]():
		return encodeTime
	case reflect.TypeFor[resource.Quantity]():
		return encodeBy[resource.Quantity]
	case reflect.TypeFor[metav1.MicroTime]():
		return encodeBy[metav1.MicroTime]
	case reflect.TypeFor[intstr.IntOrString]():
		return encodeIntOrString
	case reflect.TypeFor[apiextensionsv1.JSON]():
		return encodeRaw
	case reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrBool]():
		return encodeSchemaOrBool
	case reflect.TypeFor[apiextensionsv1.JSONSchemaPropsOrArray]():
		return encodeSchemaOrArray
	}
	if t.Kind() == reflect.Pointer {
		return encodePointer(t) // whatever says itself what its JSON is does so behind a pointer, too
	}
	if marshals(t) {
		return encodeOther(t)
	}
	switch t.Kind() {
	case reflect.String:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) { return appendString(dst, *(*string)(p)), nil }
	case reflect.Bool:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) { return strconv.AppendBool(dst, *(*bool)(p)), nil }
	case reflect.Int32:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			return strconv.AppendInt(dst, int64(*(*int32)(p)), 10), nil
		}
	case reflect.Int64:
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			return strconv.AppendInt(dst, *(*int64)(p), 10), nil
		}
	case reflect.Float64:
		return encodeFloat
	case reflect.Slice:
		return encodeSlice(t)
	case reflect.Map:
		if t.Key().Kind() == reflect.String && !marshals(t.Key()) {
			return encodeMap(t)
		}
	case reflect.Struct:
		once := sync.OnceValue(func() encoder { return encodeStruct(t) })
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) { return once()(dst, p) }
	}
	return encodeOther(t)
}

// marshals reports whether the type, or a pointer to it, says itself what its JSON is.
func marshals(t reflect.Type) bool {
	for _, m := range []reflect.Type{
		reflect.TypeFor[stdjson.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](),
		reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[encoding.TextAppender](),
	} {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}

// encodeOther leaves a type to json.Marshal.
func encodeOther(t reflect.Type) encoder {
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		b, err := json.Marshal(reflect.NewAt(t, p).Interface(), encodeOptions)
		return append(dst, b...), err
	}
}

// encodeBy asks a type whose MarshalJSON writes without spaces.
func encodeBy[T stdjson.Marshaler](dst []byte, p unsafe.Pointer) ([]byte, error) {
	b, err := (*(*T)(p)).MarshalJSON()
	return append(dst, b...), err
}

func encodeTime(dst []byte, p unsafe.Pointer) ([]byte, error) {
	t := (*metav1.Time)(p)
	if t.IsZero() {
		return append(dst, "null"...), nil
	}
	dst = t.UTC().AppendFormat(append(dst, '"'), time.RFC3339)
	return append(dst, '"'), nil
}

func encodeIntOrString(dst []byte, p unsafe.Pointer) ([]byte, error) {
	v := (*intstr.IntOrString)(p)
	if v.Type != intstr.Int {
		return encodeBy[intstr.IntOrString](dst, p)
	}
	return strconv.AppendInt(dst, int64(v.IntVal), 10), nil
}

func encodeFloat(dst []byte, p unsafe.Pointer) ([]byte, error) {
	f := *(*float64)(p)
	if i := int64(f); float64(i) == f && -1e15 < f && f < 1e15 && (i != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, i, 10), nil
	}
	b, err := json.Marshal(f, encodeOptions)
	return append(dst, b...), err
}

// encodeRaw writes a value of a schema, a default say, without its spaces.
func encodeRaw(dst []byte, p unsafe.Pointer) ([]byte, error) {
	raw := (*apiextensionsv1.JSON)(p).Raw
	if len(raw) == 0 {
		return append(dst, "null"...), nil
	}
	begun := len(dst)
	v := jsontext.Value(append(dst, raw...)[begun:])
	err := v.Compact(encodeOptions)
	return append(dst, v...), err // mostly it is there already
}

func encodeSchemaOrBool(dst []byte, p unsafe.Pointer) ([]byte, error) {
	s := (*apiextensionsv1.JSONSchemaPropsOrBool)(p)
	if s.Schema == nil {
		return strconv.AppendBool(dst, s.Allows), nil
	}
	return encodeSchema(dst, unsafe.Pointer(&s.Schema))
}

func encodeSchemaOrArray(dst []byte, p unsafe.Pointer) ([]byte, error) {
	s := (*apiextensionsv1.JSONSchemaPropsOrArray)(p)
	if len(s.JSONSchemas) == 0 {
		return encodeSchema(dst, unsafe.Pointer(&s.Schema))
	}
	return encoderOf(reflect.TypeFor[[]apiextensionsv1.JSONSchemaProps]())(dst, unsafe.Pointer(&s.JSONSchemas))
}

// encodeSchema writes the schema behind a pointer. Its encoder uses this one, and is looked up when it is there.
func encodeSchema(dst []byte, p unsafe.Pointer) ([]byte, error) {
	return encoderOf(reflect.TypeFor[*apiextensionsv1.JSONSchemaProps]())(dst, p)
}

// appendString appends s in quotes.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			// Its error says that there is invalid UTF-8, which it has replaced.
			dst, _ = jsontext.AppendQuote(dst, s)
			return dst
		}
	}
	dst = append(append(dst, '"'), s...)
	return append(dst, '"')
}

func encodePointer(t reflect.Type) encoder {
	elem := encoderOf(t.Elem())
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		if p = *(*unsafe.Pointer)(p); p == nil {
			return append(dst, "null"...), nil
		}
		return elem(dst, p)
	}
}

func encodeSlice(t reflect.Type) encoder {
	if t.Elem().Kind() == reflect.Uint8 {
		if t.Elem() != reflect.TypeFor[byte]() {
			return encodeOther(t)
		}
		return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
			b := *(*[]byte)(p)
			if b == nil {
				return append(dst, "null"...), nil
			}
			return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"'), nil
		}
	}
	elem, size := encoderOf(t.Elem()), t.Elem().Size()
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		items := *(*[]struct{})(p) // the length is where it is in every slice
		if items == nil {
			return append(dst, "null"...), nil
		}
		dst = append(dst, '[')
		at := unsafe.Pointer(unsafe.SliceData(items))
		for i := range len(items) {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = elem(dst, unsafe.Add(at, uintptr(i)*size)); err != nil {
				return dst, err
			}
		}
		return append(dst, ']'), nil
	}
}

func encodeMap(t reflect.Type) encoder {
	elem, size := encoderOf(t.Elem()), t.Elem().Size()
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		m := reflect.NewAt(t, p).Elem()
		if m.IsNil() {
			return append(dst, "null"...), nil
		}
		type entry struct {
			name string
			at   int // in values
		}
		entries := make([]entry, 0, m.Len())
		values := reflect.MakeSlice(reflect.SliceOf(t.Elem()), m.Len(), m.Len())
		for it := m.MapRange(); it.Next(); {
			values.Index(len(entries)).SetIterValue(it)
			entries = append(entries, entry{it.Key().String(), len(entries)})
		}
		slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
		dst = append(dst, '{')
		for i, e := range entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = elem(append(appendString(dst, e.name), ':'), unsafe.Add(values.UnsafePointer(), uintptr(e.at)*size)); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
}

// member is a field of a struct.
type member struct {
	name    string
	begins  string // the name in quotes and a colon
	offset  uintptr
	encode  encoder
	isEmpty func(p unsafe.Pointer) bool // nil when the field is written even so
}

func encodeStruct(t reflect.Type) encoder {
	members, ok := membersOf(t, 0, nil)
	if !ok {
		return encodeOther(t)
	}
	return func(dst []byte, p unsafe.Pointer) ([]byte, error) {
		dst = append(dst, '{')
		begun := len(dst)
		for i := range members {
			m := &members[i]
			at := unsafe.Add(p, m.offset)
			if m.isEmpty != nil && m.isEmpty(at) {
				continue
			}
			if len(dst) > begun {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = m.encode(append(dst, m.begins...), at); err != nil {
				return dst, err
			}
		}
		return append(dst, '}'), nil
	}
}

// membersOf appends the fields of a struct at an offset, with those of the structs it embeds in their place. It reports
// false when the struct has something that the API's types do not: fields of one name, pointers embedded, other options.
func membersOf(t reflect.Type, offset uintptr, ms []member) ([]member, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			if f.Type.Kind() != reflect.Struct || marshals(f.Type) || options != "" && options != "inline" {
				return nil, false
			}
			var ok bool
			if ms, ok = membersOf(f.Type, offset+f.Offset, ms); !ok {
				return nil, false
			}
			continue
		case options != "" && options != "omitempty" || !f.IsExported():
			return nil, false
		case !tagged || name == "":
			name = f.Name
		}
		if slices.ContainsFunc(ms, func(m member) bool { return m.name == name }) {
			return nil, false
		}
		m := member{name: name, begins: string(appendString(nil, name)) + ":", offset: offset + f.Offset, encode: encoderOf(f.Type)}
		if options == "omitempty" {
			m.isEmpty = emptyOf(f.Type)
		}
		ms = append(ms, m)
	}
	return ms, true
}

// emptyOf returns what tells that a value of the type is left out by omitempty, or nil when none is.
func emptyOf(t reflect.Type) func(p unsafe.Pointer) bool {
	switch t.Kind() {
	case reflect.String:
		return func(p unsafe.Pointer) bool { return *(*string)(p) == "" }
	case reflect.Bool:
		return func(p unsafe.Pointer) bool { return !*(*bool)(p) }
	case reflect.Int32:
		return func(p unsafe.Pointer) bool { return *(*int32)(p) == 0 }
	case reflect.Pointer:
		return func(p unsafe.Pointer) bool { return *(*unsafe.Pointer)(p) == nil }
	case reflect.Slice:
		return func(p unsafe.Pointer) bool { return len(*(*[]struct{})(p)) == 0 }
	case reflect.Struct:
		return nil
	case reflect.Map:
		return func(p unsafe.Pointer) bool {
			return *(*unsafe.Pointer)(p) == nil || reflect.NewAt(t, p).Elem().Len() == 0
		}
	case reflect.Array:
		return func(unsafe.Pointer) bool { return t.Len() == 0 }
	}
	return func(p unsafe.Pointer) bool {
		v := reflect.NewAt(t, p).Elem()
		return v.IsZero() || v.CanFloat() && v.Float() == 0 // -0
	}
}
