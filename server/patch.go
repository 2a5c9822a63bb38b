package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// checkPatchType refuses patches the resource does not take.
func checkPatchType(q *request) error {
	switch types.PatchType(q.ContentType) {
	case types.JSONPatchType, types.MergePatchType, types.ApplyYAMLPatchType:
		return nil
	case types.StrategicMergePatchType:
		if !q.d.Custom {
			return nil
		}
	}
	if q.d.Custom {
		return api.NewError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
			"the body of the request was in an unknown format - accepted media types include: %s, %s, %s",
			types.JSONPatchType, types.MergePatchType, types.ApplyYAMLPatchType)
	}
	return routerError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "415: Unsupported Media Type")
}

// patch changes an object, or the part of it that a subresource stands for, as the body says.
func (q *request) patch(ctx context.Context) (*api.Response, error) {
	if err := q.checkPatch(); err != nil {
		return nil, err
	}
	if types.PatchType(q.ContentType) == types.ApplyYAMLPatchType {
		return q.serverApply(ctx)
	}
	return q.attempts(ctx, func(int) (*api.Response, error) {
		rec, old, err := q.current(ctx)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return nil, q.notFound()
		}
		o, err := q.patched(rec)
		if err != nil {
			return nil, err
		}
		if err := q.checkName(o.Meta); err != nil {
			return nil, err
		}
		return q.replace(ctx, rec, old, o)
	})
}

// checkPatch reads the options of a patch and refuses types that are not served.
func (q *request) checkPatch() error {
	if err := q.parseWriteOptions("PatchOptions"); err != nil {
		return err
	}
	return checkPatchType(q)
}

// patched is what the patch makes of rec, in the version of the request.
func (q *request) patched(rec *api.Record) (*resource.Object, error) {
	target, err := q.patchTarget(rec)
	if err != nil {
		return nil, err
	}
	if !q.v.Storage {
		target.Set("apiVersion", object.NewString(q.v.APIVersion()))
		target.Set("kind", object.NewString(q.kind()))
	}
	duplicates, err := q.applyPatch(target)
	if err != nil {
		return nil, err
	}
	said, err := q.patchedType(rec, target, duplicates)
	if err != nil {
		return nil, err
	}
	o, unknown, mismatch, err := q.decodePatched(rec, target, said)
	if e := refused(err); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, q.undecodable(rec, said, err)
	}
	if bad := q.judgePatch(rec, duplicates, unknown); bad != nil || mismatch != nil {
		return nil, cmp.Or(bad, mismatch)
	}
	return o, nil
}

// patchTarget is a copy of rec's document for a patch to change.
func (q *request) patchTarget(rec *api.Record) (*object.Value, error) {
	if bytes.Contains(q.Body, []byte("managedFields")) {
		// Only a patch that speaks of them can see managedFields, and then must.
		doc, err := q.s.appendObject(nil, q.d, q.v, rec, rec.Revision(), false)
		if err != nil {
			return nil, err
		}
		target, err := object.Parse(doc)
		if err != nil {
			return nil, errStored(q.d, rec, err)
		}
		return target, nil
	}
	before, err := q.beforeOf(rec)
	if err != nil {
		return nil, err
	}
	target := before.Clone()
	return &target, nil
}

// decodePatched reads the object that a patch made of target, which belongs to the object then, in the version that said
// names. mismatch is the answer if that is not the request's, for a custom resource.
func (q *request) decodePatched(rec *api.Record, target *object.Value, said *resource.Version) (o *resource.Object, unknown []string, mismatch, err error) {
	if q.d.Custom {
		q.decided = nil // which restoreType may have set in an earlier attempt
		if mismatch = q.customPatchMismatch(target); mismatch != nil {
			unknown = q.takeUndeclared(target)
			if q.Subresource == "status" {
				q.restoreType(target)
				mismatch = nil
			}
		}
	}
	// What a JSON patch made may be deeper than documents may be, which shows when it is parsed.
	if c, ok := said.Codec.(resource.DocumentCodec); ok && target.Fits() {
		o, more, err := c.DecodeDocument(target, false)
		return o, append(more, unknown...), mismatch, err
	}
	var text []byte
	if types.PatchType(q.ContentType) != types.StrategicMergePatchType && target.HasFloat() {
		// A typed kind reads numbers as they are written: 3.0 is no int32, and 1e3 is another quantity than 1000.
		if text, err = q.patchedText(rec); err != nil {
			return nil, nil, nil, err
		}
	} else {
		text = object.AppendJSON(nil, target)
	}
	o, unknown, err = said.Codec.Decode(text, false)
	return o, unknown, mismatch, err
}

