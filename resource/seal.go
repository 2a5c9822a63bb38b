package resource

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// blankRevision is the text of api.Slot: what an object that is about to be stored carries as its resourceVersion.
var blankRevision = strings.Trim(api.Slot, `"`)

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Seal makes the record of an object that is to be stored: it writes the object in d's storage version with a blank
// resourceVersion (o.Meta.ResourceVersion is changed) and extracts what selection needs. The object belongs to Seal
// until it returns.
func Seal(d *Definition, o *Object, owners api.Owners) (*api.Record, error) {
	o, err := ToStorage(d, o, owners)
	if err != nil {
		return nil, err
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	b, err := EncodeBlank((*buf)[:0], d, o)
	if err != nil {
		return nil, err
	}
	*buf = b
	return SealJSON(d, o, b, owners)
}

// EncodeBlank appends o, which ToStorage made, as Seal stores it: without managedFields, with a blank resourceVersion.
func EncodeBlank(dst []byte, d *Definition, o *Object) ([]byte, error) {
	o.Meta.ResourceVersion, o.Meta.ManagedFields = blankRevision, nil
	b, err := d.Storage().Codec.Encode(dst, o)
	if err != nil {
		return dst, fmt.Errorf("encoding %s %s/%s: %w", d.Resource, o.Meta.Namespace, o.Meta.Name, err)
	}
	return b, nil
}

// SealJSON is Seal for an object from ToStorage whose bytes, from EncodeBlank, are at hand. It copies json.
func SealJSON(d *Definition, o *Object, json []byte, owners api.Owners) (*api.Record, error) {
	if err := storable(o, json); err != nil {
		return nil, err
	}
	meta, slot, err := api.Locate(json)
	if err != nil {
		return nil, fmt.Errorf("storing %s %s/%s: %w", d.Resource, o.Meta.Namespace, o.Meta.Name, err)
	}
	p := api.Parts{
		Key: api.Key{Namespace: o.Meta.Namespace, Name: o.Meta.Name}, UID: string(o.Meta.UID),
		JSON: json, Metadata: meta, Slot: slot, Definition: d.Generation, Owners: owners,
	}
	if o.Meta.DeletionTimestamp != nil {
		p.Flags |= api.Deleting
	}
	if len(o.Meta.Finalizers) > 0 {
		p.Flags |= api.HasFinalizers
	}
	var labels [8]api.Label // most objects have room in these
	p.Labels = labels[:0]
	for k, v := range o.Meta.Labels {
		p.Labels = append(p.Labels, api.Label{Key: k, Value: v})
	}
	var entries [24]api.Index
	p.Index, p.Marks = indexEntries(entries[:0], d, o)
	return api.NewRecord(p)
}

// DecodeStored reads a stored object, defaulted as d wants it now, in the version it is stored in.
func DecodeStored(d *Definition, rec *api.Record) (*Object, error) {
	o, _, err := d.Storage().Codec.Decode(rec.JSON(), true)
	if err != nil {
		return nil, err
	}
	if rec.Definition() != d.Generation && d.Hooks.Default != nil {
		d.Hooks.Default(o)
	}
	return o, nil
}

// Reseal makes the record of a stored object as d stores and indexes it now.
func Reseal(d *Definition, rec *api.Record) (*api.Record, error) {
	o, err := DecodeStored(d, rec)
	if err != nil {
		return nil, err
	}
	return Seal(d, o, rec.Owners())
}

// indexFingerprint covers what fields decide of the entries and marks of a stored object. It is 0 for none.
func indexFingerprint(fields []IndexField) uint64 {
	var kept []string
	for _, f := range fields {
		if !f.Unindexed {
			kept = append(kept, fmt.Sprintf("%s\x00%t\x00", f.Name, f.Marked))
		}
	}
	if kept == nil {
		return 0
	}
	slices.Sort(kept)
	sum := sha256.Sum256([]byte(strings.Join(kept, "")))
	return binary.LittleEndian.Uint64(sum[:])
}

// The bounds of what is stored, which no body within the limit comes near without defaults that multiply.
const (
	maxJSON   = 8 << 20 // bytes
	maxCounts = 1<<16 - 1
)

// storable refuses, with a 413, an object that is too large for a record.
func storable(o *Object, json []byte) error {
	for _, bound := range []struct {
		what      string
		have, max int
	}{
		{"bytes", len(json), maxJSON},
		{"labels", len(o.Meta.Labels), maxCounts},
		{"ownerReferences", len(o.Meta.OwnerReferences), maxCounts / 2},
	} {
		if bound.have > bound.max {
			return api.NewError(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
				"Request entity too large: the object has %d %s, the limit is %d", bound.have, bound.what, bound.max)
		}
	}
	return nil
}

// indexEntries appends o's entries under every declared index, each once, and its marks to entries, which is empty.
func indexEntries(entries []api.Index, d *Definition, o *Object) (index, marks []api.Index) {
	var seen map[api.Index]bool
	if n := len(o.Meta.OwnerReferences); n > 16 {
		seen = make(map[api.Index]bool, n) // looking at all of them for each would take its time
	}
	add := func(name, value string) {
		x := api.Index{Name: name, Value: value}
		if seen == nil && slices.Contains(entries, x) || seen[x] {
			return
		}
		entries = append(entries, x)
		if seen != nil {
			seen[x] = true
		}
	}
	declared := func(marked bool) {
		for i := range d.Index {
			if d.Index[i].Unindexed || d.Index[i].Marked != marked {
				continue
			}
			for _, v := range d.Index[i].Values(o) {
				add(d.Index[i].Name, v)
			}
		}
	}
	declared(false)
	for i := range o.Meta.OwnerReferences {
		add(api.IndexOwner, string(o.Meta.OwnerReferences[i].UID))
	}
	n := len(entries)
	declared(true)
	return entries[:n:n], entries[n:]
}
