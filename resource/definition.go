// Package resource says what kinds exist and what is special about each. A built-in and a custom resource are the same
// Definition: names, scope, versions, schema, columns, subresources, indexes and hooks. Built-ins are compiled in
// (package builtin), a CustomResourceDefinition fills the same slots at run time, and one request path serves both.
//
// The package decides nothing about requests; package server drives the hooks in this order:
//
//	decode -> Default -> field ownership -> admission completes -> Prepare -> Validate -> admission's verdict
//	       -> Warn -> Claim -> Encode -> commit
//
// as upstream does: what admission and Prepare add is nobody's field.
package resource

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/store"
)

// Definition is one kind of resource. It does not change once registered; a changed CRD makes a new one.
type Definition struct {
	Resource   api.Resource // identity, and the table of the store
	Kind       string
	ListKind   string // Kind + "List" unless a CRD says otherwise
	Singular   string
	ShortNames []string
	Categories []string
	Namespaced bool

	// Generation is a fingerprint of everything that decides how an object of this kind is normalized and indexed:
	// two Definitions with equal generations store the same bytes for the same input. NewRegistry sets that of a built-in,
	// which covers the indexes it declares; whoever adds one finds it on what was stored before as well.
	Generation uint64

	// Versions in order of preference. The one that is Storage is what the store holds.
	Versions []Version

	// Declared tells one state of a CustomResourceDefinition from others that define the kind differently; "" for built-ins.
	Declared string
	// Ending says that the CustomResourceDefinition is being deleted, so that discovery lists only what takes away; nil for
	// built-ins. It changes without a new Definition: watches go on, to see the objects go.
	Ending *atomic.Bool
	// Settled is set once every stored object has been seen to be of this Generation, so that the indexes can be relied
	// on; nil for built-ins, whose can always.
	Settled *atomic.Bool
	// Stands returns a guard that holds for as long as the stored CustomResourceDefinition declares what this Definition
	// says; false when it declares something else by now. What is stored under a Definition that stands no longer could be
	// of a version that nobody expects in the store any more. For who creates an object, a CustomResourceDefinition that is
	// being deleted declares nothing. nil for built-ins, which always stand.
	Stands func(v store.View, creates bool) (guard store.Write, ok bool)
	// Renew registers what is declared now in this Definition's place. nil for built-ins.
	Renew func(ctx context.Context) error

	// Verbs are what discovery lists for the resource; nil stands for all.
	Verbs []api.Verb
	// Transient objects are answered when they are created, and not kept: a TokenReview. Their only verb is create, and
	// the server has an Answer for them.
	Transient    bool
	Subresources map[string]Subresource
	Index        []IndexField
	Hooks        Hooks

	// Custom kinds admit neither strategic merge patch nor protobuf, as upstream has it.
	Custom bool

	// ValidateName checks metadata.name, or with prefix set metadata.generateName, as apimachinery's
	// validation.ValidateNameFunc does. nil stands for a DNS-1123 subdomain.
	ValidateName func(name string, prefix bool) []string
	// PlainFinalizers admits finalizers without a domain in their name that Kubernetes does not know (custom resources and
	// their definitions, events, leases).
	PlainFinalizers bool
	// MetadataRules are those by which the kind judges the metadata of an update, in this order, after the rules for all
	// kinds. nil stands for ChangedMetadata alone.
	MetadataRules []MetadataRule
	// CreateOnUpdate lets a PUT create what does not exist (leases, endpoints, services, events).
	CreateOnUpdate bool
	// PinnedUpdate makes an update without metadata.resourceVersion fail (custom resources, leases).
	PinnedUpdate bool
	// ReturnDeleted makes DELETE answer with the object's last state instead of a Status (pods, services, namespaces).
	ReturnDeleted bool
	// SettlesDependents says that what becomes of an object's dependents is not for the first request to delete it to say
	// (custom resource definitions).
	SettlesDependents bool
	// StatusManager owns, under the subresource status, what changes in a new or changed object after its writer's fields
	// were decided on, when Claim says that it was the status (Write.StatusClaimed). "" when such changes belong to nobody.
	StatusManager string
	// KeepsSpec says that Prepare and Claim change nothing of a new object but its metadata and status: the rest need not
	// be encoded again after them.
	KeepsSpec bool
}

// MetadataRule is one of the two sets of rules for metadata that upstream has.
type MetadataRule uint8

