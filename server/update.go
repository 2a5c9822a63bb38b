package server

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// update replaces an object, or the part of it that a subresource stands for.
func (q *request) update(ctx context.Context) (*api.Response, error) {
	if err := q.parseWriteOptions("UpdateOptions"); err != nil {
		return nil, err
	}
	return q.attempts(ctx, func(int) (*api.Response, error) {
		o, err := q.newObject()
		if err != nil {
			return nil, err
		}
		if err := q.checkName(o.Meta); err != nil {
			return nil, err
		}
		q.dropDuplicateOwners(o.Meta)
		rec, old, err := q.current(ctx)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return q.updateMissing(ctx, o)
		}
		if uid := o.Meta.UID; uid != "" && string(uid) != rec.UID() {
			return nil, q.wrongUID(string(uid), rec.UID())
		}
		return q.replace(ctx, rec, old, o)
	})
}

// checkName refuses an object that is not the one the path names.
func (q *request) checkName(m *metav1.ObjectMeta) error {
	if err := q.scope(m); err != nil {
		return err
	}
	switch m.Name {
	case q.Key.Name:
		return nil
	case "":
		return q.nameless()
	}
	return api.BadRequest("the name of the object (%s) does not match the name on the URL (%s)", m.Name, q.Key.Name)
}

// nameless is the 400 for an object in which no name can be found.
func (q *request) nameless() error {
	return api.BadRequest("the name of the object (%s based on URL) was undeterminable: name must be provided", q.Key.Name)
}

// current is the object as it is stored now, in the version of the request; nil when there is none.
func (q *request) current(ctx context.Context) (*api.Record, *resource.Object, error) {
	return q.newest(ctx, q.decodeCurrent)
}

// stored is current in whatever version the object is stored in: a deletion needs no conversion.
func (q *request) stored(ctx context.Context) (*api.Record, *resource.Object, error) {
	return q.newest(ctx, func(rec *api.Record) (*resource.Object, error) { return decodeRecord(q.d, rec) })
}

func (q *request) newest(ctx context.Context, decode func(*api.Record) (*resource.Object, error)) (*api.Record, *resource.Object, error) {
	v, err := q.s.view(ctx, 0)
	if err != nil {
		return nil, nil, err
	}
	rec := v.Get(q.d.Resource, q.Key)
	if rec == nil {
		return nil, nil, nil
	}
	if b := q.Base; b != nil && b.Record == rec && rec.Definition() == q.d.Generation {
		if old, err := resource.TypedObject(b.Object); err == nil && resource.Fits(q.d.Storage().Codec, old) {
			return rec, old, nil
		}
	}
	old, err := decode(rec)
	return rec, old, err
}

// decodeCurrent is decodeRecord that keeps what it parsed for those who compare with it.
func (q *request) decodeCurrent(rec *api.Record) (*resource.Object, error) {
	q.before = nil
	c, ok := q.v.Codec.(resource.DocumentCodec)
	if !ok || !q.v.Storage || !asStored(q.d, q.v, rec) {
		return q.s.decodeIn(q.d, q.v, rec)
	}
	doc, err := object.Parse(rec.JSON())
	if err != nil {
		return nil, errStored(q.d, rec, err)
	}
	q.before = doc
	old, err := c.DecodeStored(doc)
	if err != nil {
		return nil, errStored(q.d, rec, err)
	}
	return old, nil
}

// beforeOf is rec parsed, in the version of the request.
func (q *request) beforeOf(rec *api.Record) (*object.Value, error) {
	if q.before != nil {
		return q.before, nil
	}
	doc, err := q.s.rendition(q.d, q.v, rec)
	if err != nil {
		return nil, err
	}
	if q.before, err = object.Parse(doc.json); err != nil {
		return nil, errStored(q.d, rec, err)
	}
	return q.before, nil
}

// updateMissing is a PUT of what does not exist: kinds that clients write without asking first come to be by it.
func (q *request) updateMissing(ctx context.Context, o *resource.Object) (*api.Response, error) {
	if o.Meta.UID != "" {
		return nil, q.wrongUID(string(o.Meta.UID), "")
	}
	if !q.d.CreateOnUpdate || q.Subresource != "" {
		return nil, q.notFound()
	}
	if _, err := statedRevision(o.Meta); err != nil {
		return nil, err
	}
	return q.createInstead(ctx, o)
}

