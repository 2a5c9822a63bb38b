package cluster

import "testing"

// TestPodRanges has new nodes ask for the ranges of their pods: each gets one of its own, and the same when it comes again.
func TestPodRanges(t *testing.T) {
	s := startTest(t, Config{HollowNodes: 2})
	got := map[string]string{}
	for _, name := range []string{"n1", "n2", "n1"} {
		r, err := podRange(t.Context(), s.nodeClient(name), name)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := got[r]; ok && other != name {
			t.Errorf("%s is the range of %s and of %s", r, other, name)
		}
		got[r] = name
	}
	if len(got) != 2 {
		t.Errorf("ranges %v, want one for each node", got)
	}
}
