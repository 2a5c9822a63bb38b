package object

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"pintle.dev/api"
)

// widgetSchema is what a CRD with every kind of list and map amounts to.
const widgetSchema = `types:
- name: widget
  map:
    fields:
    - {name: apiVersion, type: {scalar: string}}
    - {name: kind, type: {scalar: string}}
    - {name: metadata, type: {namedType: meta}}
    - {name: spec, type: {namedType: spec}}
    - {name: status, type: {namedType: __untyped_deduced_}}
- name: meta
  map:
    fields:
    - {name: name, type: {scalar: string}}
    - {name: uid, type: {scalar: string}}
    - {name: generation, type: {scalar: numeric}}
    - {name: managedFields, type: {namedType: __untyped_atomic_}}
    - {name: labels, type: {map: {elementType: {scalar: string}}}}
    - {name: finalizers, type: {list: {elementType: {scalar: string}, elementRelationship: associative}}}
- name: spec
  map:
    fields:
    - {name: replicas, type: {scalar: numeric}}
    - {name: any, type: {scalar: untyped}}
    - {name: selector, type: {map: {elementType: {scalar: string}, elementRelationship: atomic}}}
    - {name: args, type: {list: {elementType: {scalar: string}, elementRelationship: atomic}}}
    - {name: numbers, type: {list: {elementType: {scalar: numeric}, elementRelationship: associative}}}
    - {name: items, type: {list: {elementType: {namedType: item}, elementRelationship: associative, keys: [name]}}}
    - {name: ports, type: {list: {elementType: {namedType: port}, elementRelationship: associative, keys: [port, protocol]}}}
    - {name: free, type: {namedType: __untyped_deduced_}}
- name: item
  map:
    fields:
    - {name: name, type: {scalar: string}}
    - {name: value, type: {scalar: string}}
    - {name: tags, type: {list: {elementType: {scalar: string}, elementRelationship: associative}}}
    - {name: nested, type: {namedType: spec}}
- name: port
  map:
    fields:
    - {name: port, type: {scalar: numeric}}
    - {name: protocol, type: {scalar: string}, default: TCP}
    - {name: weight, type: {scalar: numeric}}
- name: __untyped_atomic_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
- name: __untyped_deduced_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_deduced_}, elementRelationship: separable}
`

// widgetConverter makes typed values of widgets; it is a managedfields.TypeConverter.
type widgetConverter struct{ *typed.Parser }

func newWidgetConverter(t testing.TB) widgetConverter {
	p, err := typed.NewParser(widgetSchema)
	if err != nil {
		t.Fatal(err)
	}
	return widgetConverter{p}
}

func (c widgetConverter) ObjectToTyped(o runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	return c.Type("widget").FromUnstructured(o.(*unstructured.Unstructured).Object, opts...)
}

func (c widgetConverter) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	return &unstructured.Unstructured{Object: v.AsValue().Unstructured().(map[string]any)}, nil
}

// smdShape is a schema of structured-merge-diff as a Shape.
type smdShape struct {
	schema *schema.Schema
	ref    schema.TypeRef
}

func (s smdShape) atom() schema.Atom {
	a, ok := s.schema.Resolve(s.ref)
	if !ok {
		panic("no such type")
	}
	return a
}

func (s smdShape) Field(name string) Shape {
	m := s.atom().Map
	if m == nil {
		return nil
	}
	if f, ok := m.FindField(name); ok {
		return smdShape{s.schema, f.Type}
	}
	if m.ElementType == (schema.TypeRef{}) {
		return nil
	}
	return smdShape{s.schema, m.ElementType}
}

func (s smdShape) Declares(name string) bool {
	m := s.atom().Map
	if m == nil {
		return false
	}
	_, ok := m.FindField(name)
	return ok
}

func (s smdShape) Item() Shape { return smdShape{s.schema, s.atom().List.ElementType} }

