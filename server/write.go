package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
	"pintle.dev/store"
)

// writeOptions are the query of a create, update or patch.
type writeOptions struct {
	dryRun     bool
	manager    string // field manager, named or derived from the User-Agent
	validation string // fieldValidation
	force      *bool
}

// parseWriteOptions reads and checks the query as metav1's CreateOptions, UpdateOptions or PatchOptions.
func (q *request) parseWriteOptions(kind string) error {
	o := &q.options
	o.validation = metav1.FieldValidationWarn
	if len(q.Query) > 0 || types.PatchType(q.ContentType) == types.ApplyYAMLPatchType {
		dry := q.Query["dryRun"]
		o.manager = q.Query.Get("fieldManager")
		validation := q.Query.Get("fieldValidation")
		if q.Query.Has("force") {
			b := boolParam(q.Query, "force")
			o.force = &b
		}
		var errs field.ErrorList
		switch kind {
		case "CreateOptions":
			errs = metav1validation.ValidateCreateOptions(&metav1.CreateOptions{DryRun: dry, FieldManager: o.manager, FieldValidation: validation})
		case "UpdateOptions":
			errs = metav1validation.ValidateUpdateOptions(&metav1.UpdateOptions{DryRun: dry, FieldManager: o.manager, FieldValidation: validation})
		default:
			errs = metav1validation.ValidatePatchOptions(&metav1.PatchOptions{
				DryRun: dry, FieldManager: o.manager, FieldValidation: validation, Force: o.force,
			}, types.PatchType(q.ContentType))
		}
		if len(errs) > 0 {
			return api.Invalid(metav1.GroupName, kind, "", errs)
		}
		o.dryRun = len(dry) > 0
		if validation != "" {
			o.validation = validation
		}
	}
	if o.manager == "" {
		o.manager = object.ManagerOf(q.UserAgent)
	}
	return nil
}

// newObject decodes what the client sent, as often as it is called: each attempt at a write starts from it anew. What is
// unknown or duplicate in it is refused or warned of, the first time.
func (q *request) newObject() (*resource.Object, error) {
	if q.Object != nil {
		return q.givenObject()
	}
	if q.ContentType == accept.TypeProtobuf && !q.d.Custom {
		return q.protobufObject()
	}
	data, err := q.jsonBody()
	if err != nil {
		return nil, err
	}
	o, problems, err := q.v.Codec.Decode(data, false)
	if err != nil {
		return nil, q.decodeError(data, err)
	}
	if err := q.checkType(data, o); err != nil {
		return nil, err
	}
	if err := q.judge(append(q.yamlProblems(), problems...)); err != nil {
		return nil, err
	}
	return o, q.checkAPIVersion(o)
}

// yamlProblems is what strict field validation finds in a YAML body before it is JSON: keys that come twice.
func (q *request) yamlProblems() []string {
	if q.ContentType != accept.TypeYAML || q.options.validation == metav1.FieldValidationIgnore {
		return nil
	}
	if err := object.CheckYAML(q.Body); err != nil {
		return []string{err.Error()}
	}
	return nil
}

// maxProblems bounds what strict validation names of one object, as upstream's decoder does.
const maxProblems = 100

// judge refuses or warns of problems, as the request's fieldValidation says.
func (q *request) judge(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	problems = problems[:min(len(problems), maxProblems)]
	switch q.options.validation {
	case metav1.FieldValidationStrict:
		return api.BadRequest("%s in version %q cannot be handled as a %s: strict decoding error: %s",
			q.kind(), q.v.Name, q.kind(), strings.Join(problems, ", "))
	case metav1.FieldValidationWarn:
		for _, problem := range problems {
			q.warnOf(problem)
		}
	}
	return nil
}

// warnOf warns of a problem: as upstream, of each that the YAML library lists below a heading, for a warning is one line.
func (q *request) warnOf(problem string) {
	list, ok := strings.CutPrefix(problem, "yaml: unmarshal errors:\n")
	if !ok {
		q.warnings = append(q.warnings, problem)
		return
	}
	for line := range strings.SplitSeq(list, "\n") {
		q.warnings = append(q.warnings, strings.TrimSpace(line))
	}
}

