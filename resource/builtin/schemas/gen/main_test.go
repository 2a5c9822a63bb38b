package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDataIsCurrent fails when the embedded data is not what the generator makes of the types in go.mod: after an
// update of k8s.io/api, go generate ./resource/builtin/schemas is due.
func TestDataIsCurrent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	const committed = "../data"
	names := func(dir string) []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if made, have := names(dir), names(committed); !slices.Equal(made, have) {
		t.Fatalf("files %q, want %q", have, made)
	}
	for _, name := range names(dir) {
		made, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(filepath.Join(committed, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, have) {
			t.Errorf("%s is not what go generate makes", name)
		}
	}
}

func TestDescribe(t *testing.T) {
	for want, comment := range map[string][]string{
		"One two.":                     {"One", "two."},
		"One.\n\nTwo.":                 {"One.", "", "Two.", "+optional"},
		"As in:\n\ta: b\nand so on.":   {"As in:", "\ta: b", "and so on."},
		"Kept.":                        {"Kept.", "TODO: write more", "---", "for developers"},
		"Values:\n - `\"A\"` is first": {"Values:", " - `\"A\"` is first"},
		"":                             {"+listType=atomic"},
	} {
		if got := describe(comment); got != want {
			t.Errorf("%q: %q, want %q", comment, got, want)
		}
	}
}
