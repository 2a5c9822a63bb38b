package object

import (
	"strings"
	"testing"
)

func TestPick(t *testing.T) {
	const doc = `{"apiVersion":"v1","kind":"K","metadata":{"name":"a","resourceVersion":"12"               ,"labels":{"app":"x","b":"}\\\""}},` +
		`"spec":{"n":-1.5e3,"on":true,"list":[{"name":"i","size":[1,2,{"x":null}]},{"size":3,"name":"j"},7,"s"],"empty":{},"none":[]},"data":{"k":"v","l":"[{\","}}`
	for _, c := range []struct{ fields, want string }{
		{"kind", `{"kind":"K"}`},
		{"metadata.name", `{"metadata":{"name":"a"}}`},
		{"metadata.resourceVersion metadata.labels.b", `{"metadata":{"resourceVersion":"12"               ,"labels":{"b":"}\\\""}}}`},
		{"spec.n spec.on", `{"spec":{"n":-1.5e3,"on":true}}`},
		{"spec.list.name", `{"spec":{"list":[{"name":"i"},{"name":"j"},7,"s"]}}`},
		{"spec.list.size.x spec.empty.y", `{"spec":{"list":[{"size":[1,2,{"x":null}]},{"size":3},7,"s"],"empty":{}}}`},
		{"spec.none.x", `{"spec":{"none":[]}}`},
		{"spec.n.deeper absent.too", `{"spec":{"n":-1.5e3}}`},
		{"data.*", `{"data":{"k":"","l":""}}`},
		{"data.* data.l", `{"data":{"k":"","l":"[{\","}}`},
		{"data.l data", `{"data":{"k":"v","l":"[{\","}}`},
		{"data data.l", `{"data":{"k":"v","l":"[{\","}}`},
		{"absent", `{}`},
	} {
		if got := string(PickFields(strings.Fields(c.fields)...).Append(nil, []byte(doc))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.fields, got, c.want)
		}
	}
	if got := string(NewPick(nil).Append([]byte("x"), []byte(doc))); got != "x"+doc {
		t.Errorf("everything: %s", got)
	}
}

// What is cut off or no JSON at all must end, whatever comes of it.
func TestPickOfNoDocument(t *testing.T) {
	const doc = `{"metadata":{"name":"a\"","x":[{"y":1},2]},"spec":[{"a":{}},{"a":[`
	p := PickFields("metadata.name", "metadata.x.y", "spec.a.*")
	for i := range len(doc) {
		p.Append(nil, []byte(doc[:i]))
		p.Append(nil, []byte(doc[i:]))
	}
	for _, s := range []string{`{"spec":[}`, `{"spec":[:]}`, `[]]`, `{"spec":{,}}`, `{"metadata"`, `{"spec":}`} {
		p.Append(nil, []byte(s))
	}
}

// A name that has to be written with escapes is found as all that is stored is written.
func TestPickOfNamesWithEscapes(t *testing.T) {
	for _, name := range []string{`a"b`, `back\slash`, "tab\t", "é", "\x01", "<&>", "\u2028"} {
		m, err := FromAny(map[string]any{"other": "y", name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		doc := AppendJSON(nil, &m)
		got, err := NewPick([]string{name}).Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != 1 || got.Get(name).Str() != "x" {
			t.Errorf("%q of %s: %s", name, doc, AppendJSON(nil, got))
		}
	}
}
