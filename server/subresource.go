package server

import (
	"context"
	"net/http"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
)

// subresource answers a request for a part of an object, or for something that is done with it.
func (s *Server) subresource(ctx context.Context, r *api.Request, d *resource.Definition, v *resource.Version) (*api.Response, error) {
	sub, ok := d.Subresource(v, r.Subresource)
	if !ok {
		return nil, noSubresource(d, r.Key.Name)
	}
	q := &request{s: s, Request: r, d: d, v: v}
	if connect := s.Connect[d.Resource.Name+"/"+r.Subresource]; connect != nil {
		return connect(ctx, r)
	}
	if answer := s.Answers[d.Resource.Name+"/"+r.Subresource]; answer != nil {
		return q.ask(ctx, answer, &sub)
	}
	switch {
	case sub.Scale != nil:
		return q.scale(ctx, &sub)
	case sub.Apply != nil:
		return q.apply(ctx, &sub)
	case r.Subresource == "eviction":
		return q.evict(ctx)
	}
	if r.Subresource != "status" && r.Subresource != "finalize" {
		return nil, errNoResource() // declared, but nothing here serves it
	}
	switch r.Verb {
	case api.Get:
		return q.get(ctx)
	case api.Update:
		return q.update(ctx)
	case api.Patch:
		return q.patch(ctx)
	}
	return nil, errMethod()
}

// noSubresource is the 404 for a path below an object that leads nowhere. Upstream serves custom resources by a handler of
// their own, which has other words for it.
func noSubresource(d *resource.Definition, name string) error {
	if d.Custom {
		return api.NotFound(d.Resource, name)
	}
	return errNoResource()
}

// apply changes an object as a body says that is not the object: a binding, an approval.
func (q *request) apply(ctx context.Context, sub *resource.Subresource) (*api.Response, error) {
	kind := "CreateOptions"
	switch q.Verb {
	case api.Update:
		kind = "UpdateOptions"
	case api.Create:
	case api.Get:
		return q.get(ctx)
	default:
		return nil, errMethod()
	}
	if err := q.parseWriteOptions(kind); err != nil {
		return nil, err
	}
	body, err := q.subresourceBody(sub)
	if err != nil {
		return nil, err
	}
	if sub.Check != nil {
		if err := sub.Check(q.Request, body); err != nil {
			return nil, withWarnings(err, q.warnings)
		}
	}
	if q.Key.Name == "" { // that of the pod is the Binding's to give
		return nil, api.BadRequest("Name parameter required.")
	}
	if err := checkName(q.Key.Name); err != nil {
		return nil, err
	}
	var uid types.UID
	var revision string
	if sub.Preconditions != nil {
		uid, revision = sub.Preconditions(body)
	}
	return q.attempts(ctx, func(int) (*api.Response, error) {
		rec, old, err := q.current(ctx)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return nil, q.notFound()
		}
		if uid != "" && string(uid) != rec.UID() {
			return nil, q.wrongUID(string(uid), rec.UID())
		}
		if have := rec.Revision().String(); revision != "" && revision != have {
			return nil, q.unmet("ResourceVersion", revision, have)
		}
		w := &resource.Write{
			Definition: q.d, Version: q.v, Request: q.Request, Subresource: q.Subresource,
			Old: old, New: old.Clone(), OldRecord: rec, DryRun: q.options.dryRun,
		}
		if err := sub.Apply(ctx, w, body); err != nil {
			return nil, err
		}
		return q.storeApplied(ctx, w, sub)
	})
}

// storeApplied stores what a subresource's Apply made of an object. A create is answered with a Status, an update with
// the object.
func (q *request) storeApplied(ctx context.Context, w *resource.Write, sub *resource.Subresource) (*api.Response, error) {
	own, create := q.own, q.Verb == api.Create
	if create {
		own = q.keep // what a binding sets belongs to nobody, as upstream has it
	}
	owned, err := own(w.OldRecord, w.New)
	if err != nil {
		return nil, err
	}
	defer owned.free()
	if err := q.admit(ctx, w); err != nil {
		return nil, err
	}
	if err := q.admitValid(ctx, w); err != nil {
		return nil, err
	}
	done := func(rec *api.Record) (*api.Response, error) {
		if create {
			st := created()
			if sub.Answer != nil {
				st = sub.Answer(w)
			}
			return &api.Response{Code: int(st.Code), Object: st}, nil
		}
		return &api.Response{Record: rec}, nil
	}
	if q.finalized(w) {
		if _, err := q.removeFinalized(ctx, w, owned); err != nil {
			return nil, err
		}
		return done(w.OldRecord)
	}
	json, err := owned.encode(w)
	if err != nil {
		return nil, err
	}
	if unchanged(w.OldRecord, json, owned.owners) {
		return done(w.OldRecord)
	}
	next, err := owned.record(w, json)
	if err != nil {
		return nil, err
	}
	if q.options.dryRun {
		next.Stamp(w.OldRecord.Revision())
		return done(next)
	}
	if err := q.commit(ctx, next, w.OldRecord.Revision(), w.Guards); err != nil {
		return nil, err
	}
	if q.s.Bound != nil && q.d.Resource == api.Pods && q.Subresource == "binding" {
		w.New.Meta.ResourceVersion = next.Revision().String()
		q.s.Bound(next, w.New.Value)
	}
	return done(next)
}

// created is the Status that answers a create of what is not kept.
func created() *metav1.Status {
	st := api.Success(nil)
	st.Code = http.StatusCreated
	return st
}

// subresourceBody decodes the body of a subresource that has a kind of its own.
func (q *request) subresourceBody(sub *resource.Subresource) (any, error) {
	body, err := q.decodeBody(sub)
	if err != nil {
		return nil, err
	}
	if o, ok := body.(metav1.ObjectMetaAccessor); ok {
		if m, ok := o.GetObjectMeta().(*metav1.ObjectMeta); ok {
			if err := q.scope(m); err != nil {
				return nil, withWarnings(err, q.warnings)
			}
		}
	}
	if sub.Default != nil {
		sub.Default(body)
	}
	return body, nil
}

func (q *request) decodeBody(sub *resource.Subresource) (any, error) {
	body := sub.Body()
	if q.Object != nil {
		if o, ok := q.Object.(runtime.Object); ok && reflect.TypeOf(o) == reflect.TypeOf(body) {
			return o.DeepCopyObject(), nil
		}
		data, err := marshal(q.Object)
		if err != nil {
			return nil, api.BadRequest("encoding %T: %s", q.Object, err)
		}
		return body, q.decodeInto(data, sub.Kind, body)
	}
	if q.ContentType == accept.TypeProtobuf {
		return body, q.decodeMessage(q.Body, sub.Kind, body)
	}
	data, err := q.jsonBody()
	if err != nil {
		return nil, err
	}
	return body, q.decodeInto(data, sub.Kind, body)
}
