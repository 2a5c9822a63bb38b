package object

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"pintle.dev/growthtest"
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
		p, _, err := ParseJSONPatch([]byte("["+ops+"]"), true)
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
	pod := func(fields string) string { return `{"spec":{"template":{"spec":{` + fields + `}}}}` }
	target := func(n int) string {
		return `{"metadata":{"finalizers":[` + numbered(`"y/%d"`, n) + `]},` + pod(`"containers":[` + numbered(`{"name":"c%d","image":"i"}`, n) + `]`)[1:]
	}
	shape := shapeOf(&appsv1.Deployment{})
	for what, c := range map[string]struct {
		patch func(n int) string
		want  func(n int) int // containers afterwards
	}{
		"changes": {func(n int) string { return pod(`"containers":[` + numbered(`{"name":"c%d","image":"j"}`, n) + `]`) }, func(n int) int { return n }},
		"order": {func(n int) string {
			return pod(`"$setElementOrder/containers":[` + numbered(`{"name":"c%d"}`, n) + `],"containers":[` + numbered(`{"name":"c%d","image":"j"}`, n) + `]`)
		}, func(n int) int { return n }},
		"deletes": {func(n int) string {
			return pod(`"containers":[` + numbered(`{"name":"c%d","$patch":"delete"}`, n-1) + `]`)
		}, func(int) int { return 1 }},
		"additions":  {func(n int) string { return pod(`"containers":[` + numbered(`{"name":"d%d"}`, n) + `]`) }, func(n int) int { return 2 * n }},
		"finalizers": {func(n int) string { return `{"metadata":{"finalizers":[` + numbered(`"x/%d"`, n) + `]}}` }, func(n int) int { return n }},
	} {
		grown := growthtest.Of(t, 5000, func(n int) func() {
			v, p := parsed(t, target(n)), parsed(t, c.patch(n))
			return func() {
				if err := StrategicMerge(v, p, shape); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if got := v.Path("spec", "template", "spec", "containers").Len(); got != c.want(n) {
					t.Errorf("%s: %d containers, want %d", what, got, c.want(n))
				}
			}
		})
		if grown > growthtest.Square {
			t.Errorf("%s: lists four times as long take %.1f times as long", what, grown)
		}
	}
}
