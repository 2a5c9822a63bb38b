package api

import "testing"

// TestOwnershipIs: an ownership is that of just the owners it was made of, whatever their times.
func TestOwnershipIs(t *testing.T) {
	a := Owner{Manager: "a", Operation: "Apply", APIVersion: "v1", Fields: `{"f:a":{}}`, Time: 1}
	b := Owner{Manager: "b", Operation: "Update", APIVersion: "v1", Subresource: "status", Fields: `{"f:b":{}}`}
	later := a
	later.Time = 2
	other := a
	other.Fields = `{"f:b":{}}`
	all := []Owners{nil, {a}, {b}, {a, b}, {b, a}, {other, b}}
	for i, is := range all {
		w := NewOwnership(is)
		for j, owners := range all {
			if got := w.Is(owners); got != (i == j) {
				t.Errorf("the ownership of %v is that of %v: %v", is, owners, got)
			}
		}
	}
	if !NewOwnership(all[3]).Is(Owners{later, b}) {
		t.Error("times count")
	}
	if !(Ownership{}).Is(nil) {
		t.Error("the zero Ownership is not that of nobody")
	}
}