// applyPatch changes target. problems are what strict validation finds in the patch itself.
func (q *request) applyPatch(target *object.Value) (problems []string, err error) {
	switch types.PatchType(q.ContentType) {
	case types.JSONPatchType:
		p, problems, err := object.ParseJSONPatch(q.Body, q.options.validation != metav1.FieldValidationIgnore)
		if err != nil {
			return nil, err
		}
		return problems, p.Apply(target)
	case types.MergePatchType:
		if q.options.validation == metav1.FieldValidationIgnore {
			return nil, mergeUnchecked(target, q.Body)
		}
		p, problems, err := object.ParseStrict(q.Body)
		if err != nil {
			return nil, api.BadRequest("error decoding patch: %s", err)
		}
		if k := p.Kind(); k != object.Map && k != object.Null {
			return nil, api.BadRequest("error decoding patch: json: cannot unmarshal %s into Go value of type map[string]interface {}", goKind(k))
		}
		return problems, object.MergePatch(target, p)
	}
	p, problems, err := object.ParseStrict(q.Body)
	if err != nil {
		return nil, api.BadRequest("%s", err)
	}
	if p.Kind() != object.Map && p.Kind() != object.Null {
		return nil, api.BadRequest("json: cannot unmarshal %s into Go value of type map[string]interface {}", goKind(p.Kind()))
	}
	if p.Kind() == object.Null {
		return problems, nil
	}
	if err := object.StrategicMerge(target, p, q.v.Shape); err != nil {
		if e := api.AsError(err); e.Status.Code < http.StatusInternalServerError {
			return nil, e
		}
		// Upstream answers these with a 500 of the same message.
		return nil, api.BadRequest("%s", err)
	}
	return problems, nil
}

// mergeUnchecked is a merge patch that nobody asked to have checked: a list that stands in its place is passed on, as by
// upstream, to be found no object.
func mergeUnchecked(target *object.Value, patch []byte) error {
	p, err := object.Parse(patch)
	if err != nil {
		return api.BadRequest("%s", jsonpatch.ErrBadJSONPatch)
	}
	switch p.Kind() {
	case object.Map, object.Null:
		return object.MergePatch(target, p)
	case object.List:
		target.Replace(*p)
		return nil
	}
	return api.BadRequest("%s", jsonpatch.ErrBadJSONPatch)
}

// goKind is what encoding/json calls a kind of JSON value.
func goKind(k object.Kind) string {
	switch k {
	case object.List:
		return "array"
	case object.Bool:
		return "bool"
	case object.Number:
		return "number"
	case object.String:
		return "string"
	}
	return "object"
}

// judgePatch refuses or warns of what strict validation found in a patch and in what it made.
func (q *request) judgePatch(rec *api.Record, duplicates, unknown []string) error {
	if len(duplicates)+len(unknown) == 0 {
		return nil
	}
	if !q.d.Custom {
		slices.Sort(unknown) // a merged or patched map has no other order; of a custom resource metadata is read first
	}
	problems := append(duplicates, unknown...)
	problems = problems[:min(len(problems), maxProblems)]
	switch q.options.validation {
	case metav1.FieldValidationStrict:
		return q.invalidPatch(rec, "strict decoding error: "+strings.Join(problems, ", "))
	case metav1.FieldValidationWarn:
		q.warnings = append(q.warnings, problems...)
	}
	return nil
}

