package object

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"

	"pintle.dev/api"
)

// The operations of an Owner.
const (
	opApply  = string(metav1.ManagedFieldsOperationApply)
	opUpdate = string(metav1.ManagedFieldsOperationUpdate)
)

const (
	// maxUpdateOwners is how many managers with operation Update are told apart. The oldest beyond become one.
	maxUpdateOwners = 10
	ancientManager  = "ancient-changes"
	unknownManager  = "unknown"
)

// unowned are the paths nobody owns. What is below metadata can be owned.
var unowned = FieldPaths("apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.creationTimestamp",
	"metadata.selfLink", "metadata.uid", "metadata.clusterName", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion")

// FieldPaths makes a set of dotted paths ("spec.replicas").
func FieldPaths(paths ...string) Fields {
	var f Fields
	for _, path := range paths {
		names := strings.Split(path, ".")
		var nodes []fieldNode
		for i := len(names) - 1; i >= 0; i-- {
			nodes = []fieldNode{{element: element{name: names[i], member: nodes == nil}, below: nodes}}
		}
		f.nodes = union(f.nodes, nodes)
	}
	return f
}

// Own is who owns what after a write that is no apply: fields that by added or changed are taken from all others and
// become by's, fields that are gone are nobody's, owners of nothing vanish. by needs no Fields; its Operation is always
// Update, and its Time is recorded only when it came to own something by this write.
//
// before is the live object. On a create it is what an empty object of the kind looks like: the members that are
// always there (a typed object's {"metadata":{},"spec":{},"status":{}}) and so come to be owned by nobody; nil for
// custom resources. before and after are in the version that s describes. Changes in by.Ignore and below do not count:
// what this endpoint does not let a client write.
//
// An existing object without owners gets none, as on upstream. An error says why it cannot be told who owns what: a list
// has items without identity, or the object cannot be converted to an owner's version. The result shares memory with old.
func Own(old api.Owners, before, after *Value, s Shape, by Write) (api.Owners, error) {
	if len(old) == 0 && !by.Owned && before.Path("metadata", "uid").Str() != "" {
		return nil, nil
	}
	if before == nil {
		before = &Value{kind: Map}
	}
	ch, err := Compare(before, after, s)
	if err != nil {
		return nil, err
	}
	elsewhere := ch
	if !by.Ignore.Empty() {
		ch = Changes{ch.Removed.Without(by.Ignore), ch.Modified.Without(by.Ignore), ch.Added.Without(by.Ignore)}
	}
	taken := ch.Modified.Union(ch.Added)
	own := taken.Difference(unowned)
	if !by.Custom {
		elsewhere = ch
	}
	touched := func(o api.Owner) bool {
		// Who owns something in another version is not asked about when nothing changed: that may take a webhook.
		return o.Fields == "{}" || by.Custom && (o.APIVersion == by.APIVersion && outdated(o, s) || o.APIVersion != by.APIVersion && !elsewhere.all().Difference(unowned).Empty())
	}
	if own.Empty() && ch.Removed.Difference(unowned).Empty() && !slices.ContainsFunc(old, touched) {
		return old, nil
	}
	owners := make([]owned, 0, len(old)+1)
	other := otherVersions{before: before, after: after, by: by, own: change{taken.Union(ch.Removed), s}, elsewhere: elsewhere}
	for _, o := range old {
		c, err := other.changeIn(o.APIVersion)
		if errors.Is(err, ErrNoVersion) {
			continue // its version is gone, and so is it
		}
		if err != nil {
			return nil, err
		}
		if o, ok := lose(o, by, own, c); ok {
			owners = append(owners, o)
		}
	}
	if !own.Empty() {
		owners = gain(owners, by.Owner, own)
	}
	owners = capUpdates(owners)
	out := make(api.Owners, len(owners))
	for i := range owners {
		out[i] = owners[i].owner()
	}
	sortOwners(out)
	if slices.Equal(out, old) {
		return old, nil
	}
	return out, nil
}

// outdated reports whether an owner has fields below what the schema has made atomic since.
func outdated(o api.Owner, s Shape) bool {
	f, err := readFields(o.Fields)
	if err != nil {
		return false
	}
	_, changed := reconcile(f.nodes, s)
	return changed
}

// Write is what Own must know of a write.
type Write struct {
	// Owner says who writes, in which version, through which subresource, and when. Fields and Operation are not used.
	api.Owner
	// Ignore are the fields that the endpoint resets.
	Ignore Fields
	// Custom says that it is a custom resource, whose schema may have changed since owners came to own what they do: they
	// are brought into line with it. As on upstream, Ignore is not known of other versions than the Write's there: owners in
	// those lose fields that are reset.
	Custom bool
	// Owned says that an existing object has owners even though none of them can be told in this version.
	Owned bool
	// Convert is a document in another version of its kind, and that version's shape. It fails with ErrNoVersion when
	// there is no such version, whose owners are forgotten when something changes. Nil when fields go by the same names
	// in all versions there are owners in, and are owned alike.
	Convert func(v *Value, version string) (*Value, Shape, error)
}

// otherVersions finds what a write takes from owners in other versions.
type otherVersions struct {
	before, after *Value
	by            Write
	own           change            // in the writer's version
	elsewhere     Changes           // in others where fields go by the same names
	others        map[string]change // as far as they were asked for
}

// change is what a write takes from others in a version with the given shape.
type change struct {
	gone Fields // what is removed, or taken over by the writer
	s    Shape
}

// changeIn is the write as a version has it.
func (v *otherVersions) changeIn(version string) (change, error) {
	switch {
	case version == v.by.APIVersion:
		return v.own, nil
	case v.by.Convert == nil:
		return change{v.elsewhere.all(), v.own.s}, nil
	}
	if c, ok := v.others[version]; ok {
		return c, nil
	}
	before, _, err := v.by.Convert(v.before, version)
	if err != nil {
		return change{}, err
	}
	after, s, err := v.by.Convert(v.after, version)
	if err != nil {
		return change{}, err
	}
	ch, err := Compare(before, after, s)
	if err != nil {
		return change{}, err
	}
	if v.others == nil {
		v.others = make(map[string]change)
	}
	c := change{ch.all(), s}
	if !v.by.Custom {
		c.gone = c.gone.Without(v.by.Ignore)
	}
	v.others[version] = c
	return c, nil
}

// owned is an owner whose fields are being changed; Owner.Fields is out of date once changed is set.
type owned struct {
	api.Owner
	fields  Fields
	changed bool
}

func (o *owned) owner() api.Owner {
	if o.changed {
		o.Fields = o.fields.String()
	}
	return o.Owner
}

// is reports whether the entry is the one that by's updates are recorded in.
func (o *owned) is(by api.Owner) bool {
	return o.Operation == opUpdate && o.Manager == by.Manager && o.APIVersion == by.APIVersion && o.Subresource == by.Subresource
}

// lose takes fields away from an owner; false when nothing is left. The writer does not lose what it has and is about
// to be given again, which spares the usual write, one of a field of its own, all the work.
func lose(old api.Owner, by Write, own Fields, c change) (o owned, ok bool) {
	gone := c.gone
	o.Owner = old
	var err error
	if o.fields, err = readFields(old.Fields); err != nil {
		// Cannot happen to owners that DecodeOwners let in. What is not understood owns nothing.
		return o, false
	}
	if o.is(writer(by.Owner)) {
		gone = gone.Difference(own)
	}
	// What is owned below a field that came or went stays, there or not, unless it was owned piecemeal before the schema
	// made the field atomic. Those of built-in kinds do that so rarely that it is looked at only on occasion.
	loses := reaches(gone.nodes, o.fields.nodes)
	if loses || by.Custom {
		o.fields.nodes, o.changed = reconcile(o.fields.nodes, c.s)
	}
	if loses || o.changed {
		o.fields, o.changed = o.fields.Difference(gone), true
	}
	return o, !o.fields.Empty()
}

func writer(by api.Owner) api.Owner {
	if by.Manager == "" {
		by.Manager = unknownManager
	}
	return by
}

// gain gives fields to the owner that by names, which may be new.
func gain(owners []owned, by api.Owner, own Fields) []owned {
	by = writer(by)
	by.Operation = opUpdate
	for i := range owners {
		if o := &owners[i]; o.is(by) {
			o.Time = by.Time
			if !o.fields.Contains(own) {
				o.fields, o.changed = o.fields.Union(own), true
			}
			return owners
		}
	}
	return append(owners, owned{by, own, true})
}

// capUpdates merges the oldest updaters of each version into one entry while there are more than maxUpdateOwners.
func capUpdates(owners []owned) []owned {
	var updaters []int
	for i := range owners {
		if owners[i].Operation == opUpdate {
			updaters = append(updaters, i)
		}
	}
	left := len(updaters)
	if left <= maxUpdateOwners {
		return owners
	}
	slices.SortFunc(updaters, func(i, j int) int {
		a, b := &owners[i], &owners[j]
		return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.Manager, b.Manager), strings.Compare(a.APIVersion, b.APIVersion),
			strings.Compare(a.Subresource, b.Subresource))
	})
	seen := map[string]bool{}
	buckets := map[string]int{} // by version: the entry others are merged into
	for i := range owners {
		if o := &owners[i]; o.Operation == opUpdate && o.Manager == ancientManager && o.Subresource == "" {
			buckets[o.APIVersion] = i
		}
	}
	merged := map[int]bool{}
	for _, i := range updaters {
		if left <= maxUpdateOwners {
			break
		}
		o := &owners[i]
		if !seen[o.APIVersion] {
			// Alone it needs no bucket; it becomes one when a second of its version has to go.
			seen[o.APIVersion] = true
			if _, ok := buckets[o.APIVersion]; !ok {
				buckets[o.APIVersion] = i
			}
			continue
		}
		at := buckets[o.APIVersion]
		if at == i {
			continue
		}
		bucket := &owners[at]
		bucket.fields, bucket.changed = bucket.fields.Union(o.fields), true
		bucket.Manager, bucket.Subresource, bucket.Time = ancientManager, "", o.Time
		merged[i] = true
		left--
	}
	out := owners[:0]
	for i := range owners {
		if !merged[i] {
			out = append(out, owners[i])
		}
	}
	return out
}

