package object

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// secondSchema is a second version of the widget: its replicas moved, its items go by another name and key, and its
// selector is granular.
const secondSchema = widgetSchema + `- name: widget2
  map:
    fields:
    - {name: apiVersion, type: {scalar: string}}
    - {name: kind, type: {scalar: string}}
    - {name: metadata, type: {namedType: meta}}
    - {name: spec, type: {namedType: spec2}}
    - {name: status, type: {namedType: __untyped_deduced_}}
- name: spec2
  map:
    fields:
    - {name: scale, type: {map: {fields: [{name: count, type: {scalar: numeric}}]}}}
    - {name: any, type: {scalar: untyped}}
    - {name: selector, type: {map: {elementType: {scalar: string}}}}
    - {name: args, type: {list: {elementType: {scalar: string}, elementRelationship: atomic}}}
    - {name: numbers, type: {list: {elementType: {scalar: numeric}, elementRelationship: associative}}}
    - {name: entries, type: {list: {elementType: {namedType: entry}, elementRelationship: associative, keys: [id]}}}
    - {name: ports, type: {list: {elementType: {namedType: port}, elementRelationship: associative, keys: [port, protocol]}}}
    - {name: free, type: {namedType: __untyped_deduced_}}
- name: entry
  map:
    fields:
    - {name: id, type: {scalar: string}}
    - {name: value, type: {scalar: string}}
    - {name: tags, type: {list: {elementType: {scalar: string}, elementRelationship: associative}}}
    - {name: nested, type: {namedType: spec}}
`

// versionedWidgets makes typed values of widgets in both versions, and converts between them. It is upstream's
// TypeConverter, ObjectConvertor, ObjectDefaulter and ObjectCreater.
type versionedWidgets struct {
	runtime.ObjectConvertor
	*typed.Parser
}

var widgetTypes = map[string]string{"g/v1": "widget", "g/v2": "widget2"}

func (w versionedWidgets) shape(version string) Shape {
	name := widgetTypes[version]
	return smdShape{&w.Schema, smdschema.TypeRef{NamedType: &name}}
}

func (w versionedWidgets) ObjectToTyped(o runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	u := o.(*unstructured.Unstructured)
	return w.Type(widgetTypes[u.GetAPIVersion()]).FromUnstructured(u.Object, opts...)
}

func (w versionedWidgets) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	return &unstructured.Unstructured{Object: v.AsValue().Unstructured().(map[string]any)}, nil
}

func (w versionedWidgets) ConvertToVersion(in runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	u := in.(*unstructured.Unstructured)
	version := to.(schema.GroupVersion).String()
	if widgetTypes[version] == "" {
		return nil, runtime.NewNotRegisteredErrForKind("", schema.FromAPIVersionAndKind(version, "Widget"))
	}
	return &unstructured.Unstructured{Object: convertWidget(u.Object, version)}, nil
}

func (versionedWidgets) Default(runtime.Object) {}

func (versionedWidgets) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	u := new(unstructured.Unstructured)
	u.SetGroupVersionKind(kind)
	return u, nil
}

// convert is what Apply and Own are given.
func (w versionedWidgets) convert(v *Value, version string) (*Value, Shape, error) {
	if widgetTypes[version] == "" {
		return nil, nil, ErrNoVersion
	}
	out, err := FromAny(convertWidget(v.ToAny().(map[string]any), version))
	return &out, w.shape(version), err
}

func convertWidget(doc map[string]any, version string) map[string]any {
	doc = runtime.DeepCopyJSON(doc)
	if doc["apiVersion"] == version {
		return doc
	}
	doc["apiVersion"] = version
	spec, ok := doc["spec"].(map[string]any)
	if !ok {
		return doc
	}
	if version == "g/v2" {
		move(spec, "items", "entries", "name", "id")
		if n, ok := spec["replicas"]; ok {
			spec["scale"] = map[string]any{"count": n}
			delete(spec, "replicas")
		}
		return doc
	}
	move(spec, "entries", "items", "id", "name")
	if scale, ok := spec["scale"].(map[string]any); ok {
		if n, ok := scale["count"]; ok {
			spec["replicas"] = n
		}
	}
	delete(spec, "scale")
	return doc
}

