package object

import (
	"testing"

	"pintle.dev/api"
)

func TestOwnersOfScale(t *testing.T) {
	owners := api.Owners{
		{Manager: "a", Operation: "Apply", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:replicas":{},"f:selector":{}}}`, Time: 3},
		{Manager: "b", Operation: "Update", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:replicas":{}}}`, Time: 4},
		{Manager: "c", Operation: "Update", APIVersion: "apps/v1", Fields: `{"f:spec":{"f:paused":{}}}`, Time: 5},
	}
	scale := ScaleOwners(owners, "spec.replicas")
	want := "a Apply autoscaling/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{}}}\nb Update autoscaling/v1 \"\" 4 {\"f:spec\":{\"f:replicas\":{}}}\n"
	if got := show(t, entries(scale)); got != want {
		t.Fatalf("the owners of the scale are\n%swant\n%s", got, want)
	}
	if got := show(t, entries(OwnersAfterScale(owners, scale, "spec.replicas", "apps/v1"))); got != show(t, entries(owners)) {
		t.Errorf("a scale that nobody took over changes the owners to\n%s", got)
	}
	taken := api.Owners{scale[0], {Manager: "h", Operation: "Update", APIVersion: "autoscaling/v1", Subresource: "scale", Fields: scale[0].Fields, Time: 9}}
	want = "a Apply apps/v1 \"\" 3 {\"f:spec\":{\"f:replicas\":{},\"f:selector\":{}}}\nh Update apps/v1 \"scale\" - {\"f:spec\":{\"f:replicas\":{}}}\nc Update apps/v1 \"\" 5 {\"f:spec\":{\"f:paused\":{}}}\n"
	if got := show(t, entries(OwnersAfterScale(owners, taken, "spec.replicas", "apps/v1"))); got != want {
		t.Errorf("after the scale was taken over the owners are\n%swant\n%s", got, want)
	}
}
