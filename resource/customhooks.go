package resource

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	jsonx "github.com/go-json-experiment/json"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/schema"
	"pintle.dev/store"
)

// prepare follows upstream's strategies of custom resources: without a status subresource status is a field like any
// other; with one, each of the two ways to write leaves the other's part alone. Whatever changes outside of metadata
// raises the generation, but for writes of status; so does a whole number written as another (1.0), as upstream compares
// what it has decoded.
func (k *customKind) prepare(_ context.Context, w *Write) {
	v := k.requested(w)
	if w.Unpruned {
		defer func() { v.prune(documentOf(w.New)) }()
	}
	doc := documentOf(w.New)
	if w.Creating() {
		if v.hasStatus() {
			doc.Remove("status")
		}
		w.New.Meta.Generation = 1
		return
	}
	old := documentOf(w.Old)
	if w.Subresource == "status" {
		status := doc.Get("status").Clone()
		has := doc.Get("status") != nil
		rest := old.Clone()
		if rest.Remove("status"); has {
			rest.Set("status", status)
		}
		w.New.Value = &rest
		meta := w.Old.Meta.DeepCopy()
		meta.ManagedFields = w.New.Meta.ManagedFields
		w.New.Meta = meta
		return
	}
	if v.hasStatus() {
		if status := old.Get("status"); status != nil {
			doc.Set("status", status.Clone())
		} else {
			doc.Remove("status")
		}
	}
	// What the client left out for the schema to fill in must not count as a change.
	if !w.Unchanged {
		k.fillDefaults(w.New)
	}
	w.New.Meta.Generation = w.Old.Meta.Generation
	if !object.Same(doc, old) {
		w.New.Meta.Generation++
	}
}

// requested is the version a write was made in.
func (k *customKind) requested(w *Write) *customVersion {
	if w.Version != nil {
		if v, ok := w.Version.Codec.(*customVersion); ok {
			return v
		}
	}
	return k.version(w.New)
}

// checkTypeMeta demands that an object is of the kind that it is written as.
func checkTypeMeta(o *Object, v *customVersion) field.ErrorList {
	var errs field.ErrorList
	if kind := documentOf(o).Get("kind").Str(); kind != v.kind.names.Kind {
		errs = append(errs, field.Invalid(field.NewPath("kind"), kind, "must be "+v.kind.names.Kind))
	}
	if at := documentOf(o).Get("apiVersion").Str(); at != v.apiVersion {
		errs = append(errs, field.Invalid(field.NewPath("apiVersion"), at, "must be "+v.apiVersion))
	}
	return errs
}

func (k *customKind) fillDefaults(o *Object) {
	if s := k.version(o).schema(); s != nil {
		s.Default(documentOf(o))
	}
}

func (k *customKind) validate(ctx context.Context, w *Write) field.ErrorList {
	v := k.requested(w)
	foreign := checkTypeMeta(w.New, v)
	if kind := documentOf(w.New).Get("kind").Str(); kind != v.kind.names.Kind {
		w.Kind = kind
	}
	s, err := v.compiled()
	if err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	c := schema.Check{New: documentOf(w.New), Status: w.Subresource == "status" && !w.Creating(), Found: foreign, Foreign: len(foreign) > 0}
	c.Blocked = schema.BlocksRules(w.MetadataErrors) && !(c.Foreign && w.Creating())
	if !w.Creating() {
		c.Old = documentOf(w.Old)
		c.Warn = func(text string) { w.Warnings = append(w.Warnings, text) }
	}
	if s.DescribesMetadata() {
		if c.New, err = withMeta(c.New, w.New.Meta); err == nil && c.Old != nil {
			c.Old, err = withMeta(c.Old, w.Old.Meta)
		}
		if err != nil {
			return field.ErrorList{field.InternalError(field.NewPath("metadata"), err)}
		}
	}
	if sc := v.scale(); sc != nil && !c.Foreign {
		if !c.Status {
			c.Found = checkReplicas(c.Found, documentOf(w.New), sc.SpecReplicasPath)
		}
		c.Found = checkReplicas(c.Found, documentOf(w.New), sc.StatusReplicasPath)
		if p := sc.LabelSelectorPath; p != nil {
			if m, bad := nested(documentOf(w.New), *p); bad != "" {
				c.Found = append(c.Found, field.Invalid(field.NewPath(*p), "", bad))
			} else if m != nil && m.Kind() != object.String {
				c.Found = append(c.Found, field.Invalid(field.NewPath(*p), "", accessorError(*p, m, "string")))
			}
		}
	}
	return s.Validate(ctx, c)
}

