package cluster

import (
	"fmt"
	"path/filepath"
	"testing"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/discovery"
	"pintle.dev/store"
	"pintle.dev/store/pebble"
)

// TestReindex starts on a directory in which a Pintle without the index by service has stored one of two EndpointSlices:
// both are found by it, only the one is stored anew, and only once. One that cannot be read does not keep it from starting.
func TestReindex(t *testing.T) {
	config := Config{Data: t.TempDir(), NoNode: true}
	found := func(before func(*System)) map[string]api.Revision {
		t.Helper()
		sys, err := Start(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		before(sys)
		v, err := sys.snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]api.Revision{}
		for rec := range v.ByIndex(api.EndpointSlices, api.Index{Name: api.IndexService, Value: "default/web"}) {
			m[rec.Name()] = rec.Revision()
		}
		if err := sys.Close(); err != nil {
			t.Fatal(err)
		}
		return m
	}
	made := found(func(sys *System) {
		for _, name := range []string{"new", "old"} {
			want(t, sys, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", fmt.Sprintf(
				`{"metadata":{"name":%q,"labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[]}`, name), 201)
		}
	})
	stored := unindex(t, config, "old")
	first, second := found(func(*System) {}), found(func(*System) {})
	if len(first) != 2 || first["new"] != made["new"] || first["old"] <= stored {
		t.Errorf("made at %v, one without the index at %d; by it are found %v", made, stored, first)
	}
	if fmt.Sprint(second) != fmt.Sprint(first) {
		t.Errorf("by the index are found %v, and when started again %v", first, second)
	}
}

// unindex stores an EndpointSlice as a Pintle did that had no index of them, and one that cannot be read.
func unindex(t *testing.T, config Config, name string) api.Revision {
	t.Helper()
	b, err := pebble.Open(filepath.Join(config.Data, storeDirectory), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Config{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	rec := v.Get(api.EndpointSlices, api.Key{Namespace: "default", Name: name})
	earlier := discovery.EndpointSlices()
	earlier.Index = nil
	resource.NewRegistry(earlier)
	old, err := resource.Reseal(earlier, rec)
	if err != nil {
		t.Fatal(err)
	}
	parts := api.Parts{Key: api.Key{Namespace: "default", Name: "a-broken-one"},
		JSON: []byte(`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"resourceVersion":` + api.Slot + `},"endpoints":"none"}`)}
	if parts.Metadata, parts.Slot, err = api.Locate(parts.JSON); err != nil {
		t.Fatal(err)
	}
	broken, err := api.NewRecord(parts)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := s.Commit(t.Context(), store.Put(api.EndpointSlices, broken, 0), store.Put(api.EndpointSlices, old, rec.Revision()))
	if err != nil {
		t.Fatal(err)
	}
	return rev
}
