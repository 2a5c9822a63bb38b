package client

import "testing"

// TestRecent fills the memory and sees the thing that was looked up least lately go.
func TestRecent(t *testing.T) {
	var r recent[int]
	if r.get(1) != nil {
		t.Error("an empty memory remembers")
	}
	for i := range uint64(eventsRemembered) {
		*r.add(i) = int(i)
	}
	for _, used := range []uint64{0, 2, eventsRemembered - 1} {
		if v := r.get(used); v == nil || *v != int(used) {
			t.Errorf("%d is remembered as %v", used, v)
		}
	}
	*r.add(eventsRemembered) = -1
	*r.add(eventsRemembered + 1) = -2
	for key, want := range map[uint64]bool{0: true, 1: false, 2: true, 3: false, 4: true, eventsRemembered - 1: true, eventsRemembered: true, eventsRemembered + 1: true} {
		if got := r.get(key) != nil; got != want {
			t.Errorf("%d is remembered: %v, want %v", key, got, want)
		}
	}
	if n := len(r.entries); n != eventsRemembered {
		t.Errorf("%d are remembered, want %d", n, eventsRemembered)
	}
	n := 1
	for e := r.ring.older; e != r.ring; e = e.older {
		if e.newer.older != e {
			t.Fatal("the ring is broken")
		}
		n++
	}
	if n != eventsRemembered {
		t.Errorf("the ring has %d", n)
	}
}
