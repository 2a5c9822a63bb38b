package object

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

func numbered(format string, n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(items, ",")
}

// TestJSONPatchWork: ten thousand operations on a long list or a large object, which would take minutes, are refused after
// the few hundred that move as many items as are allowed.
func TestJSONPatchWork(t *testing.T) {
	const items, members = 200000, 100000
	for what, ops := range map[string]string{
		"l": `{"op":"add","path":"/l","value":[` + numbered("%d", items) + `]},` + strings.TrimSuffix(strings.Repeat(`{"op":"add","path":"/l/0","value":1},`, 9000), ","),
		"m": `{"op":"add","path":"/m","value":{` + numbered(`"k%06d":1`, members) + `}},` + numbered(`{"op":"remove","path":"/m/k%06d"}`, 9000),
	} {
		p, _, err := ParseJSONPatch([]byte("[" + ops + "]"))
		if err != nil {
			t.Fatal(err)
		}
		target, err := Parse([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.apply(target); err == nil || !strings.Contains(err.Error(), "too long") {
			t.Errorf("%s: %v", what, err)
		}
		// Each operation moves nearly all of what is there.
		had, done := members, members-target.Get(what).Len()
		if what == "l" {
			had, done = items, target.Get(what).Len()-items
		}
		if most := maxJSONPatchMoves/had + 10; done <= 0 || done > most {
			t.Errorf("%s: refused after %d operations, want at most %d", what, done, most)
		}
	}
}

// TestStrategicMergeLongLists: merging takes time in proportion to the lists, not to their product.
func TestStrategicMergeLongLists(t *testing.T) {
	const n = 30000
	pod := func(fields string) string { return `{"spec":{"template":{"spec":{` + fields + `}}}}` }
	target := pod(`"containers":[` + numbered(`{"name":"c%d","image":"i"}`, n) + `]`)
	for what, patch := range map[string]string{
		"changes":    pod(`"containers":[` + numbered(`{"name":"c%d","image":"j"}`, n) + `]`),
		"order":      pod(`"$setElementOrder/containers":[` + numbered(`{"name":"c%d"}`, n) + `],"containers":[` + numbered(`{"name":"c%d","image":"j"}`, n) + `]`),
		"deletes":    pod(`"containers":[` + numbered(`{"name":"c%d","$patch":"delete"}`, n-1) + `]`),
		"additions":  pod(`"containers":[` + numbered(`{"name":"d%d"}`, n) + `]`),
		"finalizers": `{"metadata":{"finalizers":[` + numbered(`"x/%d"`, n) + `]}}`,
	} {
		v, err := Parse([]byte(target))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse([]byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := StrategicMerge(v, p, shapeOf(&appsv1.Deployment{})); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: took %v", what, took)
		}
		want := map[string]int{"deletes": 1, "additions": 2 * n}[what]
		if want == 0 {
			want = n
		}
		if got := v.Path("spec", "template", "spec", "containers").Len(); got != want {
			t.Errorf("%s: %d containers, want %d", what, got, want)
		}
	}
}
