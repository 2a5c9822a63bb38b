package object

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"pintle.dev/api"
)

// config makes an apply configuration of a widget: its lists repeat no item.
func (r *random) config(repeat bool) map[string]any {
	w := r.widget("")
	m := w["metadata"].(map[string]any)
	delete(m, "generation")
	if !repeat {
		unrepeated(w)
	}
	return w
}

// unrepeated takes repeated items out of lists of a document.
func unrepeated(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if k != "args" {
				v[k] = unrepeated(v[k])
			}
		}
	case []any:
		seen := map[string]bool{}
		out := []any{}
		for _, item := range v {
			id := fmt.Sprint(item)
			if m, ok := item.(map[string]any); ok {
				protocol := m["protocol"]
				if protocol == nil {
					protocol = "TCP"
				}
				id = fmt.Sprint(m["name"], m["port"], protocol)
			}
			if !seen[id] {
				seen[id] = true
				out = append(out, unrepeated(item))
			}
		}
		return out
	}
	return v
}

// TestApplyLikeUpstream applies and updates random objects in the names of several managers and compares the objects,
// their managedFields and the conflicts with those of upstream's field manager.
func TestApplyLikeUpstream(t *testing.T) {
	t.Run("schema", func(t *testing.T) { applyLikeUpstream(t, newWidgetConverter(t), widgetShape(t), 150) })
	t.Run("deduced", func(t *testing.T) { applyLikeUpstream(t, managedfields.NewDeducedTypeConverter(), nil, 60) })
}

func applyLikeUpstream(t *testing.T, converter managedfields.TypeConverter, shape Shape, rounds int) {
	r := newRandom(23)
	outcomes := map[string]int{}
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			p := &pair{t: t, shape: shape, outcomes: outcomes, version: "g/v1"}
			gvk := (&unstructured.Unstructured{Object: r.widget("")}).GroupVersionKind()
			p.upstream = managedfieldstest.NewFakeFieldManager(converter, gvk)
			p.theirs = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "g/v1", "kind": "Widget"}}
			p.ours = &Value{kind: Map}
			p.ours.Set("apiVersion", NewString("g/v1"))
			p.ours.Set("kind", NewString("Widget"))
			var last map[string]any
			for step := range 12 {
				time.Sleep(time.Duration(r.IntN(3)) * time.Second)
				manager := []string{"a", "b", "c"}[r.IntN(3)]
				p.where = fmt.Sprintf("step %d of round %d", step, round)
				switch {
				case step > 0 && r.IntN(3) == 0:
					doc := r.widget("u")
					if r.IntN(2) == 0 {
						doc["spec"] = p.ours.Get("spec").ToAny()
					}
					p.update(doc, manager)
				default:
					doc := r.config(r.IntN(20) == 0)
					if last != nil && r.IntN(2) == 0 {
						// Most configurations are like the one before.
						part := []string{"metadata", "spec", "status"}[r.IntN(3)]
						for name, m := range last {
							if name != part {
								doc[name] = runtime.DeepCopyJSONValue(m)
							}
						}
					}
					last = runtime.DeepCopyJSON(doc)
					p.apply(doc, manager, r.IntN(3) == 0)
				}
			}
		})
	}
	for _, o := range []string{"applied", "conflict", "refused", "updated"} {
		if outcomes[o] < rounds/20 && (shape != nil || o != "refused") {
			t.Errorf("only %d times %s", outcomes[o], o)
		}
	}
}

// TestApplySharesTheLiveObject: what an apply leaves as it is stays the live object's memory, so that all that follows
// need not look at it; and the live object itself never changes.
func TestApplySharesTheLiveObject(t *testing.T) {
	live := parsed(t, string(benchCR()))
	before := live.Clone()
	config := parsed(t, string(benchCR()))
	config.Get("spec").Get("items").Index(3).Set("value", NewString("other"))
	config.Get("spec").Set("added", NewMap())
	by := Application{Write: Write{Owner: api.Owner{Manager: "m", APIVersion: "v1", Time: 1}}, Config: config}
	done, err := Apply(live, nil, itemsShape{}, by)
	if err != nil {
		t.Fatal(err)
	}
	if !Equal(done.Value, config) {
		t.Fatalf("%s\nbecame of\n%s", text(done.Value), text(config))
	}
	if !sameInMemory(done.Value.Get("metadata"), live.Get("metadata")) {
		t.Error("metadata is a copy")
	}
	for i := range 16 {
		if same := sameInMemory(done.Value.Path("spec", "items").Index(i), live.Path("spec", "items").Index(i)); same != (i != 3) {
			t.Errorf("item %d is the live one: %v", i, same)
		}
	}
	if !Equal(live, &before) {
		t.Error("the live object changed")
	}
}

// TestCompareSharedMemory: comparing a value with itself in memory fails on items without identity, as comparing it with
// a copy does.
func TestCompareSharedMemory(t *testing.T) {
	for _, doc := range []string{
		`{"spec":{"items":[{"name":"a"},{"name":"b"}]}}`,
		`{"spec":{"items":[{"name":"a"},{"name":"a"}]}}`,
		`{"spec":{"items":[{"name":"a"},{"value":"b"}]}}`,
		`{"spec":{"items":[{"name":"a"},1]}}`,
		`{"spec":{"other":[1]}}`,
	} {
		v, w := parsed(t, doc), parsed(t, doc)
		_, want := Compare(v, w, itemsShape{})
		ch, err := Compare(v, v, itemsShape{})
		if (err == nil) != (want == nil) || !ch.Added.Empty() || !ch.Modified.Empty() || !ch.Removed.Empty() {
			t.Errorf("%s: %v, %v; of a copy %v", doc, ch, err, want)
		}
	}
}