// givenObject copies the object of a caller in process.
func (q *request) givenObject() (*resource.Object, error) {
	if o, ok := q.Object.(runtime.Object); ok && !q.d.Custom {
		if t, err := resource.TypedObject(o.DeepCopyObject()); err == nil && resource.Fits(q.v.Codec, t) {
			return t, nil
		}
	}
	data, err := marshal(q.Object)
	if err != nil {
		return nil, api.BadRequest("encoding %T: %s", q.Object, err)
	}
	o, _, err := q.v.Codec.Decode(data, false)
	if err != nil {
		return nil, q.decodeError(data, err)
	}
	return o, nil
}

// setDefaults fills in what the client left out, by the rules of the version it speaks. A Scale leaves nothing out.
func (q *request) setDefaults(o *resource.Object) {
	if q.v.Default != nil && !q.scaling {
		q.v.Default(o)
	}
	if q.d.Hooks.Default != nil {
		q.d.Hooks.Default(o)
	}
}

// scope makes the object's namespace agree with the path's.
func (q *request) scope(m *metav1.ObjectMeta) error {
	ns := q.Key.Namespace
	switch {
	case m.Namespace == ns:
	case m.Namespace == "", ns == "":
		m.Namespace = ns
	default:
		return api.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// dropDuplicateOwners keeps the first of owner references that are equal.
func (q *request) dropDuplicateOwners(m *metav1.ObjectMeta) {
	if len(m.OwnerReferences) < 2 {
		return
	}
	type reference struct {
		metav1.OwnerReference
		controller, blocks string // what the pointers of the reference point to
	}
	seen := make(map[reference]bool, len(m.OwnerReferences))
	var twice []string
	kept := m.OwnerReferences[:0:0]
	for _, r := range m.OwnerReferences {
		key := reference{r, pointed(r.Controller), pointed(r.BlockOwnerDeletion)}
		key.Controller, key.BlockOwnerDeletion = nil, nil
		if seen[key] {
			twice = append(twice, string(r.UID))
			continue
		}
		seen[key] = true
		kept = append(kept, r)
	}
	if len(twice) > 0 {
		m.OwnerReferences = kept
		when := ""
		if q.Verb == api.Patch { // by when upstream has been through admission
			when = " after mutating admission happens"
		}
		q.warn(".metadata.ownerReferences contains duplicate entries%s; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %s",
			when, strings.Join(twice, ", "))
	}
}

// pointed is a flag that may be unset, as a text to compare it by.
func pointed(flag *bool) string {
	if flag == nil {
		return ""
	}
	return strconv.FormatBool(*flag)
}

// validate checks w.New: its metadata by the rules of all kinds, the rest by the kind's own.
func (q *request) validate(ctx context.Context, w *resource.Write) error {
	errs := q.validateMetadata(w)
	if q.d.Hooks.Validate != nil {
		w.MetadataErrors = errs
		more := q.d.Hooks.Validate(ctx, w)
		if w.Kind != "" && w.Creating() {
			errs = nil // upstream does not look at the metadata of what is of another kind
		}
		errs = append(errs, more...)
		q.warnings = append(q.warnings, w.Warnings...)
	}
	if len(errs) > 0 {
		if err := q.refused(ctx, w); err != nil {
			return err
		}
		// Upstream names the kind by the group it is stored in, whatever version was asked for.
		return api.Invalid(q.d.Storage().Group, cmp.Or(w.Kind, q.kind()), w.New.Meta.Name, errs)
	}
	return nil
}

// admit asks admission about w, first for changes, later for a verdict.
func (q *request) admit(ctx context.Context, w *resource.Write) error {
	if q.s.Admission == nil {
		return nil
	}
	return q.s.Admission.Admit(ctx, w)
}

func (q *request) admissionCompletes(w *resource.Write) bool {
	return q.s.Admission != nil && q.s.Admission.Completes(w)
}

func (q *request) admitValid(ctx context.Context, w *resource.Write) error {
	if q.s.Admission == nil {
		return nil
	}
	return q.s.Admission.Validate(ctx, w)
}

// hookWarnings collects the warnings of the kind about what it does not refuse.
func (q *request) hookWarnings(ctx context.Context, w *resource.Write) {
	if q.d.Hooks.Warn != nil {
		q.warnings = append(q.warnings, q.d.Hooks.Warn(ctx, w)...)
	}
}

// refused asks the kind whether what w asks for can be had.
func (q *request) refused(ctx context.Context, w *resource.Write) error {
	if q.d.Hooks.Refuse == nil {
		return nil
	}
	v, err := q.s.view(ctx, 0)
	if err != nil {
		return err
	}
	return q.d.Hooks.Refuse(ctx, v, w)
}

// claim asks the kind for further writes of the same commit.
func (q *request) claim(ctx context.Context, w *resource.Write) ([]store.Write, error) {
	if q.d.Hooks.Claim == nil {
		return nil, nil
	}
	v, err := q.s.view(ctx, 0)
	if err != nil {
		return nil, err
	}
	return q.d.Hooks.Claim(ctx, v, w)
}

// maxAttempts bounds how often a write that loses races is decided anew before the client is told of the conflict.
const maxAttempts = 64

// attempts runs f until it does not fail with store.ErrConflict. f decides from the newest state each time (W2).
func (q *request) attempts(ctx context.Context, f func(attempt int) (*api.Response, error)) (*api.Response, error) {
	said := len(q.warnings)
	for i := 1; ; i++ {
		q.warnings = q.warnings[:said]
		resp, err := f(i)
		if !errors.Is(err, store.ErrConflict) {
			if err != nil {
				return nil, withWarnings(storeError(err), q.warnings)
			}
			resp.Warnings = append(resp.Warnings, q.warnings...)
			return resp, nil
		}
		if i == maxAttempts {
			return nil, q.modified()
		}
		if err := ctx.Err(); err != nil {
			return nil, api.TimedOut("the request was given up while it was retried after a conflict")
		}
	}
}

// modified is the 409 for a write that named an older resourceVersion, or that lost every race.
func (q *request) modified() error {
	return api.Conflict(q.resource(), q.Key.Name,
		errors.New("the object has been modified; please apply your changes to the latest version and try again"))
}

// withWarnings lets the warnings of a request that failed reach the client all the same.
func withWarnings(err error, warnings []string) error {
	if len(warnings) == 0 {
		return err
	}
	return &warned{err, append([]string(nil), warnings...)}
}

type warned struct {
	error
	warnings []string
}

func (w *warned) Unwrap() error { return w.error }

// commit stores rec over the version expect (0: none) together with further writes, and tells who wants to know.
func (q *request) commit(ctx context.Context, rec *api.Record, expect api.Revision, more []store.Write) error {
	ws := append([]store.Write{store.Put(q.d.Resource, rec, expect)}, more...)
	if q.d.Stands != nil {
		v, err := q.s.view(ctx, 0)
		if err != nil {
			return err
		}
		guard, ok := q.d.Stands(v, expect == 0)
		if !ok {
			return &redefinedError{q.d}
		}
		ws = append(ws, guard)
	}
	if _, err := q.s.Store.Commit(ctx, ws...); err != nil {
		return err
	}
	return q.committed(ctx, rec, false)
}

func (q *request) committed(ctx context.Context, rec *api.Record, deleted bool) error {
	if q.s.Committed == nil {
		return nil
	}
	return q.s.Committed(ctx, q.d, rec, deleted)
}

// unchanged reports whether json, with a blank resourceVersion, is what rec holds, under the same ownership.
func unchanged(rec *api.Record, json []byte, owners api.Owners) bool {
	have := rec.JSON()
	slot := rec.SlotOffset()
	return len(have) == len(json) && rec.Ownership().Is(owners) &&
		bytes.Equal(have[:slot], json[:slot]) && bytes.Equal(have[slot+api.SlotSize:], json[slot+api.SlotSize:])
}

// now is the time objects carry: whole seconds, as JSON has them.
func now() metav1.Time { return metav1.NewTime(time.Now().UTC().Truncate(time.Second)) }