func (s smdShape) Atomic() bool {
	a := s.atom()
	if a.Map != nil && a.List != nil {
		return a.Map.ElementRelationship == schema.Atomic
	}
	return a.Map != nil && a.Map.ElementRelationship == schema.Atomic || a.List != nil && a.List.ElementRelationship == schema.Atomic
}

func (s smdShape) Set() bool {
	l := s.atom().List
	return l != nil && l.ElementRelationship == schema.Associative && len(l.Keys) == 0
}

func (s smdShape) Keys() []string {
	if l := s.atom().List; l != nil && l.ElementRelationship == schema.Associative {
		return l.Keys
	}
	return nil
}

func (s smdShape) KeyDefault(key string) string {
	f, ok := smdShape{s.schema, s.atom().List.ElementType}.atom().Map.FindField(key)
	if !ok || f.Default == nil {
		return ""
	}
	b, err := json.Marshal(f.Default)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (s smdShape) Patch() (string, []string) { return "", nil }

func widgetShape(t testing.TB) Shape {
	c := newWidgetConverter(t)
	name := "widget"
	return smdShape{&c.Schema, schema.TypeRef{NamedType: &name}}
}

func (r *random) some(m map[string]any, name string, of func() any) {
	if r.IntN(3) > 0 {
		m[name] = of()
	}
}

func (r *random) strings(n int) any {
	l := []any{}
	for range r.IntN(n) {
		l = append(l, r.pick("a", "b", "c", `d"<&`))
	}
	return l
}

// spec makes the spec of a widget. Lists may repeat an item, as upstream lets objects that exist.
func (r *random) spec(depth int) any {
	m := map[string]any{}
	r.some(m, "replicas", func() any { return int64(r.IntN(3)) })
	r.some(m, "any", func() any { return []any{"x", int64(1), 1.5, true}[r.IntN(4)] })
	r.some(m, "selector", func() any {
		if r.IntN(4) == 0 {
			return nil
		}
		return map[string]any{r.pick("a", "b"): r.pick("x", "y")}
	})
	r.some(m, "args", func() any { return r.strings(3) })
	r.some(m, "numbers", func() any {
		l := []any{}
		for range r.IntN(4) {
			l = append(l, []any{int64(1), int64(2), int64(10), 1.5}[r.IntN(4)])
		}
		return l
	})
	r.some(m, "ports", func() any {
		l := []any{}
		for range r.IntN(4) {
			p := map[string]any{"port": int64([]int{80, 443, 8080}[r.IntN(3)])}
			if r.IntN(2) == 0 {
				p["protocol"] = r.pick("TCP", "UDP")
			}
			r.some(p, "weight", func() any { return int64(r.IntN(2)) })
			l = append(l, p)
		}
		return l
	})
	r.some(m, "free", func() any { return r.value(3) })
	if depth > 0 {
		r.some(m, "items", func() any {
			l := []any{}
			for range r.IntN(4) {
				item := map[string]any{"name": r.pick("a", "b", "ab", "c d")}
				r.some(item, "value", func() any { return r.pick("x", "y") })
				r.some(item, "tags", func() any { return r.strings(3) })
				if r.IntN(4) == 0 {
					item["nested"] = r.spec(depth - 1)
				}
				l = append(l, item)
			}
			return l
		})
		if r.IntN(8) == 0 {
			m["items"] = nil
		}
	}
	return m
}

func (r *random) widget(uid string) map[string]any {
	meta := map[string]any{"name": "w", "generation": int64(r.IntN(3))}
	if uid != "" {
		meta["uid"] = uid
	}
	r.some(meta, "labels", func() any { return map[string]any{r.pick("a", "b/c"): r.pick("x", "y"), r.pick("d", "e"): "z"} })
	r.some(meta, "finalizers", func() any { return r.strings(3) })
	w := map[string]any{"apiVersion": "g/v1", "kind": "Widget", "metadata": meta}
	r.some(w, "spec", func() any { return r.spec(2) })
	r.some(w, "status", func() any { return r.object(3) })
	return w
}

func entries(owners api.Owners) []metav1.ManagedFieldsEntry {
	var out []metav1.ManagedFieldsEntry
	for _, o := range owners {
		e := metav1.ManagedFieldsEntry{Manager: o.Manager, Operation: metav1.ManagedFieldsOperationType(o.Operation), APIVersion: o.APIVersion,
			Subresource: o.Subresource, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(o.Fields)}}
		if o.Time != 0 {
			t := metav1.NewTime(time.Unix(o.Time, 0).UTC())
			e.Time = &t
		}
		out = append(out, e)
	}
	return out
}

