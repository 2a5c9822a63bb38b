package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// sealed is an object on its way to the store with who owns its fields.
type sealed struct {
	q      *request
	owners api.Owners
	buf    *[]byte       // the object as ownership was decided on, in the version of the request; nil when it was decided before
	after  *object.Value // the same, parsed; nil before parse: its strings lie in buf, or, of a document, members in the object
	stored *resource.Object
	final  *[]byte // stored, encoded
	// settled says that what is in buf is the object as it is stored: nothing has changed since.
	settled bool
}

var encodings = sync.Pool{New: func() any { return new([]byte) }}

// own decides who owns the fields of o, which replaces rec (nil on a create). It is asked before admission and Prepare:
// what those add belongs to nobody, as on upstream.
func (q *request) own(rec *api.Record, o *resource.Object) (*sealed, error) {
	sent := o.Meta.ManagedFields
	s := &sealed{q: q, final: encodings.Get().(*[]byte)}
	o.Meta.ResourceVersion, o.Meta.ManagedFields = blank, nil
	if q.decided != nil && q.d.StatusManager == "" {
		s.owners = *q.decided // and no hook changes what somebody else would come to own
		return s, nil
	}
	err := s.take(rec, o)
	if err != nil {
		s.free()
		return nil, err
	}
	if q.decided != nil {
		s.owners = *q.decided
		return s, nil
	}
	by := q.owner(q.options.manager, q.Subresource)
	if rec == nil && len(sent) == 0 && !q.d.Custom {
		err = s.create(by)
	} else {
		err = s.compare(rec, sent, by)
	}
	if err != nil {
		s.free()
		return nil, err
	}
	return s, nil
}

// compare decides from what there was before, and what the client says of managedFields.
func (s *sealed) compare(rec *api.Record, sent []metav1.ManagedFieldsEntry, by object.Write) error {
	q := s.q
	var owners api.Owners
	if rec != nil {
		owners = rec.Owners()
	}
	if q.d.Custom && len(sent) == 0 {
		sent = nil // as on upstream, where an empty list does not survive the decoder of custom resources
	}
	if q.Subresource == "" && sent != nil {
		owners = object.SentOwners(owners, sent)
	}
	by.Owned = rec != nil && len(owners) > 0
	owners = q.sameGroup(owners)
	if q.Subresource == "" && sent != nil && !q.d.Custom {
		if slices.ContainsFunc(owners, malformedVersion) {
			return nil // as on upstream, which gives up where it cannot even read whose version it is
		}
		owners = slices.DeleteFunc(owners, func(o api.Owner) bool {
			return q.d.Version(o.APIVersion) == nil // which nobody could look at the object in
		})
	}
	if rec != nil {
		by.Convert = q.converter(owners)
	}
	before, after, err := s.parsed(rec, by.Convert != nil)
	if err != nil {
		return err
	}
	if s.owners, err = q.owned(owners, before, after, by); err != nil {
		// Nobody can tell whose fields are whose now, and upstream forgets it for good. A webhook that fails is no reason.
		if s.owners = nil; rec != nil && errors.As(err, new(*api.Error)) {
			s.owners = rec.Owners()
		}
	}
	if sent != nil {
		q.unfit = unfit(s.owners)
	}
	return nil
}

// malformedVersion reports whether an owner's version is one that no kind can have.
func malformedVersion(o api.Owner) bool {
	_, err := schema.ParseGroupVersion(o.APIVersion)
	return err != nil
}

// owned is object.Own for a document that may not fit the schema, or whose owners may speak versions that are none of the
// kind's, which only custom kinds come to. The latter cannot be looked at, so even a write that changes nothing fails.
func (q *request) owned(owners api.Owners, before, after *object.Value, by object.Write) (api.Owners, error) {
	if q.d.Custom {
		for _, o := range owners {
			if q.d.Version(o.APIVersion) == nil {
				return nil, fmt.Errorf("the kind has no version %q, which %q owns fields in", o.APIVersion, o.Manager)
			}
		}
		if err := q.mistyped(q.v, after); err != nil {
			return nil, err
		}
		if before != nil {
			if err := q.mistyped(q.v, before); err != nil {
				return nil, err
			}
		}
	}
	return object.Own(owners, before, after, q.v.Shape, by)
}

