package rule

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// randomPattern makes up a regular expression.
func randomPattern(r *rand.Rand, depth int) string {
	if depth == 0 {
		atoms := []string{"a", "b", ".", "[ab]", "[^a]", "c", "(?i:a)", "é", "^", "$", `\d`, `\b`, "(?m:^)", "(?s:.)", ""}
		return atoms[r.IntN(len(atoms))]
	}
	x := func() string { return randomPattern(r, depth-1) }
	switch r.IntN(7) {
	case 0:
		return "(" + x() + "|" + x() + ")"
	case 1:
		return "(?:" + x() + ")" + []string{"*", "+", "?", "{2}", "{0,3}", "{3,}", "*?"}[r.IntN(7)]
	case 2:
		return x()
	}
	return x() + x()
}

// TestPatterns: texts match as they do for Go's package, however long they are.
func TestPatterns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	placed, matched := 0, 0
	for range 4000 {
		text := randomPattern(r, 1+r.IntN(5))
		p, err := CompilePattern(text)
		if err != nil {
			continue
		}
		places := p.places()
		if places == nil {
			continue
		}
		placed++
		for range 20 {
			letters := []string{"a", "b", "c", "é", "\n", "\xff", "1", "a", "b", "a"}[:1+r.IntN(10)]
			var s strings.Builder
			for range r.IntN(12) {
				s.WriteString(strings.Repeat(letters[r.IntN(len(letters))], 1+r.IntN(3)))
			}
			got, want := places.match(s.String()), p.re.MatchString(s.String())
			if got != want {
				t.Fatalf("%q of %q: %t", text, s.String(), got)
			}
			if want {
				matched++
			}
		}
	}
	if placed < 1000 || matched < 1000 {
		t.Errorf("%d patterns, %d matches", placed, matched)
	}
}

// TestLongTexts: what takes Go's package half a minute takes no time.
func TestLongTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	mixed := make([]byte, 1<<18)
	for i := range mixed {
		mixed[i] = "ab"[r.IntN(2)]
	}
	same := strings.Repeat("a", 1<<18)
	for _, text := range []string{"[ab].{999}c", "(a|b)*(a|b){900}c", "^(.?){999}$|c", "(a?b?){490}c", "((a{0,30}){0,30}b?){0,1}c"} {
		p, err := CompilePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{same, string(mixed)} {
			if p.Match(s) || !p.Match(s+"c") {
				t.Errorf("%s: %.5s", text, s)
			}
		}
	}
}
