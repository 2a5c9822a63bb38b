package rules

import (
	"fmt"
	"testing"

	"pintle.dev/growthtest"
)

func TestRepeats(t *testing.T) {
	repeated := func(padding int) func() string {
		list := []string{"a", "b", "a", "c", "b", "a"}
		for i := range padding {
			list = append(list, fmt.Sprint(i))
		}
		return func() (got string) {
			repeats := Repeats(list, func(s *string) string { return *s })
			for i := range list {
				if repeats(i) {
					got += fmt.Sprint(i, " ")
				}
			}
			return got
		}
	}
	for _, padding := range []int{0, 100, 50000} {
		if got := repeated(padding)(); got != "2 4 5 " {
			t.Errorf("with %d others: repeated at %s", padding, got)
		}
	}
	grown := growthtest.Of(t, 5000, func(n int) func() {
		run := repeated(n)
		return func() { run() }
	})
	if grown > growthtest.Square {
		t.Errorf("four times as many take %.1f times as long", grown)
	}
}