// unfit are the owners as validation sees managedFields, if it has anything against their names.
func unfit(owners api.Owners) []metav1.ManagedFieldsEntry {
	entries := make([]metav1.ManagedFieldsEntry, len(owners))
	for i, o := range owners {
		entries[i] = metav1.ManagedFieldsEntry{
			Manager: o.Manager, Operation: metav1.ManagedFieldsOperationType(o.Operation), Subresource: o.Subresource,
		}
	}
	if len(metav1validation.ValidateManagedFields(entries, nil)) == 0 {
		return nil
	}
	return entries
}

// parsed is what there was before and what there is now, for Own to compare: as a whole, or at least where they differ.
func (s *sealed) parsed(rec *api.Record, whole bool) (before, after *object.Value, err error) {
	q := s.q
	if !whole && rec != nil && q.before == nil && q.typedAsStored() && asStored(q.d, q.v, rec) {
		// Most of the object is as it was, which shows without parsing it.
		before, after, *s.final, err = object.ParseDifferent((*s.final)[:0], rec.JSON(), *s.buf, "metadata")
		return before, after, err
	}
	if err := s.parse(); err != nil {
		return nil, nil, err
	}
	switch {
	case rec != nil:
		before, err = q.beforeOf(rec)
	case !q.d.Custom:
		var e *empty
		if e, err = emptyOf(q.v); err == nil {
			before = e.value
		}
	}
	return before, s.after, err
}

// create decides for a new object of a typed kind. Most are like one made before: the fields are remembered.
func (s *sealed) create(by object.Write) error {
	q := s.q
	e, err := emptyOf(q.v)
	if err != nil {
		return err
	}
	buf := encodings.Get().(*[]byte)
	defer encodings.Put(buf)
	key := append(append(append((*buf)[:0], by.Manager...), 0), by.Subresource...)
	key = object.AppendSkeleton(append(key, 0), *s.buf, q.v.Shape)
	*buf = key
	if fields, ok := e.created.get(key); ok {
		if fields.Fields != "" {
			fields.Time = by.Time
			s.owners = api.Owners{fields}
		}
		return nil
	}
	if err := s.parse(); err != nil {
		return err
	}
	if s.owners, err = object.Own(nil, e.value, s.after, q.v.Shape, by); err != nil {
		return nil // what cannot be told belongs to nobody
	}
	switch {
	case !e.regular || len(s.owners) > 1:
	case len(s.owners) == 0:
		e.created.put(key, api.Owner{})
	default:
		e.created.put(key, s.owners[0])
	}
	return nil
}

// take keeps o as it is now, in the version the request speaks, which owners' fields are expressed in: in buf, or in
// after when the object is a document.
func (s *sealed) take(rec *api.Record, o *resource.Object) (err error) {
	s.buf = encodings.Get().(*[]byte)
	if c, ok := s.q.v.Codec.(resource.StatusCodec); ok && s.q.reset && asStored(s.q.d, s.q.v, rec) {
		b, err := c.EncodeStatus((*s.buf)[:0], o, rec.JSON())
		if err == nil {
			*s.buf = b
		}
		return err
	}
	if c, ok := s.q.v.Codec.(resource.DocumentCodec); ok {
		s.after, err = c.Document(o)
		return err
	}
	b, err := s.q.v.Codec.Encode((*s.buf)[:0], o)
	if err == nil {
		*s.buf = b
	}
	return err
}

// parse makes after of buf.
func (s *sealed) parse() (err error) {
	if s.after == nil {
		s.after, err = object.Parse(*s.buf)
	}
	return err
}

