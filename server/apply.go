package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

const (
	lastApplied = "kubectl.kubernetes.io/last-applied-configuration"
	// kubectlManager is the field manager for which the annotation of client-side apply counts.
	kubectlManager = "kubectl"
)

// serverApply merges an apply configuration into an object, which comes to be by it when there is none.
func (q *request) serverApply(ctx context.Context) (*api.Response, error) {
	config, err := q.configuration(schema.GroupVersionKind{Group: q.v.Group, Version: q.v.Name, Kind: q.kind()})
	if err != nil && q.Subresource == "" {
		return nil, err
	}
	return q.attempts(ctx, func(int) (*api.Response, error) {
		rec, old, missed := q.current(ctx)
		if missed != nil {
			return nil, missed
		}
		if rec == nil && q.Subresource != "" {
			return nil, q.notFound() // whatever the configuration is
		}
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return q.applyNew(ctx, config)
		}
		live, owners, err := q.applyBase(rec)
		if err != nil {
			return nil, err
		}
		o, err := q.applied(config, live, owners)
		if err != nil {
			return nil, err
		}
		if err := q.checkName(o.Meta); err != nil {
			return nil, err
		}
		return q.replace(ctx, rec, old, o)
	})
}

// applyNew is an apply of what does not exist. The user must be allowed to create it.
func (q *request) applyNew(ctx context.Context, config *object.Value) (*api.Response, error) {
	live := object.NewMap()
	if !q.d.Custom {
		e, err := emptyOf(q.v)
		if err != nil {
			return nil, err
		}
		live = *e.value
	}
	o, err := q.applied(config, &live, nil)
	if err != nil {
		return nil, err
	}
	if uid := o.Meta.UID; uid != "" {
		return nil, api.Conflict(q.resource(), q.Key.Name,
			fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	if err := q.checkName(o.Meta); err != nil {
		return nil, err
	}
	create := *q.Request
	create.Verb = api.Create
	if err := q.s.authorize(ctx, &create); err != nil {
		return nil, err
	}
	if _, err := statedRevision(o.Meta); err != nil {
		return nil, err
	}
	return q.createInstead(ctx, o)
}

// applyBase is the live object as an apply sees it, in the version of the request, and its owners: one that stands for
// all managers so far when it has none.
func (q *request) applyBase(rec *api.Record) (*object.Value, api.Owners, error) {
	live, err := q.beforeOf(rec)
	if err != nil {
		return nil, nil, err
	}
	if !q.v.Storage {
		own := live.Clone()
		live = &own
		live.Set("apiVersion", object.NewString(q.v.APIVersion()))
		live.Set("kind", object.NewString(q.kind()))
	}
	if owners := rec.Owners(); len(owners) > 0 {
		return live, q.sameGroup(owners), nil
	}
	var empty *object.Value
	if !q.d.Custom {
		e, err := emptyOf(q.v)
		if err != nil {
			return nil, nil, err
		}
		empty = e.value
	}
	if q.d.Custom {
		if err := q.mistyped(q.v, live); err != nil {
			return nil, nil, api.BadRequest("failed to create manager for existing fields: failed to convert new object (%s) to smd typed: %s", described(live), err)
		}
	}
	owners, err := object.Own(nil, empty, live, q.v.Shape, q.owner(object.BeforeFirstApply, q.Subresource))
	if err != nil {
		return nil, nil, api.BadRequest("failed to create manager for existing fields: failed to update ManagedFields (%s): %s", described(live), err)
	}
	return live, owners, nil
}

// configuration reads the body of an apply: a YAML document of the given kind.
func (q *request) configuration(kind schema.GroupVersionKind) (*object.Value, error) {
	config, plain := object.PlainJSON(q.Body)
	if q.plain = plain; !plain {
		data, err := object.FromYAML(q.Body)
		if err != nil {
			return nil, api.BadRequest("error decoding YAML: error converting YAML to JSON: %s", err)
		}
		if config, err = object.Parse(data); err != nil {
			return nil, api.BadRequest("error decoding YAML: %s", err)
		}
	}
	if k := config.Kind(); k != object.Map && k != object.Null {
		return nil, api.BadRequest("error decoding YAML: error unmarshaling JSON: while decoding JSON: "+
			"json: cannot unmarshal %s into Go value of type map[string]interface {}", goKind(k))
	}
	if stated := statedKind(config); stated != kind {
		return nil, api.BadRequest("invalid object type: %v", stated)
	}
	if readableEntries(config.Path("metadata", "managedFields")) {
		return nil, api.BadRequest("metadata.managedFields must be nil")
	}
	return config, nil
}

// readableEntries reports whether a value can be read as managedFields: a list of nothing but entries. What cannot is
// none to upstream, so that it is left to the schema to refuse.
func readableEntries(v *object.Value) bool {
	if v.Kind() != object.List {
		return false
	}
	for _, e := range v.Items() {
		var entry metav1.ManagedFieldsEntry
		if e.Kind() != object.Map || json.Unmarshal(object.AppendJSON(nil, e), &entry) != nil {
			return false
		}
	}
	return true
}

// statedKind is what a document says of itself, as far as it can be read.
func statedKind(doc *object.Value) schema.GroupVersionKind {
	gv, err := schema.ParseGroupVersion(doc.Get("apiVersion").Str())
	if err != nil {
		return schema.GroupVersionKind{}
	}
	return gv.WithKind(doc.Get("kind").Str())
}

// applied is the object that a configuration makes of the live one. Who owns it then is kept for own.
func (q *request) applied(config, live *object.Value, owners api.Owners) (*resource.Object, error) {
	if q.d.Custom && !q.fitsSchema(config) {
		if err := q.misfit(config); err != nil {
			return nil, err
		}
	}
	if q.d.Custom {
		if err := q.mistyped(q.v, live); err != nil {
			return nil, api.BadRequest("failed to create typed live object (%s): %s", described(live), err)
		}
	}
	by := object.Application{
		Write: q.owner(q.options.manager, q.Subresource), Config: config,
		Force: q.options.force != nil && *q.options.force,
	}
	by.Convert = q.convertDocument
	done, err := object.Apply(live, owners, q.v.Shape, by)
	if conflicts := (object.Conflicts)(nil); errors.As(err, &conflicts) && by.Manager == kubectlManager {
		// What kubectl applied by itself before it may change without force.
		if conflicts = q.notLastApplied(conflicts, live); len(conflicts) > 0 {
			err = conflicts
		} else {
			by.Force = true
			done, err = object.Apply(live, owners, q.v.Shape, by)
		}
	}
	if err != nil {
		return nil, q.applyError(config, err)
	}
	if by.Manager == kubectlManager {
		if done.Value, err = recordLastApplied(done.Value, config); err != nil {
			return nil, err
		}
	}
	o, unknown, err := q.decodeApplied(done.Value)
	if e := refused(err); e != nil {
		return nil, e
	}
	if err != nil || len(unknown) > 0 || !q.d.Custom && listsNumbers(config) {
		// Of a typed kind it shows here whether all that is applied fits the schema.
		if misfit := q.misfit(config); misfit != nil {
			return nil, misfit
		}
	}
	if err != nil {
		return nil, q.unconverted(config, done.Value, err)
	}
	if err := q.judgeConfiguration(); err != nil {
		return nil, err
	}
	q.decided, q.unchanged = &done.Owners, q.d.Custom && done.Value == live
	return o, nil
}

// unconverted is the answer when what an apply made cannot be read. For typed kinds upstream's converter says why, which
// reads maps and not JSON.
func (q *request) unconverted(config, made *object.Value, why error) error {
	if q.d.Custom {
		return api.BadRequest("failed to convert to unversioned (%s): %s", described(config), why)
	}
	if m, ok := made.ToAny().(map[string]any); ok {
		if empty, _, err := q.v.Codec.Decode([]byte("{}"), true); err == nil {
			why = cmp.Or(runtime.DefaultUnstructuredConverter.FromUnstructured(m, empty.Value), why)
		}
	}
	return api.BadRequest("failed to convert new object (%s) to proper version: unable to convert unstructured object to %s: %s",
		described(config), statedKind(config), why)
}

// decodeApplied reads the object that an apply made.
func (q *request) decodeApplied(doc *object.Value) (o *resource.Object, unknown []string, err error) {
	if c, ok := q.v.Codec.(resource.DocumentCodec); ok {
		own := doc.Clone() // it shares memory with the configuration, which another attempt may need
		o, err = c.DecodeApplied(&own)
		return o, nil, err
	}
	return q.v.Codec.Decode(object.AppendJSON(nil, doc), false)
}

// judgeConfiguration refuses or warns of keys that come twice in the YAML.
func (q *request) judgeConfiguration() error {
	if q.plain || q.options.validation == metav1.FieldValidationIgnore {
		return nil
	}
	err := object.CheckYAML(q.Body)
	if err == nil {
		return nil
	}
	if q.options.validation == metav1.FieldValidationStrict {
		return api.BadRequest("error strict decoding YAML: error converting YAML to JSON: %s", err)
	}
	q.warnOf(err.Error())
	return nil
}

// convertDocument is a document of the request's kind in another of its versions.
func (q *request) convertDocument(doc *object.Value, version string) (*object.Value, object.Shape, error) {
	if q.d.Custom {
		return q.convertCustom(doc, version)
	}
	from, to := q.d.Version(doc.Get("apiVersion").Str()), q.d.Version(version)
	if from == nil || to == nil {
		return nil, nil, object.ErrNoVersion
	}
	converted, err := recode(from, to, doc)
	return converted, to.Shape, err
}

// convertCustom is convertDocument for a custom kind. As on upstream it goes by way of the version of the request, and fails
// for what is no version of the kind, and for a document that does not fit the schema of the version: conversion leaves in it
// what that does not declare.
func (q *request) convertCustom(doc *object.Value, version string) (converted *object.Value, s object.Shape, err error) {
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return nil, nil, err
	}
	from, to := q.d.Version(doc.Get("apiVersion").Str()), q.d.Version(version)
	switch {
	case gv.Group != q.v.Group:
		return nil, nil, fmt.Errorf("%v is unstructured and is not suitable for converting to %q", statedKind(doc), version)
	case to == nil:
		return nil, nil, fmt.Errorf("request to convert CR to an invalid group/version: %s", version)
	case from == nil:
		return nil, nil, fmt.Errorf("request to convert CR from an invalid group/version: %s", doc.Get("apiVersion").Str())
	}
	if converted = doc; from != q.v && to != q.v {
		if converted, err = resource.Reversion(q.v, doc); err != nil {
			return nil, nil, err
		}
	}
	if converted, err = resource.Reversion(to, converted); err != nil {
		return nil, nil, err
	}
	if err := q.misread(to, converted); err != nil {
		return nil, nil, err
	}
	return converted, to.Shape, nil
}

// recode is a document in another version, as the codecs convert it.
func recode(from, to *resource.Version, doc *object.Value) (*object.Value, error) {
	o, _, err := from.Codec.Decode(object.AppendJSON(nil, doc), true)
	if err != nil {
		return nil, err
	}
	data, err := to.Codec.Encode(nil, o)
	if err != nil {
		return nil, err
	}
	return object.Parse(data)
}

// applyError is the answer for an apply that failed: what is wrong with the configuration, or conflictError.
func (q *request) applyError(config *object.Value, err error) error {
	if !errors.As(err, new(object.Conflicts)) || !q.fitsSchema(config) {
		if misfit := q.misfit(config); misfit != nil {
			return misfit
		}
	}
	return conflictError(err)
}

// conflictError is the 409 that lists conflicts; a 400 when err is none.
func conflictError(err error) error {
	var conflicts object.Conflicts
	if !errors.As(err, &conflicts) {
		if own := (*api.Error)(nil); errors.As(err, &own) { // of a conversion
			status := own.Status
			status.Message = err.Error()
			return &api.Error{Status: status}
		}
		return api.BadRequest("%s", err)
	}
	e := api.NewError(http.StatusConflict, metav1.StatusReasonConflict, "%s", conflicts.Error())
	e.Status.Details = new(metav1.StatusDetails)
	for i := range conflicts {
		by := conflicts[i].By()
		for _, path := range conflicts[i].Fields.Paths() {
			e.Status.Details.Causes = append(e.Status.Details.Causes, metav1.StatusCause{
				Type: metav1.CauseTypeFieldManagerConflict, Message: "conflict with " + by, Field: path,
			})
		}
	}
	return e
}

// notLastApplied leaves out the conflicts about what the live object's annotation says that kubectl applied by itself,
// where it still has the value applied.
func (q *request) notLastApplied(conflicts object.Conflicts, live *object.Value) object.Conflicts {
	text := live.Path("metadata", "annotations", lastApplied).Str()
	if text == "" {
		return conflicts
	}
	config, err := object.Parse([]byte(text))
	if err != nil || config.Get("apiVersion").Str() != q.v.APIVersion() || !q.fitsSchema(config) && q.misfit(config) != nil {
		return conflicts
	}
	own, err := object.Unchanged(config, live, q.v.Shape)
	if err != nil {
		return conflicts
	}
	return conflicts.Without(own)
}

// recordLastApplied keeps the annotation of client-side apply up to date in an object that has it, so that kubectl can go
// back to client-side apply. It is left out when the annotations would become too large by it.
func recordLastApplied(doc, config *object.Value) (*object.Value, error) {
	if doc.Path("metadata", "annotations", lastApplied).Str() == "" {
		return doc, nil
	}
	applied := config.Clone()
	applied.Path("metadata", "annotations").Remove(lastApplied)
	text, err := json.Marshal(applied.ToAny())
	if err != nil {
		return nil, fmt.Errorf("encoding the last applied configuration: %w", err)
	}
	next := doc.Clone()
	annotations := next.Path("metadata", "annotations")
	annotations.Set(lastApplied, object.NewString(string(text)+"\n"))
	size := 0
	for name, value := range annotations.Fields() {
		size += len(name) + len(value.Str())
	}
	if size > apivalidation.TotalAnnotationSizeLimitB {
		annotations.Remove(lastApplied)
	}
	return &next, nil
}

// described names a document as upstream's errors do: "namespace/name; group/version, Kind=kind".
func described(doc *object.Value) string {
	return fmt.Sprintf("%s/%s; %v", doc.Path("metadata", "namespace").Str(), doc.Path("metadata", "name").Str(), statedKind(doc))
}
