package bench

import (
	"strings"
	"testing"
)

// TestRunRefuses asks for what cannot be measured, which is said before any server is looked for.
func TestRunRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		says   string
	}{
		"an unknown kind":    {Config{Kinds: []string{"configmaps", "secrets"}}, `kind "secrets"`},
		"fewer than none":    {Config{Objects: -1}, "-1"},
		"a time before":      {Config{Duration: -5}, "-5"},
		"a curve of less":    {Config{Curve: []int{-7, 1}}, "-7"},
		"a curve that falls": {Config{Curve: []int{10, 5}}, "ascend"},
	} {
		if _, err := Run(t.Context(), c.config); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s", name, err, c.says)
		}
	}
	c := Config{Kinds: []string{"none"}}
	if c.complete(); c.check() != nil {
		t.Errorf("what is asked for by default: %v", c.check())
	}
}
