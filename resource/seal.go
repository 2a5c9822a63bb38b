package resource

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"pintle.dev/api"
)

// blankRevision is the text of api.Slot: what an object that is about to be stored carries as its resourceVersion.
var blankRevision = strings.Trim(api.Slot, `"`)

// metadataMember is how the third member of every stored document begins, after apiVersion and kind.
const metadataMember = `"metadata":`

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Seal makes the record of an object that is to be stored: it writes the object in d's storage version with a blank
// resourceVersion (o.Meta.ResourceVersion is changed) and extracts what selection needs. The object belongs to Seal
// until it returns.
func Seal(d *Definition, o *Object, owners api.Owners) (*api.Record, error) {
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	b, err := EncodeBlank((*buf)[:0], d, o)
	if err != nil {
		return nil, err
	}
	*buf = b
	return SealJSON(d, o, b, owners)
}

// EncodeBlank appends o as Seal stores it: in the storage version, without managedFields, with a blank resourceVersion.
func EncodeBlank(dst []byte, d *Definition, o *Object) ([]byte, error) {
	o.Meta.ResourceVersion, o.Meta.ManagedFields = blankRevision, nil
	b, err := d.Storage().Codec.Encode(dst, o)
	if err != nil {
		return dst, fmt.Errorf("encoding %s %s/%s: %w", d.Resource, o.Meta.Namespace, o.Meta.Name, err)
	}
	return b, nil
}

// SealJSON is Seal for an object whose bytes, from EncodeBlank, are at hand. It copies json.
func SealJSON(d *Definition, o *Object, json []byte, owners api.Owners) (*api.Record, error) {
	meta, slot, err := Locate(json)
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
	if n := len(o.Meta.Labels); n > 0 {
		p.Labels = make([]api.Label, 0, n)
		for k, v := range o.Meta.Labels {
			p.Labels = append(p.Labels, api.Label{Key: k, Value: v})
		}
	}
	p.Index = indexEntries(d, o)
	return api.NewRecord(p)
}

// indexEntries lists o's entries under every declared index, each once.
func indexEntries(d *Definition, o *Object) []api.Index {
	entries := make([]api.Index, 0, len(d.Index)+len(o.Meta.OwnerReferences))
	add := func(name, value string) {
		x := api.Index{Name: name, Value: value}
		for _, e := range entries {
			if e == x {
				return
			}
		}
		entries = append(entries, x)
	}
	for i := range d.Index {
		if d.Index[i].Unindexed {
			continue
		}
		for _, v := range d.Index[i].Values(o) {
			add(d.Index[i].Name, v)
		}
	}
	for i := range o.Meta.OwnerReferences {
		add(api.IndexOwner, string(o.Meta.OwnerReferences[i].UID))
	}
	return entries
}

var errShape = errors.New("the document does not begin with apiVersion, kind and metadata with a blank resourceVersion")

// Locate finds the metadata object of a stored document and the slot in it. It reads no further than the end of the
// metadata: codecs write compact JSON in a fixed order, so this is a scan, not a parse.
func Locate(b []byte) (meta api.Span, slot int, err error) {
	slot = -1
	i := 1
	for n := 0; ; n++ {
		if n > 2 || i >= len(b) || b[i] != '"' {
			return meta, slot, errShape
		}
		if n == 2 {
			break
		}
		if i = skipString(b, i); i < len(b) && b[i] == ':' {
			i = skipValue(b, i+1) + 1
		}
	}
	if string(b[i:min(i+len(metadataMember), len(b))]) != metadataMember {
		return meta, slot, errShape
	}
	i += len(metadataMember)
	meta.Start = i
	if i >= len(b) || b[i] != '{' {
		return meta, slot, errShape
	}
	const member = `"resourceVersion"`
	for i++; i < len(b) && b[i] != '}'; {
		at := i
		if i = skipString(b, i) + 1; i >= len(b) {
			return meta, slot, errShape
		}
		if string(b[at:i-1]) == member {
			slot = i
		}
		if i = skipValue(b, i); i < len(b) && b[i] == ',' {
			i++
		}
	}
	if slot < 0 || i >= len(b) {
		return meta, slot, errShape
	}
	meta.End = i + 1
	return meta, slot, nil
}

// skipString returns the offset after the string that starts at i, or len(b).
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// skipValue returns the offset after the value that starts at i, or len(b).
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				// A closing bracket at depth 0 ended a scalar, and belongs to the document around it.
				if depth < 0 {
					return i
				}
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