// show is managedFields as text.
func show(t testing.TB, entries []metav1.ManagedFieldsEntry) string {
	t.Helper()
	var b strings.Builder
	for _, e := range entries {
		when := "-"
		if e.Time != nil {
			when = fmt.Sprint(e.Time.Unix())
		}
		// An unstructured object brings the members of fieldsV1 into alphabetical order.
		var set fieldpath.Set
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.Raw)); err != nil {
			t.Fatalf("%s: %v", e.FieldsV1.Raw, err)
		}
		fields, err := set.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s %s %q %s %s\n", e.Manager, e.Operation, e.APIVersion, e.Subresource, when, fields)
	}
	return b.String()
}

// TestOwnLikeUpstream writes random objects again and again and compares the managedFields with those of upstream's
// field manager, times included.
func TestOwnLikeUpstream(t *testing.T) {
	t.Run("schema", func(t *testing.T) { ownLikeUpstream(t, newWidgetConverter(t), widgetShape(t), 120) })
	t.Run("deduced", func(t *testing.T) { ownLikeUpstream(t, managedfields.NewDeducedTypeConverter(), nil, 60) })
}

func ownLikeUpstream(t *testing.T, converter managedfields.TypeConverter, shape Shape, rounds int) {
	r := newRandom(7)
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			gvk := (&unstructured.Unstructured{Object: r.widget("")}).GroupVersionKind()
			upstream := managedfieldstest.NewFakeFieldManager(converter, gvk)
			var live runtime.Object = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "g/v1", "kind": "Widget"}}
			var owners api.Owners
			var before *Value
			for step := range 14 {
				doc := r.widget("u")
				if step == 0 {
					delete(doc["metadata"].(map[string]any), "uid")
				} else if r.IntN(3) == 0 {
					// Most writes change little.
					old, err := FromAny(before.ToAny())
					if err != nil {
						t.Fatal(err)
					}
					part := []string{"metadata", "spec", "status"}[r.IntN(3)]
					for name, m := range old.Fields() {
						if name != part {
							doc[name] = m.ToAny()
						}
					}
				}
				if meta := doc["metadata"].(map[string]any); step > 0 {
					meta["uid"] = "u"
				}
				time.Sleep(time.Duration(r.IntN(3)) * time.Second)
				manager := []string{"a", "b", "", "kubectl"}[r.IntN(4)]
				if round%4 == 0 {
					manager = fmt.Sprint("m", r.IntN(14))
				}
				after, err := FromAny(doc)
				if err != nil {
					t.Fatal(err)
				}
				updated, err := upstream.Update(live, &unstructured.Unstructured{Object: after.ToAny().(map[string]any)}, manager)
				if err != nil {
					t.Fatal(err)
				}
				owners = own(owners, before, &after, shape, Write{Owner: api.Owner{Manager: manager, APIVersion: "g/v1", Time: time.Now().Unix()}})
				want, got := show(t, updated.(*unstructured.Unstructured).GetManagedFields()), show(t, entries(owners))
				if want != got {
					t.Fatalf("step %d of round %d: %s\nwrites %s\nover   %s\ngives\n%swant\n%s", step, round, manager, text(&after), text(before), got, want)
				}
				live, before = updated, &after
				if step == 0 {
					live.(*unstructured.Unstructured).SetUID("u")
					before.Get("metadata").Set("uid", NewString("u"))
				}
			}
		})
	}
}

