package store_test

import (
	"fmt"
	"strings"
	"testing"

	"pintle.dev/api"
	"pintle.dev/store"
)

// TestLogWeighsOwnership: versions whose large field ownership is theirs alone count with it against the log's budget;
// what they share does not.
func TestLogWeighsOwnership(t *testing.T) {
	const size = 64 << 10
	for _, alone := range []bool{true, false} {
		s := open(t, store.Config{LogBudget: 4 * size, LogFloor: 1})
		json := `{"kind":"T","metadata":{"name":"x","resourceVersion":` + api.Slot + `}}`
		fields := strings.Repeat("f", size)
		var rev api.Revision
		for i := range 10 {
			owner := api.Owner{Manager: "m", Operation: "Apply", Fields: fields}
			if alone {
				owner.Manager = fmt.Sprint("m", i)
			}
			rec, err := api.NewRecord(api.Parts{
				Key: api.Key{Name: "x"}, UID: "u", JSON: []byte(json), Slot: strings.Index(json, api.Slot),
				Metadata: api.Span{Start: strings.Index(json, `{"name"`), End: len(json) - 1}, Owners: api.Owners{owner},
			})
			if err != nil {
				t.Fatal(err)
			}
			rev = commit(t, s, store.Put(things, rec, rev))
		}
		if n := s.Stats().Evicted; (n > 0) != alone {
			t.Errorf("ownership of one version each: %v; %d events have left memory", alone, n)
		}
		if n := s.Stats().LogBytes; n > 4*size {
			t.Errorf("the log weighs %d bytes, more than its budget", n)
		}
	}
}