// withMeta is a copy of a document that carries its metadata.
func withMeta(doc *object.Value, meta *metav1.ObjectMeta) (*object.Value, error) {
	m, err := MetaValue(meta)
	if err != nil {
		return nil, err
	}
	whole := object.NewMap()
	for name, f := range doc.Fields() {
		whole.Set(name, *f)
	}
	whole.Set("metadata", *m)
	return &whole, nil
}

// nested follows a path of names, as the scale subresource has them; null on the way has no members. bad says, in
// upstream's words, that something on the way is no map.
func nested(doc *object.Value, path string) (v *object.Value, bad string) {
	names := strings.Split(strings.TrimPrefix(path, "."), ".")
	v = doc
	for i, name := range names {
		if v.IsNull() {
			return nil, ""
		}
		if v.Kind() != object.Map {
			return nil, fmt.Sprintf(".%s accessor error: %v is of the type %T, expected map[string]interface{}",
				strings.Join(names[:i+1], "."), v.ToAny(), v.ToAny())
		}
		if v = v.Get(name); v == nil {
			return nil, ""
		}
	}
	return v, ""
}

func accessorError(path string, v *object.Value, want string) string {
	return fmt.Sprintf(".%s accessor error: %v is of the type %T, expected %s", strings.TrimPrefix(path, "."), v.ToAny(), v.ToAny(), want)
}

func checkReplicas(errs field.ErrorList, doc *object.Value, path string) field.ErrorList {
	v, bad := nested(doc, path)
	if bad == "" && v == nil {
		return errs
	}
	n, whole := v.Int()
	at := field.NewPath(path)
	switch {
	case bad != "":
		return append(errs, field.Invalid(at, int64(0), bad))
	case !whole || v.IsFloat():
		return append(errs, field.Invalid(at, int64(0), accessorError(path, v, "int64")))
	case n < 0:
		return append(errs, field.Invalid(at, n, "should be a non-negative integer"))
	case n > math.MaxInt32:
		return append(errs, field.Invalid(at, n, fmt.Sprintf("should be less than or equal to %v", math.MaxInt32)))
	}
	return errs
}

// replicas reads a count of the scale subresource; nil when the object has none.
func replicas(doc *object.Value, path string) *int32 {
	v, _ := nested(doc, path)
	n, ok := v.Int()
	if !ok || v.IsFloat() || n < math.MinInt32 || n > math.MaxInt32 {
		return nil
	}
	count := int32(n)
	return &count
}

func (v *customVersion) specReplicas(o *Object) *int32 {
	return replicas(documentOf(o), v.scale().SpecReplicasPath)
}

func (v *customVersion) statusReplicas(o *Object) int32 {
	if n := replicas(documentOf(o), v.scale().StatusReplicasPath); n != nil {
		return *n
	}
	return 0
}

func (v *customVersion) setSpecReplicas(o *Object, n int32) {
	names := strings.Split(strings.TrimPrefix(v.scale().SpecReplicasPath, "."), ".")
	at := documentOf(o)
	for _, name := range names[:len(names)-1] {
		next := at.Get(name)
		if next.Kind() != object.Map {
			next = at.Set(name, object.NewMap())
		}
		at = next
	}
	at.Set(names[len(names)-1], object.NewInt(int64(n))) // the path need not be declared: see Write.Unpruned
}

func (v *customVersion) selector(o *Object) string {
	path := v.scale().LabelSelectorPath
	if path == nil {
		return ""
	}
	at, _ := nested(documentOf(o), *path)
	return at.Str()
}

// claim says in upstream's words that no objects can be created while the definition is going away, or after; that none is,
// stands sees to. It also gives a new object the status that the schema says it has, which upstream does not validate with it.
func (k *customKind) claim(_ context.Context, view store.View, w *Write) ([]store.Write, error) {
	if w.New == nil || !w.Creating() {
		return nil, nil
	}
	if err := k.growing(view, w); err != nil {
		return nil, err
	}
	// A client cannot create a status, but the schema may give one: upstream fills it in when it reads what it stored.
	if k.requested(w).hasStatus() {
		k.fillDefaults(w.New)
	}
	return nil, nil
}

