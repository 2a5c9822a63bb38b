package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"

	"pintle.dev/object"
)

func mustCompile(t testing.TB, source string) *Schema {
	t.Helper()
	s, err := CompileJSON([]byte(source))
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return s
}

func mustParse(t testing.TB, doc string) *object.Value {
	t.Helper()
	v, err := object.Parse([]byte(doc))
	if err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	return v
}

func text(v *object.Value) string { return string(object.AppendJSON(nil, v)) }

const example = `{"type":"object","required":["spec"],"properties":{
	"spec":{"type":"object","required":["req"],"properties":{
		"req":{"type":"string"},
		"enum":{"type":"string","enum":["a","b"]},
		"min":{"type":"integer","minimum":1,"maximum":10},
		"def":{"type":"string","default":"dv"},
		"nul":{"type":"string","nullable":true},
		"nuldef":{"type":"string","nullable":true,"default":"d"},
		"obj":{"type":"object","properties":{"x":{"type":"integer","default":7}}},
		"defobj":{"type":"object","default":{"y":1,"x":2},"properties":{"x":{"type":"integer"},"z":{"type":"string","default":"zz"}}},
		"pres":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"k":{"type":"object","properties":{"a":{"type":"string"}}}}},
		"labels":{"type":"object","additionalProperties":{"type":"string"}},
		"any":{"type":"object","additionalProperties":true},
		"list":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],
			"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"},"p":{"type":"string","default":"TCP"}}}},
		"emb":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}
	}},
	"status":{"type":"object","properties":{"n":{"type":"integer"}}}}}`

func TestPruneReportsUpstreamsPaths(t *testing.T) {
	s := mustCompile(t, example)
	for _, tt := range []struct{ name, in, want, unknown string }{
		{"root", `{"apiVersion":"v1","kind":"K","metadata":{"x":1},"top":1,"spec":{}}`, `{"apiVersion":"v1","kind":"K","metadata":{"x":1},"spec":{}}`, "top"},
		{"nested", `{"spec":{"zz":{"a":1},"obj":{"x":1,"q":2}}}`, `{"spec":{"obj":{"x":1}}}`, "spec.obj.q spec.zz"},
		{"list items", `{"spec":{"list":[{"k":"a"},{"k":"b","zz":1}]}}`, `{"spec":{"list":[{"k":"a"},{"k":"b"}]}}`, "spec.list[1].zz"},
		{"preserved, pruned again below", `{"spec":{"pres":{"u":{"v":1},"k":{"a":"x","b":1}}}}`, `{"spec":{"pres":{"k":{"a":"x"},"u":{"v":1}}}}`, "spec.pres.k.b"},
		{"additional", `{"spec":{"labels":{"a":"b","c":"d"}}}`, `{"spec":{"labels":{"a":"b","c":"d"}}}`, ""},
		{"additional without schema", `{"spec":{"any":{"a":{"b":1}}}}`, `{"spec":{"any":{"a":{}}}}`, "spec.any.a.b"},
		{"embedded", `{"spec":{"emb":{"apiVersion":"v1","x":{"y":1}}}}`, `{"spec":{"emb":{"apiVersion":"v1","x":{"y":1}}}}`, ""},
		{"metadata below the root is a field like others", `{"spec":{"obj":{"metadata":{}}}}`, `{"spec":{"obj":{}}}`, "spec.obj.metadata"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := mustParse(t, tt.in)
			unknown := s.Prune(v)
			if got := text(v); got != tt.want {
				t.Errorf("left %s, want %s", got, tt.want)
			}
			if got := strings.Join(unknown, " "); got != tt.unknown {
				t.Errorf("reported %q, want %q", got, tt.unknown)
			}
			if again := s.Prune(v); len(again) > 0 {
				t.Errorf("C3: a second Prune reports %q", again)
			}
		})
	}
}

