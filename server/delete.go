package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
	"pintle.dev/store"
)

// delete removes an object, or, when finalizers or a grace period keep it, marks it as being deleted.
func (q *request) delete(ctx context.Context) (*api.Response, error) {
	o, err := q.deleteOptions()
	if err != nil {
		return nil, err
	}
	return q.attempts(ctx, func(int) (*api.Response, error) { return q.deleteOnce(ctx, o) })
}

// deleteOptions reads metav1.DeleteOptions from the body, or without one from the query.
func (q *request) deleteOptions() (*metav1.DeleteOptions, error) {
	o := new(metav1.DeleteOptions)
	switch {
	case q.Object != nil:
		given, ok := q.Object.(*metav1.DeleteOptions)
		if !ok {
			return nil, api.BadRequest("deleting with %T: want *metav1.DeleteOptions", q.Object)
		}
		o = given.DeepCopy()
	case len(q.Body) > 0:
		if err := q.decodeDeleteOptions(o); err != nil {
			return nil, err
		}
	default:
		if err := queryDeleteOptions(q.Query, o); err != nil {
			return nil, err
		}
	}
	if errs := metav1validation.ValidateDeleteOptions(o); len(errs) > 0 {
		return nil, api.Invalid(metav1.GroupName, "DeleteOptions", "", errs)
	}
	q.options.dryRun = len(o.DryRun) > 0
	return o, nil
}

func (q *request) decodeDeleteOptions(o *metav1.DeleteOptions) error {
	data := q.Body
	switch q.ContentType {
	case accept.TypeYAML:
		var err error
		if data, err = object.FromYAML(data); err != nil {
			return api.BadRequest("%s", err)
		}
	case accept.TypeProtobuf:
		return decodeProtobuf(data, o)
	case "", accept.TypeJSON:
	default:
		return errBodyType()
	}
	// What cannot be read was a 500 of the same message up to the recorded release, and is a 400 by now.
	var t typeMeta
	if err := json.Unmarshal(data, &t); err != nil {
		return api.BadRequest("couldn't get version/kind; json parse error: %s", err)
	}
	if t.Kind != "" && t.Kind != "DeleteOptions" {
		return api.BadRequest("%s", unregistered(t.Kind, cmp.Or(t.APIVersion, metav1.SchemeGroupVersion.String())))
	}
	if err := json.Unmarshal(data, o); err != nil {
		return api.BadRequest("%s", err)
	}
	return nil
}

// queryDeleteOptions reads the options from a query, where the preconditions are members of their own. A resourceVersion
// that says which state of a collection is meant is a precondition to each of its objects as well.
func queryDeleteOptions(q url.Values, o *metav1.DeleteOptions) error {
	if len(q) == 0 {
		return nil
	}
	if q.Has("gracePeriodSeconds") {
		n, err := intParam(q, "gracePeriodSeconds")
		if err != nil {
			return err
		}
		o.GracePeriodSeconds = &n
	}
	if q.Has("orphanDependents") {
		b := boolParam(q, "orphanDependents")
		o.OrphanDependents = &b //nolint:staticcheck // deprecated, still part of the API
	}
	if q.Has("propagationPolicy") {
		p := metav1.DeletionPropagation(q.Get("propagationPolicy"))
		o.PropagationPolicy = &p
	}
	o.DryRun = q["dryRun"]
	uid, version := types.UID(q.Get("uid")), q.Get("resourceVersion")
	if uid != "" || version != "" {
		o.Preconditions = new(metav1.Preconditions)
	}
	if uid != "" {
		o.Preconditions.UID = &uid
	}
	if version != "" {
		o.Preconditions.ResourceVersion = &version
	}
	return nil
}

// deleteOnce is one attempt at a deletion; store.ErrConflict asks for another.
func (q *request) deleteOnce(ctx context.Context, options *metav1.DeleteOptions) (*api.Response, error) {
	rec, old, err := q.stored(ctx)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, q.notFound()
	}
	if err := q.checkPreconditions(rec, options.Preconditions); err != nil {
		return nil, err
	}
	w := &resource.Write{
		Definition: q.d, Version: q.v, Request: q.Request, Old: old, OldRecord: rec, DryRun: q.options.dryRun,
	}
	if err := q.admit(ctx, w); err != nil {
		return nil, err
	}
	if err := q.admitValid(ctx, w); err != nil {
		return nil, err
	}
	o := old.Clone() // old stays as it is
	if o.Meta.DeletionTimestamp == nil && q.d.Hooks.Terminate != nil {
		w.New = o
		q.d.Hooks.Terminate(ctx, w)
	}
	fate := q.condemn(o, options)
	switch fate {
	case fatePending:
		return waiting(q.deleted(rec), options), nil
	case fateMarked:
		marked, err := q.mark(ctx, w, o)
		if err != nil {
			return nil, err
		}
		return waiting(marked, options), nil
	}
	remove := q.remove
	if q.d.Hooks.GracePeriod != nil {
		// Whoever watches an object that ends gracefully sees it marked before it is gone, as with upstream.
		marked, err := q.mark(ctx, w, o)
		if err != nil {
			return nil, err
		}
		rec, remove = marked.Record, q.removeMarked
	}
	if !q.options.dryRun {
		if err := remove(ctx, rec, old); err != nil {
			return nil, err
		}
	}
	return q.deleted(rec), nil
}

