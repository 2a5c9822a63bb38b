package apiextensions

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	jsonv1 "github.com/go-json-experiment/json/v1"

	"pintle.dev/resource"
)

// TestSchemasAreWrittenAsTheirTypeSays: byte for byte as by reflection, but for characters that are escaped by reflection
// within lists only.
func TestSchemasAreWrittenAsTheirTypeSays(t *testing.T) {
	byReflection := codec
	byReflection.Marshalers = nil
	check := func(s *props) {
		t.Helper()
		crd := definitionOf(t, `{"type":"object"}`)
		crd.Spec.Versions[0].Schema.OpenAPIV3Schema = s
		o, err := resource.TypedObject(crd)
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := byReflection.Encode(nil, o)
		got, err := codec.Encode(nil, o)
		want = []byte(strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(want)))
		if string(got) != string(want) || (err != nil) != (wantErr != nil) {
			t.Fatalf("written as\n%s, want\n%s\n%v %v", got, want, err, wantErr)
		}
	}
	// One of everything, so that no field is forgotten when the type gets one.
	all := new(props)
	fill(reflect.ValueOf(all).Elem(), 3)
	check(all)
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		s := new(props)
		if json.Unmarshal([]byte(mutate(random, usual[random.IntN(len(usual))])), s) == nil {
			check(s)
		}
	}
	negative, small, large := -0.5, 1e-9, 1e300
	check(&props{Minimum: &negative, Maximum: &large, MultipleOf: &small, Description: "quotes \" and \\, é, <b> & \u2028\t"})
	check(&props{Properties: map[string]props{"a\"b": {Type: "string"}, "": {}}})
}

// TestSchemasAreReadAsTheirTypesSay: with the same problems, too.
func TestSchemasAreReadAsTheirTypesSay(t *testing.T) {
	asTyped := codec
	asTyped.Unmarshalers = nil
	check := func(s string) {
		t.Helper()
		for _, stored := range []bool{false, true} {
			want, wantProblems, wantErr := asTyped.Decode(withSchema(s), stored)
			got, problems, err := codec.Decode(withSchema(s), stored)
			if (err != nil) != (wantErr != nil) || err == nil && (!reflect.DeepEqual(got, want) || !slices.Equal(problems, wantProblems)) {
				t.Fatalf("%s (stored %t): read as\n%v %q %v, want\n%v %q %v", s, stored, got, problems, err, want, wantProblems, wantErr)
			}
		}
	}
	for _, c := range badSchemas {
		check(c.schema)
	}
	for _, s := range []string{
		`{"items":null}`, `{"items":[]}`, `{"items":[{"type":"string"}]}`, `{"items":{}}`, `{"items":{"odd":1}}`, `{"items":{"type":"a","type":"b"}}`, `{"items":{"Type":"a"}}`,
		`{"items":1}`, `{"items":"x"}`, `{"items":{"items":{"maxItems":1.5}}}`, `{"additionalProperties":null}`, `{"additionalProperties":true}`, `{"additionalProperties":{}}`,
		`{"default":null,"example":null,"enum":[null,"null"]}`, `{"type":null}`, `{"maxLength":null}`, `{"required":["a",null]}`, `{"anyOf":[null]}`, `{"properties":{"a":null}}`,
		`{"maximum":-0,"minimum":1e400}`, `{"maximum":-0,"minimum":1E+2}`, `{"maximum":"1"}`, `{"maxItems":9223372036854775808}`, `{"maxItems":1e1}`, `{"nullable":"true"}`, `{"required":[],"enum":[],"allOf":[],"properties":{}}`,
		`{"d\u0065scription":"\"\\\ud83d\ude00","properties":{"\"{":{"pattern":"\\"}}}`, `{"description":"\ud83d"}`, `{"default":"\\"}","title":"x"}`,
		`{"x-kubernetes-validations":[{"rule":"true","odd":1}]}`, `{"x-kubernetes-validations":[{"rule":"true","reason":"FieldValueInvalid"}]}`, `{"dependencies":{"a":["b"],"c":{"type":"string"}},"externalDocs":{"url":"u"}}`,
		`{"additionalProperties":{"odd":1}}`, `{"additionalProperties":"x"}`, `{"additionalItems":{"items":{"default":null}}}`, `{"items":{"additionalProperties":{"default":{"a":[1]}}}}`,
	} {
		check(s)
	}
	random := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		check(mutate(random, usual[random.IntN(len(usual))]))
	}
}

// TestAllOfASchemaIsRead: without asking upstream's decoder, however it is laid out.
func TestAllOfASchemaIsRead(t *testing.T) {
	all := new(props)
	fill(reflect.ValueOf(all).Elem(), 4)
	text, err := json.MarshalIndent(all, "\t", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte(`"items": null`), []byte(`"items": {}`)) // at the lowest level
	want := new(props)
	if err := json.Unmarshal(text, want); err != nil {
		t.Fatal(err)
	}
	r, got := schemaReader{text: string(text), options: jsonv1.DefaultOptionsV1()}, new(props)
	if !r.schema(got) || r.at != len(text) {
		t.Fatalf("read %s of\n%s", text[:r.at], text)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%v, want\n%v", got, want)
	}
}

// fill sets every field below v to something, to a depth of schemas.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type() == reflect.TypeFor[*props]() {
			if depth--; depth == 0 {
				return
			}
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth)
	case reflect.Struct:
		if v.Type().String() == "v1.JSON" {
			v.FieldByName("Raw").SetBytes([]byte(`{"a":[1,"x"]}`))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), depth)
		}
	case reflect.Slice, reflect.Map:
		if depth == 1 {
			return
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if e.Type() == reflect.TypeFor[props]() {
			depth--
		}
		fill(e, depth)
		if v.Kind() == reflect.Slice {
			v.Set(reflect.Append(v, e, e))
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("one"), e)
		v.SetMapIndex(reflect.ValueOf("another"), e)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(2.5)
	case reflect.Uint8:
		v.SetUint('1')
	}
}
