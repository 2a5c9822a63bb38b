package controllertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Commit implements client.Client.
func (a *API) Commit(_ context.Context, c client.Change) (*api.Record, error) {
	if err := a.refused(c); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rec, err := a.commit(c)
	if err == nil {
		a.commits = append(a.commits, c)
	}
	return rec, err
}

func (a *API) commit(c client.Change) (*api.Record, error) {
	if c.Verb == api.Create {
		d, err := decode(c.Object)
		if err != nil {
			return nil, err
		}
		if c.Key.Namespace != "" {
			d.metadata()["namespace"] = c.Key.Namespace
		}
		return a.create(c.Resource, d)
	}
	rec := a.lookup(c.Resource, c.Key)
	if rec == nil {
		return nil, api.NotFound(c.Resource, c.Key.Name)
	}
	old, err := parse(rec.JSON())
	if err != nil {
		return nil, err
	}
	var want document
	switch c.Verb {
	case api.Delete:
		return a.delete(c, rec, old)
	case api.Update:
		want, err = decode(c.Object)
	case api.Patch:
		want, err = patched(rec.JSON(), c)
	default:
		return nil, fmt.Errorf("controllertest: verb %s is not supported", c.Verb)
	}
	if err != nil {
		return nil, err
	}
	if rv, _ := want.metadata()["resourceVersion"].(string); rv != "" && rv != rec.Revision().String() {
		return nil, api.Conflict(c.Resource, c.Key.Name, errors.New("the object has been modified; please apply your changes to the latest version and try again"))
	}
	if uid, _ := want.metadata()["uid"].(string); uid != "" && uid != rec.UID() {
		if c.Verb == api.Patch { // where it is no precondition but a change
			return nil, api.Invalid(c.Resource.Group, c.Resource.Name, c.Key.Name, field.ErrorList{
				field.Invalid(field.NewPath("metadata", "uid"), uid, "field is immutable"),
			})
		}
		return nil, api.Conflict(c.Resource, c.Key.Name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, rec.UID()))
	}
	d := old.clone()
	switch c.Subresource {
	case "status":
		// As with most built-in kinds, annotations and finalizers may be written along with the status.
		d.copy(want, "status")
		d.metadata().copy(want.metadata(), "annotations")
		d.metadata().copy(want.metadata(), "finalizers")
	case "finalize":
		d.copy(want, "spec")
	case "":
		for k := range want {
			if k != "status" && k != "metadata" {
				d.copy(want, k)
			}
		}
		for k := range old {
			if want[k] == nil && k != "status" {
				delete(d, k)
			}
		}
		m := want.clone().metadata()
		for _, k := range []string{"uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"} {
			delete(m, k)
			if v := old.metadata()[k]; v != nil {
				m[k] = v
			}
		}
		d["metadata"] = map[string]any(m)
		if !reflect.DeepEqual(normal(d["spec"]), normal(old["spec"])) {
			n, _ := old.metadata()["generation"].(json.Number)
			g, _ := n.Int64()
			m["generation"] = g + 1
		}
	default:
		return nil, fmt.Errorf("controllertest: subresource %s is not supported", c.Subresource)
	}
	if d.gone() {
		_, err := a.put(c.Resource, rec, nil)
		return rec, err
	}
	if reflect.DeepEqual(normal(d), normal(old)) {
		return rec, nil
	}
	return a.put(c.Resource, rec, d)
}

func patched(old []byte, c client.Change) (document, error) {
	var b []byte
	var err error
	switch c.PatchType {
	case types.MergePatchType:
		b, err = jsonpatch.MergePatch(old, c.Patch)
	case types.JSONPatchType:
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(c.Patch); err == nil {
			b, err = p.Apply(old)
		}
	default:
		err = fmt.Errorf("patch type %s is not supported", c.PatchType)
	}
	if err != nil {
		return nil, api.NewError(422, metav1.StatusReasonInvalid, "controllertest: patching: %v", err)
	}
	return parse(b)
}