// waiting is the answer for an object that is still there. Who asked for its dependents to go with it in the old way is
// told so by the code; for all others it is 200, which upstream keeps for the sake of old clients.
func waiting(a *api.Response, o *metav1.DeleteOptions) *api.Response {
	if orphan := o.OrphanDependents; orphan != nil && !*orphan { //nolint:staticcheck // deprecated, still part of the API
		a.Code = http.StatusAccepted
	}
	return a
}

// removeMarked is remove for an object that has been marked to go at once. Who saw the mark may have removed it first,
// which serves as well; another of the same name stays.
func (q *request) removeMarked(ctx context.Context, rec *api.Record, old *resource.Object) error {
	lost := q.remove(ctx, rec, old)
	if !errors.Is(lost, store.ErrConflict) {
		return lost
	}
	v, err := q.s.view(ctx, 0)
	if err != nil {
		return err
	}
	if now := v.Get(q.d.Resource, rec.Key()); now == nil || now.UID() != rec.UID() {
		return nil
	}
	return lost
}

// mark stores that the object is being deleted and answers with it.
func (q *request) mark(ctx context.Context, w *resource.Write, o *resource.Object) (*api.Response, error) {
	rec := w.OldRecord
	owners := rec.Owners()
	o, err := resource.ToStorage(q.d, o, owners)
	if err != nil {
		return nil, err
	}
	json, err := resource.EncodeBlank(nil, q.d, o)
	if err != nil {
		return nil, err
	}
	if unchanged(rec, json, owners) {
		return &api.Response{Record: rec}, nil
	}
	next, err := resource.SealJSON(q.d, o, json, owners)
	if err != nil {
		return nil, err
	}
	if q.options.dryRun {
		next.Stamp(rec.Revision())
		return &api.Response{Record: next}, nil
	}
	if err := q.commit(ctx, next, rec.Revision(), w.Guards); err != nil {
		return nil, err
	}
	return &api.Response{Record: next}, nil
}

// deleted is the answer once an object is gone, or on its way and not to be hurried.
func (q *request) deleted(rec *api.Record) *api.Response {
	if q.d.ReturnDeleted {
		return &api.Response{Record: rec}
	}
	return &api.Response{Object: api.Success(&metav1.StatusDetails{
		Name: rec.Name(), Group: q.v.Group, Kind: q.d.Resource.Name, UID: types.UID(rec.UID()),
	})}
}

