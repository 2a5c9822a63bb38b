package server

import (
	"slices"
	"strings"
	"sync"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// sealed is an object on its way to the store with who owns its fields.
type sealed struct {
	q      *request
	owners api.Owners
	buf    *[]byte       // the object as ownership was decided on, in the version of the request
	after  *object.Value // the same, parsed: its strings lie in buf
	final  *[]byte       // the object as it is stored
}

var encodings = sync.Pool{New: func() any { return new([]byte) }}

// own decides who owns the fields of o, which replaces rec (nil on a create). It is asked before admission and Prepare:
// what those add belongs to nobody, as on upstream.
func (q *request) own(rec *api.Record, o *resource.Object) (*sealed, error) {
	sent := o.Meta.ManagedFields
	s := &sealed{q: q, buf: encodings.Get().(*[]byte), final: encodings.Get().(*[]byte)}
	b, err := q.encodeVersion((*s.buf)[:0], o)
	if err != nil {
		s.free()
		return nil, err
	}
	*s.buf = b
	if s.after, err = object.Parse(b); err != nil {
		s.free()
		return nil, err
	}
	var before *object.Value
	if rec != nil {
		s.owners = q.sameGroup(rec.Owners())
		have, err := q.s.rendition(q.d, q.v, rec)
		if err == nil {
			before, err = object.Parse(have.json)
		}
		if err != nil {
			s.free()
			return nil, err
		}
	} else if before, err = emptyOf(q.d, q.v); err != nil {
		s.free()
		return nil, err
	}
	if q.Subresource == "" {
		s.owners = object.SentOwners(s.owners, sent)
	}
	through := q.Subresource
	if q.ownedThrough != "" {
		through = q.ownedThrough
	}
	by := q.owner(q.options.manager, through)
	by.Owned = len(s.owners) == 0 && rec != nil && len(rec.Owners()) > 0 && sent == nil
	s.owners = object.Own(s.owners, before, s.after, q.v.Shape, by)
	return s, nil
}

// keep leaves ownership as it is: the fields that a binding sets belong to nobody, as on upstream.
func (q *request) keep(rec *api.Record, _ *resource.Object) (*sealed, error) {
	return &sealed{q: q, owners: rec.Owners(), buf: encodings.Get().(*[]byte), final: encodings.Get().(*[]byte)}, nil
}

// sameGroup leaves out owners whose fields are expressed in another group's version of the kind: upstream cannot
// convert between groups here either, and forgets them.
func (q *request) sameGroup(owners api.Owners) api.Owners {
	if len(q.d.Versions) == 1 {
		return owners
	}
	return slices.DeleteFunc(owners, func(o api.Owner) bool {
		group, _, found := strings.Cut(o.APIVersion, "/")
		if !found {
			group = ""
		}
		return group != q.v.Group
	})
}

// owner is who writes, and what this endpoint does not let them write.
func (q *request) owner(manager, subresource string) object.Write {
	w := object.Write{Owner: api.Owner{
		Manager: manager, APIVersion: q.v.APIVersion(), Subresource: subresource, Time: now().Unix(),
	}}
	switch _, status := q.d.Subresources["status"]; {
	case subresource == "status":
		w.Ignore = q.statusIgnores()
	case status && subresource == "":
		w.Ignore = ignoreStatus
	}
	return w
}

// What writes of the object, and of its status, reset: upstream's GetResetFields.
var (
	ignoreStatus     = []string{"status"}
	ignoreSpec       = []string{"spec"}
	ignoreWorkload   = []string{"spec", "metadata.labels"}
	ignorePod        = []string{"spec", "metadata.deletionTimestamp", "metadata.ownerReferences"}
	ignoreDefinition = []string{"spec", "metadata"}
)

func (q *request) statusIgnores() []string {
	switch q.d.Resource {
	case api.Deployments:
		return ignoreWorkload
	case api.Pods:
		return ignorePod
	case api.CustomResourceDefinitions:
		return ignoreDefinition
	}
	return ignoreSpec
}

// encodeVersion writes o in the version the request speaks, which owners' fields are expressed in.
func (q *request) encodeVersion(dst []byte, o *resource.Object) ([]byte, error) {
	o.Meta.ResourceVersion, o.Meta.ManagedFields = blank, nil
	return q.v.Codec.Encode(dst, o)
}

// empties holds the empty object of each version, in which typed kinds have members that nobody owns.
var empties sync.Map // *resource.Version -> *object.Value

func emptyOf(d *resource.Definition, v *resource.Version) (*object.Value, error) {
	if d.Custom {
		return nil, nil
	}
	if e, ok := empties.Load(v); ok {
		return e.(*object.Value), nil
	}
	o, _, err := v.Codec.Decode([]byte("{}"), true)
	if err != nil {
		return nil, err
	}
	b, err := v.Codec.Encode(nil, o)
	if err != nil {
		return nil, err
	}
	e, err := object.Parse(b)
	if err != nil {
		return nil, err
	}
	empties.Store(v, e)
	return e, nil
}

// free gives the buffers back; after may not be looked at any more.
func (s *sealed) free() {
	encodings.Put(s.buf)
	encodings.Put(s.final)
}

// encode writes the object as it will be stored.
func (s *sealed) encode(w *resource.Write) ([]byte, error) {
	b, err := resource.EncodeBlank((*s.final)[:0], s.q.d, w.New)
	*s.final = b
	return b, err
}

// record makes the record of json, which encode wrote.
func (s *sealed) record(w *resource.Write, json []byte) (*api.Record, error) {
	if w.StatusManager != "" {
		final, err := object.Parse(json)
		if err != nil {
			return nil, err
		}
		s.owners = object.Own(s.owners, s.after, final, s.q.v.Shape, s.q.owner(w.StatusManager, "status"))
	}
	return resource.SealJSON(s.q.d, w.New, json, s.owners)
}

// seal encodes the object and makes its record.
func (s *sealed) seal(w *resource.Write) (*api.Record, error) {
	b, err := s.encode(w)
	if err != nil {
		return nil, err
	}
	return s.record(w, b)
}