func TestDefault(t *testing.T) {
	s := mustCompile(t, example)
	for _, tt := range []struct{ name, in, want string }{
		{"absent", `{"spec":{}}`, `{"spec":{"def":"dv","defobj":{"x":2,"z":"zz"},"nuldef":"d"}}`},
		{"not without the parent", `{}`, `{}`},
		{"null", `{"spec":{"def":null,"nuldef":null,"nul":null,"min":null}}`, `{"spec":{"def":"dv","defobj":{"x":2,"z":"zz"},"nul":null,"nuldef":null}}`},
		{"items", `{"spec":{"list":[{"k":"a"},{"k":"b","p":"UDP"},null],"def":"","nuldef":"","defobj":{}}}`,
			`{"spec":{"def":"","defobj":{"z":"zz"},"list":[{"k":"a","p":"TCP"},{"k":"b","p":"UDP"},null],"nuldef":""}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := mustParse(t, tt.in)
			s.DropNulls(v)
			s.Default(v)
			if got := text(v); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			s.Default(v)
			if got := text(v); got != tt.want {
				t.Errorf("C3: a second Default gives %s", got)
			}
		})
	}
}

func TestDefaultsAreNotShared(t *testing.T) {
	s := mustCompile(t, example)
	a, b := mustParse(t, `{"spec":{}}`), mustParse(t, `{"spec":{}}`)
	s.Default(a)
	a.Path("spec", "defobj").Set("x", object.NewInt(9))
	s.Default(b)
	if got, _ := b.Path("spec", "defobj", "x").Int(); got != 2 {
		t.Errorf("changing a defaulted document changed the default: %d", got)
	}
}

func TestValidateWording(t *testing.T) {
	s := mustCompile(t, example)
	for _, tt := range []struct{ name, old, in, want string }{
		{"valid", "", `{"spec":{"req":"r"}}`, ""},
		{"required", "", `{"spec":{}}`, `spec.req: Required value`},
		{"type", "", `{"spec":{"req":1}}`, `spec.req: Invalid value: "integer": spec.req in body must be of type string: "integer"`},
		{"enum", "", `{"spec":{"req":"r","enum":"c"}}`, `spec.enum: Unsupported value: "c": supported values: "a", "b"`},
		{"list map", "", `{"spec":{"req":"r","list":[{"k":"a"},{"k":"a"}]}}`, `spec.list[1]: Duplicate value: {"k":"a"}`},
		{"ratcheted", `{"spec":{"req":"r","min":99}}`, `{"spec":{"req":"s","min":99}}`, ``},
		{"ratcheted no further", `{"spec":{"req":"r","min":99}}`, `{"spec":{"req":"s","min":98}}`, `spec.min: Invalid value: 98: spec.min in body should be less than or equal to 10`},
		{"embedded", "", `{"spec":{"req":"r","emb":{"kind":"K"}}}`, `spec.emb.apiVersion: Required value`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Check{New: mustParse(t, tt.in)}
			if tt.old != "" {
				c.Old = mustParse(t, tt.old)
			}
			got := ""
			if errs := s.Validate(context.Background(), c); len(errs) > 0 {
				got = errs.ToAggregate().Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestValidateStatusLooksAtStatusOnly(t *testing.T) {
	s := mustCompile(t, example)
	old := mustParse(t, `{"spec":{}}`)
	if errs := s.Validate(context.Background(), Check{New: mustParse(t, `{"spec":{},"status":{"n":1}}`), Old: old, Status: true}); len(errs) > 0 {
		t.Errorf("an invalid spec: %v", errs)
	}
	errs := s.Validate(context.Background(), Check{New: mustParse(t, `{"spec":{},"status":{"n":"x"}}`), Old: old, Status: true})
	if len(errs) != 1 || errs[0].Field != "status.n" {
		t.Errorf("an invalid status: %v", errs)
	}
}

func TestRulesAreEnforced(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"spec":{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},
		"x-kubernetes-validations":[{"rule":"self.a < self.b","message":"a must be less than b"}]}}}`)
	doc := `{"apiVersion":"g/v1","kind":"K","metadata":{"name":"x"},"spec":{"a":%d,"b":2}}`
	if errs := s.Validate(context.Background(), Check{New: mustParse(t, fmt.Sprintf(doc, 1))}); len(errs) > 0 {
		t.Errorf("unexpected: %v", errs)
	}
	errs := s.Validate(context.Background(), Check{New: mustParse(t, fmt.Sprintf(doc, 3))})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "a must be less than b") {
		t.Errorf("got %v", errs)
	}
	if !s.DescribesMetadata() {
		t.Error("rules may look at metadata")
	}
}