// pair is one object as upstream's field manager and Apply have it.
type pair struct {
	t        *testing.T
	shape    Shape
	upstream *managedfields.FieldManager
	theirs   runtime.Object
	ours     *Value
	owners   api.Owners
	version  string                                      // in which the next step is taken
	convert  func(*Value, string) (*Value, Shape, error) // nil when there is one version
	where    string
	outcomes map[string]int
}

func (p *pair) update(doc map[string]any, manager string) {
	p.t.Helper()
	after, err := FromAny(doc)
	if err != nil {
		p.t.Fatal(err)
	}
	updated, err := p.upstream.Update(p.theirs, &unstructured.Unstructured{Object: after.ToAny().(map[string]any)}, manager)
	if err != nil {
		p.t.Fatal(err)
	}
	p.count()
	p.owners = own(p.owners, p.in(p.ours, p.version), &after, p.shape, Write{Owner: p.by(manager), Convert: p.convert})
	p.outcomes["updated"]++
	p.check("update by "+manager, updated, &after)
}

func (p *pair) by(manager string) api.Owner {
	return api.Owner{Manager: manager, APIVersion: p.version, Time: time.Now().Unix()}
}

func (p *pair) apply(doc map[string]any, manager string, force bool) {
	t := p.t
	t.Helper()
	config, err := FromAny(doc)
	if err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%s applies (force %v)\n%s\nover %s\nowned by\n%s", manager, force, text(&config), text(p.ours), show(t, entries(p.owners)))
	theirs, wantErr := p.upstream.Apply(p.theirs, &unstructured.Unstructured{Object: config.ToAny().(map[string]any)}, manager, force)
	p.count()
	owners, live := p.owners, p.in(p.ours, p.version)
	if len(owners) == 0 {
		owners = own(nil, nil, live, p.shape, Write{Owner: p.by(BeforeFirstApply)})
	}
	got, gotErr := Apply(live, owners, p.shape, Application{Write: Write{Owner: p.by(manager), Convert: p.convert}, Config: &config, Force: force})
	var status apierrors.APIStatus
	var conflicts Conflicts
	switch {
	case errors.As(wantErr, &status) && errors.As(gotErr, &conflicts):
		p.outcomes["conflict"]++
		want := map[string]int{}
		for _, c := range status.Status().Details.Causes {
			want[c.Message+" at "+c.Field]++
		}
		for _, c := range conflicts {
			for _, path := range c.Fields.Paths() {
				want["conflict with "+c.By()+" at "+path]--
			}
		}
		for c, n := range want {
			if n != 0 {
				t.Fatalf("%s: %s: %d times too few:\n%v\n%v", p.where, c, n, gotErr, wantErr)
			}
		}
		if len(status.Status().Details.Causes) == 1 && status.Status().Message != conflicts.Error() {
			t.Fatalf("the conflict is called %q, want %q", conflicts.Error(), status.Status().Message)
		}
		return
	case wantErr != nil && gotErr != nil:
		if errors.As(gotErr, &conflicts) || errors.As(wantErr, &status) {
			t.Fatalf("%s: %s fails with %v, want %v", p.where, what, gotErr, wantErr)
		}
		p.outcomes["refused"]++
		return
	case wantErr != nil || gotErr != nil:
		t.Fatalf("%s: %s fails with %v, want %v", p.where, what, gotErr, wantErr)
	}
	p.outcomes["applied"]++
	p.owners = got.Owners
	p.check(what, theirs, got.Value)
}

// check compares the object and makes the outcome the object of the next step.
func (p *pair) check(what string, updated runtime.Object, after *Value) {
	p.t.Helper()
	if p.convert != nil {
		// What is stored is in the first version.
		u := updated.(*unstructured.Unstructured)
		updated = &unstructured.Unstructured{Object: convertWidget(u.Object, "g/v1")}
		after = p.in(after, "g/v1")
	}
	u := updated.(*unstructured.Unstructured)
	want, got := show(p.t, u.GetManagedFields()), show(p.t, entries(p.owners))
	if want != got {
		p.t.Fatalf("%s: %s\ngives\n%swant\n%s", p.where, what, got, want)
	}
	managed := u.GetManagedFields()
	u.SetManagedFields(nil)
	theirs, err := FromAny(runtime.DeepCopyJSON(u.Object))
	if err != nil {
		p.t.Fatal(err)
	}
	u.SetManagedFields(managed)
	mine := after.Clone()
	if m := mine.Get("metadata"); m != nil && m.Kind() == Map && m.Len() == 0 {
		mine.Remove("metadata") // setting managedFields takes an empty map away
	}
	if m := theirs.Get("metadata"); m != nil && m.Kind() == Map && m.Len() == 0 {
		theirs.Remove("metadata")
	}
	if !Equal(&theirs, &mine) {
		p.t.Fatalf("%s: %s\nmakes\n%s\nwant\n%s", p.where, what, text(&mine), text(&theirs))
	}
	accessor, err := meta.Accessor(updated)
	if err != nil {
		p.t.Fatal(err)
	}
	accessor.SetUID("u")
	if mine.Get("metadata") == nil {
		mine.Set("metadata", NewMap())
	}
	mine.Get("metadata").Set("uid", NewString("u"))
	p.theirs, p.ours = updated, &mine
}