// refuse implements Hooks.Refuse: upstream looks at the definition before it looks at the object.
func (k *customKind) refuse(_ context.Context, view store.View, w *Write) error {
	if !w.Creating() {
		return nil
	}
	return k.growing(view, w)
}

// growing is an error when the CustomResourceDefinition takes no new objects any more.
func (k *customKind) growing(view store.View, w *Write) error {
	crd := view.Get(api.CustomResourceDefinitions, api.Key{Name: k.crd})
	if crd == nil || k.uid != "" && crd.UID() != k.uid {
		return api.NewError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	}
	if crd.Is(api.Deleting) {
		e := api.AsError(apierrors.NewMethodNotSupported(w.Definition.Resource.GroupResource(), "create"))
		e.Status.Message = "create not allowed while custom resource definition is terminating"
		return e
	}
	return nil
}

// stands implements Definition.Stands. A definition whose status or labels have changed declares the same as before.
func (k *customKind) stands(view store.View, creates bool) (store.Write, bool) {
	key := api.Key{Name: k.crd}
	crd := view.Get(api.CustomResourceDefinitions, key)
	if crd == nil || crd.UID() != k.uid || creates && crd.Is(api.Deleting) {
		return store.Write{}, false
	}
	if uint64(crd.Revision()) != k.declaring.Load() {
		var m struct {
			Generation int64 `json:"generation"`
		}
		if err := jsonx.Unmarshal(crd.Metadata(), &m, storedOptions); err != nil || m.Generation != k.generation {
			return store.Write{}, false
		}
		k.declaring.Store(uint64(crd.Revision()))
	}
	return store.Guard(api.CustomResourceDefinitions, key, crd.Revision()), true
}

// cells are the name and the declared columns.
func (k *customKind) cells(v *Version, doc []byte) ([]any, []metav1.TableRowCondition, error) {
	c := v.Codec.(*customVersion) // as define makes them
	part, err := c.cellFields().Parse(doc)
	if err != nil {
		return nil, nil, err
	}
	cells := make([]any, 1, 1+len(c.columns))
	cells[0] = NameIn(part)
	for i := range c.columns {
		cells = append(cells, c.columns[i].cell(part))
	}
	return cells, nil, nil
}

func (v *customVersion) columnFields() *object.Pick {
	paths := [][]string{{"metadata", "name"}}
	for i := range v.columns {
		paths = v.columns[i].path().fields(paths)
	}
	return object.NewPick(paths...)
}

func tableColumns(columns []column) []metav1.TableColumnDefinition {
	defs := make([]metav1.TableColumnDefinition, 1, 1+len(columns))
	defs[0] = NameColumn
	for i := range columns {
		c := &columns[i]
		defs = append(defs, metav1.TableColumnDefinition{Name: c.Name, Type: c.Type, Format: c.Format, Description: c.Description, Priority: c.Priority})
	}
	return defs
}

// warnFinalizers warns of finalizers that an object gets and whose name is no qualified one.
func warnFinalizers(_ context.Context, w *Write) []string {
	if w.New == nil || w.Subresource != "" {
		return nil
	}
	var added []string
	for _, f := range w.New.Meta.Finalizers {
		if w.Old == nil || !slices.Contains(w.Old.Meta.Finalizers, f) {
			added = append(added, f)
		}
	}
	slices.Sort(added)
	var warnings []string
	for _, f := range slices.Compact(added) {
		for _, msg := range validation.IsQualifiedName(f) {
			warnings = append(warnings, fmt.Sprintf("metadata.finalizers: %q: %s", f, msg))
		}
		switch {
		case strings.Contains(f, "/"), f == metav1.FinalizerOrphanDependents, f == metav1.FinalizerDeleteDependents, f == string(corev1.FinalizerKubernetes):
		case strings.Contains(f, "."):
			warnings = append(warnings, fmt.Sprintf("metadata.finalizers: %q: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers", f))
		default:
			warnings = append(warnings, fmt.Sprintf("metadata.finalizers: %q: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers", f))
		}
	}
	return warnings
}