// invalidPatch is the 422 for a patch whose result is no object of the kind. It shows, as upstream does, what the patch
// made of the object, or for a strategic merge patch the patch itself.
func (q *request) invalidPatch(rec *api.Record, why string) error {
	var shown string
	if types.PatchType(q.ContentType) == types.StrategicMergePatchType {
		shown = q.spentPatch(rec)
		if !strings.HasPrefix(why, "strict decoding error: ") {
			why = q.mergedWhy(rec, why)
		}
	} else {
		b, err := q.patchedText(rec)
		if err != nil {
			return err
		}
		shown = string(b)
	}
	return api.Invalid("", "", "", field.ErrorList{field.Invalid(field.NewPath("patch"), shown, why)})
}

// spentPatch shows a strategic merge patch as upstream does: after its library has merged it, which takes the directives
// out of it on the way. Larger ones, which that library takes too long for, are shown as they are.
func (q *request) spentPatch(rec *api.Record) string {
	var patch map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(q.Body, &patch); err != nil {
		return string(q.Body)
	}
	if len(q.Body) <= patchedTextMax {
		if base, err := q.s.rendition(q.d, q.v, rec); err == nil {
			var original map[string]any
			empty, _, err := q.v.Codec.Decode([]byte("{}"), true)
			if err == nil && kjson.UnmarshalCaseSensitivePreserveInts(base.json, &original) == nil {
				_, _ = strategicpatch.StrategicMergeMapPatch(original, patch, empty.Value) // for what it does to the patch
			}
		}
	}
	return fmt.Sprintf("%+v", patch)
}

// patchedTextMax is the size of a patch, in bytes, up to which its result is shown as upstream's library writes it. That
// library takes the square of a patch's depth; what is longer nobody compares by the order of its members.
const patchedTextMax = 4 << 10

// patchedText is the patched document as upstream's library writes it, for messages.
func (q *request) patchedText(rec *api.Record) ([]byte, error) {
	doc, err := q.s.appendObject(nil, q.d, q.v, rec, rec.Revision(), false)
	if err != nil {
		return nil, err
	}
	tight, err := q.tight(doc)
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", q.d.Resource, rec.Key(), err)
	}
	if len(q.Body) > patchedTextMax {
		target, err := object.Parse(tight)
		if err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", q.d.Resource, rec.Key(), err)
		}
		if _, err := q.applyPatch(target); err != nil {
			return nil, err
		}
		return object.AppendJSON(nil, target), nil
	}
	return q.patchText(tight)
}

// patchText is what the JSON patch or merge patch that was sent makes of a document, as upstream's library writes it.
func (q *request) patchText(doc []byte) ([]byte, error) {
	if types.PatchType(q.ContentType) == types.MergePatchType {
		return jsonpatch.MergePatch(doc, q.Body)
	}
	p, err := jsonpatch.DecodePatch(q.Body)
	if err != nil {
		return nil, api.BadRequest("error decoding patch: %s", err)
	}
	return p.Apply(doc)
}

// tight is a document as upstream encodes it: without the padding of the slot, and for custom resources, which are maps
// there, with all members in order of their names.
func (q *request) tight(doc []byte) ([]byte, error) {
	if q.d.Custom {
		v, err := object.Parse(doc)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v.ToAny())
	}
	var b bytes.Buffer
	err := json.Compact(&b, doc)
	return b.Bytes(), err
}

// mergedWhy asks upstream's converter what it has against the result of a strategic merge patch: it goes through maps
// there, and its words differ from the JSON decoder's.
func (q *request) mergedWhy(rec *api.Record, why string) string {
	base, err := q.s.rendition(q.d, q.v, rec)
	if err != nil {
		return why
	}
	target, err := object.Parse(base.json)
	if err != nil {
		return why
	}
	p, err := object.Parse(q.Body)
	if err != nil {
		return why
	}
	if err := object.StrategicMerge(target, p, q.v.Shape); err != nil {
		return why
	}
	merged, ok := target.ToAny().(map[string]any)
	if !ok {
		return why
	}
	empty, _, err := q.v.Codec.Decode([]byte("{}"), true)
	if err != nil {
		return why
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(merged, empty.Value); err != nil {
		return err.Error()
	}
	return why
}
