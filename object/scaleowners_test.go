package object

import (
	"strings"
	"testing"

	"pintle.dev/api"
)

func TestOwnersOfScale(t *testing.T) {
	replicas := func(string) (string, bool) { return "spec.replicas", true }
	owners := api.Owners{
		{Manager: "a", Operation: "Apply", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:replicas":{},"f:selector":{}}}`, Time: 3},
		{Manager: "b", Operation: "Update", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:replicas":{}}}`, Time: 4},
		{Manager: "c", Operation: "Update", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:paused":{}}}`, Time: 5},
	}
	scale := ScaleOwners(owners, replicas)
	want := "a Apply autoscaling/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{}}}\nb Update autoscaling/v1 \"\" 4 {\"f:spec\":{\"f:replicas\":{}}}\n"
	if got := show(t, entries(scale)); got != want {
		t.Fatalf("the owners of the scale are\n%swant\n%s", got, want)
	}
	both := append(owners[:2:2], api.Owner{Manager: "c", Operation: "Update", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:paused":{},"f:replicas":{}}}`, Time: 5})
	want = "a Apply apps/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{},\"f:selector\":{}}}\nb Update apps/v1 \"\" - {\"f:spec\":{\"f:replicas\":{}}}\n" +
		"c Update apps/v1 \"\" - {\"f:spec\":{\"f:replicas\":{}}}\nc Update apps/v1 \"\" 5 {\"f:spec\":{\"f:paused\":{}}}\n"
	after := OwnersAfterScale(both, ScaleOwners(both, replicas), replicas, "apps/v1")
	if got := show(t, entries(after)); got != want {
		t.Errorf("a scale that nobody took over changes the owners to\n%swant\n%s", got, want)
	}
	want = want[:strings.Index(want, "c Update")] + want[strings.LastIndex(want, "c Update"):]
	if got := show(t, entries(LastEntries(after))); got != want {
		t.Errorf("who has two entries is read as\n%swant\n%s", got, want)
	}
	taken := append(scale[:1:1], TakenScale("h", "scale")...)
	want = "a Apply apps/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{},\"f:selector\":{}}}\nh Update apps/v1 \"scale\" - {\"f:spec\":{\"f:replicas\":{}}}\nc Update apps/v1 \"\" 5 {\"f:spec\":{\"f:paused\":{}}}\n"
	if got := show(t, entries(OwnersAfterScale(owners, taken, replicas, "apps/v1"))); got != want {
		t.Errorf("after the scale was taken over the owners are\n%swant\n%s", got, want)
	}
}

// Versions of a custom kind each say what a Scale sets, or have none.
func TestOwnersOfScaleByVersion(t *testing.T) {
	paths := map[string]string{"g/v1": "spec.replicas", "g/v2": "spec.size", "g/v3": ""}
	path := func(version string) (string, bool) { p, known := paths[version]; return p, known }
	owners := api.Owners{
		{Manager: "a", Operation: "Apply", APIVersion: "g/v1", Fields: `{"f:spec":{"f:replicas":{},"f:x":{}}}`, Time: 3},
		{Manager: "b", Operation: "Apply", APIVersion: "g/v2", Fields: `{"f:spec":{"f:replicas":{},"f:size":{}}}`, Time: 3},
		{Manager: "c", Operation: "Apply", APIVersion: "g/v3", Fields: `{"f:spec":{"f:replicas":{}}}`, Time: 3},
		{Manager: "d", Operation: "Apply", APIVersion: "g/gone", Fields: `{"f:spec":{"f:replicas":{}}}`, Time: 3},
	}
	scale := ScaleOwners(owners, path)
	want := "a Apply autoscaling/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{}}}\nb Apply autoscaling/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{}}}\n"
	if got := show(t, entries(scale)); got != want {
		t.Errorf("the owners of the scale are\n%swant\n%s", got, want)
	}
	want = "a Apply g/v1 \"\" 3 {\"f:spec\":{\"f:x\":{}}}\nb Apply g/v2 \"\" 3 {\"f:spec\":{\"f:replicas\":{}}}\nc Apply g/v3 \"\" 3 {\"f:spec\":{\"f:replicas\":{}}}\n" +
		"h Update g/v2 \"scale\" - {\"f:spec\":{\"f:size\":{}}}\n"
	if got := show(t, entries(OwnersAfterScale(owners, TakenScale("h", "scale"), path, "g/v2"))); got != want {
		t.Errorf("after the scale was taken over the owners are\n%swant\n%s", got, want)
	}
}
