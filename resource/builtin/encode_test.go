package builtin_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	jsonexp "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
)

// TestEncodeAsLibrary fills objects of all built-in kinds at random and encodes them as encoding/json's semantics have it.
func TestEncodeAsLibrary(t *testing.T) {
	options := jsonexp.JoinOptions(jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))
	for _, d := range builtin.All() {
		if d.Resource == api.CustomResourceDefinitions {
			continue // whose schemas have no end; package apiextensions looks at them
		}
		empty, _, err := d.Storage().Codec.Decode([]byte("{}"), true)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(30) {
			f := filler{rand.New(rand.NewPCG(seed, 1))}
			v := reflect.New(reflect.TypeOf(empty.Value).Elem())
			f.fill(v.Elem(), 0)
			o, err := resource.TypedObject(v.Interface())
			if err != nil {
				t.Fatal(err)
			}
			got, errGot := d.Storage().Codec.Encode([]byte("before"), o)
			want, errWant := jsonexp.Marshal(v.Interface(), options) // Encode has set the type
			if errGot != nil || errWant != nil {
				t.Fatalf("%s: %v; the library: %v", d.Resource, errGot, errWant)
			}
			if string(got) != "before"+string(want) {
				t.Fatalf("%s: seed %d:\n%s\nwant\n%s", d.Resource, seed, got, want)
			}
		}
	}
}

// filler sets values at random; each may also stay empty.
type filler struct{ *rand.Rand }

var texts = []string{"", "plain", `"quoted" \ back`, "line\nbreak\ttab\x00\x1f\x7f", "<html>&", "ünïcode \u2028\u2029 \U0001F600", "bad \xff\xfe utf-8", "a/b.c-d_e"}

func (f filler) fill(v reflect.Value, depth int) {
	if depth > 12 || f.IntN(8) == 0 {
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *metav1.Time:
		*p = metav1.NewTime(time.Unix(f.Int64N(4e9), f.Int64N(1e9)).In(time.FixedZone("z", 3600)))
		return
	case *metav1.MicroTime:
		*p = metav1.NewMicroTime(time.Unix(f.Int64N(4e9), f.Int64N(1e9)))
		return
	case *apiresource.Quantity:
		*p = apiresource.MustParse(fmt.Sprint(f.IntN(2000), []string{"", "m", "Ki", "Gi", "M", "e3"}[f.IntN(6)]))
		return
	case *intstr.IntOrString:
		if *p = intstr.FromInt32(f.Int32()); f.IntN(2) == 0 {
			*p = intstr.FromString(texts[f.IntN(len(texts))])
		}
		return
	case *runtime.RawExtension:
		p.Raw = []byte(`{ "a" : [1, "é\u003c", 2.50] }`)
		return
	case *metav1.FieldsV1:
		p.Raw = []byte(`{ "f:a" : {} }`)
		return
	case *apiextensionsv1.JSON:
		p.Raw = []byte(`{ "a" : null }`)
		return
	case *json.RawMessage:
		*p = json.RawMessage(`[ ]`)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(texts[f.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.Uint64() >> f.IntN(64) << (64 - v.Type().Bits()) >> (64 - v.Type().Bits())))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(f.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat([]float64{0, math.Copysign(0, -1), 1.5, 1e30, -2e-9}[f.IntN(5)])
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.IntN(3), 3))
		for i := range v.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range f.IntN(4) {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key, depth+1)
			f.fill(elem, depth+1)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				f.fill(v.Field(i), depth+1)
			}
		}
	}
}
