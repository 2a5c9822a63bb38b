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

// TestJSONPatchWork: ten thousand operations on a long list or a large object are refused before they take minutes.
func TestJSONPatchWork(t *testing.T) {
	for what, ops := range map[string]string{
		"inserts": `{"op":"add","path":"/l","value":[` + numbered("%d", 200000) + `]},` + strings.TrimSuffix(strings.Repeat(`{"op":"add","path":"/l/0","value":1},`, 9000), ","),
		"members": `{"op":"add","path":"/m","value":{` + numbered(`"k%06d":1`, 100000) + `}},` + numbered(`{"op":"remove","path":"/m/k%06d"}`, 9000),
	} {
		p, _, err := ParseJSONPatch([]byte("[" + ops + "]"))
		if err != nil {
			t.Fatal(err)
		}
		target, err := Parse([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := p.Apply(target); err == nil || !strings.Contains(err.Error(), "error in our request") && !strings.Contains(err.Error(), "too long") {
			t.Errorf("%s: %v", what, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: refused after %v", what, took)
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
