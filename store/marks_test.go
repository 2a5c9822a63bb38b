package store_test

import (
	"slices"
	"strings"
	"testing"

	"pintle.dev/api"
	"pintle.dev/store"
	"pintle.dev/store/mem"
)

// TestMarks sees a record found by its index entries and not by its marks, which it shows all the same, as do its bytes
// when they are read back.
func TestMarks(t *testing.T) {
	s, err := store.Open(t.Context(), store.Config{Backend: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b := api.Index{Name: "a", Value: "1"}, api.Index{Name: "b", Value: "2"}
	json := `{"kind":"T","metadata":{"name":"x","resourceVersion":` + api.Slot + `}}`
	record := func(index, marks []api.Index) *api.Record {
		rec, err := api.NewRecord(api.Parts{
			Key: api.Key{Name: "x"}, UID: "u", JSON: []byte(json), Slot: strings.Index(json, api.Slot),
			Metadata: api.Span{Start: strings.Index(json, `{"name`), End: len(json) - 1}, Index: index, Marks: marks,
		})
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	res := api.Resource{Name: "tests"}
	found := func(x api.Index) int {
		v, err := s.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.Collect(v.ByIndex(res, x)))
	}
	both := record([]api.Index{a, b}, nil)
	if _, err := s.Commit(t.Context(), store.Put(res, both, 0)); err != nil {
		t.Fatal(err)
	}
	if found(a) != 1 || found(b) != 1 {
		t.Errorf("by its entries it was found %d and %d times", found(a), found(b))
	}
	marked := record([]api.Index{a}, []api.Index{b})
	if _, err := s.Commit(t.Context(), store.Put(res, marked, both.Revision())); err != nil {
		t.Fatal(err)
	}
	if found(a) != 1 || found(b) != 0 {
		t.Errorf("by its entry it was found %d times, by its mark %d", found(a), found(b))
	}
	back, err := api.DecodeRecord(marked.AppendBinary(nil), 7)
	if err != nil {
		t.Fatal(err)
	}
	for name, rec := range map[string]*api.Record{"the record": marked, "the record read back": back} {
		var postings []string
		for _, x := range rec.Postings() {
			postings = append(postings, x.Name)
		}
		if !rec.Indexed(a) || !rec.Indexed(b) || rec.IndexValue("b") != "2" || !slices.Equal(postings, []string{"a"}) {
			t.Errorf("%s has a %v, b %v, b=%q, postings %q", name, rec.Indexed(a), rec.Indexed(b), rec.IndexValue("b"), postings)
		}
	}
	if _, err := s.Commit(t.Context(), store.Delete(res, api.Key{Name: "x"}, marked.Revision())); err != nil {
		t.Fatal(err)
	}
	if found(a) != 0 {
		t.Error("a deleted object is found")
	}
}
