package rules

import (
	"fmt"
	"testing"
	"time"
)

func TestRepeats(t *testing.T) {
	identity := func(s *string) string { return *s }
	for _, padding := range []int{0, 100, 200000} {
		list := []string{"a", "b", "a", "c", "b", "a"}
		for i := range padding {
			list = append(list, fmt.Sprint(i))
		}
		began := time.Now()
		repeats, got := Repeats(list, identity), ""
		for i := range list {
			if repeats(i) {
				got += fmt.Sprint(i, " ")
			}
		}
		if got != "2 4 5 " {
			t.Errorf("with %d others: repeated at %s", padding, got)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("with %d others: took %v", padding, took)
		}
	}
}