func TestFieldsLikeUpstream(t *testing.T) {
	r := newRandom(11)
	converter, shape := newWidgetConverter(t), widgetShape(t)
	set := func(doc map[string]any) (*fieldpath.Set, Fields) {
		v, err := FromAny(doc)
		if err != nil {
			t.Fatal(err)
		}
		empty, err := converter.ObjectToTyped(&unstructured.Unstructured{Object: map[string]any{}})
		if err != nil {
			t.Fatal(err)
		}
		full, err := converter.ObjectToTyped(&unstructured.Unstructured{Object: v.ToAny().(map[string]any)}, typed.AllowDuplicates)
		if err != nil {
			t.Fatal(err)
		}
		c, err := empty.Compare(full)
		if err != nil {
			t.Fatal(err)
		}
		f, err := FieldsOf(&v, shape)
		if err != nil {
			t.Fatal(err)
		}
		return c.Added, f
	}
	check := func(name string, want *fieldpath.Set, got Fields) {
		t.Helper()
		b, err := want.ToJSON()
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != got.String() {
			t.Fatalf("%s is\n%s, want\n%s", name, got, b)
		}
		again, err := ParseFields(got.String())
		if err != nil || again.String() != got.String() || !again.Contains(got) || !got.Contains(again) {
			t.Fatalf("%s is read back as %s, %v", got, again, err)
		}
		level, err := readFields(got.String())
		if all(level.nodes); err != nil || level.String() != got.String() {
			t.Fatalf("%s is read level by level as %s, %v", got, level, err)
		}
	}
	for range 1000 {
		s, f := set(r.widget("x"))
		s2, f2 := set(r.widget(""))
		check("set", s, f)
		check("union", s.Union(s2), f.Union(f2))
		check("intersection", s.Intersection(s2), f.Intersection(f2))
		check("difference", s.Difference(s2), f.Difference(f2))
		check("recursive difference", s.RecursiveDifference(s2), f.Without(f2))
		if got, want := f.Contains(f2), s2.Difference(s).Empty(); got != want {
			t.Fatalf("%s contains %s: %v", f, f2, got)
		}
		if got, want := reaches(f2.nodes, f.nodes), !s.RecursiveDifference(s2).Equals(s); got != want {
			t.Fatalf("%s reaches into %s: %v", f2, f, got)
		}
	}
}

