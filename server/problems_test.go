package server

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/object"
)

// TestRepeatedKeysWarnOneByOne: what the YAML library says in several lines is a warning for each, as headers hold one line.
func TestRepeatedKeysWarnOneByOne(t *testing.T) {
	q := &request{}
	q.options.validation = metav1.FieldValidationWarn
	err := object.CheckYAML([]byte("a: 1\na: 2\nb: 3\nb: 4\n"))
	if err == nil {
		t.Fatal("keys may come twice")
	}
	if err := q.judge([]string{err.Error(), `unknown field "c"`}); err != nil {
		t.Fatal(err)
	}
	want := []string{`line 2: key "a" already set in map`, `line 4: key "b" already set in map`, `unknown field "c"`}
	if !slices.Equal(q.warnings, want) {
		t.Errorf("%q, want %q", q.warnings, want)
	}
}
