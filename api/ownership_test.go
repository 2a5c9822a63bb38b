package api

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

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

// TestOwnershipIsShared: of objects that are alike and were written by one manager, ownership takes at most 0.2 of the
// memory that the rest of them takes. They are 10,000 of the project's benchmark, written at different times.
func TestOwnershipIsShared(t *testing.T) {
	const objects, most = 10_000, 0.2
	var items, fields strings.Builder
	for i := range 16 {
		fmt.Fprintf(&items, `,{"image":"example/00017","name":"item-%02d","size":%d}`, i, i+1)
		fmt.Fprintf(&fields, `,"k:{\"name\":\"item-%02d\"}":{".":{},"f:image":{},"f:name":{},"f:size":{}}`, i)
	}
	owned := `{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:tenth":{}}},"f:spec":{".":{},"f:items":{".":{}` + fields.String() + `},"f:note":{}}}`
	grown := func(own func(i int) Owners) int64 {
		before := heap()
		records := make([]*Record, objects)
		for i := range records {
			meta := fmt.Sprintf(`{"name":"object-%07d","resourceVersion":`, i)
			json := `{"apiVersion":"bench.pintle.dev/v1","kind":"Rack","metadata":` + meta + Slot + `,"labels":{"app":"bench"}},"spec":{"items":[` + items.String()[1:] + `],"note":"a rack"}}`
			start := strings.Index(json, meta)
			rec, err := NewRecord(Parts{
				Key: Key{Namespace: "bench", Name: fmt.Sprintf("object-%07d", i)}, UID: fmt.Sprintf("6c7a1f3e-6c55-4b49-9c39-%012d", i),
				JSON: []byte(json), Metadata: Span{start, strings.Index(json, `,"spec"`)}, Slot: start + len(meta), Owners: own(i),
			})
			if err != nil {
				t.Fatal(err)
			}
			records[i] = rec
		}
		after := heap()
		runtime.KeepAlive(records)
		return after - before
	}
	handles := int64(objects * unsafe.Sizeof(Ownership{})) // every record has room for one
	bare := grown(func(int) Owners { return nil }) - handles
	with := grown(func(i int) Owners {
		return Owners{{Manager: "bench", Operation: "Update", APIVersion: "bench.pintle.dev/v1", Fields: strings.Clone(owned), Time: int64(1 + i)}}
	})
	share := float64(with-bare) / float64(bare)
	t.Logf("%d bytes of ownership and %d others per object: %.3fx; %d bytes of fieldsV1", (with-bare)/objects, bare/objects, share, len(owned))
	if share > most || bare <= 0 { // what little there is of ownership may be less than what else comes and goes
		t.Errorf("ownership takes %.3fx of the other bytes, want at most %v", share, most)
	}
}

// heap is how much memory is in use once what is not has been collected.
func heap() int64 {
	runtime.GC()
	runtime.GC() // interned strings nobody holds go with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
