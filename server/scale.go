package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
	"pintle.dev/resource/builtin/schemas"
	"pintle.dev/server/accept"
)

// scale reads and writes the number of replicas of an object as a Scale: of autoscaling/v1, or of the version's own group.
func (q *request) scale(ctx context.Context, sub *resource.Subresource) (*api.Response, error) {
	switch q.Verb {
	case api.Get:
		rec, o, err := q.current(ctx)
		if err != nil {
			return nil, err
		}
		if rec == nil && !q.d.Custom {
			of := q.resource()
			of.Name += "/scale" // as upstream, in reads only
			return nil, api.NotFound(of, q.Key.Name)
		}
		if rec == nil {
			return nil, q.notFound()
		}
		return q.scaleOf(rec, o, sub)
	case api.Update:
		if err := q.parseWriteOptions("UpdateOptions"); err != nil {
			return nil, err
		}
	case api.Patch:
		if err := q.checkPatch(); err != nil {
			return nil, err
		}
	default:
		return nil, errMethod()
	}
	return q.attempts(ctx, func(int) (*api.Response, error) { return q.setScale(ctx, sub) })
}

// setScale is one attempt to write the replicas.
func (q *request) setScale(ctx context.Context, sub *resource.Subresource) (*api.Response, error) {
	sc := sub.Scale
	rec, old, err := q.current(ctx)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, q.notFound()
	}
	have, counted := q.scaleObject(rec, old, sc)
	if !counted {
		have.Spec.Replicas = uncounted
	}
	var want *autoscalingv1.Scale
	var decided *api.Owners
	if q.Verb == api.Patch && types.PatchType(q.ContentType) == types.ApplyYAMLPatchType {
		want, decided, err = q.appliedScale(rec, have, sub)
	} else {
		if q.Verb == api.Patch { // which sees them
			have.ManagedFields = resource.ManagedFields(object.ScaleOwners(q.sameGroup(rec.Owners()), q.replicasPath))
		}
		want, err = q.wantedScale(have, sub)
	}
	if err != nil {
		return nil, err
	}
	if decided == nil {
		owners := q.scaled(rec, have, want)
		decided = &owners
	}
	if want.Spec.Replicas == uncounted && q.d.Custom {
		return nil, api.BadRequest("the spec replicas field %q cannot be empty", sc.Path)
	}
	if err := q.checkName(&want.ObjectMeta); err != nil {
		return nil, err
	}
	if err := q.judgeWanted(want, rec.UID()); err != nil {
		return nil, err
	}
	o := old.Clone()
	sc.SetSpec(o, want.Spec.Replicas)
	o.Meta.ResourceVersion = want.ResourceVersion
	if want.ResourceVersion == "" {
		o.Meta.ResourceVersion = rec.Revision().String() // a Scale may be written unconditionally, of any kind
	}
	main := q.scaleParent()
	main.decided = decided
	resp, err := main.replace(ctx, rec, old, o)
	q.warnings = append(q.warnings, main.warnings...)
	if err != nil {
		return nil, err
	}
	next, err := q.s.decodeIn(q.d, q.v, resp.Record)
	if err != nil {
		return nil, err
	}
	done, _ := q.scaleObject(resp.Record, next, sc) // the schema may have pruned the number
	return showScale(done, sub), nil
}

// scaled is who owns what of rec once its Scale is no longer have, but want, which was not applied.
func (q *request) scaled(rec *api.Record, have, want *autoscalingv1.Scale) api.Owners {
	owners := q.sameGroup(rec.Owners())
	scale := object.ScaleOwners(owners, q.replicasPath)
	switch {
	case want.Spec.Replicas == 0:
		scale = nil // as on upstream, whose Scale leaves out a zero: nobody owns what is not there
	case len(scale) > 0 && want.Spec.Replicas != have.Spec.Replicas:
		scale = object.TakenScale(q.options.manager, q.Subresource)
	}
	return object.OwnersAfterScale(owners, scale, q.replicasPath, q.v.APIVersion())
}

// judgeWanted refuses a Scale that is not valid, or is meant for another object than the one with uid. Upstream validates
// the Scales of built-in kinds only; and a UID that is sent as a whole is a precondition, one in a patch of a Scale of a
// custom kind is passed over.
func (q *request) judgeWanted(want *autoscalingv1.Scale, uid string) error {
	other := want.UID != "" && string(want.UID) != uid
	if other && q.Verb == api.Update {
		return q.wrongUID(string(want.UID), uid)
	}
	if q.d.Custom {
		return nil
	}
	at := field.NewPath("metadata")
	want.ManagedFields = nil // who owns the replicas is not for clients to say here
	errs := append(rules.Metadata(&want.ObjectMeta, true, nil, at), rules.StandardFinalizers(&want.ObjectMeta, at)...)
	if want.Spec.Replicas < 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "replicas"), want.Spec.Replicas, "must be greater than or equal to 0"))
	}
	if len(errs) > 0 {
		return api.Invalid("autoscaling", "Scale", q.Key.Name, errs)
	}
	if other {
		r := q.resource()
		r.Name += "/scale"
		return api.Conflict(r, q.Key.Name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", want.UID, uid))
	}
	return nil
}

