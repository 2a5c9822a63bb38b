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

func skeleton(doc string) string { return string(AppendSkeleton(nil, []byte(doc), nil)) }

// nested is a shape with another of its kind in it.
type nested struct{ Shape }

func (n nested) Field(name string) Shape {
	if name == "nested" {
		return n
	}
	return n.Shape.Field(name)
}

// TestSkeletonLeavesOutWhatIsOwnedAsAWhole: lists that are not owned item by item, once they are long.
func TestSkeletonLeavesOutWhatIsOwnedAsAWhole(t *testing.T) {
	shape := nested{widgetShape(t).Field("spec")}
	deep := strings.Repeat(`{"nested":`, 20) + `{"items":[{"name":"%c","value":"%s"}]}` + strings.Repeat("}", 20)
	for _, c := range []struct {
		name, a, b string
		alike      bool
	}{
		{"owned as a whole", `{"selector":{"k":"abc"},"args":["%s"]}`, `{"selector":{"k":"abc"},"args":["a]","%s"]}`, true},
		{"further down", `{"nested":{"args":["%s"]}}`, `{"nested":{"args":["%s",{"a":[]}]}}`, true},
		{"after it", `{"nested":{"args":["%s"],"any":1}}`, `{"nested":{"args":["%s"]},"any":1}`, false},
		{"there is none", `{"args":["%s"]}`, `{"args":[],"any":"%s"}`, false},
		{"items of their own", `{"items":[{"name":"a","value":"%s"}]}`, `{"items":[{"name":"b","value":"%s"}]}`, false},
		{"items of their own, further down", `{"nested":{"items":[{"name":"a","value":"%s"}]}}`, `{"nested":{"items":[{"name":"b","value":"%s"}]}}`, false},
		{"items of their own, far down", strings.Replace(deep, "%c", "a", 1), strings.Replace(deep, "%c", "b", 1), false},
		{"items under a name with an escape", `{"item\u0073":[{"name":"a","value":"%s"}]}`, `{"item\u0073":[{"name":"b","value":"%s"}]}`, false},
	} {
		a, b := strings.ReplaceAll(c.a, "%s", strings.Repeat("x", keptList)), strings.ReplaceAll(c.b, "%s", strings.Repeat("y", keptList))
		if x, y := AppendSkeleton(nil, []byte(a), shape), AppendSkeleton(nil, []byte(b), shape); (string(x) == string(y)) != c.alike {
			t.Errorf("%s: %s and %s have the skeletons %s and %s", c.name, a, b, x, y)
		}
	}
}

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
		got := fmt.Sprint(own(nil, before, parsed(t, doc), shape, by))
		key := string(AppendSkeleton(nil, []byte(doc), shape))
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
	add("args", func() string { return `[` + strings.Repeat(scalar()+",", 20*r.IntN(2)) + scalar() + `]` })
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