func TestCompileRejectsWhatIsNotStructural(t *testing.T) {
	for _, source := range []string{
		`{"type":"string","pattern":"("}`, `{"type":"object","properties":{"a":{"$ref":"#/x"}}}`, `{"type":"array","items":[{"type":"string"}]}`,
		`{"type":"object","patternProperties":{"a":{}}}`, `{"type":"thing"}`, `{"properties":{"a":{"type":"integer","default":{}x}}}`,
	} {
		if _, err := CompileJSON([]byte(source)); err == nil {
			t.Errorf("accepted %s", source)
		}
	}
}

func TestShape(t *testing.T) {
	var s object.Shape = mustCompile(t, example)
	list := s.Field("spec").Field("list")
	if !slices.Equal(list.Keys(), []string{"k"}) || list.Atomic() || list.Set() || list.KeyDefault("p") != `"TCP"` || list.KeyDefault("k") != "" {
		t.Errorf("list: keys %v, atomic %v", list.Keys(), list.Atomic())
	}
	if s.Field("spec").Field("nope") != nil || s.Field("spec").Field("req").Item() != nil {
		t.Error("what the schema does not know must be nil")
	}
	refs := s.Field("metadata").Field("ownerReferences")
	if !slices.Equal(refs.Keys(), []string{"uid"}) || !refs.Item().Atomic() || !s.Field("metadata").Field("finalizers").Set() {
		t.Error("metadata has not the shape of ObjectMeta")
	}
}

// TestAgainstUpstream compares with upstream's library on random schemas and documents (C1).
func TestAgainstUpstream(t *testing.T) {
	valid, invalid := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		props := map[string]any{"type": "object"}
		randomObject(r, props, 4)
		source, err := json.Marshal(props)
		if err != nil {
			t.Fatal(err)
		}
		s, err := CompileJSON(source)
		if err != nil {
			t.Fatalf("%v\n%s", err, source)
		}
		u, err := s.upstream()
		if err != nil {
			t.Fatalf("%v\n%s", err, source)
		}
		for range 25 {
			doc, err := json.Marshal(randomValue(r, props, 4))
			if err != nil {
				t.Fatal(err)
			}
			if doc[0] != '{' {
				continue
			}
			if compare(t, s, u, doc, string(source)) {
				valid++
			} else {
				invalid++
			}
			if t.Failed() {
				return
			}
		}
	}
	if valid < 500 || invalid < 500 {
		t.Errorf("the documents are too much alike: %d valid, %d invalid", valid, invalid)
	}
}

