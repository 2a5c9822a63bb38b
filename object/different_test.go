package object

import (
	"slices"
	"testing"

	"pintle.dev/api"
)

func TestParseDifferent(t *testing.T) {
	const head = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","uid":"u"},`
	for _, c := range []struct {
		name, before, after   string
		wantBefore, wantAfter string
	}{
		{"one member differs", head + `"spec":{"a":"},\"{"},"status":{"x":1}}`, head + `"spec":{"a":"},\"{"},"status":{"x":2}}`,
			`{"metadata":{"name":"a","uid":"u"},"status":{"x":1}}`, `{"metadata":{"name":"a","uid":"u"},"status":{"x":2}}`},
		{"a member is new", head + `"spec":[1,[2]]}`, head + `"data":"\\","spec":[1,[2]]}`,
			`{"metadata":{"name":"a","uid":"u"}}`, `{"metadata":{"name":"a","uid":"u"},"data":"\\"}`},
		{"a member is gone", head + `"data":null,"spec":true}`, head + `"spec":true}`,
			`{"metadata":{"name":"a","uid":"u"},"data":null}`, `{"metadata":{"name":"a","uid":"u"}}`},
		{"nothing is left", `{"a":1,"b":[]}`, `{"a":1,"b":[]}`, `{}`, `{}`},
		{"empty", `{}`, `{"a":1}`, `{}`, `{"a":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after, buf, err := ParseDifferent([]byte("x"), []byte(c.before), []byte(c.after), "metadata")
			if err != nil {
				t.Fatal(err)
			}
			if got := string(AppendJSON(nil, before)); got != c.wantBefore {
				t.Errorf("before %s, want %s", got, c.wantBefore)
			}
			if got := string(AppendJSON(nil, after)); got != c.wantAfter {
				t.Errorf("after %s, want %s", got, c.wantAfter)
			}
			if buf[0] != 'x' {
				t.Error("what was in the buffer is gone")
			}
			by := Write{Owner: api.Owner{Manager: "m", APIVersion: "v1", Time: 1}, Owned: true}
			full := own(nil, parsed(t, c.before), parsed(t, c.after), nil, by)
			if part := own(nil, before, after, nil, by); !slices.Equal(part, full) {
				t.Errorf("owners %v, of the whole documents %v", part, full)
			}
		})
	}
}
