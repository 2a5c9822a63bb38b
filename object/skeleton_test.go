package object

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pintle.dev/api"
)

func TestAppendSkeleton(t *testing.T) {
	for _, c := range []struct{ name, a, b string }{
		{"longer strings count as one", `{"a":"abc","b":{"c":"xyz"}}`, `{"a":"ab:\"cd\\","b":{"c":"\\\"{,}[]:\\"}}`},
		{"numbers count as one", `{"a":1,"b":-12.5e3,"c":{"d":20}}`, `{"a":99,"b":3,"c":{"d":1}}`},
	} {
		if x, y := skeleton(c.a), skeleton(c.b); x != y {
			t.Errorf("%s: %s and %s differ: %s, %s", c.name, c.a, c.b, x, y)
		}
	}
	for _, c := range []struct{ name, a, b string }{
		{"an empty string", `{"a":"abc"}`, `{"a":""}`},
		{"zero", `{"a":1}`, `{"a":0}`},
		{"an empty quantity", `{"a":"10m"}`, `{"a":"0"}`},
		{"false", `{"a":true}`, `{"a":false}`},
		{"null", `{"a":null}`, `{"a":"abc"}`},
		{"names", `{"a":"abc"}`, `{"b":"abc"}`},
		{"nesting", `{"a":{"b":1}}`, `{"a":{},"b":1}`},
		{"items", `{"a":["abc"]}`, `{"a":["abd"]}`},
		{"keys", `{"a":[{"name":"abc]","x":[1]}]}`, `{"a":[{"name":"abc]","x":[2]}]}`},
		{"kinds", `{"a":1}`, `{"a":"abc"}`},
	} {
		if x, y := skeleton(c.a), skeleton(c.b); x == y {
			t.Errorf("%s: %s and %s are alike: %s", c.name, c.a, c.b, x)
		}
	}
}

func skeleton(doc string) string { return string(AppendSkeleton(nil, []byte(doc))) }

// TestSkeletonDecides makes documents by chance: those with equal skeletons have equal owners.
func TestSkeletonDecides(t *testing.T) {
	shape := widgetShape(t)
	before := parsed(t, `{"metadata":{},"spec":{"replicas":0,"any":"","selector":null},"status":{}}`)
	if LongStrings(before) {
		t.Fatal("the empty document has long strings")
	}
	r := rand.New(rand.NewPCG(1, 2))
	seen, again := map[string]string{}, 0
	for range 20_000 {
		doc := `{"apiVersion":"v1","kind":"Widget","metadata":{"name":"n"},"spec":` + randomSpec(r, 2) + `,"status":{}}`
		by := Write{Owner: api.Owner{Manager: "m", APIVersion: "v1", Time: 1}}
		got := fmt.Sprint(Own(nil, before, parsed(t, doc), shape, by))
		key := skeleton(doc)
		if want, ok := seen[key]; !ok {
			seen[key] = got
		} else if again++; want != got {
			t.Fatalf("%s\nhas the owners %s,\nanother like it %s", doc, got, want)
		}
	}
	if again < 1000 {
		t.Errorf("only %d documents were like one before", again)
	}
}

func randomSpec(r *rand.Rand, depth int) string {
	scalar := func() string {
		return []string{`""`, `"0"`, `"abc"`, `"abcd"`, `0`, `1`, `42`, `-3`, `true`, `false`, `null`}[r.IntN(11)]
	}
	var members []string
	add := func(name string, value func() string) {
		if r.IntN(3) == 0 {
			members = append(members, `"`+name+`":`+value())
		}
	}
	add("replicas", scalar)
	add("any", scalar)
	add("selector", func() string { return `{"k":` + scalar() + `}` })
	add("args", func() string { return `[` + scalar() + `]` })
	add("items", func() string {
		nested := ""
		if depth > 0 {
			nested = `,"nested":` + randomSpec(r, depth-1)
		}
		return fmt.Sprintf(`[{"name":"%c","value":"abc"%s}]`, 'a'+rune(r.IntN(3)), nested)
	})
	add("free", func() string { return `{"k":{"l":` + scalar() + `}}` })
	return "{" + strings.Join(members, ",") + "}"
}