// createInstead makes the object that an update or an apply found missing. What resourceVersion the client stated does
// not matter then.
func (q *request) createInstead(ctx context.Context, o *resource.Object) (*api.Response, error) {
	resp, err := q.createObject(ctx, o)
	if api.IsAlreadyExists(err) {
		return nil, store.ErrConflict // it came to exist meanwhile: decide anew
	}
	return resp, err
}

// wrongUID is the 409 for a write meant for an object of that name which is gone.
func (q *request) wrongUID(want, have string) error { return q.unmet("UID", want, have) }

// unmet is the 409 for a write that is meant for another state of the object, which what names, than there is. Its words
// name upstream's storage, which adds the prefix to what it reads, not to what a dry run looks at.
func (q *request) unmet(what, want, have string) error {
	key := "/registry/"
	if q.options.dryRun {
		key = "/"
	}
	if q.d.Custom {
		key += q.d.Resource.Group + "/"
	}
	return api.Conflict(q.resource(), q.Key.Name, fmt.Errorf(
		"StorageError: invalid object, Code: 4, Key: %s%s/%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: %[4]s in precondition: %[5]s, %[4]s in object meta: %[6]s",
		key, cmp.Or(upstreamKeys[q.d.Resource], q.d.Resource.Name), q.Key, what, want, have))
}

// upstreamKeys are the names that upstream's storage has for resources where it has others than the API.
var upstreamKeys = map[api.Resource]string{
	api.Services: "services/specs", api.Endpoints: "services/endpoints", api.Nodes: "minions",
	api.CustomResourceDefinitions: "apiextensions.k8s.io/customresourcedefinitions",
}

// replace stores o over rec, which old is read from, unless nothing changes (W3). store.ErrConflict asks for another
// attempt from the start.
func (q *request) replace(ctx context.Context, rec *api.Record, old, o *resource.Object) (*api.Response, error) {
	if err := q.checkVersion(rec, o.Meta); err != nil {
		return nil, err
	}
	w, sealed, err := q.prepareUpdate(ctx, rec, old, o)
	if err != nil {
		return nil, err
	}
	defer sealed.free()
	if q.finalized(w) {
		q.hookWarnings(ctx, w)
		return q.removeFinalized(ctx, w, sealed)
	}
	claims, err := q.claim(ctx, w)
	if err != nil {
		return nil, err
	}
	q.hookWarnings(ctx, w)
	json, err := sealed.encode(w)
	if err != nil {
		return nil, err
	}
	if unchanged(rec, json, sealed.owners) && len(claims) == 0 {
		return &api.Response{Record: rec}, nil
	}
	next, err := sealed.record(w, json)
	if err != nil {
		return nil, err
	}
	if q.options.dryRun {
		next.Stamp(rec.Revision())
		return &api.Response{Record: next}, nil
	}
	if err := q.commit(ctx, next, rec.Revision(), append(w.Guards, claims...)); err != nil {
		return nil, err
	}
	return &api.Response{Record: next}, nil
}

// prepareUpdate takes an object from its defaults to its verdict.
func (q *request) prepareUpdate(ctx context.Context, rec *api.Record, old, o *resource.Object) (*resource.Write, *sealed, error) {
	if !q.unchanged {
		q.setDefaults(o)
	}
	q.dropDuplicateOwners(o.Meta)
	w := &resource.Write{
		Definition: q.d, Version: q.v, Request: q.Request, Subresource: q.Subresource,
		Old: old, New: o, OldRecord: rec, DryRun: q.options.dryRun, Unchanged: q.unchanged,
		Unpruned: q.decided != nil,
	}
	if q.reset = q.resetsIgnored(w); q.reset {
		w.New.Meta.ResourceVersion = blank
		if err := q.judgeUpdate(ctx, w); err != nil {
			return nil, nil, err
		}
		owned, err := q.own(rec, o)
		if err != nil {
			return nil, nil, err
		}
		owned.settled = true
		return w, owned, nil
	}
	owned, err := q.own(rec, o)
	if err != nil {
		return nil, nil, err
	}
	sent := serverSet(o.Meta)
	if err := q.judgeUpdate(ctx, w); err != nil {
		owned.free()
		return nil, nil, err
	}
	owned.settled = !q.completed(w) && sent == serverSet(o.Meta)
	return w, owned, nil
}

