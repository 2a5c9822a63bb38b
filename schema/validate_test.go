package schema

import "testing"

func TestValidListMap(t *testing.T) {
	for list, want := range map[string]bool{
		`[]`:                                 true,
		`[{"k":"a"},{"k":"b"},{"k":"c"}]`:    true, // in order
		`[{"k":"b"},{"k":"a"}]`:              true,
		`[{"k":"a"},{"k":"a"}]`:              false, // in order but for being the same
		`[{"k":"a"},{"k":"b"},{"k":"a"}]`:    false,
		`[{"k":""},{"k":""}]`:                false,
		`[{"k":""},{}]`:                      true,
		`[{},{}]`:                            false,
		`[{"k":1},{"k":2}]`:                  true,
		`[{"k":1},{"k":1}]`:                  false,
		`[{"k":"a"},"b"]`:                    false,
		`[{"k":"1"},{"k":1},{"k":"2"},null]`: true,
	} {
		if got := validListMap(mustParse(t, list), []string{"k"}); got != want {
			t.Errorf("%s: valid %v, want %v", list, got, want)
		}
	}
}