// keep leaves ownership as it is: the fields that a binding sets belong to nobody, as on upstream.
func (q *request) keep(rec *api.Record, _ *resource.Object) (*sealed, error) {
	return &sealed{q: q, owners: rec.Owners(), final: encodings.Get().(*[]byte)}, nil
}

// typedAsStored reports whether the request speaks of typed objects in the version in which they are stored.
func (q *request) typedAsStored() bool { return q.v.Storage && !q.d.Custom }

// completed reports whether anything may change w.New after ownership was decided on, but for the metadata of an update.
func (q *request) completed(w *resource.Write) bool {
	return !q.typedAsStored() || q.d.Hooks.Prepare != nil || q.d.Hooks.Claim != nil || q.admissionCompletes(w)
}

// resetsIgnored reports whether all that admission and Prepare change in w.New are fields that ownership ignores in
// this write anyway, so that it may be decided on after them, when the object is as it will be stored.
func (q *request) resetsIgnored(w *resource.Write) bool {
	return q.Subresource == "status" && q.d.Resource == api.Pods && q.typedAsStored() && q.d.Hooks.Claim == nil &&
		!q.admissionCompletes(w) && w.New.Meta.ManagedFields == nil && w.Old.Meta.DeletionTimestamp == nil
}

// sameGroup are a record's owners as a write reads them. It leaves out those whose fields are expressed in another group's
// version of the kind, unless the fields go by the same names here: upstream cannot convert between groups here either, and
// forgets them.
func (q *request) sameGroup(owners api.Owners) api.Owners {
	owners = object.LastEntries(owners)
	if len(q.d.Versions) == 1 || q.d.Custom {
		return owners
	}
	return slices.DeleteFunc(owners, func(o api.Owner) bool {
		group, _, found := strings.Cut(o.APIVersion, "/")
		if !found {
			group = ""
		}
		if group == q.v.Group {
			return false
		}
		v := q.d.Version(o.APIVersion)
		return v == nil || !v.Alike(q.v)
	})
}

// converter is what object.Own needs to look at a write in the versions of others; nil when fields go by the same names in
// all of them, and are owned alike.
func (q *request) converter(owners api.Owners) func(*object.Value, string) (*object.Value, object.Shape, error) {
	for _, o := range owners {
		if o.APIVersion == q.v.APIVersion() {
			continue
		}
		if v := q.d.Version(o.APIVersion); v == nil || !v.Alike(q.v) {
			return q.convertDocument
		}
	}
	return nil
}

// owner is who writes, and what this endpoint does not let them write.
func (q *request) owner(manager, subresource string) object.Write {
	w := object.Write{Custom: q.d.Custom, Owner: api.Owner{
		Manager: manager, APIVersion: q.v.APIVersion(), Subresource: subresource, Time: now().Unix(),
	}}
	switch _, status := q.d.Subresource(q.v, "status"); {
	case subresource == "status":
		w.Ignore = q.statusIgnores()
	case status && subresource == "":
		w.Ignore = ignoreStatus
	}
	return w
}

// What writes of the object, and of its status, reset: upstream's GetResetFields.
var (
	ignoreStatus     = object.FieldPaths("status")
	ignoreSpec       = object.FieldPaths("spec")
	ignoreWorkload   = object.FieldPaths("spec", "metadata.labels")
	ignorePod        = object.FieldPaths("spec", "metadata.deletionTimestamp", "metadata.ownerReferences")
	ignoreDefinition = object.FieldPaths("spec", "metadata")
)