func (q *request) checkPreconditions(rec *api.Record, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if q.d.Process() { // which upstream looks at before its store does
		switch {
		case p.UID != nil && string(*p.UID) != rec.UID():
			return api.Conflict(q.d.Resource, rec.Name(), fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, rec.UID()))
		case p.ResourceVersion != nil && *p.ResourceVersion != rec.Revision().String():
			return api.Conflict(q.d.Resource, rec.Name(), fmt.Errorf(
				"Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, rec.Revision()))
		}
		return nil
	}
	// Upstream names the kind here where it otherwise names the resource.
	kind := api.Resource{Group: q.v.Group, Name: q.kind()}
	if p.UID != nil && string(*p.UID) != rec.UID() {
		return api.Conflict(kind, rec.Name(), fmt.Errorf(
			"the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, rec.UID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != rec.Revision().String() {
		return api.Conflict(kind, rec.Name(), fmt.Errorf(
			"the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, rec.Revision()))
	}
	return nil
}

// fate is what becomes of an object that is asked to go.
type fate uint8

const (
	fateNow     fate = iota // it goes at once
	fateMarked              // it is changed to say that it is going
	fatePending             // it is going already, and this request does not make it go sooner
)

// condemn decides o's fate and changes it to say so: upstream's rest.BeforeDelete and the generic registry's handling
// of finalizers.
func (q *request) condemn(o *resource.Object, options *metav1.DeleteOptions) fate {
	m := o.Meta
	grace := options.GracePeriodSeconds
	if grace != nil && *grace < 0 {
		grace = ptr(int64(1)) // negative values are treated as one second
	}
	graceful, pending := q.graceful(o, grace)
	if pending {
		return fatePending
	}
	first, process := m.DeletionTimestamp == nil, q.d.Process()
	finalizers := m.Finalizers
	if !first || !q.d.SettlesDependents {
		finalizers = deletionFinalizers(finalizers, options, q.v.Orphans)
	}
	unfinished := q.d.Hooks.Finalize != nil && !q.d.Hooks.Finalize(o)
	held := len(finalizers) > 0 || unfinished
	m.Finalizers = finalizers
	switch {
	case graceful && *m.DeletionGracePeriodSeconds == 0 && !held:
		return fateNow
	case graceful:
		return fateMarked
	case !held:
		return fateNow
	}
	// Where the end is a process of its own, its beginning does not count as a change of what is wanted and has no grace
	// period. Who asks again when nothing but finalizers is left is answered as for any kind.
	if first && m.Generation > 0 && !process {
		m.Generation++
	}
	if t := now(); first || m.DeletionTimestamp.After(t.Time) {
		m.DeletionTimestamp = &t
	}
	if !process || !first && !unfinished {
		m.DeletionGracePeriodSeconds = ptr(int64(0))
	}
	return fateMarked
}

// graceful gives an object of a kind that ends gracefully its time. pending says that it has it already and is not to
// have less.
func (q *request) graceful(o *resource.Object, requested *int64) (graceful, pending bool) {
	m := o.Meta
	if q.d.Hooks.GracePeriod == nil {
		return false, false
	}
	if m.DeletionTimestamp == nil {
		period := q.d.Hooks.GracePeriod(o, requested)
		end := metav1.NewTime(now().Add(time.Duration(period) * time.Second))
		m.DeletionTimestamp, m.DeletionGracePeriodSeconds = &end, &period
		if m.Generation > 0 {
			m.Generation++
		}
		return true, false
	}
	have := m.DeletionGracePeriodSeconds
	if have == nil || *have == 0 {
		return false, false
	}
	if requested == nil || *requested >= *have {
		return false, true
	}
	period := *requested
	end := metav1.NewTime(m.DeletionTimestamp.Add(time.Duration(period-*have) * time.Second))
	if t := now(); end.Before(&t) {
		if end = t; period != 0 {
			period = 1 // the least that still lets whoever ends the object do so
		}
	}
	m.DeletionTimestamp, m.DeletionGracePeriodSeconds = &end, &period
	return true, false
}

// deletionFinalizers are an object's finalizers once the garbage collector's two agree with how its dependents are to
// go: as the options say, else as the object's own finalizers do, else as is the version's habit.
func deletionFinalizers(have []string, o *metav1.DeleteOptions, orphans bool) []string {
	orphan := slices.Contains(have, metav1.FinalizerOrphanDependents)
	foreground := slices.Contains(have, metav1.FinalizerDeleteDependents) && !orphan
	switch {
	case o.OrphanDependents != nil: //nolint:staticcheck // deprecated, still part of the API
		orphan, foreground = *o.OrphanDependents, false //nolint:staticcheck // see above
	case o.PropagationPolicy != nil:
		orphan = *o.PropagationPolicy == metav1.DeletePropagationOrphan
		foreground = *o.PropagationPolicy == metav1.DeletePropagationForeground
	case !foreground:
		orphan = orphan || orphans
	}
	var want []string
	for _, f := range have {
		if f != metav1.FinalizerOrphanDependents && f != metav1.FinalizerDeleteDependents {
			want = append(want, f)
		}
	}
	if orphan {
		want = append(want, metav1.FinalizerOrphanDependents)
	}
	if foreground {
		want = append(want, metav1.FinalizerDeleteDependents)
	}
	if len(want) == len(have) && !slices.ContainsFunc(have, func(f string) bool { return !slices.Contains(want, f) }) {
		return have
	}
	return want
}

func ptr[T any](v T) *T { return &v }

// deleteCollection deletes what a list would give, one object at a time, and answers with the list.
func (q *request) deleteCollection(ctx context.Context) (*api.Response, error) {
	o, err := parseListOptions(q.d, q.v, q.Query, api.DeleteCollection)
	if err != nil {
		return nil, err
	}
	o.exactPage() // upstream deletes page by page, whether it is asked for pages or not
	options, err := q.deleteOptions()
	if err != nil {
		return nil, err
	}
	l, err := q.listPage(ctx, &o)
	if err != nil {
		return nil, err
	}
	for _, rec := range l.Records {
		if err := q.deleteListed(ctx, rec, options); err != nil {
			return nil, err
		}
	}
	return &api.Response{List: l}, nil
}

// deleteListed deletes one object of a collection; that it is gone already is as good.
func (q *request) deleteListed(ctx context.Context, rec *api.Record, options *metav1.DeleteOptions) error {
	one := *q.Request
	one.Key = rec.Key()
	each := &request{Request: &one, s: q.s, d: q.d, v: q.v, options: q.options}
	_, err := each.attempts(ctx, func(int) (*api.Response, error) { return each.deleteOnce(ctx, options) })
	if err != nil && !api.IsNotFound(err) {
		return err
	}
	return nil
}