// ManagerOf is the field manager of a client that names none: the first part of its User-Agent, at most 128 bytes of
// what can be printed.
func ManagerOf(userAgent string) string {
	first, _, _ := strings.Cut(userAgent, "/")
	var b strings.Builder
	for _, r := range first {
		if !unicode.IsPrint(r) {
			continue
		}
		if b.Len()+utf8.RuneLen(r) > metav1validation.FieldManagerMaxLength {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// sortOwners brings entries into the order upstream writes them in.
func sortOwners(owners api.Owners) {
	slices.SortFunc(owners, func(a, b api.Owner) int {
		return cmp.Or(strings.Compare(a.Operation, b.Operation), cmp.Compare(a.Time, b.Time), strings.Compare(a.Manager, b.Manager),
			strings.Compare(a.APIVersion, b.APIVersion), strings.Compare(a.Subresource, b.Subresource))
	})
}

// DecodeOwners reads managedFields as a client sent them or they were stored, in canonical form. Errors are worded as
// upstream's decoder words them.
func DecodeOwners(entries []metav1.ManagedFieldsEntry) (api.Owners, error) {
	owners := make(api.Owners, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		o := api.Owner{Manager: e.Manager, Operation: string(e.Operation), APIVersion: e.APIVersion, Subresource: e.Subresource}
		switch {
		case o.Operation != opApply && o.Operation != opUpdate:
			return nil, errors.New("operation must be `Apply` or `Update`")
		case o.APIVersion == "":
			return nil, errors.New("apiVersion must not be empty")
		case e.FieldsType == "":
			return nil, fmt.Errorf("missing fieldsType in managed fields entry %d", i)
		case e.FieldsType != "FieldsV1":
			return nil, fmt.Errorf("invalid fieldsType %q in managed fields entry %d", e.FieldsType, i)
		}
		if e.Time != nil && !e.Time.IsZero() {
			o.Time = e.Time.Unix()
		}
		o.Fields = "{}"
		if e.FieldsV1 != nil {
			f, err := ParseFields(e.FieldsV1.GetRawString())
			if err != nil {
				return nil, fmt.Errorf("error decoding versioned set from %v: error decoding set: %v", *e, err)
			}
			o.Fields = f.String()
		}
		owners = append(owners, o)
	}
	owners = LastEntries(owners)
	sortOwners(owners)
	return owners, nil
}

// LastEntries leaves one entry for each owner, the last, as upstream reads managedFields: those of an update are told apart
// by manager, subresource and version, those of an apply by manager and subresource. It may change owners.
func LastEntries(owners api.Owners) api.Owners {
	if len(owners) < 2 {
		return owners
	}
	at := make(map[api.Owner]int) // a client may send tens of thousands
	for i, o := range owners {
		at[entryOf(o)] = i
	}
	last := owners[:0]
	for i, o := range owners {
		if at[entryOf(o)] == i {
			last = append(last, o)
		}
	}
	return last
}

// entryOf is what of an owner tells its entry from others.
func entryOf(o api.Owner) api.Owner {
	o.Fields, o.Time = "", 0
	if o.Operation == opApply {
		o.APIVersion = ""
	}
	return o
}

// SentOwners are the owners to start from when a client writes an object whose managedFields are sent: those that it
// sent when it understands them, none when it sent an empty list or a single empty entry (a reset), else live, as for
// clients that know nothing of managedFields. Writes of a subresource cannot change owners: use live there.
func SentOwners(live api.Owners, sent []metav1.ManagedFieldsEntry) api.Owners {
	if sent == nil {
		return live
	}
	if len(sent) == 0 || len(sent) == 1 && sent[0] == (metav1.ManagedFieldsEntry{}) {
		return nil
	}
	owners, err := DecodeOwners(sent)
	if err != nil || len(owners) == 0 {
		return live
	}
	if slices.Equal(owners, live) {
		return live
	}
	return owners
}
