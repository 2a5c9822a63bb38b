package resource

import (
	"fmt"
	"testing"

	"pintle.dev/api"
)

func widget(group, name, kind string, versions ...Version) *Definition {
	for i := range versions {
		if versions[i].Group == "" {
			versions[i].Group = group
		}
	}
	return &Definition{Resource: api.Resource{Group: group, Name: name}, Kind: kind, Versions: versions}
}

func TestRegistryFindsServedVersionsOnly(t *testing.T) {
	d := widget("example.com", "widgets", "Widget", Version{Name: "v2", Served: true, Storage: true}, Version{Name: "v1"})
	r := NewRegistry(d)
	if got, v := r.Lookup("example.com", "v2", "widgets"); got != d || v != &d.Versions[0] {
		t.Errorf("v2: got %v, %v", got, v)
	}
	if got, v := r.ByKind("example.com", "v2", "Widget"); got != d || v != &d.Versions[0] {
		t.Errorf("kind: got %v, %v", got, v)
	}
	if got, v := r.Lookup("example.com", "v1", "widgets"); got != nil || v != nil {
		t.Errorf("v1 is not served: got %v, %v", got, v)
	}
	if r.ByResource(d.Resource) != d {
		t.Error("not found by resource")
	}
}

func TestRegistryServesOneTableUnderTwoGroups(t *testing.T) {
	d := widget("", "events", "Event", Version{Name: "v1", Served: true}, Version{Group: "events.k8s.io", Name: "v1", Served: true})
	r := NewRegistry(d)
	for i, group := range []string{"", "events.k8s.io"} {
		if got, v := r.Lookup(group, "v1", "events"); got != d || v != &d.Versions[i] {
			t.Errorf("group %q: got %v, %v", group, got, v)
		}
	}
	if !r.Remove(d.Resource) {
		t.Error("Remove found nothing")
	}
	if got, _ := r.Lookup("events.k8s.io", "v1", "events"); got != nil {
		t.Error("still served after Remove")
	}
	if r.Remove(d.Resource) {
		t.Error("Remove found it twice")
	}
	if len(r.Snapshot().groups) > 0 {
		t.Error("groups without members are kept")
	}
}

func TestRegistryPutReplacesAndNotifies(t *testing.T) {
	r := NewRegistry(widget("b", "ws", "W", Version{Name: "v1", Served: true}), widget("a", "ws", "W", Version{Name: "v1", Served: true}))
	before := r.Snapshot()
	next := widget("b", "ws", "W", Version{Name: "v2", Served: true})
	r.Put(next)
	select {
	case <-before.Changed():
	default:
		t.Error("the old snapshot was not told of the change")
	}
	if r.Generation() <= before.Generation() {
		t.Errorf("generation %d after %d", r.Generation(), before.Generation())
	}
	if d, _ := r.Lookup("b", "v1", "ws"); d != nil {
		t.Error("the replaced version is still served")
	}
	if d, _ := before.Lookup("b", "v1", "ws"); d == nil {
		t.Error("the old snapshot changed")
	}
	if all := r.All(); len(all) != 2 || all[0].Resource.Group != "a" || all[1] != next {
		t.Errorf("All: %v", all)
	}
}

func BenchmarkRegistryPut(b *testing.B) {
	r := NewRegistry()
	for i := range 1000 {
		r.Put(widget(fmt.Sprintf("g%d", i%50), fmt.Sprintf("w%ds", i), fmt.Sprintf("W%d", i), Version{Name: "v1", Served: true}))
	}
	d := widget("g1", "w1s", "W1", Version{Name: "v1", Served: true})
	b.ReportAllocs()
	for b.Loop() {
		r.Put(d)
	}
}

func BenchmarkRegistryLookup(b *testing.B) {
	r := NewRegistry(widget("example.com", "widgets", "Widget", Version{Name: "v1", Served: true}))
	for b.Loop() {
		if d, _ := r.Lookup("example.com", "v1", "widgets"); d == nil {
			b.Fatal("lost")
		}
	}
}