// scaleParent is the request for the object that a Scale stands for: a write of it follows the rules of a write of the
// object, whose kind's Prepare raises its generation. The change belongs to the scale subresource.
func (q *request) scaleParent() *request {
	whole := *q.Request
	whole.Subresource = ""
	return &request{Request: &whole, s: q.s, d: q.d, v: q.v, options: q.options, scaling: true}
}

// replicasPath is the dotted path of what a Scale sets.
func (q *request) replicasPath(version string) (path string, known bool) {
	if !q.d.Custom {
		return "spec.replicas", true
	}
	v := q.d.Version(version)
	if v == nil {
		return "", false
	}
	if sub, ok := q.d.Subresource(v, "scale"); ok {
		path = strings.TrimPrefix(sub.Scale.Path, ".")
	}
	return path, true
}

// kindOfScale is what a Scale says of itself.
func kindOfScale(sub *resource.Subresource) schema.GroupVersionKind {
	if olderScale(sub) {
		return schema.GroupVersionKind{Group: sub.Group, Version: sub.Version, Kind: sub.Kind}
	}
	return scaleKind
}

const scaleModel = "io.k8s.api.autoscaling.v1.Scale"

var scaleKind = autoscalingv1.SchemeGroupVersion.WithKind("Scale")

// appliedScale is the Scale that an apply makes of the present one, and who owns what of the object then.
func (q *request) appliedScale(rec *api.Record, have *autoscalingv1.Scale, sub *resource.Subresource) (*autoscalingv1.Scale, *api.Owners, error) {
	kind := kindOfScale(sub)
	config, err := q.configuration(kind)
	if err != nil {
		return nil, nil, err
	}
	t, err := typedBuiltin(scaleModel)
	if err != nil {
		return nil, nil, err
	}
	if err := misfitOf(t, config); err != nil {
		return nil, nil, err
	}
	data, err := json.Marshal(have)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a Scale: %w", err)
	}
	live, err := object.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a Scale: %w", err)
	}
	live.Set("apiVersion", object.NewString(kind.GroupVersion().String()))
	owners := q.sameGroup(rec.Owners())
	by := object.Write{Owner: api.Owner{Manager: object.BeforeFirstApply, APIVersion: scaleKind.GroupVersion().String(), Subresource: q.Subresource, Time: now().Unix()}}
	inScale := object.ScaleOwners(owners, q.replicasPath)
	shape := schemas.Shape(scaleModel)
	if len(inScale) == 0 {
		if inScale, err = object.Own(nil, emptyScale(), live, shape, by); err != nil {
			return nil, nil, fmt.Errorf("finding who owns a Scale: %w", err)
		}
	}
	by.Manager = q.options.manager
	done, err := object.Apply(live, inScale, shape, object.Application{
		Write: by, Config: config, Force: q.options.force != nil && *q.options.force,
	})
	if err != nil {
		return nil, nil, conflictError(err)
	}
	want := new(autoscalingv1.Scale)
	if err := json.Unmarshal(object.AppendJSON(nil, done.Value), want); err != nil {
		return nil, nil, api.BadRequest("failed to convert to unversioned (%s): %s", described(config), err)
	}
	after := object.OwnersAfterScale(owners, done.Owners, q.replicasPath, q.v.APIVersion())
	return want, &after, q.judgeConfiguration()
}

// emptyScale is a Scale in which nothing was set: what is always there belongs to nobody.
var emptyScale = sync.OnceValue(func() *object.Value {
	data, err := json.Marshal(&autoscalingv1.Scale{})
	if err != nil {
		panic(fmt.Sprintf("server: encoding an empty Scale: %v", err))
	}
	v, err := object.Parse(data)
	if err != nil {
		panic(fmt.Sprintf("server: reading an empty Scale: %v", err))
	}
	return v
})

