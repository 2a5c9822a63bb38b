package object

import (
	"strings"
	"testing"
)

func TestWalk(t *testing.T) {
	const doc = `[{"a":"\"},","b\"":{"c":[1,{"d":2}],"e":{}},"f":null,"g":-1.5},true]`
	var seen []string
	var visit func(name []byte, at int) int
	visit = func(name []byte, at int) int {
		if doc[at] == '{' {
			seen = append(seen, string(name)+" {")
			end := Walk([]byte(doc), at, visit)
			seen = append(seen, "}")
			return end
		}
		end := Skip([]byte(doc), at)
		seen = append(seen, string(name)+" "+doc[at:end])
		return end
	}
	if end := Walk([]byte(doc), 1, visit); doc[end:] != ",true]" {
		t.Errorf("%q is left", doc[end:])
	}
	want := `a "\"},"|b\" {|c [1,{"d":2}]|e {|}|}|f null|g -1.5`
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("have %s, want %s", got, want)
	}
	for i := range len(doc) { // what is cut short ends
		cut := []byte(doc[:i])
		var visit func([]byte, int) int
		visit = func(_ []byte, at int) int {
			if at < len(cut) && cut[at] == '{' {
				return Walk(cut, at, visit)
			}
			return Skip(cut, at)
		}
		Walk(cut, 1, visit)
	}
}
