package object

import "testing"

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
	} {
		v, ok := PlainJSON([]byte(doc))
		if ok != plain {
			t.Errorf("%q is plain JSON: %v", doc, ok)
		}
		if !ok {
			continue
		}
		data, err := FromYAML([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if want := parsed(t, string(data)); !Equal(v, want) {
			t.Errorf("%q is read as %s, as YAML %s", doc, text(v), text(want))
		}
	}
}
