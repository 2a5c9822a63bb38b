package pebble

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"pintle.dev/api"
)

// TestKeyOrder compares the order of keys with that of what they stand for: tables, objects, newest version first.
func TestKeyOrder(t *testing.T) {
	type version struct {
		id  tableID
		key api.Key
		rev api.Revision
	}
	var versions []version
	for _, id := range []tableID{1, 2, 256, 1 << 24} {
		for _, ns := range []string{"", "a", "a-b", "ab", "b"} {
			for _, name := range []string{"a", "a.b", "aa", "z"} {
				for _, rev := range []api.Revision{1, 255, 256, 1 << 32} {
					versions = append(versions, version{id, api.Key{Namespace: ns, Name: name}, rev})
				}
			}
		}
	}
	encode := func(v version) []byte { return appendVersionKey(nil, v.id, v.key, v.rev) }
	for i := range versions {
		for j := range versions {
			a, b := versions[i], versions[j]
			want := cmp.Or(cmp.Compare(a.id, b.id), a.key.Compare(b.key), cmp.Compare(b.rev, a.rev))
			if got := bytes.Compare(encode(a), encode(b)); got != want {
				t.Fatalf("%v and %v: %d, want %d", a, b, got, want)
			}
		}
		id, object, rev, err := parseVersionKey(encode(versions[i]))
		if err != nil || id != versions[i].id || rev != versions[i].rev || !bytes.Equal(object[4:], appendObject(nil, versions[i].key)) {
			t.Fatalf("%v reads back as %d, %q, %d, %v", versions[i], id, object, rev, err)
		}
	}
	if got := successor([]byte{'v', 255, 255}); !slices.Equal(got, []byte{'w'}) {
		t.Errorf("the successor is %q", got)
	}
}

// FuzzParse reads anything as keys and values: what is accepted is written as it was read.
func FuzzParse(f *testing.F) {
	f.Add(appendVersionKey(nil, 7, api.Key{Namespace: "ns", Name: "n"}, 9), event{api.Key{Name: "n"}, 3, true}.append(nil))
	f.Add(eventKey(7, 9), event{api.Key{Namespace: "ns", Name: "n"}, 0, false}.append(nil))
	f.Add(resourceKey(spaceTable, api.Resource{Group: "g", Name: "n"}), u64(1))
	f.Fuzz(func(t *testing.T, k, v []byte) {
		if id, object, rev, err := parseVersionKey(k); err == nil {
			o, err := parseObject(object[4:])
			if err != nil || !bytes.Equal(appendVersionKey(nil, id, o, rev)[1:], k[1:]) {
				t.Errorf("the version key %q: %v", k, err)
			}
		}
		if rev, e, err := parseEvent(k, v); err == nil {
			again, e2, err := parseEvent(eventKey(1, rev), e.append(nil))
			if err != nil || again != rev || e2 != e {
				t.Errorf("the event %q = %q reads back as %v, %v", k, v, e2, err)
			}
		}
		if len(k) > 0 {
			if r, err := parseResourceKey(k); err == nil && !bytes.Equal(resourceKey(k[0], r), k) {
				t.Errorf("the resource key %q", k)
			}
		}
	})
}