// move renames a list, and the keys of its items.
func move(spec map[string]any, from, to, fromKey, toKey string) {
	list, ok := spec[from]
	if !ok {
		return
	}
	delete(spec, from)
	spec[to] = list
	items, _ := list.([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			m[toKey] = m[fromKey]
			delete(m, fromKey)
		}
	}
}

// TestVersionsLikeUpstream has managers apply and update widgets in two versions, and one that did so in a version that is
// gone, and compares as TestApplyLikeUpstream does.
func TestVersionsLikeUpstream(t *testing.T) {
	p, err := typed.NewParser(secondSchema)
	if err != nil {
		t.Fatal(err)
	}
	widgets := versionedWidgets{Parser: p}
	upstream := map[string]*managedfields.FieldManager{}
	for version := range widgetTypes {
		kind := schema.FromAPIVersionAndKind(version, "Widget")
		m, err := managedfields.NewDefaultCRDFieldManager(widgets, widgets, widgets, widgets, kind, schema.GroupVersion{Group: "g", Version: "v1"}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		upstream[version] = m
	}
	r := newRandom(5)
	outcomes := map[string]int{}
	for round := range 120 {
		synctest.Test(t, func(t *testing.T) {
			p := &pair{t: t, outcomes: outcomes, convert: widgets.convert}
			p.theirs = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "g/v1", "kind": "Widget"}}
			p.ours = parsed(t, `{"apiVersion":"g/v1","kind":"Widget"}`)
			for step := range 10 {
				time.Sleep(time.Duration(r.IntN(3)) * time.Second)
				p.version = []string{"g/v1", "g/v2"}[r.IntN(2)]
				p.shape, p.upstream = widgets.shape(p.version), upstream[p.version]
				p.where = fmt.Sprintf("step %d of round %d in %s", step, round, p.version)
				manager := []string{"a", "b", "c"}[r.IntN(3)]
				if step > 0 && r.IntN(10) == 0 {
					p.addOwner(metav1.ManagedFieldsEntry{Manager: "gone", Operation: "Update", APIVersion: "g/v0", FieldsType: "FieldsV1",
						FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:replicas":{}}}`)}})
				}
				if step > 0 && r.IntN(3) == 0 {
					doc := unrepeated(r.widget("u")).(map[string]any)
					if r.IntN(2) == 0 {
						doc["spec"] = p.ours.Get("spec").ToAny()
					}
					p.update(convertWidget(doc, p.version), manager)
					continue
				}
				p.apply(convertWidget(r.config(false), p.version), manager, r.IntN(3) == 0)
			}
		})
	}
	for _, o := range []string{"applied", "conflict", "updated", "two versions", "a version gone"} {
		if outcomes[o] < 20 {
			t.Errorf("only %d times %s", outcomes[o], o)
		}
	}
}

// addOwner adds an owner to both objects.
func (p *pair) addOwner(e metav1.ManagedFieldsEntry) {
	u := p.theirs.(*unstructured.Unstructured)
	u.SetManagedFields(append(u.GetManagedFields(), e))
	owners, err := DecodeOwners(u.GetManagedFields())
	if err != nil {
		p.t.Fatal(err)
	}
	p.owners = owners
}

// count counts what owners there are before a step.
func (p *pair) count() {
	versions := map[string]bool{}
	for _, o := range p.owners {
		versions[o.APIVersion] = true
	}
	if versions["g/v1"] && versions["g/v2"] {
		p.outcomes["two versions"]++
	}
	if versions["g/v0"] {
		p.outcomes["a version gone"]++
	}
}

// in is a document as it is in a version; as it is when there is but one.
func (p *pair) in(v *Value, version string) *Value {
	if p.convert == nil || strings.Contains(version, "/") && v.Get("apiVersion").Str() == version {
		return v
	}
	out, _, err := p.convert(v, version)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}