func (a *API) delete(c client.Change, rec *api.Record, d document) (*api.Record, error) {
	o := c.Delete
	if o == nil {
		o = &metav1.DeleteOptions{}
	}
	if p := o.Preconditions; p != nil {
		if p.UID != nil && string(*p.UID) != rec.UID() {
			return nil, api.Conflict(c.Resource, c.Key.Name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", *p.UID, rec.UID()))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != rec.Revision().String() {
			return nil, api.Conflict(c.Resource, c.Key.Name, errors.New("Precondition failed: resourceVersion"))
		}
	}
	m := d.metadata()
	var finalizers []any
	if fs, ok := m["finalizers"].([]any); ok {
		finalizers = fs
	}
	if o.PropagationPolicy != nil {
		finalizers = slices.DeleteFunc(finalizers, func(f any) bool {
			return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
		})
		switch *o.PropagationPolicy {
		case metav1.DeletePropagationOrphan:
			finalizers = append(finalizers, metav1.FinalizerOrphanDependents)
		case metav1.DeletePropagationForeground:
			finalizers = append(finalizers, metav1.FinalizerDeleteDependents)
		}
	}
	grace := int64(0)
	if spec, ok := d["spec"].(map[string]any); ok && c.Resource == api.Pods && spec["nodeName"] != nil {
		grace = 30
		if n, ok := spec["terminationGracePeriodSeconds"].(json.Number); ok {
			grace, _ = n.Int64()
		}
		if o.GracePeriodSeconds != nil {
			grace = *o.GracePeriodSeconds
		}
	}
	delete(m, "finalizers")
	if len(finalizers) > 0 {
		m["finalizers"] = finalizers
	}
	if m["deletionTimestamp"] == nil || grace == 0 {
		m["deletionTimestamp"] = time.Now().Add(time.Duration(grace) * time.Second).UTC().Format(time.RFC3339)
		m["deletionGracePeriodSeconds"] = grace
	}
	if d.gone() {
		_, err := a.put(c.Resource, rec, nil)
		return nil, err
	}
	if n, err := d.seal(); err == nil && bytes.Equal(n.JSON()[n.SlotOffset()+api.SlotSize:], rec.JSON()[rec.SlotOffset()+api.SlotSize:]) {
		return rec, nil
	}
	return a.put(c.Resource, rec, d)
}

// gone reports whether nothing holds a deleted object back any more.
func (d document) gone() bool {
	m := d.metadata()
	if m["deletionTimestamp"] == nil {
		return false
	}
	if fs, _ := m["finalizers"].([]any); len(fs) > 0 {
		return false
	}
	if spec, ok := d["spec"].(map[string]any); ok && d["kind"] == "Namespace" {
		if fs, _ := spec["finalizers"].([]any); len(fs) > 0 {
			return false
		}
	}
	n, _ := normal(m["deletionGracePeriodSeconds"]).(json.Number)
	return n == "" || n == "0"
}

// document is an object as generic JSON; numbers are json.Number.
type document map[string]any

func parse(b []byte) (document, error) {
	var d document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("controllertest: %w", err)
	}
	return d, nil
}

func decode(o any) (document, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("controllertest: encoding %T: %w", o, err)
	}
	d, err := parse(b)
	if err != nil {
		return nil, err
	}
	if d["kind"] == nil {
		t := reflect.TypeOf(o).Elem()
		d["kind"] = t.Name()
		d["apiVersion"] = apiVersion(t)
	}
	return d, nil
}

// apiVersion derives "apps/v1" from the import path "k8s.io/api/apps/v1".
func apiVersion(t reflect.Type) string {
	p := strings.Split(t.PkgPath(), "/")
	group, version := p[len(p)-2], p[len(p)-1]
	switch group {
	case "core":
		return version
	case "coordination", "discovery", "scheduling":
		group += ".k8s.io"
	}
	return group + "/" + version
}

// resource guesses the plural name from the kind.
func (d document) resource() api.Resource {
	kind := strings.ToLower(d["kind"].(string))
	group, _, grouped := strings.Cut(d["apiVersion"].(string), "/")
	if !grouped {
		group = ""
	}
	switch {
	case strings.HasSuffix(kind, "ss"):
		kind += "es"
	case !strings.HasSuffix(kind, "s"):
		kind += "s"
	}
	return api.Resource{Group: group, Name: kind}
}

func (d document) metadata() document {
	m, ok := d["metadata"].(map[string]any)
	if !ok {
		m = map[string]any{}
		d["metadata"] = m
	}
	return m
}

func (d document) key() api.Key {
	m := d.metadata()
	ns, _ := m["namespace"].(string)
	name, _ := m["name"].(string)
	return api.Key{Namespace: ns, Name: name}
}

func (d document) clone() document { return normal(d).(map[string]any) }

