package object

import (
	"strings"
	"testing"
)

func TestPlainJSON(t *testing.T) {
	for doc, plain := range map[string]bool{
		`{"a":[1,"x",true,null]}`: true,
		" \n{}":                   true,
		`{"a":1,"a":2}`:           false,
		`{"a":[{"b":1.0}]}`:       false,
		`{"a":1e3}`:               false,
		`[]`:                      false,
		``:                        false,
		"a: b":                    false,
		`{a: b}`:                  false,
		"{}\n---\n{}":             false,
		"{}\n\t":                  false,
		"\t{}":                    false,
		"{\t\"a\" :\r\n1\t}\n ":   true,
		"{\"a\"\n:1}":             false,
		`{"é\u003c\ufffe\\/😀":1}`: true,
		`{"a":"\/"}`:              false,
		`{"a":"\ud83d\ude00"}`:    false,
		`{"a":"\uD800"}`:          false,
		"{\"a\":\"\x7f\"}":        false,
		"{\"a\":\"\u0080\"}":      false,
		"{\"a\":\" \u0085 \"}":    false,
		"{\"a\":\" \u2028 \"}":    false,
		"{\"a\u2029\":1}":         false,
		"{\"a\":\"\uffff\"}":      false,
		`{"` + strings.Repeat("k", maxSimpleKey-2) + `":":"}`:         true,
		`{"` + strings.Repeat("k", maxSimpleKey-1) + `":1}`:           false,
		`{"k"` + strings.Repeat(" ", maxSimpleKey) + `:1}`:            false,
		`{"k":"` + strings.Repeat("v", maxSimpleKey) + `","a":["b"]}`: true,
	} {
		v, ok := PlainJSON([]byte(doc))
		if ok != plain {
			t.Errorf("%q is plain JSON: %v", doc, ok)
		}
		if ok {
			sameAsYAML(t, doc, v)
		}
	}
}

// FuzzPlainJSON: what is read as JSON is what YAML reads, of keys, values and the text of strings.
func FuzzPlainJSON(f *testing.F) {
	for _, s := range []string{`1`, `[1,-0,"2001-01-01",18446744073709551615,{"<<":"=","~":null}]`, "\"b\t# c\"\t,\"y\" :\r\n\"\\u2028\"", ` \b\u12ef é `} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, doc := range []string{s, `{"a":` + s + `}`, `{"a":"` + s + `"}`, `{"` + s + `":1}`} {
			if v, ok := PlainJSON([]byte(doc)); ok {
				sameAsYAML(t, doc, v)
			}
		}
	})
}

// sameAsYAML fails the test unless v is what YAML reads.
func sameAsYAML(t *testing.T, doc string, v *Value) {
	t.Helper()
	data, err := FromYAML([]byte(doc))
	if err != nil {
		t.Fatalf("%q is read as %s, as YAML not: %v", doc, text(v), err)
	}
	if want := parsed(t, string(data)); !Equal(v, want) {
		t.Errorf("%q is read as %s, as YAML %s", doc, text(v), text(want))
	}
}