const (
	ChangedMetadata MetadataRule = iota // what may not change, and what both sets check
	WholeMetadata                       // what holds for new objects too
)

// Question is the definition of a kind that is created for its answer alone, in version v1.
func Question(r api.Resource, kind, singular string) Definition {
	return Definition{
		Resource: r, Kind: kind, Singular: singular, Transient: true, Verbs: []api.Verb{api.Create},
		Versions: []Version{{Group: r.Group, Name: "v1", Storage: true, Served: true}},
	}
}

// KindOf is the kind of the objects of one of d's versions.
func (d *Definition) KindOf(v *Version) string {
	if v.Kind != "" {
		return v.Kind
	}
	return d.Kind
}

// Process says that the end of an object is a process of its own, which deletes first what belongs to it: that of a
// namespace or a custom resource definition. An object that is given time to end by itself has no such process.
func (d *Definition) Process() bool { return d.Hooks.Terminate != nil && d.Hooks.GracePeriod == nil }

// Storage is the version that the store holds; nil when d has none, which is a defect of d.
func (d *Definition) Storage() *Version {
	for i := range d.Versions {
		if d.Versions[i].Storage {
			return &d.Versions[i]
		}
	}
	return nil
}

// Version finds one of d's versions by what objects call it; nil when there is none of that name.
func (d *Definition) Version(apiVersion string) *Version {
	for i := range d.Versions {
		if v := &d.Versions[i]; v.APIVersion() == apiVersion {
			return v
		}
	}
	return nil
}

// Subresource finds what is below the objects of one of d's versions.
func (d *Definition) Subresource(v *Version, name string) (Subresource, bool) {
	if s, ok := v.Subresources[name]; ok {
		return s, true
	}
	s, ok := d.Subresources[name]
	return s, ok
}

// SubresourcesOf yields what is below the objects of one of d's versions, in no order.
func (d *Definition) SubresourcesOf(v *Version) iter.Seq2[string, Subresource] {
	return func(yield func(string, Subresource) bool) {
		for name, s := range v.Subresources {
			if !yield(name, s) {
				return
			}
		}
		for name, s := range d.Subresources {
			if _, other := v.Subresources[name]; !other && !yield(name, s) {
				return
			}
		}
	}
}

// Version is one group and version a Definition is served under. Events, for instance, are served as core v1 and as
// events.k8s.io v1 from one table.
type Version struct {
	Group, Name string
	Kind        string // "" for the Definition's
	Storage     bool
	Served      bool
	Warning     string // deprecation warning sent with every answer, or ""

	// AsStored says that an object in this version is its stored JSON but for apiVersion and kind, so that it can be
	// served without a look at it. The storage version always is.
	AsStored bool
	// Converted says that the kind is converted by webhook: of an object that is not stored in this version, nothing can be
	// told before it is converted, labels included.
	Converted bool
	// Except is a text that the JSON of those objects contains which have other fields in this version than in the store,
	// AsStored notwithstanding; "" when there are none.
	Except string

	// Model is the OpenAPI name of a built-in's type ("io.k8s.api.core.v1.Pod"); "" for custom resources.
	Model string
	// Shape steers patches and field ownership. It may build itself on first use.
	Shape object.Shape
	// Columns of the Table form, after upstream's names, formats and priorities.
	Columns []metav1.TableColumnDefinition
	// Codec reads and writes the version's JSON.
	Codec Codec
	// Default fills in what this version defaults otherwise than the stored one, in what a client sent. It runs before
	// Hooks.Default, and like that must be idempotent. It may be nil.
	Default func(o *Object)
	// Orphans says that a deletion which says nothing of the object's dependents leaves them alone: upstream's default of
	// workloads before apps/v1.
	Orphans bool
	// ValidateName replaces the Definition's for what is created through this version. nil does not.
	ValidateName func(name string, prefix bool) []string
	// Subresources are those that only this version has, or that have another kind in it: all of them in a custom kind, whose
	// versions each declare their own.
	Subresources map[string]Subresource
}

// APIVersion is the version as objects state it: "v1" or "apps/v1".
func (v *Version) APIVersion() string {
	if v.Group == "" {
		return v.Name
	}
	return v.Group + "/" + v.Name
}

// Alike reports whether fields go by the same names in two versions of a kind and are merged alike, so that what is said
// of whose fields are whose in the one holds in the other.
func (v *Version) Alike(o *Version) bool {
	a, custom := v.Codec.(*customVersion)
	if !custom {
		return (v.Storage || v.AsStored) && (o.Storage || o.AsStored)
	}
	b, _ := o.Codec.(*customVersion)
	return a == b || !v.Converted && a.ownership() == b.ownership()
}

