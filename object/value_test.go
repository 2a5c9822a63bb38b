package object

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	kjson "sigs.k8s.io/json"
)

func parsed(t testing.TB, s string) *Value {
	t.Helper()
	v, err := Parse([]byte(s))
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return v
}

func text(v *Value) string { return string(AppendJSON(nil, v)) }

func TestParseAndAppend(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{`null`, `null`},
		{` true `, `true`},
		{`false`, `false`},
		{`"a\u0041\n\ud83d\ude00\ud800x\/"`, "\"aA\\n\U0001F600\uFFFDx/\""},
		{`"\u0000\u001f"`, `"\u0000\u001f"`},
		{`"<&>` + "\u2028" + `"`, `"<&>` + "\u2028" + `"`},
		{`"é日本"`, `"é日本"`},
		{`-0`, `0`},
		{`-0.0`, `0`},
		{`1.0`, `1`},
		{`1e3`, `1000`},
		{`9223372036854775807`, `9223372036854775807`},
		{`9223372036854775808`, `9223372036854776000`},
		{`-9223372036854775808`, `-9223372036854775808`},
		{`1e21`, `1e+21`},
		{`1.5e-7`, `1.5e-7`},
		{`0.000001`, `0.000001`},
		{`1E400`, ``},
		{`[]`, `[]`},
		{`{}`, `{}`},
		{`[1, [2, {"b" : [ ] , "a":{}}]]`, `[1,[2,{"a":{},"b":[]}]]`},
		{`{"spec":1,"metadata":{"name":"n","kind":"k","apiVersion":2},"kind":"K","data":0,"apiVersion":"v1"}`,
			`{"apiVersion":"v1","kind":"K","metadata":{"apiVersion":2,"kind":"k","name":"n"},"data":0,"spec":1}`},
		{`{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		{`{"a":{"x":1},"a":{"y":1}}`, `{"a":{"y":1}}`},
	} {
		v, err := Parse([]byte(c.in))
		if c.out == "" {
			if err == nil {
				t.Errorf("Parse(%s) gave %s, want an error", c.in, text(v))
			}
			continue
		}
		if err != nil {
			t.Errorf("Parse(%s): %v", c.in, err)
			continue
		}
		if got := text(v); got != c.out {
			t.Errorf("Parse(%s) is written as %s, want %s", c.in, got, c.out)
		}
		agree(t, []byte(c.in), v)
	}
}

// agree checks v against what upstream's decoder makes of data.
func agree(t testing.TB, data []byte, v *Value) {
	t.Helper()
	var want any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &want); err != nil {
		t.Fatalf("%q is accepted, upstream says %v", data, err)
	}
	if got := v.ToAny(); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is read as %#v, want %#v", data, got, want)
	}
	again, err := FromAny(want)
	if err != nil || !Equal(v, &again) {
		t.Fatalf("%q does not survive FromAny: %v", data, err)
	}
}

func TestParseErrors(t *testing.T) {
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for in, want := range map[string]string{
		``:                 "unexpected end of JSON input",
		`{`:                "unexpected end of JSON input",
		`{"a"`:             "unexpected end of JSON input",
		`"abc`:             "unexpected end of JSON input",
		`x`:                "invalid character 'x' looking for beginning of value",
		`{a:1}`:            "invalid character 'a' looking for beginning of object key string",
		`{"a" 1}`:          "invalid character '1' after object key",
		`{"a":1 "b"}`:      "invalid character '\"' after object key:value pair",
		`{"a":1,}`:         "invalid character '}' looking for beginning of object key string",
		`[1,]`:             "invalid character ']' looking for beginning of value",
		`[1 2]`:            "invalid character '2' after array element",
		`{} x`:             "invalid character 'x' after top-level value",
		`01`:               "invalid character '1' after top-level value",
		`1.`:               "invalid character ' ' after decimal point in numeric literal",
		`-x`:               "invalid character 'x' in numeric literal",
		`1e999`:            "json: cannot unmarshal number 1e999 into Go value of type float64",
		`"\x"`:             "invalid character 'x' in string escape code",
		`"\u12g4"`:         `invalid character 'g' in \u hexadecimal character escape`,
		"\"a\nb\"":         `invalid character '\n' in string literal`,
		`nul`:              "invalid character ' ' in literal null (expecting 'l')",
		`nulx`:             "invalid character 'x' in literal null (expecting 'l')",
		"\"a\xffb\"":       "invalid UTF-8 in string literal",
		"{\"\xff\":1}":     "invalid UTF-8 in string literal",
		"\"\\n\xed\xa0x\"": "invalid UTF-8 in string literal",
		deep:               "invalid character '[' exceeded max depth",
		"\ufeff{}":         "invalid character 'ï' looking for beginning of value",
	} {
		if v, err := Parse([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("Parse(%.40q) = %v, %v, want error %q", in, v, err, want)
		}
	}
	if _, err := Parse([]byte(deep[1 : len(deep)-1])); err != nil {
		t.Errorf("10,000 levels: %v", err)
	}
}

func TestParseStrict(t *testing.T) {
	for in, want := range map[string][]string{
		`{"a":1,"b":2}`:             nil,
		`{"a":1,"a":2,"a":3}`:       {`duplicate field "a"`},
		`{"s":{"x":1,"x":2},"s":1}`: {`duplicate field "s.x"`, `duplicate field "s"`},
		`{"s":{},"s":{"x":1,"x":2}}`: {`duplicate field "s"`,
			`duplicate field "s.x"`},
		`{"l":[{"n":1},{"n":1,"m\"":[[{"k":"]","k":1.5e3}]],"n":2}]}`: {`duplicate field "l[1].m\"[0][0].k"`, `duplicate field "l[1].n"`},
		`[{"a":1, "a" : 2}]`: {`duplicate field "[0].a"`},
	} {
		v, got, err := ParseStrict([]byte(in))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseStrict(%s) reports %q, %v, want %q", in, got, err, want)
			continue
		}
		var a any
		strict, err := kjson.UnmarshalStrict([]byte(in), &a)
		if err != nil {
			t.Fatal(err)
		}
		var up []string
		for _, e := range strict {
			up = append(up, e.Error())
		}
		if !slices.Equal(got, up) {
			t.Errorf("ParseStrict(%s) reports %q, upstream %q", in, got, up)
		}
		agree(t, []byte(in), v)
	}
}

func TestEdit(t *testing.T) {
	v := NewMap()
	v.Set("spec", NewMap()).Set("replicas", NewInt(3))
	v.Set("kind", NewString("K"))
	v.Set("list", NewList(NewInt(1), NewInt(3)))
	v.Get("list").Insert(1, NewInt(2))
	v.Get("list").Append(NewBool(true), Value{})
	v.Get("list").RemoveIndex(0)
	before := v.Clone()
	v.Path("spec").Set("replicas", NewFloat(2.5))
	v.Get("list").Index(0).Replace(NewString("two"))
	if !v.Remove("kind") || v.Remove("kind") {
		t.Error("Remove does not say what it did")
	}
	if got, want := text(&v), `{"list":["two",3,true,null],"spec":{"replicas":2.5}}`; got != want {
		t.Errorf("edited: %s, want %s", got, want)
	}
	if got, want := text(&before), `{"kind":"K","list":[2,3,true,null],"spec":{"replicas":3}}`; got != want {
		t.Errorf("the clone changed with the original: %s, want %s", got, want)
	}
	if v.Path("spec", "nope", "x") != nil || v.Get("list").Get("x") != nil || (*Value)(nil).Get("x").Str() != "" {
		t.Error("what is not there is not nil")
	}
	if i, ok := v.Path("spec", "replicas").Int(); ok {
		t.Errorf("2.5 is the integer %d", i)
	}
	for f, want := range map[float64]bool{1: true, 1 << 53: true, -(1 << 63): true, 1 << 63: false, 1e300: false} {
		v := NewFloat(f)
		if _, ok := v.Int(); ok != want {
			t.Errorf("%v fits int64: %v", f, ok)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`1`, `1.0`, true}, {`1`, `2`, false}, {`0.0`, `-0.0`, true}, {`9007199254740993`, `9007199254740992.0`, false},
		{`{"a":1,"b":[1,"x",null]}`, `{"b":[1.0,"x",null],"a":1}`, true}, {`{"a":1}`, `{"b":1}`, false},
		{`[1,2]`, `[2,1]`, false}, {`[]`, `{}`, false}, {`null`, `false`, false}, {`""`, `null`, false}, {`true`, `true`, true},
		{`{"a":null}`, `{}`, false},
	} {
		if got := Equal(parsed(t, c.a), parsed(t, c.b)); got != c.want {
			t.Errorf("Equal(%s, %s) = %v", c.a, c.b, got)
		}
	}
	for b, want := range map[string]bool{`{"a":[1,2.5]}`: true, `{"a":[1.0,2.5]}`: false, `{"a":[1,2.50]}`: true} {
		if got := Same(parsed(t, `{"a":[1,2.5]}`), parsed(t, b)); got != want {
			t.Errorf("Same with %s is %v", b, got)
		}
	}
	if !Equal(nil, parsed(t, `null`)) {
		t.Error("nil is not null")
	}
}

func TestManyMembers(t *testing.T) {
	m := map[string]any{}
	for i := range 5000 {
		m[strings.Repeat("k", i%7)+string(rune('a'+i%26))+string(rune('0'+i%10))+json.Number(rune('a'+i/100)).String()] = int64(i)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	v := parsed(t, string(data))
	for name, want := range m {
		if i, ok := v.Get(name).Int(); !ok || i != want {
			t.Fatalf("member %q is %d, want %d", name, i, want)
		}
	}
	if text(v) != string(data) {
		t.Error("members are not in order")
	}
}

func TestFromAnyRefuses(t *testing.T) {
	for _, a := range []any{math.NaN(), math.Inf(1), []any{struct{}{}}, map[string]any{"a": uint8(1)}} {
		if v, err := FromAny(a); err == nil {
			t.Errorf("FromAny(%v) = %s", a, text(&v))
		}
	}
}

func TestFromYAML(t *testing.T) {
	got, err := FromYAML([]byte("a: &x {b: 1}\nc: *x\nd: [yes, 1.5, null]\n"))
	if want := `{"a":{"b":1},"c":{"b":1},"d":[true,1.5,null]}`; err != nil || string(got) != want {
		t.Errorf("FromYAML gives %s, %v, want %s", got, err, want)
	}
	if err := CheckYAML([]byte("a: 1\na: 2\n")); err == nil || !strings.Contains(err.Error(), `key "a" already set in map`) {
		t.Errorf("duplicate keys: %v", err)
	}
	bomb := "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 100) + "]\n"
	if _, err := FromYAML([]byte(bomb)); err == nil || !strings.Contains(err.Error(), "excessive aliasing") {
		t.Errorf("a megabyte a hundred times over: %v", err)
	}
	if _, err := FromYAML([]byte("a: [")); err == nil {
		t.Error("half a list is accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u00e9\n",null,true],"b":{"c":{}}}`, `{"a":1,"a":{"b":2,"b":3}}`, `"\ud800\udc00\ud800"`, `-0.0`, `1e400`,
		`[[[]]]`, "\"\xff\"", `{"z":1,"y":2,"x":3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, dups, err := ParseStrict(data)
		var want any
		strict, wantErr := kjson.UnmarshalStrict(data, &want)
		if err == errUTF8 {
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, upstream: %v", data, err, wantErr)
		}
		if err != nil {
			return
		}
		if len(dups) != len(strict) {
			t.Fatalf("%q: duplicates %q, upstream %v", data, dups, strict)
		}
		for i := range dups {
			if dups[i] != strict[i].Error() {
				t.Fatalf("%q: duplicates %q, upstream %v", data, dups, strict)
			}
		}
		if !reflect.DeepEqual(v.ToAny(), want) {
			t.Fatalf("%q is read as %#v, want %#v", data, v.ToAny(), want)
		}
		once := AppendJSON(nil, v)
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", data, once, err)
		}
		if twice := AppendJSON(nil, again); string(twice) != string(once) || !Equal(v, again) {
			t.Fatalf("%q is written as %q, then as %q", data, once, twice)
		}
	})
}

func TestWithout(t *testing.T) {
	for name, want := range map[string]string{"a": `{"b":[2],"c":3}`, "b": `{"a":1,"c":3}`, "c": `{"a":1,"b":[2]}`, "d": `{"a":1,"b":[2],"c":3}`} {
		v := parsed(t, `{"a":1,"b":[2],"c":3}`)
		w := v.Without(name)
		if got := text(&w); got != want {
			t.Errorf("without %s: %s, want %s", name, got, want)
		}
		w.Set("e", NewBool(true)) // moves no member of the original
		if got := text(v); got != `{"a":1,"b":[2],"c":3}` {
			t.Errorf("without %s: the original became %s", name, got)
		}
	}
}