// wantedScale is the Scale the client asks for: its body, or its patch of the present one.
func (q *request) wantedScale(have *autoscalingv1.Scale, sub *resource.Subresource) (*autoscalingv1.Scale, error) {
	if !olderScale(sub) {
		want := new(autoscalingv1.Scale)
		return want, q.readScale(have, want, kindOfScale(sub))
	}
	want := new(extensionsv1beta1.Scale)
	if err := q.readScale(showOlderScale(have, sub), want, kindOfScale(sub)); err != nil {
		return nil, err
	}
	return &autoscalingv1.Scale{ObjectMeta: want.ObjectMeta, Spec: autoscalingv1.ScaleSpec{Replicas: want.Spec.Replicas}}, nil
}

// readScale reads the Scale the client asks for, which its patch makes of have.
func (q *request) readScale(have, want runtime.Object, kind schema.GroupVersionKind) error {
	if q.Verb == api.Patch {
		return q.patchScale(have, want, kind)
	}
	if q.Object == nil && q.ContentType == accept.TypeProtobuf {
		return q.decodeMessage(q.Body, kind.Kind, want)
	}
	data, err := q.scaleBody()
	if err != nil {
		return err
	}
	if err := q.decodeInto(data, kind.Kind, want); err != nil {
		return err
	}
	t := typeOf(want)
	switch why := q.misfitScale(t, kind); {
	case why == "":
		return nil
	case slices.Contains(scaleVersions, t.APIVersion):
		return api.BadRequest("the API version in the data (%s) does not match the expected API version (%s)", t.APIVersion, kind.GroupVersion())
	default:
		return q.unhandledBody(t, kind.Kind, why)
	}
}

// scaleBody is the JSON of a Scale that is sent as a whole.
func (q *request) scaleBody() ([]byte, error) {
	if q.Object == nil {
		return q.jsonBody()
	}
	data, err := marshal(q.Object)
	if err != nil {
		return nil, api.BadRequest("encoding %T: %s", q.Object, err)
	}
	return data, nil
}

// patchScale reads into want what the client's patch makes of have. As on upstream the result is text, which messages
// show and whose numbers are read as they are written; but for a strategic merge patch, which merges values.
func (q *request) patchScale(have, want runtime.Object, kind schema.GroupVersionKind) error {
	data, err := json.Marshal(have)
	if err != nil {
		return fmt.Errorf("encoding a Scale: %w", err)
	}
	target, err := object.Parse(data)
	if err != nil {
		return fmt.Errorf("reading a Scale: %w", err)
	}
	problems, err := q.applyPatch(target)
	if err != nil {
		return err
	}
	merges := types.PatchType(q.ContentType) == types.StrategicMergePatchType
	text := object.AppendJSON(nil, target)
	if !merges && len(q.Body) <= patchedTextMax {
		if text, err = q.patchText(data); err != nil {
			return err
		}
	}
	invalid := func(why string) error {
		return api.Invalid("", "", "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(text), why)})
	}
	if err := json.Unmarshal(text, new(typeMeta)); err != nil && !merges {
		return invalid("couldn't get version/kind; json parse error: " + err.Error())
	}
	if err := q.judgeScale(text, want, problems); err != nil || merges {
		return err // a merged object's type was settled before
	}
	if why := q.misfitScale(typeOf(want), kind); why != "" {
		return invalid(why)
	}
	return nil
}

// scaleVersions are those in which there are Scales.
var scaleVersions = []string{"autoscaling/v1", "extensions/v1beta1", "apps/v1beta1", "apps/v1beta2"}

// misfitScale says why what calls itself t is not the Scale that belongs here; "" when it is, or leaves out what it is.
func (q *request) misfitScale(t typeMeta, want schema.GroupVersionKind) string {
	kind, version := cmp.Or(t.Kind, want.Kind), cmp.Or(t.APIVersion, want.GroupVersion().String())
	if kind == want.Kind && version == want.GroupVersion().String() {
		return ""
	}
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return err.Error()
	}
	d, _ := q.s.Registry.ByKind(gv.Group, gv.Version, kind)
	if d != nil && !d.Custom || kind == want.Kind && slices.Contains(scaleVersions, version) {
		return unconvertible(gv, kind, want.Group, want.Kind)
	}
	return unregistered(kind, version)
}

// typeOf is what an object says of itself.
func typeOf(o runtime.Object) typeMeta {
	if m, ok := o.GetObjectKind().(*metav1.TypeMeta); ok {
		return typeMeta{APIVersion: m.APIVersion, Kind: m.Kind}
	}
	return typeMeta{}
}

