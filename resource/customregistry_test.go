package resource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/apiextensions"
	"pintle.dev/store"
	"pintle.dev/store/mem"
)

func open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), store.Config{Backend: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// seal is the record of a CustomResourceDefinition as the server stores it, established.
func seal(t testing.TB, group, plural, kind, uid string, schema map[string]any) *api.Record {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + "." + group, "uid": uid},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"plural": plural, "kind": kind, "shortNames": []string{plural[:1]}},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": schema}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := apiextensions.CustomResourceDefinitions()
	o, problems, err := d.Versions[0].Codec.Decode(body, false)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	d.Hooks.Default(o)
	crd := o.Value.(*apiextensionsv1.CustomResourceDefinition)
	crd.UID = types.UID(uid)
	apiextensions.Establish(crd, func(apiextensions.Name) bool { return false })
	rec, err := resource.Seal(d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func commit(t testing.TB, s *store.Store, ws ...store.Write) api.Revision {
	t.Helper()
	rev, err := s.Commit(context.Background(), ws...)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestSyncServesAndForgets(t *testing.T) {
	ctx := context.Background()
	s, r := open(t), resource.NewRegistry()
	c := resource.NewCustomResources(r, s)
	widgets := api.Resource{Group: "example.com", Name: "widgets"}
	key := api.Key{Name: "widgets.example.com"}
	rev := commit(t, s, store.Put(api.CustomResourceDefinitions, seal(t, "example.com", "widgets", "Widget", "u1", map[string]any{"type": "object"}), 0))
	if err := c.Sync(ctx, key.Name); err != nil {
		t.Fatal(err)
	}
	d, v := r.Lookup("example.com", "v1", "widgets")
	if d == nil || v == nil || d.Kind != "Widget" || d.Singular != "widget" || !d.Namespaced || d.ShortNames[0] != "w" {
		t.Fatalf("not served: %+v", d)
	}
	if got := string(resource.SchemaJSON(v)); got != `{"type":"object"}` {
		t.Errorf("schema %s", got)
	}
	before := r.Generation()
	if err := c.Sync(ctx, key.Name); err != nil || r.Generation() != before {
		t.Errorf("a Sync without a change: %v, generation %d after %d", err, r.Generation(), before)
	}

	cursor, err := s.Follow(widgets, rev)
	if err != nil {
		t.Fatal(err)
	}
	defer cursor.Close()
	commit(t, s, store.Delete(api.CustomResourceDefinitions, key, rev))
	if err := c.Sync(ctx, key.Name); err != nil {
		t.Fatal(err)
	}
	if d, _ := r.Lookup("example.com", "v1", "widgets"); d != nil {
		t.Error("still served")
	}
	if _, err := cursor.Next(ctx); !errors.Is(err, store.ErrExpired) {
		t.Errorf("a watch of what is gone: %v", err)
	}
}

// TestNothingIsCreatedUnderWhatEnds: the guard of a create holds for as long as the definition takes objects, that of other
// writes for as long as it is there.
func TestNothingIsCreatedUnderWhatEnds(t *testing.T) {
	s, key := open(t), api.Key{Name: "widgets.example.com"}
	body := map[string]any{"type": "object"}
	rev := commit(t, s, store.Put(api.CustomResourceDefinitions, seal(t, "example.com", "widgets", "Widget", "u1", body), 0))
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := resource.FromCRD(v.Get(api.CustomResourceDefinitions, key), nil)
	if err != nil {
		t.Fatal(err)
	}
	guards := func() (create, other store.Write, ok bool) {
		v, err := s.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		other, stands := d.Stands(v, false)
		if !stands {
			t.Fatal("does not stand")
		}
		create, ok = d.Stands(v, true)
		return create, other, ok
	}
	create, _, ok := guards()
	if !ok {
		t.Fatal("nothing can be created")
	}
	rev = commit(t, s, store.Put(api.CustomResourceDefinitions, ending(t, v.Get(api.CustomResourceDefinitions, key)), rev))
	if _, err := s.Commit(t.Context(), create); !errors.Is(err, store.ErrConflict) {
		t.Errorf("the definition is going, a create that began before: %v", err)
	}
	_, other, ok := guards()
	if ok {
		t.Error("objects can be created while the definition is going")
	}
	if _, err := s.Commit(t.Context(), other); err != nil {
		t.Errorf("another write at revision %d: %v", rev, err)
	}
}

// ending is the record of a definition whose deletion has begun.
func ending(t *testing.T, rec *api.Record) *api.Record {
	t.Helper()
	d := apiextensions.CustomResourceDefinitions()
	o, _, err := d.Versions[0].Codec.Decode(rec.JSON(), true)
	if err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	o.Meta.DeletionTimestamp = &now
	if rec, err = resource.Seal(d, o, nil); err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestSyncLeavesBuiltInsAlone(t *testing.T) {
	s := open(t)
	builtin := &resource.Definition{
		Resource: api.Leases, Kind: "Lease",
		Versions: []resource.Version{{Group: api.Leases.Group, Name: "v1", Served: true}, {Group: "old.example.com", Name: "v1", Served: true}},
	}
	r := resource.NewRegistry(builtin)
	c := resource.NewCustomResources(r, s)
	for _, tt := range []struct{ name, group, plural, kind string }{
		{"the same resource", api.Leases.Group, api.Leases.Name, "Lease"},
		{"the same kind", api.Leases.Group, "others", "Lease"},
		{"the same plural where an older version is served", "old.example.com", api.Leases.Name, "Other"},
		{"another kind of the group", api.Leases.Group, "others", "Other"},
	} {
		name := tt.plural + "." + tt.group
		rev := commit(t, s, store.Put(api.CustomResourceDefinitions, seal(t, tt.group, tt.plural, tt.kind, "u", map[string]any{"type": "object"}), 0))
		for range 2 {
			if err := c.Sync(context.Background(), name); err != nil {
				t.Fatal(err)
			}
			if d, _ := r.Lookup(api.Leases.Group, "v1", api.Leases.Name); d != builtin {
				t.Errorf("%s: the path is another's", tt.name)
			}
			if d, _ := r.Lookup("old.example.com", "v1", api.Leases.Name); d != builtin {
				t.Errorf("%s: the path of the older version is another's", tt.name)
			}
			if d, _ := r.ByKind(api.Leases.Group, "v1", "Lease"); d != builtin {
				t.Errorf("%s: the kind is another's", tt.name)
			}
			if all := r.All(); len(all) != 1 || all[0] != builtin {
				t.Errorf("%s: there is more than what is built in", tt.name)
			}
			if rev > 0 {
				commit(t, s, store.Delete(api.CustomResourceDefinitions, api.Key{Name: name}, rev))
				rev = 0
			}
		}
	}
}

func TestRunFollowsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := open(t), resource.NewRegistry()
		first := commit(t, s, store.Put(api.CustomResourceDefinitions, seal(t, "example.com", "as", "A", "u1", map[string]any{"type": "object"}), 0))
		c := resource.NewCustomResources(r, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx, func(err error) { t.Error(err) }) }()
		synctest.Wait()
		if d, _ := r.Lookup("example.com", "v1", "as"); d == nil {
			t.Error("what was there before is not served")
		}
		commit(t, s, store.Put(api.CustomResourceDefinitions, seal(t, "example.com", "bs", "B", "u2", map[string]any{"type": "object"}), 0))
		// Deleted and made again before anyone looks: another object by the same name.
		again := seal(t, "example.com", "as", "A2", "u3", map[string]any{"type": "object"})
		commit(t, s, store.Delete(api.CustomResourceDefinitions, api.Key{Name: "as.example.com"}, first))
		commit(t, s, store.Put(api.CustomResourceDefinitions, again, 0))
		synctest.Wait()
		if d, _ := r.Lookup("example.com", "v1", "bs"); d == nil {
			t.Error("what was made later is not served")
		}
		if d, _ := r.Lookup("example.com", "v1", "as"); d == nil || d.Kind != "A2" {
			t.Errorf("serves %+v, want the new definition", d)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// bigSchema has about 20 KB.
func bigSchema() map[string]any {
	props := map[string]any{}
	for i := range 140 {
		props[fmt.Sprintf("field%d", i)] = map[string]any{"type": "string", "maxLength": 100, "description": strings.Repeat("what the field means ", 4)}
	}
	return map[string]any{"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "properties": props}}}
}

// collect reads how much memory is in use once what is not has been collected; pools of what is not give it up with the
// second collection.
func collect(m *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(m)
}

// TestManyDefinitionsAreSmall holds that a definition and its stored record have the schema of 20 KB in memory once; the bar
// is 60 KiB.
func TestManyDefinitionsAreSmall(t *testing.T) {
	const n = 100
	s, r := open(t), resource.NewRegistry()
	c := resource.NewCustomResources(r, s)
	schema := bigSchema()
	var before, after runtime.MemStats
	collect(&before)
	for i := range n {
		rec := seal(t, "example.com", fmt.Sprintf("w%ds", i), fmt.Sprintf("W%d", i), fmt.Sprintf("u%d", i), schema)
		commit(t, s, store.Put(api.CustomResourceDefinitions, rec, 0))
		if err := c.Sync(context.Background(), rec.Name()); err != nil {
			t.Fatal(err)
		}
	}
	collect(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
	t.Logf("%d KiB each", each>>10)
	if each > 32<<10 {
		t.Errorf("%d KiB each", each>>10)
	}
	runtime.KeepAlive(r)
}

// TestSupersededRecordsAreNotKept: a kind that stays as it is has its schema in the record that is stored now.
func TestSupersededRecordsAreNotKept(t *testing.T) {
	s, r := open(t), resource.NewRegistry()
	c := resource.NewCustomResources(r, s)
	var kind *resource.Definition
	for rev := api.Revision(0); ; {
		rec := seal(t, "example.com", "ws", "W", "u", bigSchema())
		rev = commit(t, s, store.Put(api.CustomResourceDefinitions, rec, rev))
		if err := c.Sync(t.Context(), rec.Name()); err != nil {
			t.Fatal(err)
		}
		v, err := s.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		d, version := r.Lookup("example.com", "v1", "ws")
		stored, source := v.Get(api.CustomResourceDefinitions, rec.Key()).JSON(), resource.SchemaJSON(version)
		if i := bytes.Index(stored, source); i < 0 || &stored[i] != &source[0] {
			t.Errorf("at revision %d the schema is not of what is stored", rev)
		}
		if kind != nil {
			if d != kind {
				t.Error("a write that changes nothing defines the kind anew")
			}
			return
		}
		kind = d
	}
}

func BenchmarkFromCRD(b *testing.B) {
	rec := seal(b, "example.com", "ws", "W", "u", bigSchema())
	b.SetBytes(int64(len(rec.JSON())))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resource.FromCRD(rec, nil); err != nil {
			b.Fatal(err)
		}
	}
}