// setByServer is the metadata that prepareMeta may set to another value, or to another pointer.
type setByServer struct {
	generation int64
	selfLink   string
	uid        types.UID
	created    metav1.Time
	deleted    *metav1.Time
	grace      *int64
}

func serverSet(m *metav1.ObjectMeta) setByServer {
	return setByServer{m.Generation, m.SelfLink, m.UID, m.CreationTimestamp, m.DeletionTimestamp, m.DeletionGracePeriodSeconds}
}

func (q *request) judgeUpdate(ctx context.Context, w *resource.Write) error {
	if err := q.admit(ctx, w); err != nil {
		return err
	}
	q.prepareMeta(ctx, w)
	if err := q.validate(ctx, w); err != nil {
		return err
	}
	return q.admitValid(ctx, w)
}

// prepareMeta takes back what an update may not change without being refused for it, and lets the kind do the same.
func (q *request) prepareMeta(ctx context.Context, w *resource.Write) {
	m, old := w.New.Meta, w.Old.Meta
	m.Generation, m.SelfLink = old.Generation, ""
	if q.d.Hooks.Prepare != nil {
		q.d.Hooks.Prepare(ctx, w)
	}
	if m.UID == "" {
		m.UID = old.UID
	}
	if !old.CreationTimestamp.IsZero() {
		m.CreationTimestamp = old.CreationTimestamp
	}
	if old.DeletionTimestamp != nil {
		m.DeletionTimestamp = old.DeletionTimestamp
	}
	if m.DeletionGracePeriodSeconds == nil {
		m.DeletionGracePeriodSeconds = old.DeletionGracePeriodSeconds
	}
}

// checkVersion compares the resourceVersion a client sent with the one it would replace.
func (q *request) checkVersion(rec *api.Record, m *metav1.ObjectMeta) error {
	rev, err := statedRevision(m)
	switch {
	case err != nil:
		return err
	case rev == rec.Revision(), rev == 0 && !q.d.PinnedUpdate:
		return nil
	case rev == 0:
		return api.Invalid(q.v.Group, q.d.Resource.Name, q.Key.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata", "resourceVersion"), uint64(0), "must be specified for an update"),
		})
	}
	return q.modified()
}

// statedRevision reads the resourceVersion that a client sent; 0 when it sent none.
func statedRevision(m *metav1.ObjectMeta) (api.Revision, error) {
	if m.ResourceVersion == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(m.ResourceVersion, 10, 64)
	if err != nil {
		return 0, api.BadRequest("%s", err)
	}
	return api.Revision(n), nil
}

// finalized reports whether the update took away what kept an object that is being deleted.
func (q *request) finalized(w *resource.Write) bool {
	old := w.Old.Meta
	return len(w.New.Meta.Finalizers) == 0 && old.DeletionTimestamp != nil &&
		(old.DeletionGracePeriodSeconds == nil || *old.DeletionGracePeriodSeconds == 0) &&
		(q.d.Hooks.Finalize == nil || q.d.Hooks.Finalize(w.New))
}

// removeFinalized deletes the object and answers with what the update made of it.
func (q *request) removeFinalized(ctx context.Context, w *resource.Write, sealed *sealed) (*api.Response, error) {
	next, err := sealed.seal(w)
	if err != nil {
		return nil, err
	}
	next.Stamp(w.OldRecord.Revision())
	if q.options.dryRun {
		return &api.Response{Record: next}, nil
	}
	if err := q.remove(ctx, w.OldRecord, w.Old); err != nil {
		return nil, err
	}
	return &api.Response{Record: next}, nil
}

// remove takes an object out of the store, with what the kind claimed for it.
func (q *request) remove(ctx context.Context, rec *api.Record, old *resource.Object) error {
	w := &resource.Write{Definition: q.d, Version: q.v, Request: q.Request, Old: old, OldRecord: rec}
	claims, err := q.claim(ctx, w)
	if err != nil {
		return err
	}
	ws := append([]store.Write{store.Delete(q.d.Resource, rec.Key(), rec.Revision())}, claims...)
	if _, err := q.s.Store.Commit(ctx, ws...); err != nil {
		return err
	}
	return q.committed(ctx, rec, true)
}