// judgeScale reads the text of a patched Scale, and refuses or warns of what is unknown in it, besides problems.
func (q *request) judgeScale(data []byte, want any, problems []string) error {
	strict, err := kjson.UnmarshalStrict(data, want)
	if err != nil {
		shown := string(data)
		if types.PatchType(q.ContentType) == types.StrategicMergePatchType {
			shown = string(bytes.TrimSpace(q.Body))
		}
		return api.Invalid("", "", "", field.ErrorList{field.Invalid(field.NewPath("patch"), shown, err.Error())})
	}
	for _, s := range strict {
		problems = append(problems, s.Error())
	}
	if len(problems) > 0 && q.options.validation == metav1.FieldValidationStrict {
		return api.Invalid("", "", "", field.ErrorList{
			field.Invalid(field.NewPath("patch"), string(data), "strict decoding error: "+strings.Join(problems, ", ")),
		})
	}
	if q.options.validation == metav1.FieldValidationWarn {
		q.warnings = append(q.warnings, problems...)
	}
	return nil
}

// decodeInto reads a body of a kind that is not the request's resource.
func (q *request) decodeInto(data []byte, kind string, into any) error {
	strict, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		var t typeMeta
		if terr := json.Unmarshal(data, &t); terr != nil {
			return api.BadRequest("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse error: %v (%s)",
				kind, terr, summary(q.sent(data)))
		}
		if t.Kind == "" {
			t.Kind = kind
		}
		return api.BadRequest("%s in version %q cannot be handled as a %s: %s", t.Kind, q.v.Name, kind, err)
	}
	var t typeMeta
	if err := json.Unmarshal(data, &t); err == nil {
		if err := q.otherKind(t, kind); err != nil {
			return err
		}
	}
	var problems []string
	for _, s := range strict {
		problems = append(problems, s.Error())
	}
	switch q.options.validation {
	case metav1.FieldValidationStrict:
		if len(problems) > 0 {
			return api.BadRequest("%s in version %q cannot be handled as a %s: strict decoding error: %s",
				kind, q.v.Name, kind, strings.Join(problems, ", "))
		}
	case metav1.FieldValidationWarn:
		q.warnings = append(q.warnings, problems...)
	}
	return nil
}

// decodeMessage is decodeInto for a body in protobuf.
func (q *request) decodeMessage(data []byte, kind string, into any) error {
	u, err := unwrap(data)
	if err != nil {
		return err
	}
	if err := q.otherKind(typeMeta{APIVersion: u.APIVersion, Kind: u.Kind}, kind); err != nil {
		return err
	}
	return decodeProtobuf(data, into)
}

// otherKind refuses a body that says it is of another kind than what belongs here.
func (q *request) otherKind(t typeMeta, want string) error {
	if t.Kind == "" || t.Kind == want {
		return nil
	}
	gv, err := schema.ParseGroupVersion(cmp.Or(t.APIVersion, q.v.APIVersion()))
	if err != nil {
		return api.BadRequest("%s", err)
	}
	why := unconvertible(gv, t.Kind, q.v.Group, want)
	if d, _ := q.s.Registry.ByKind(gv.Group, gv.Version, t.Kind); d == nil || d.Custom {
		why = unregistered(t.Kind, gv.String())
	}
	return q.unhandledBody(t, want, why)
}

// unhandledBody is the 400 for a body of another type than what belongs here.
func (q *request) unhandledBody(t typeMeta, want, why string) error {
	gv, _ := schema.ParseGroupVersion(cmp.Or(t.APIVersion, q.v.APIVersion())) // one that is malformed has no version
	return api.BadRequest("%s in version %q cannot be handled as a %s: %s", cmp.Or(t.Kind, want), gv.Version, want, why)
}

func (q *request) scaleOf(rec *api.Record, o *resource.Object, sub *resource.Subresource) (*api.Response, error) {
	s, counted := q.scaleObject(rec, o, sub.Scale)
	if !counted {
		// Upstream answers with a 500 of the same message.
		return nil, api.NewError(404, metav1.StatusReasonNotFound, "the spec replicas field %q does not exist", sub.Scale.Path)
	}
	return showScale(s, sub), nil
}

func showScale(s *autoscalingv1.Scale, sub *resource.Subresource) *api.Response {
	if olderScale(sub) {
		return &api.Response{Object: showOlderScale(s, sub)}
	}
	return &api.Response{Object: s}
}