// TestReadFields reads texts level by level, also such as nobody here writes.
func TestReadFields(t *testing.T) {
	for in, want := range map[string]string{
		`{}`: `{}`,
		`{"f:a":{"f:b":{".":{},"f:c":{}}},"f:d":{}}`:                   `{"f:a":{"f:b":{".":{},"f:c":{}}},"f:d":{}}`,
		`{"f:b":{},"f:a":{}}`:                                          `{"f:a":{},"f:b":{}}`,
		`{ "f:a" : {"f:b":{}} }`:                                       `{"f:a":{"f:b":{}}}`,
		`{"f:a":{"f:b":{".":{}}}}`:                                     `{"f:a":{"f:b":{}}}`,
		`{"f:l":{"k:{\"b\":10,\"a\":\"x\"}":{},"v:\"}{\"":{"x:":{}}}}`: `{"f:l":{"k:{\"a\":\"x\",\"b\":10}":{},"v:\"}{\"":{}}}`,
	} {
		f, err := readFields(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		all(f.nodes)
		if got := f.String(); got != want {
			t.Errorf("%s is read as %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{``, `{`, `{"f:a"}`, `{"f:a":{}`, `{"f:a":{},}`, `{"f:a":{x}}`, `{"f:a":{}}}`, `{"zz":{}}`, `{"f:a\`, `{"f:a":{"`} {
		if f, err := readFields(in); err == nil {
			t.Errorf("%s is read as %s", in, f)
		}
	}
}

// all reads what is below all nodes, and forgets its text.
func all(nodes []fieldNode) {
	for i := range nodes {
		nodes[i].set(nodes[i].nodes())
		all(nodes[i].below)
	}
}

func TestParseFields(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                     `{}`,
		` {"f:b":{}, "f:a":{"f:x":{},".":{}} } `: `{"f:a":{".":{},"f:x":{}},"f:b":{}}`,
		`{"f:a":{".":{}}}`:                       `{"f:a":{}}`,
		`{"x:future":{"f:a":[1]},"f:a":{}}`:      `{"f:a":{}}`,
		`{"k:{\"b\":1,\"a\":\"x<\"}":{},"v:2":{},"v:10":{},"i:3":{}}`: `{"k:{\"a\":\"x\\u003c\",\"b\":1}":{},"v:2":{},"v:10":{},"i:3":{}}`,
		`{"f:a":{},"f:a":{"f:b":{}}}`:                                 `{"f:a":{".":{},"f:b":{}}}`,
		`{"v:\"s\"":{},"v:true":{},"v:1.5":{},"v:null":{}}`:           `{"v:1.5":{},"v:\"s\"":{},"v:true":{},"v:null":{}}`,
		`{"f:é\"":{}}`: `{"f:é\"":{}}`,
	} {
		f, err := ParseFields(in)
		if err != nil || f.String() != want {
			t.Errorf("%s is read as %s, %v, want %s", in, f, err, want)
		}
	}
	for in, want := range map[string]string{
		``:             "expected an object",
		`[]`:           "expected an object",
		`{"f:a":1}`:    "expected an object",
		`{"zz":{}}`:    "missing colon: zz",
		`{"f":{}}`:     "key must be 2 characters long:",
		`{"i:x":{}}`:   "invalid syntax",
		`{"v:{":{}}`:   "unexpected end of JSON input",
		`{"k:[]":{}}`:  "is not an object",
		`{"f:a":{}} x`: "unexpected trailing data after JSON object",
		`{"f:a":{}`:    "malformed JSON",
		`{"f:a" {}}`:   "malformed JSON",
		`{"x:a":{]}`:   "malformed JSON",
		strings.Repeat(`{"f:a":`, maxDepth+1) + `{}` + strings.Repeat(`}`, maxDepth+1): "exceeded max depth",
	} {
		if f, err := ParseFields(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s is read as %.40s, %v, want %s", in, f, err, want)
		}
	}
}

func TestOwnIgnores(t *testing.T) {
	before, after := parsed(t, `{"metadata":{"uid":"u"},"spec":{"a":1},"status":{"b":1}}`), parsed(t, `{"metadata":{"uid":"u","labels":{"l":"m"}},"spec":{"a":2},"status":{"b":2}}`)
	old := api.Owners{{Manager: "m", Operation: "Update", APIVersion: "v1", Fields: `{"f:spec":{"f:a":{}},"f:status":{"f:b":{}}}`, Time: 5}}
	got := show(t, entries(own(old, before, after, nil, Write{Owner: api.Owner{Manager: "n", APIVersion: "v1", Subresource: "status", Time: 9}, Ignore: FieldPaths("spec", "metadata.labels")})))
	want := "m Update v1 \"\" 5 {\"f:spec\":{\"f:a\":{}}}\nn Update v1 \"status\" 9 {\"f:status\":{\"f:b\":{}}}\n"
	if got != want {
		t.Errorf("owners\n%swant\n%s", got, want)
	}
}

// TestOwnIgnoresHere: what a custom kind's endpoint resets counts for owners in other versions, as on upstream.
func TestOwnIgnoresHere(t *testing.T) {
	before, after := parsed(t, `{"metadata":{"uid":"u"},"spec":{"a":1},"status":{"b":1}}`), parsed(t, `{"metadata":{"uid":"u"},"spec":{"a":1},"status":{"b":2}}`)
	status := `{"f:status":{"f:b":{}}}`
	old := api.Owners{{Manager: "m", Operation: "Update", APIVersion: "v1", Fields: status, Time: 5}, {Manager: "m", Operation: "Update", APIVersion: "v2", Fields: status, Time: 5}}
	write := Write{Owner: api.Owner{Manager: "n", APIVersion: "v1", Time: 9}, Ignore: FieldPaths("status"), Custom: true}
	if got, want := show(t, entries(own(old, before, after, nil, write))), "m Update v1 \"\" 5 "+status+"\n"; got != want {
		t.Errorf("owners\n%swant\n%s", got, want)
	}
	write.Convert = func(v *Value, _ string) (*Value, Shape, error) { return v, nil, nil }
	if got, want := show(t, entries(own(old, before, after, nil, write))), "m Update v1 \"\" 5 "+status+"\n"; got != want {
		t.Errorf("with a conversion, owners\n%swant\n%s", got, want)
	}
	write.Custom = false
	if got := own(old, before, after, nil, write); &got[0] != &old[0] {
		t.Errorf("where all versions ignore the field, owners\n%s", show(t, entries(got)))
	}
}

func TestOwnKeeps(t *testing.T) {
	v := parsed(t, `{"metadata":{"uid":"u"},"l":[{"name":"a"}],"spec":{"a":1}}`)
	old := api.Owners{{Manager: "m", Operation: "Update", APIVersion: "v1beta1", Fields: `{"f:l":{},"f:spec":{"f:a":{}}}`, Time: 5}}
	write := Write{Owner: api.Owner{Manager: "n", APIVersion: "v1", Time: 9}}
	if got := own(old, v, v, nil, write); &got[0] != &old[0] {
		t.Error("a write that changes nothing makes new owners")
	}
	after := v.Clone()
	after.Get("metadata").Set("generation", NewInt(7))
	if got := own(old, v, &after, nil, write); &got[0] != &old[0] {
		t.Error("a change of what nobody owns makes new owners")
	}
	if got := own(nil, v, &after, nil, write); got != nil {
		t.Errorf("an object without owners gets %v", got)
	}
	after.Get("spec").Set("a", NewInt(2))
	got := show(t, entries(own(old, v, &after, nil, write)))
	if want := "m Update v1beta1 \"\" 5 {\"f:l\":{}}\nn Update v1 \"\" 9 {\"f:spec\":{\"f:a\":{}}}\n"; got != want {
		t.Errorf("an owner in another version: %swant %s", got, want)
	}
	empty := api.Owners{{Manager: "m", Operation: "Update", APIVersion: "v1", Fields: `{}`}}
	if got := own(empty, v, v, nil, write); len(got) != 0 {
		t.Errorf("an owner of nothing stays: %v", got)
	}
	items := smdShape{&newWidgetConverter(t).Schema, widgetShape(t).(smdShape).ref}
	bad := parsed(t, `{"metadata":{"uid":"u"},"spec":{"items":[{"value":"x"}]}}`)
	if _, err := Own(old, v, bad, items, write); err == nil {
		t.Error("an item without identity changes the owners")
	}
}

// TestLastEntries: an update is known by its version, too, an apply is not.
func TestLastEntries(t *testing.T) {
	entry := func(operation, version, subresource, fields string) api.Owner {
		return api.Owner{Manager: "m", Operation: operation, APIVersion: version, Subresource: subresource, Fields: fields, Time: int64(len(fields))}
	}
	got := LastEntries(api.Owners{
		entry("Update", "v1", "", "a"), entry("Apply", "v1", "", "b"), entry("Update", "v2", "", "c"), entry("Update", "v1", "status", "d"),
		entry("Apply", "v2", "", "e"), entry("Update", "v1", "", "ff"), entry("Apply", "v2", "status", "g"),
	})
	fields := ""
	for _, o := range got {
		fields += o.Fields
	}
	if fields != "cdeffg" {
		t.Errorf("the entries left are %s", fields)
	}
}

// TestOwnOfWhatIsNotThere: a field that a client says to be owned may be missing, and stays owned when the map it belongs in
// comes and goes.
func TestOwnOfWhatIsNotThere(t *testing.T) {
	without, with := parsed(t, `{"metadata":{"uid":"u"}}`), parsed(t, `{"metadata":{"uid":"u","labels":{"a":"b"}}}`)
	old := api.Owners{{Manager: "hand", Operation: "Apply", APIVersion: "v1", Fields: `{"f:metadata":{"f:labels":{".":{},"f:hand":{}}}}`}}
	for _, c := range []struct {
		before, after *Value
		want          string
	}{
		{nil, with, "hand Apply v1 \"\" - {\"f:metadata\":{\"f:labels\":{\"f:hand\":{}}}}\nn Update v1 \"\" 9 {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}}}\n"},
		{without, with, "hand Apply v1 \"\" - {\"f:metadata\":{\"f:labels\":{\"f:hand\":{}}}}\nn Update v1 \"\" 9 {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}}}\n"},
		{with, without, "hand Apply v1 \"\" - {\"f:metadata\":{\"f:labels\":{\"f:hand\":{}}}}\n"},
	} {
		got := show(t, entries(own(old, c.before, c.after, widgetShape(t), Write{Owner: api.Owner{Manager: "n", APIVersion: "v1", Time: 9}})))
		if got != c.want {
			t.Errorf("owners\n%swant\n%s", got, c.want)
		}
	}
}

func TestOwnOfWhatBecameAtomic(t *testing.T) {
	before, after := parsed(t, `{"metadata":{"uid":"u"},"spec":{"replicas":1,"selector":{"a":"b"}}}`), parsed(t, `{"metadata":{"uid":"u"},"spec":{"replicas":1,"selector":{"a":"c"}}}`)
	old := api.Owners{{Manager: "m", Operation: "Update", APIVersion: "v1", Fields: `{"f:spec":{"f:replicas":{},"f:selector":{".":{},"f:a":{}}}}`, Time: 5}}
	got := show(t, entries(own(old, before, after, widgetShape(t), Write{Owner: api.Owner{Manager: "n", APIVersion: "v1", Time: 9}})))
	want := "m Update v1 \"\" 5 {\"f:spec\":{\"f:replicas\":{}}}\nn Update v1 \"\" 9 {\"f:spec\":{\"f:selector\":{}}}\n"
	if got != want {
		t.Errorf("owners\n%swant\n%s", got, want)
	}
}

// TestOwnOnCreate: what an empty object of a kind always has is owned by nobody, as recorded of upstream.
func TestOwnOnCreate(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{`{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}`,
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"n","labels":{"x":"y"},"uid":"u"},"data":{"a":"1"}}`,
			`{"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:x":{}}}}`},
		{`{"metadata":{},"spec":{"items":null},"status":{}}`,
			`{"metadata":{"name":"c"},"spec":{"items":[{"name":"c","tags":[]}],"ports":[{"port":80}]},"status":{}}`,
			`{"f:spec":{"f:items":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:tags":{}}},"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}`},
		{`{}`, `{"metadata":{"name":"c","generation":1},"spec":{"args":["x"]}}`, `{"f:spec":{".":{},"f:args":{}}}`},
		{`{}`, `{"apiVersion":"v1","metadata":{"name":"c"}}`, ``},
	} {
		owners := own(nil, parsed(t, c.before), parsed(t, c.after), widgetShape(t), Write{Owner: api.Owner{APIVersion: "v1", Time: 1}})
		want := ""
		if c.want != "" {
			want = `unknown Update v1 "" 1 ` + c.want + "\n"
		}
		if got := show(t, entries(owners)); got != want {
			t.Errorf("%s\nowned by %swant     %s", c.after, got, want)
		}
	}
}

func TestDecodeOwners(t *testing.T) {
	entry := func(change func(e *metav1.ManagedFieldsEntry)) []metav1.ManagedFieldsEntry {
		e := metav1.ManagedFieldsEntry{Manager: "m", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:b":{},"f:a":{}}`)}}
		change(&e)
		return []metav1.ManagedFieldsEntry{e}
	}
	for _, c := range []struct {
		entries []metav1.ManagedFieldsEntry
		want    string
	}{
		{entry(func(e *metav1.ManagedFieldsEntry) { e.Operation = "Foo" }), "operation must be `Apply` or `Update`"},
		{entry(func(e *metav1.ManagedFieldsEntry) { e.APIVersion = "" }), "apiVersion must not be empty"},
		{entry(func(e *metav1.ManagedFieldsEntry) { e.FieldsType = "" }), "missing fieldsType in managed fields entry 0"},
		{entry(func(e *metav1.ManagedFieldsEntry) { e.FieldsType = "X" }), `invalid fieldsType "X" in managed fields entry 0`},
		{entry(func(e *metav1.ManagedFieldsEntry) { e.FieldsV1.Raw = []byte(`{"zz":{}}`) }), "missing colon: zz"},
	} {
		if o, err := DecodeOwners(c.entries); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", o, err, c.want)
		}
		live := api.Owners{{Manager: "l", Operation: "Update", APIVersion: "v1", Fields: "{}"}}
		if got := SentOwners(live, c.entries); len(got) != 1 || got[0].Manager != "l" {
			t.Errorf("what is not understood (%s) replaces the live owners: %v", c.want, got)
		}
	}
	good := entry(func(*metav1.ManagedFieldsEntry) {})
	owners, err := DecodeOwners(good)
	if err != nil || len(owners) != 1 || owners[0].Fields != `{"f:a":{},"f:b":{}}` {
		t.Errorf("decoded %v, %v", owners, err)
	}
	live := api.Owners{{Manager: "l", Operation: "Update", APIVersion: "v1", Fields: `{"f:a":{}}`}}
	for _, c := range []struct {
		name string
		sent []metav1.ManagedFieldsEntry
		want api.Owners
	}{
		{"nothing", nil, live},
		{"an empty list", []metav1.ManagedFieldsEntry{}, nil},
		{"an empty entry", []metav1.ManagedFieldsEntry{{}}, nil},
		{"other owners", good, owners},
	} {
		if got := SentOwners(live, c.sent); !slices.Equal(got, c.want) {
			t.Errorf("%s sent: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzOwners(f *testing.F) {
	f.Add(`{"f:spec":{".":{},"k:{\"name\":\"a\"}":{"f:x":{}},"v:1":{}}}`, `{"f:spec":{"k:{\"name\":\"a\"}":{}}}`, []byte(`{"spec":{"items":[{"name":"a","value":"x"}],"numbers":[1,2]}}`), []byte(`{"spec":{"items":[{"name":"b"}],"free":{"a":[1]}}}`))
	shape := widgetShape(f)
	f.Fuzz(func(t *testing.T, a, b string, before, after []byte) {
		fa, err := ParseFields(a)
		if err != nil {
			return
		}
		again, err := ParseFields(fa.String())
		if err != nil || again.String() != fa.String() {
			t.Fatalf("%q is written as %q and read as %q, %v", a, fa, again, err)
		}
		if fb, err := ParseFields(b); err == nil {
			both := fa.Union(fb)
			if !both.Contains(fa) || !both.Contains(fb) {
				t.Fatalf("%s does not contain both %s and %s", both, fa, fb)
			}
			if left := fa.Difference(fb); !fa.Contains(left) || !left.Intersection(fb).Empty() {
				t.Fatalf("%s without %s is %s", fa, fb, left)
			}
		}
		v, err := Parse(before)
		if err != nil {
			return
		}
		w, err := Parse(after)
		if err != nil {
			return
		}
		old := api.Owners{{Manager: "m", Operation: "Update", APIVersion: "v1", Fields: fa.String()}}
		owners := own(old, v, w, shape, Write{Owner: api.Owner{Manager: "n", APIVersion: "v1", Time: 1}})
		for _, o := range owners {
			if _, err := ParseFields(o.Fields); err != nil {
				t.Fatalf("owner %v: %v", o, err)
			}
		}
	})
}

// own is Own where an error changes nothing.
func own(old api.Owners, before, after *Value, s Shape, by Write) api.Owners {
	owners, err := Own(old, before, after, s, by)
	if err != nil {
		return old
	}
	return owners
}