func (q *request) statusIgnores() object.Fields {
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

// empties holds the empty object of each version of the typed kinds.
var empties sync.Map // *resource.Version -> *empty

// empty is a typed kind's empty object, in which there are members that nobody owns, and what was seen to be owned by
// the creators of others.
type empty struct {
	value   *object.Value
	regular bool // whether skeletons tell objects apart that are owned differently
	created creators
}

// creators are the owners of objects made lately, by who made them and the object's skeleton. A kind's objects are made
// alike in their thousands, by a controller or by a load: Pods, Events, ConfigMaps.
type creators struct {
	mu     sync.RWMutex
	owners map[string]api.Owner
	size   int
}

// creatorsSize bounds the keys remembered of one version, in bytes; then it starts anew.
const creatorsSize = 64 << 10

func (c *creators) get(key []byte) (api.Owner, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	o, ok := c.owners[string(key)]
	return o, ok
}

func (c *creators) put(key []byte, o api.Owner) {
	if len(key) > creatorsSize/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owners == nil || c.size+len(key)+len(o.Fields) > creatorsSize {
		c.owners, c.size = map[string]api.Owner{}, 0
	}
	o.Fields = strings.Clone(o.Fields)
	c.owners[string(key)] = o
	c.size += len(key) + len(o.Fields)
}

func emptyOf(v *resource.Version) (*empty, error) {
	if e, ok := empties.Load(v); ok {
		return e.(*empty), nil
	}
	o, _, err := v.Codec.Decode([]byte("{}"), true)
	if err != nil {
		return nil, err
	}
	b, err := v.Codec.Encode(nil, o)
	if err != nil {
		return nil, err
	}
	value, err := object.Parse(b)
	if err != nil {
		return nil, err
	}
	e, _ := empties.LoadOrStore(v, &empty{value: value, regular: !object.LongStrings(value)})
	return e.(*empty), nil
}

// free gives the buffers back; after may not be looked at any more.
func (s *sealed) free() {
	if s.buf != nil {
		encodings.Put(s.buf)
	}
	encodings.Put(s.final)
}

// encode writes the object as it will be stored.
func (s *sealed) encode(w *resource.Write) ([]byte, error) {
	if s.settled && s.buf != nil {
		s.stored = w.New
		return *s.buf, nil
	}
	if err := resource.CheckStorable(s.q.d, w.New); err != nil {
		return nil, err
	}
	var err error
	if s.stored, err = resource.ToStorage(s.q.d, w.New, s.owners); err != nil {
		return nil, err
	}
	var b []byte
	if c, ok := s.q.v.Codec.(resource.StatusCodec); ok && s.keepsSpec(w) {
		b, err = c.EncodeStatus((*s.final)[:0], s.stored, *s.buf)
	} else {
		b, err = resource.EncodeBlank((*s.final)[:0], s.q.d, s.stored)
	}
	*s.final = b
	return b, err
}

// keepsSpec reports whether what is in buf differs from the object as it is stored in the metadata and status at most.
func (s *sealed) keepsSpec(w *resource.Write) bool {
	return s.q.d.KeepsSpec && w.Old == nil && s.buf != nil && s.q.typedAsStored() && !s.q.admissionCompletes(w)
}

// record makes the record of json, which encode wrote.
func (s *sealed) record(w *resource.Write, json []byte) (*api.Record, error) {
	if manager := s.q.d.StatusManager; manager != "" && w.StatusClaimed && s.buf != nil {
		claimed, final, err := s.claimed(json)
		if err != nil {
			return nil, err
		}
		if owners, err := object.Own(s.owners, claimed, final, s.q.v.Shape, s.q.owner(manager, "status")); err == nil {
			s.owners = owners
		} // else it cannot be told what of it is the manager's
	}
	return resource.SealJSON(s.q.d, s.stored, json, s.owners)
}

// claimed is the object before its status was claimed, and after, which is json: where they differ, if that can be seen.
func (s *sealed) claimed(json []byte) (before, after *object.Value, err error) {
	if s.q.typedAsStored() {
		before, after, _, err = object.ParseDifferent(nil, *s.buf, json, "metadata")
		return before, after, err
	}
	if err := s.parse(); err != nil {
		return nil, nil, err
	}
	after, err = object.Parse(json)
	return s.after, after, err
}

// seal encodes the object and makes its record.
func (s *sealed) seal(w *resource.Write) (*api.Record, error) {
	b, err := s.encode(w)
	if err != nil {
		return nil, err
	}
	return s.record(w, b)
}
