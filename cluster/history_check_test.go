package cluster_test

import (
	"slices"
	"strings"
	"testing"
)

// TestHistoryNotices shows that the checker behind TestKill can fail: each case is a sound story with one thing wrong.
func TestHistoryNotices(t *testing.T) {
	type story struct {
		writes []*write
		events []change
		list   map[string]version
		seen   []change
	}
	sound := func() story {
		events := []change{
			{"ADDED", 11, "a", "u1", "t1"}, {"MODIFIED", 12, "a", "u1", "t2"}, {"ADDED", 14, "b", "u2", "t3"}, {"DELETED", 15, "a", "u1", "t2"},
		}
		return story{
			writes: []*write{
				{table: "x", name: "a", token: "t1", outcome: acked, revision: 11, uid: "u1", after: 10},
				{table: "x", name: "a", token: "t2", outcome: acked, revision: 12, uid: "u1", after: 11, pinned: 11},
				{table: "x", name: "b", token: "t3", after: 12},
				{table: "x", name: "b", token: "t4", outcome: refused, after: 12},
				{table: "x", name: "a", outcome: acked, uid: "u1", after: 12},
			},
			events: events,
			list:   map[string]version{"b": {14, "u2", "t3"}},
			seen:   slices.Clone(events[:3]),
		}
	}
	run := func(s story) string {
		h := newHistory(10)
		for _, w := range s.writes {
			h.record(w)
		}
		wrong := h.audit(map[string][]change{"x": s.events})
		wrong = append(wrong, h.compare("x", s.list)...)
		if f := h.follows("x", s.seen); f != "" {
			wrong = append(wrong, f)
		}
		return strings.Join(wrong, "\n")
	}
	if wrong := run(sound()); wrong != "" {
		t.Fatalf("the sound story: %s", wrong)
	}
	for _, c := range []struct {
		name, want string
		spoil      func(*story)
	}{
		{"lost create", "t3 was acknowledged at revision 0 and is lost", func(s *story) {
			s.writes[2].outcome = acked
			s.events, s.list, s.seen = slices.Delete(s.events, 2, 3), nil, nil
		}},
		{"lost deletion", "deletion of uid u1 was acknowledged and is lost", func(s *story) {
			s.events = s.events[:3]
			s.list["a"] = version{12, "u1", "t2"}
		}},
		{"refused write", "t3 was refused and took effect", func(s *story) { s.writes[2].outcome = refused }},
		{"write nobody made", `"t9", which nobody made`, func(s *story) { s.events[2].token = "t9" }},
		{"write twice", "t3, which has been shown by an event before", func(s *story) {
			s.events = append(s.events, change{"MODIFIED", 16, "b", "u2", "t3"})
			s.list["b"] = version{16, "u2", "t3"}
		}},
		{"other revision", "t2 was acknowledged at revision 12 and stands at 13", func(s *story) { s.events[1].revision = 13 }},
		{"reused revision", "event at revision 11 after 11", func(s *story) { s.events[1].revision = 11 }},
		{"revision of before the crash", "event at revision 9 after 10", func(s *story) { s.events[0].revision = 9 }},
		{"real time", "but 14 was acknowledged before it began", func(s *story) { s.writes[2].after = 14 }},
		{"lost update", "t2 named revision 10 and replaced 11", func(s *story) { s.writes[1].pinned = 10 }},
		{"deletion nobody asked for", "deleted 1 times more", func(s *story) { s.writes = s.writes[:4] }},
		{"list lacks", "the list does not show", func(s *story) { s.list = nil }},
		{"list has more", "x/c: the list shows", func(s *story) { s.list["c"] = version{3, "u", "t"} }},
		{"watch skips", "a watcher's event 1 is", func(s *story) { s.seen = slices.Delete(s.seen, 1, 2) }},
		{"watch repeats", "a watcher's event 1 is", func(s *story) { s.seen = slices.Insert(s.seen, 1, s.seen[0]) }},
		{"watch saw what vanished", "which is not in the history", func(s *story) {
			s.seen = append(slices.Clone(s.events), change{"ADDED", 20, "z", "u", "t"})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sound()
			c.spoil(&s)
			if wrong := run(s); !strings.Contains(wrong, c.want) {
				t.Errorf("found %q, want %q", wrong, c.want)
			}
		})
	}
}