func (d document) copy(from document, member string) {
	delete(d, member)
	if v, ok := from[member]; ok {
		d[member] = v
	}
}

// normal is a deep copy as JSON would give it, without empty members.
func normal(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		panic(err)
	}
	return out
}

// seal makes the document a record.
func (d document) seal() (*api.Record, error) {
	m := map[string]any{}
	for k, v := range d.metadata() {
		if k != "resourceVersion" && k != "managedFields" {
			m[k] = v
		}
	}
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	b := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":`, d["apiVersion"], d["kind"])
	start := len(b)
	b = append(b, `{"resourceVersion":`...)
	slot := len(b)
	b = append(b, api.Slot...)
	if len(meta) > 2 {
		b = append(b, ',')
	}
	b = append(b, meta[1:]...)
	end := len(b)
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range d {
			if k != "apiVersion" && k != "kind" && k != "metadata" && !yield(k) {
				return
			}
		}
	}) {
		v, err := json.Marshal(d[k])
		if err != nil {
			return nil, err
		}
		b = fmt.Appendf(b, `,%q:%s`, k, v)
	}
	b = append(b, '}')
	uid, _ := m["uid"].(string)
	p := api.Parts{Key: d.key(), UID: uid, JSON: b, Metadata: api.Span{Start: start, End: end}, Slot: slot, Index: d.index()}
	if m["deletionTimestamp"] != nil {
		p.Flags |= api.Deleting
	}
	if fs, _ := m["finalizers"].([]any); len(fs) > 0 {
		p.Flags |= api.HasFinalizers
	}
	if ls, ok := m["labels"].(map[string]any); ok {
		for k, v := range ls {
			p.Labels = append(p.Labels, api.Label{Key: k, Value: v.(string)})
		}
	}
	return api.NewRecord(p)
}

func (d document) index() (xs []api.Index) {
	if refs, ok := d.metadata()["ownerReferences"].([]any); ok {
		for _, r := range refs {
			uid, _ := r.(map[string]any)["uid"].(string)
			xs = append(xs, api.Index{Name: api.IndexOwner, Value: uid})
		}
	}
	for _, path := range []string{"spec.nodeName", "status.phase"} {
		member, name, _ := strings.Cut(path, ".")
		if o, ok := d[member].(map[string]any); ok && d["kind"] == "Pod" {
			v, _ := o[name].(string)
			xs = append(xs, api.Index{Name: path, Value: v})
		}
	}
	if status, ok := d["status"].(map[string]any); ok && d["kind"] == "CustomResourceDefinition" {
		conditions, _ := status["conditions"].([]any)
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == "NamesAccepted" && c["status"] == "False" {
				group, _ := d["spec"].(map[string]any)["group"].(string)
				xs = append(xs, api.Index{Name: api.IndexNamesConflict, Value: group})
			}
		}
	}
	if labels, ok := d.metadata()["labels"].(map[string]any); ok && d["kind"] == "EndpointSlice" {
		if service, _ := labels["kubernetes.io/service-name"].(string); service != "" {
			xs = append(xs, api.Index{Name: api.IndexService, Value: api.Key{Namespace: d.key().Namespace, Name: service}.String()})
		}
	}
	if d["kind"] == "StorageVersionMigration" {
		xs = append(xs, d.migrates()...)
	}
	if o, ok := d["involvedObject"].(map[string]any); ok {
		v, _ := o["uid"].(string)
		xs = append(xs, api.Index{Name: "involvedObject.uid", Value: v})
	}
	return xs
}

// migrates is the entry of a StorageVersionMigration that has not ended.
func (d document) migrates() []api.Index {
	status, _ := d["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["status"] == "True" && (c["type"] == "Succeeded" || c["type"] == "Failed") {
			return nil
		}
	}
	spec, _ := d["spec"].(map[string]any)
	of, _ := spec["resource"].(map[string]any)
	group, _ := of["group"].(string)
	name, _ := of["resource"].(string)
	return []api.Index{{Name: api.IndexMigrates, Value: api.Resource{Group: group, Name: name}.String()}}
}

// probeRecord is a record that only has a key, to search with.
func probeRecord(k api.Key) *api.Record {
	d := document{"apiVersion": "v1", "kind": "Probe", "metadata": map[string]any{"namespace": k.Namespace, "name": k.Name}}
	rec, err := d.seal()
	if err != nil {
		panic(err)
	}
	return rec
}