func compare(t *testing.T, s *Schema, u *upstream, doc []byte, source string) bool {
	v := mustParse(t, string(doc))
	theirs := v.ToAny()
	unknown := s.Prune(v)
	want := pruning.PruneWithOptions(theirs, u.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if !slices.Equal(unknown, want) {
		t.Errorf("unknown fields %q, upstream %q\ndocument %s\nschema %s", unknown, want, doc, source)
	}
	s.DropNulls(v)
	defaulting.PruneNonNullableNullsWithoutDefaults(theirs, u.structural)
	s.Default(v)
	structural := u.structural.DeepCopy()
	if err := defaulting.PruneDefaults(structural); err != nil {
		t.Fatal(err)
	}
	defaulting.Default(theirs, structural)
	if got := v.ToAny(); !reflect.DeepEqual(got, theirs) {
		t.Errorf("normalized to %s\nupstream      %v\ndocument %s\nschema %s", text(v), theirs, doc, source)
	}
	errs := validation.ValidateCustomResource(nil, theirs, unworded(u.validator))
	if got := s.valid(v); got != (len(errs) == 0) {
		t.Errorf("valid %v, upstream %v\ndocument %s\nschema %s", got, errs, text(v), source)
	}
	lists := listtype.ValidateListSetsAndMaps(nil, u.structural, theirs.(map[string]any))
	if got := s.listsValid(v); got != (len(lists) == 0) {
		t.Errorf("lists valid %v, upstream %v\ndocument %s\nschema %s", got, lists, text(v), source)
	}
	return len(errs) == 0
}

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

var fieldNames = []string{"a", "b", "c", "d", "metadata", "kind"}

func randomSchema(r *rand.Rand, depth int) map[string]any {
	p := map[string]any{}
	typ := pick(r, "object", "object", "array", "string", "integer", "number", "boolean", "ios")
	if depth == 0 && (typ == "object" || typ == "array") {
		typ = "string"
	}
	if r.IntN(4) == 0 {
		p["nullable"] = true
	}
	switch typ {
	case "ios":
		p["x-kubernetes-int-or-string"] = true
		randomKeywords(r, p, "minimum", "pattern", "format", "maxLength")
		return p
	case "object":
		randomObject(r, p, depth)
	case "array":
		items := randomSchema(r, depth-1)
		p["items"] = items
		randomKeywords(r, p, "minItems", "maxItems")
		if items["type"] == "object" && r.IntN(2) == 0 {
			p["x-kubernetes-list-type"], p["x-kubernetes-list-map-keys"] = "map", pick(r, []any{"a"}, []any{"a", "b"})
		} else if r.IntN(2) == 0 {
			p["x-kubernetes-list-type"] = "set"
		}
	case "string":
		randomKeywords(r, p, "minLength", "maxLength", "pattern", "format")
	case "integer", "number":
		randomKeywords(r, p, "minimum", "maximum", "multipleOf", "numberFormat")
	}
	p["type"] = typ
	randomKeywords(r, p, "enum", "junctor")
	if r.IntN(4) == 0 {
		p["default"] = randomValue(r, p, depth)
	}
	return p
}

func randomObject(r *rand.Rand, p map[string]any, depth int) {
	randomKeywords(r, p, "minProperties", "maxProperties", "required")
	if r.IntN(4) == 0 {
		p["x-kubernetes-preserve-unknown-fields"] = true
	}
	if r.IntN(3) == 0 {
		p["additionalProperties"] = pick[any](r, true, false, randomSchema(r, depth-1))
		return
	}
	props := map[string]any{}
	for range r.IntN(4) {
		props[pick(r, fieldNames[:4]...)] = randomSchema(r, depth-1)
	}
	p["properties"] = props
}

func randomKeywords(r *rand.Rand, p map[string]any, names ...string) {
	for _, name := range names {
		if r.IntN(4) > 0 {
			continue
		}
		switch name {
		case "pattern":
			p[name] = pick(r, "^[a-z]+$", "b", "^$")
		case "format":
			p[name] = pick(r, "date", "ipv4", "int32", "duration", "date-time", "made-up", "uuid")
		case "numberFormat":
			p["format"] = pick(r, "int32", "int64", "float", "double", "date")
		case "minimum", "maximum":
			p[name] = pick[any](r, 0, 1, 2.5, 3, -1, 1e10, 5)
			if r.IntN(2) == 0 {
				p["exclusive"+strings.ToUpper(name[:1])+name[1:]] = true
			}
		case "multipleOf":
			p[name] = pick[any](r, 1, 2, 0.5, 3)
		case "enum":
			p[name] = pick[any](r, []any{"a", "b", 1}, []any{1, 2.5, true}, []any{nil, "A", map[string]any{"a": "b"}})
		case "required":
			p[name] = []any{pick(r, fieldNames...)}
		case "junctor":
			nested := []any{
				map[string]any{"minLength": 1}, map[string]any{"maximum": 2}, map[string]any{"required": []any{"a"}},
				map[string]any{"properties": map[string]any{"a": map[string]any{"enum": []any{"a"}}}}, map[string]any{"maxItems": 1}, map[string]any{"format": "date"},
			}
			r.Shuffle(len(nested), func(i, j int) { nested[i], nested[j] = nested[j], nested[i] })
			switch j := pick(r, "allOf", "anyOf", "oneOf", "not"); j {
			case "not":
				p[j] = nested[0]
			default:
				p[j] = nested[:2]
			}
		default:
			p[name] = r.IntN(3)
		}
	}
}

// randomValue makes a document that often fits the schema.
func randomValue(r *rand.Rand, p map[string]any, depth int) any {
	typ, _ := p["type"].(string)
	if r.IntN(12) == 0 {
		typ = pick(r, "object", "array", "string", "integer", "number", "boolean", "null")
	}
	if p["x-kubernetes-int-or-string"] == true {
		typ = pick(r, "integer", "string", "number")
	}
	switch typ {
	case "object":
		m := map[string]any{}
		props, _ := p["properties"].(map[string]any)
		more, _ := p["additionalProperties"].(map[string]any)
		for _, name := range fieldNames {
			c, ok := props[name].(map[string]any)
			if !ok {
				c = more
			}
			if depth > 0 && r.IntN(3) > 0 && (ok || r.IntN(3) == 0) {
				m[name] = randomValue(r, c, depth-1)
			}
		}
		return m
	case "array":
		items, _ := p["items"].(map[string]any)
		l := []any{}
		for range pick(r, 0, 1, 2, 3, 30) {
			if depth > 0 {
				l = append(l, randomValue(r, items, depth-1))
			}
		}
		return l
	case "string":
		return pick(r, "a", "b", "", "abc", "2020-01-02", "10.0.0.1", "5s", "Ü")
	case "integer":
		return pick[any](r, 0, 1, 2, 3, 5, 65, -7, 1<<33)
	case "number":
		return pick[any](r, 1.5, json.Number("2.0"), 2.5, 1e300, 3, json.Number("1e2"), -0.25)
	case "boolean":
		return r.IntN(2) == 0
	case "null":
		return nil
	}
	return pick[any](r, "x", 1, map[string]any{"q": 1}, nil, []any{})
}

func TestNoLibraryForValidDocuments(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"a":{"type":"string"}}}`)
	if errs := s.Validate(context.Background(), Check{New: mustParse(t, `{"a":"b"}`)}); len(errs) > 0 {
		t.Fatal(errs)
	}
	if s.origin.weak.Value() != nil || s.origin.strong != nil {
		t.Error("C1: a valid document has built upstream's validator")
	}
}

// benchSchema and benchDoc are the custom resource of the project's benchmark.
const benchSchema = `{"type":"object","properties":{"spec":{"type":"object","required":["image"],"properties":{
	"image":{"type":"string","minLength":1},"replicas":{"type":"integer","minimum":0,"default":1},"paused":{"type":"boolean"},
	"items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
		"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"value":{"type":"string"}}}}}},
	"status":{"type":"object","properties":{"replicas":{"type":"integer"}}}}}`

func benchDoc() string {
	var b strings.Builder
	b.WriteString(`{"apiVersion":"bench.pintle.dev/v1","kind":"Widget","metadata":{"name":"widget-00001","namespace":"default"},"spec":{"image":"registry.example.com/team/app:v1.2.3","paused":false,"items":[`)
	for i := range 16 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"item-%02d","value":"some value of the item %d"}`, i, i)
	}
	b.WriteString(`]}}`)
	return b.String()
}

func BenchmarkNormalize(b *testing.B) {
	s := mustCompile(b, benchSchema)
	doc := mustParse(b, benchDoc())
	clone := func(b *testing.B) {
		for b.Loop() {
			doc.Clone()
		}
	}
	b.Run("clone", clone)
	b.Run("clone+prune+default+validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v := doc.Clone()
			s.Prune(&v)
			s.DropNulls(&v)
			s.Default(&v)
			if errs := s.Validate(context.Background(), Check{New: &v}); len(errs) > 0 {
				b.Fatal(errs)
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	p := &apiextensionsv1.JSONSchemaProps{}
	props := map[string]any{}
	for i := range 150 {
		props[fmt.Sprintf("field%d", i)] = map[string]any{"type": "string", "description": strings.Repeat("what the field means ", 5), "maxLength": 10}
	}
	source, _ := json.Marshal(map[string]any{"type": "object", "properties": props})
	if err := json.Unmarshal(source, p); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes", len(source))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := CompileJSON(source); err != nil {
			b.Fatal(err)
		}
	}
}

// TestDefaultStops: defaults that multiply end at a document that is too large, not at the end of memory.
func TestDefaultStops(t *testing.T) {
	big := strings.Repeat("x", 10000)
	s := mustCompile(t, `{"type":"object","properties":{"l":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string","default":"`+big+`"}}}},
		"m":{"type":"object","additionalProperties":{"type":"string","default":"`+big+`"}}}}`)
	members := make([]string, 5000)
	for i := range members {
		members[i] = fmt.Sprintf(`"k%d":null`, i)
	}
	for _, in := range []string{
		`{"l":[` + strings.TrimSuffix(strings.Repeat("{},", 100000), ",") + `]}`,
		`{"m":{` + strings.Join(members, ",") + `}}`,
	} {
		v := mustParse(t, in)
		s.Default(v)
		if n := len(text(v)); n <= MaxDefaults || n > MaxDefaults+len(big)+2*len(in) {
			t.Errorf("%.20s: %d bytes after defaulting", in, n)
		}
	}
}