// MessageCodec is a Codec of a built-in version whose objects in flight are of another version's type. NewMessage returns
// an empty object of the version's own type, which knows its protobuf encoding.
type MessageCodec interface {
	Codec
	NewMessage() any
}

// Codec turns the bytes of one version into an Object in flight and back. For built-ins with several versions, Decode
// yields the typed object of the storage version and Encode writes that of the requested one.
type Codec interface {
	// Decode reads JSON that a client sent, or, with stored set, that Encode wrote before. problems are what strict
	// field validation complains about (unknown and duplicate fields), in upstream's words. An *api.Error is the answer to
	// the client: it refuses what the version can say and the object in flight cannot.
	Decode(data []byte, stored bool) (o *Object, problems []string, err error)
	// Encode writes the object as JSON: apiVersion and kind first, in either order, without managedFields, members in a
	// canonical order, so that equal objects have equal bytes. Metadata.resourceVersion is written as it stands.
	Encode(dst []byte, o *Object) ([]byte, error)
}

// DocumentCodec is a Codec whose objects in flight are documents: what is parsed already is not written out to be parsed
// again.
type DocumentCodec interface {
	Codec
	// DecodeDocument is Decode for a document, which belongs to the object from then on.
	DecodeDocument(doc *object.Value, stored bool) (o *Object, problems []string, err error)
	// DecodeStored is DecodeDocument for a document that is stored in the form that the schema of today gives it. The object
	// shares members with doc: neither may be changed.
	DecodeStored(doc *object.Value) (*Object, error)
	// DecodeApplied is DecodeDocument for what an apply made of a decoded object: it keeps the nulls that were applied,
	// for validation to judge.
	DecodeApplied(doc *object.Value) (*Object, error)
	// Document is what Encode writes, as a document. It shares members with o and is right until o is changed.
	Document(o *Object) (*object.Value, error)
}

// Object is one object in flight through a request, free to be changed until it is encoded.
type Object struct {
	// Meta is the object's metadata; for typed objects a pointer into Value. ManagedFields is nil, but in what Owned made:
	// ownership travels beside the object.
	Meta *metav1.ObjectMeta
	// Value is a pointer to the typed object (*corev1.Pod), or, for custom resources, the *object.Value of the whole
	// document without its metadata.
	Value any
}

// Clone is a copy that shares nothing with o that either may change: far cheaper than decoding o once more.
func (o *Object) Clone() *Object {
	switch v := o.Value.(type) {
	case *object.Value:
		doc := v.Clone()
		return &Object{Meta: o.Meta.DeepCopy(), Value: &doc}
	case runtime.Object:
		c, err := TypedObject(v.DeepCopyObject())
		if err == nil {
			return c
		}
	}
	panic(fmt.Sprintf("resource: an Object of %T", o.Value))
}

// Write is one object on its way in: what hooks see.
type Write struct {
	Definition  *Definition
	Version     *Version
	Request     *api.Request
	Subresource string
	Old         *Object // nil on create; must not be changed; of custom kinds, on updates, in Version
	New         *Object // nil on delete
	OldRecord   *api.Record
	// Unchanged says of a custom resource that an apply found nothing to change in Old, which New is: nothing is filled in.
	Unchanged bool
	// Unpruned says of a custom resource that New may have members that the schema does not declare: what is applied may
	// set some, and a Scale. Prepare drops them once it has decided on the generation, which they raise, as on upstream.
	Unpruned bool
	// Guards are checked in the commit that stores New: admission adds what must still hold then (the namespace is
	// alive).
	Guards []store.Write
	DryRun bool
	// Generated says that the name of New was made from its generateName.
	Generated bool
	// StatusClaimed says that Claim changed the status of New. It is heard only of kinds with a StatusManager.
	StatusClaimed bool
	// Warnings are what Prepare and Validate have to say that is no error. They are given to who is refused, too.
	Warnings []string
	// Kind is what New says it is, when Validate found that it is of another kind than the definition's.
	Kind string
	// MetadataErrors are what is wrong with the metadata of New, known before Validate.
	MetadataErrors field.ErrorList
}

// Creating reports whether there is no object yet.
func (w *Write) Creating() bool { return w.Old == nil }