// shapedScale is a Scale of either kind in the shape that was asked for.
func shapedScale(o any, custom bool, f form) (any, error) {
	var m *metav1.ObjectMeta
	row := metav1.TableRow{}
	switch s := o.(type) {
	case *autoscalingv1.Scale:
		m, row.Object.Object = &s.ObjectMeta, s
		row.Cells = []any{s.Name, s.Spec.Replicas, s.Status.Replicas, resource.Age(s.CreationTimestamp)}
	case *extensionsv1beta1.Scale:
		m, row.Object.Object = &s.ObjectMeta, s
		row.Cells = []any{s.Name, s.Spec.Replicas, s.Status.Replicas, resource.Age(s.CreationTimestamp)}
	default:
		return o, nil
	}
	partial := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: metav1.GroupName + "/" + f.version, Kind: "PartialObjectMetadata"}, ObjectMeta: *m,
	}
	switch f.shape {
	case asMetadata:
		return partial, nil
	case asMetadataList:
		kind := "*autoscaling.Scale"
		if custom {
			kind = "*v1.Scale"
		}
		return nil, accept.NotAcceptable(fmt.Sprintf("you requested PartialObjectMetadataList, but the requested object is not a list (%s)", kind))
	}
	switch f.include {
	case metav1.IncludeNone:
		row.Object.Object = nil
	case metav1.IncludeObject:
	default:
		row.Object.Object = partial
	}
	return scaleTable(row, m, custom, f), nil
}

// scaleTable is a Scale as a Table of one row, with upstream's columns. Those of a custom kind are found in the Scale's
// JSON, in which a count of none that is wanted is left out.
func scaleTable(row metav1.TableRow, m *metav1.ObjectMeta, custom bool, f form) *metav1.Table {
	columns := builtInScaleColumns
	if custom {
		columns = customScaleColumns
		if row.Cells[1] == int32(0) {
			row.Cells[1] = nil
		}
	}
	return &metav1.Table{
		TypeMeta:          metav1.TypeMeta{APIVersion: metav1.GroupName + "/" + f.version, Kind: "Table"},
		ListMeta:          metav1.ListMeta{ResourceVersion: m.ResourceVersion},
		ColumnDefinitions: columns,
		Rows:              []metav1.TableRow{row},
	}
}

var (
	builtInScaleColumns = []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Description: resource.NameColumn.Description},
		{Name: "Desired", Type: "integer", Description: autoscalingv1.ScaleSpec{}.SwaggerDoc()["replicas"]},
		{Name: "Available", Type: "integer", Description: autoscalingv1.ScaleStatus{}.SwaggerDoc()["replicas"]},
		resource.AgeColumn,
	}
	customScaleColumns = []metav1.TableColumnDefinition{
		resource.NameColumn,
		{Name: "Desired", Type: "integer", Description: "Number of desired replicas"},
		{Name: "Available", Type: "integer", Description: "Number of actual replicas"},
		{Name: "Age", Type: "date", Description: resource.AgeColumn.Description},
	}
)

// olderScale reports a Scale of the versions of workloads before apps/v1. They are alike but for their group.
func olderScale(sub *resource.Subresource) bool {
	return sub.Group != "" && sub.Group != autoscalingv1.GroupName
}

// showOlderScale is s as the subresource's own kind. Its selector is a map, or when it cannot be one left out; the text is
// the targetSelector.
func showOlderScale(s *autoscalingv1.Scale, sub *resource.Subresource) *extensionsv1beta1.Scale {
	old := &extensionsv1beta1.Scale{
		TypeMeta:   metav1.TypeMeta{APIVersion: sub.Group + "/" + sub.Version, Kind: "Scale"},
		ObjectMeta: s.ObjectMeta, Spec: extensionsv1beta1.ScaleSpec{Replicas: s.Spec.Replicas},
		Status: extensionsv1beta1.ScaleStatus{Replicas: s.Status.Replicas, TargetSelector: s.Status.Selector},
	}
	if selector, err := metav1.ParseToLabelSelector(s.Status.Selector); err == nil && len(selector.MatchExpressions) == 0 {
		old.Status.Selector = selector.MatchLabels
	}
	return old
}

// uncounted is the number of replicas, while they are patched, of a custom resource that says nothing of replicas.
const uncounted = math.MinInt32

// scaleObject is the Scale of an object. counted says whether the object has a number of replicas; built-in ones do.
func (q *request) scaleObject(rec *api.Record, o *resource.Object, sc *resource.Scale) (s *autoscalingv1.Scale, counted bool) {
	m := o.Meta
	s = &autoscalingv1.Scale{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
		ObjectMeta: metav1.ObjectMeta{
			Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: rec.Revision().String(), CreationTimestamp: m.CreationTimestamp,
		},
		Status: autoscalingv1.ScaleStatus{Replicas: sc.Status(o), Selector: sc.Selector(o)},
	}
	n := sc.Spec(o)
	if n != nil {
		s.Spec.Replicas = *n
	}
	return s, n != nil || !q.d.Custom
}