// Hooks are the rules of a kind. Any may be nil.
type Hooks struct {
	// Prepare resets what this request may not set: status on a write of the object, everything but status on a
	// write of /status; it raises Meta.Generation when the spec changed.
	Prepare func(ctx context.Context, w *Write)
	// Default fills what the client left out. It must be idempotent. It runs on writes and, for objects stored
	// under another Generation, on reads.
	Default func(o *Object)
	// Validate checks New, and against Old what may not change. ObjectMeta is checked by the caller.
	Validate func(ctx context.Context, w *Write) field.ErrorList
	// Warn returns texts for Warning headers.
	Warn func(ctx context.Context, w *Write) []string
	// Refuse says why what New asks for cannot be had at all, by anybody or because another has it: of an object that is
	// invalid as well, that is what the client is told. It changes nothing.
	Refuse func(ctx context.Context, v store.View, w *Write) error
	// Claim returns further writes for the same commit, after filling in what it allocated (cluster IPs, node ports).
	// It runs again when the commit loses a race. On a delete New is nil.
	Claim func(ctx context.Context, v store.View, w *Write) ([]store.Write, error)
	// Terminate changes New, a copy of Old whose deletion begins with this write: it adds a finalizer or says in the
	// status that the object is going (CustomResourceDefinition, Namespace). It does not run again for an object that
	// already has a deletionTimestamp.
	Terminate func(ctx context.Context, w *Write)
	// GracePeriod is for kinds that are deleted gracefully: how long, in seconds, an object lives on after a deletion
	// was asked for. requested is what the client wants, nil for the default. Kinds without it go at once.
	GracePeriod func(o *Object, requested *int64) int64
	// Finalize decides, in place of upstream's usual rule, whether an object that is marked as being deleted may go
	// now that metadata.finalizers is empty: a namespace stays while spec.finalizers is not.
	Finalize func(o *Object) bool
	// Cells are the values of Columns for one object, and conditions that say it has run to completion. They are found in
	// its JSON, so that no more of it need be decoded than is shown: of a custom resource in version v, of a built-in as stored.
	Cells func(v *Version, doc []byte) ([]any, []metav1.TableRowCondition, error)
}

// IndexField declares an index. Its name, when it is a field path, may be used as a field selector.
type IndexField struct {
	Name string
	// Values extracts the entries of an object.
	Values func(o *Object) []string
	// Internal indexes are no field selectors.
	Internal bool
	// Unindexed fields are field selectors for which no entries are kept: the objects are decoded to select by them.
	// For what is asked for rarely, of kinds of which there are many (events).
	Unindexed bool
	// Marked fields are kept with each object as marks, not in an index of the table: cursors and selectors look at
	// them, ByIndex does not find them. For what has few values, or is asked for rarely, of kinds that change often.
	Marked bool
	// Only limits the field selector to some API versions ("events.k8s.io/v1"), where fields have other names or not all
	// versions declare them; empty for all.
	Only []string
}

// Subresource is one path below an object. Status and scale need no more than their presence; the others say how a
// body changes the object (binding, ephemeralcontainers) or are wired by the server (log, exec, token, eviction).
type Subresource struct {
	Verbs                []api.Verb // what discovery lists
	Group, Version, Kind string     // of the body, when it is not the parent's
	Warning              string     // deprecation warning of a body that is not the parent's, or ""
	// Scale locates the three values of the scale subresource.
	Scale *Scale
	// Apply changes w.New (a copy of w.Old) according to the body, a pointer made by Body in which Default (nil for none)
	// has filled in what the client left out.
	Body    func() any
	Default func(body any)
	// Check refuses a body for what it says, whatever the object is. nil stands for no such check.
	Check func(r *api.Request, body any) error
	Apply func(ctx context.Context, w *Write, body any) error
	// Preconditions are the UID and the resourceVersion that the object must have for the body to be meant for it; ""
	// stands for any. nil stands for none.
	Preconditions func(body any) (uid types.UID, revision string)
	// Answer is what a create is answered with, with the object as it is stored. nil stands for upstream's answer to
	// bindings: a 201 that says no more.
	Answer func(w *Write) *metav1.Status
}

// Scale reads and writes the replica count of an object.
type Scale struct {
	// Path of the wanted count, for messages: ".spec.replicas".
	Path     string
	Spec     func(o *Object) *int32
	SetSpec  func(o *Object, n int32)
	Status   func(o *Object) int32
	Selector func(o *Object) string
}
