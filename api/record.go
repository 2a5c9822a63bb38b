package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"unsafe"
)

// SlotSize is the length in bytes of the resourceVersion value in a Record's JSON: a quoted decimal, padded after the
// closing quote with spaces. It holds any Revision.
const SlotSize = 22

// Slot is the blank a Record's JSON carries for its resourceVersion until Stamp fills it.
const Slot = `"00000000000000000000"`

// Index is one selection value of an object under a declared index: the field path ("spec.nodeName") or, for what is
// no field selector, a name of its own ("owner": the UID of an owner reference; an object may have several).
type Index struct {
	Name, Value string
}

// IndexOwner is the index every resource has: the UIDs in metadata.ownerReferences.
const IndexOwner = "owner"

// Label is one label of an object.
type Label struct {
	Key, Value string
}

// Flags are facts about an object that are read without its JSON.
type Flags uint16

const (
	Deleting      Flags = 1 << iota // has a metadata.deletionTimestamp
	HasFinalizers                   // has metadata.finalizers
)

// Span is a half-open range of bytes.
type Span struct{ Start, End int }

// Parts are what a Record is made of.
type Parts struct {
	Key Key
	UID string
	// JSON is the object in its storage version without managedFields, apiVersion and kind first, in either order.
	JSON []byte
	// Metadata spans the metadata object in JSON, braces included.
	Metadata Span
	// Slot is the offset in JSON of the value of metadata.resourceVersion, which must be Slot.
	Slot int
	// Definition is the fingerprint of the Definition under which the object was normalized and indexed.
	Definition uint64
	Flags      Flags
	Labels     []Label // any order, keys unique
	Index      []Index // what the object can be found by
	Marks      []Index // what can only be seen on it once it is found
	Owners     Owners
}

// Record is one immutable version of one object: its JSON, what selection needs, and its field ownership. It is one
// pointer-free allocation (header, selection, JSON) beside the interned ownership, so that a million of them cost the
// garbage collector little.
type Record struct {
	buf       []byte
	ownership Ownership
}

// The header is fixed; offsets in bytes. All integers are little-endian.
const (
	hRevision   = 0  // u64
	hDefinition = 8  // u64
	hJSON       = 16 // u32, offset of the JSON in buf
	hMetaStart  = 20 // u32, in the JSON
	hMetaEnd    = 24 // u32
	hSlot       = 28 // u32
	hFlags      = 32 // u16
	hTimes      = 34 // u16, count of ownership times
	hNamespace  = 36 // u16, length
	hName       = 38 // u16
	hUID        = 40 // u16
	hLabels     = 42 // u16, count
	hIndex      = 44 // u16, count
	hMarks      = 46 // u16, count of the last entries of hIndex that are marks
	hSize       = 48
)

// NewRecord builds a Record. It fails when the parts do not fit together, which is a defect of the caller.
func NewRecord(p Parts) (*Record, error) {
	if p.Slot < 0 || p.Slot+SlotSize > len(p.JSON) || string(p.JSON[p.Slot:p.Slot+SlotSize]) != Slot {
		return nil, errors.New("record: the JSON has no blank resourceVersion slot where the parts say")
	}
	m := p.Metadata
	if m.Start < 0 || m.Start >= m.End || m.End > len(p.JSON) || p.JSON[m.Start] != '{' || p.JSON[m.End-1] != '}' {
		return nil, errors.New("record: the metadata span is not an object of the JSON")
	}
	size := hSize + 8*len(p.Owners) + len(p.Key.Namespace) + len(p.Key.Name) + len(p.UID)
	for _, l := range p.Labels {
		size += 4 + len(l.Key) + len(l.Value)
	}
	for _, x := range p.Index {
		size += 4 + len(x.Name) + len(x.Value)
	}
	for _, x := range p.Marks {
		size += 4 + len(x.Name) + len(x.Value)
	}
	for _, n := range []int{len(p.Owners), len(p.Key.Namespace), len(p.Key.Name), len(p.UID), len(p.Labels), len(p.Index) + len(p.Marks)} {
		if n > 1<<16-1 {
			return nil, fmt.Errorf("record: %d is more than a header field holds", n)
		}
	}
	b := make([]byte, hSize, size+len(p.JSON))
	le := binary.LittleEndian
	le.PutUint64(b[hDefinition:], p.Definition)
	le.PutUint32(b[hJSON:], uint32(size))
	le.PutUint32(b[hMetaStart:], uint32(m.Start))
	le.PutUint32(b[hMetaEnd:], uint32(m.End))
	le.PutUint32(b[hSlot:], uint32(p.Slot))
	le.PutUint16(b[hFlags:], uint16(p.Flags))
	le.PutUint16(b[hTimes:], uint16(len(p.Owners)))
	le.PutUint16(b[hNamespace:], uint16(len(p.Key.Namespace)))
	le.PutUint16(b[hName:], uint16(len(p.Key.Name)))
	le.PutUint16(b[hUID:], uint16(len(p.UID)))
	le.PutUint16(b[hLabels:], uint16(len(p.Labels)))
	le.PutUint16(b[hIndex:], uint16(len(p.Index)+len(p.Marks)))
	le.PutUint16(b[hMarks:], uint16(len(p.Marks)))
	for _, o := range p.Owners {
		b = le.AppendUint64(b, uint64(o.Time))
	}
	b = append(append(append(b, p.Key.Namespace...), p.Key.Name...), p.UID...)
	for _, l := range p.Labels {
		b = appendPair(b, l.Key, l.Value)
	}
	for _, x := range p.Index {
		b = appendPair(b, x.Name, x.Value)
	}
	for _, x := range p.Marks {
		b = appendPair(b, x.Name, x.Value)
	}
	return &Record{buf: append(b, p.JSON...), ownership: NewOwnership(p.Owners)}, nil
}

func appendPair(b []byte, k, v string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(k)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return append(append(b, k...), v...)
}

func (r *Record) u16(at int) int { return int(binary.LittleEndian.Uint16(r.buf[at:])) }
func (r *Record) u32(at int) int { return int(binary.LittleEndian.Uint32(r.buf[at:])) }

// text is a string over the record's own bytes, which never change once strings can be taken.
func (r *Record) text(start, n int) string {
	if n == 0 {
		return ""
	}
	return unsafe.String(&r.buf[start], n)
}

// Revision is the record's resourceVersion; 0 before Stamp.
func (r *Record) Revision() Revision { return Revision(binary.LittleEndian.Uint64(r.buf[hRevision:])) }

// Stamp gives the record its revision, in the header and in the JSON's slot. Only the store calls it, once, before
// anyone else can see the record.
func (r *Record) Stamp(rev Revision) {
	binary.LittleEndian.PutUint64(r.buf[hRevision:], uint64(rev))
	at := r.u32(hJSON) + r.u32(hSlot)
	FillSlot(r.buf[at:at+SlotSize], rev)
}

// FillSlot writes rev as a quoted decimal padded with spaces into a slot of SlotSize bytes.
func FillSlot(slot []byte, rev Revision) {
	b := append(slot[:0], '"')
	b = strconv.AppendUint(b, uint64(rev), 10)
	b = append(b, '"')
	for len(b) < SlotSize {
		b = append(b, ' ')
	}
}

// Definition is the fingerprint of the Definition the record was normalized and indexed under.
func (r *Record) Definition() uint64 { return binary.LittleEndian.Uint64(r.buf[hDefinition:]) }

// Flags returns the record's flags.
func (r *Record) Flags() Flags { return Flags(r.u16(hFlags)) }

// Is reports whether all the given flags are set.
func (r *Record) Is(f Flags) bool { return r.Flags()&f == f }

// Namespace is the object's namespace, empty when cluster-scoped.
func (r *Record) Namespace() string { return r.text(hSize+8*r.u16(hTimes), r.u16(hNamespace)) }

// Name is the object's name.
func (r *Record) Name() string {
	return r.text(hSize+8*r.u16(hTimes)+r.u16(hNamespace), r.u16(hName))
}

// Key is the object's key.
func (r *Record) Key() Key { return Key{r.Namespace(), r.Name()} }

// UID is the object's metadata.uid.
func (r *Record) UID() string {
	return r.text(hSize+8*r.u16(hTimes)+r.u16(hNamespace)+r.u16(hName), r.u16(hUID))
}

func (r *Record) selection() int {
	return hSize + 8*r.u16(hTimes) + r.u16(hNamespace) + r.u16(hName) + r.u16(hUID)
}

func (r *Record) pair(at int) (k, v string, next int) {
	nk, nv := r.u16(at), r.u16(at+2)
	at += 4
	return r.text(at, nk), r.text(at+nk, nv), at + nk + nv
}

// Lookup finds a label. With Has and Get it makes a Record usable as apimachinery's labels.Labels.
func (r *Record) Lookup(key string) (value string, exists bool) {
	at := r.selection()
	for range r.u16(hLabels) {
		var k, v string
		if k, v, at = r.pair(at); k == key {
			return v, true
		}
	}
	return "", false
}

// Has reports whether the object has the label.
func (r *Record) Has(key string) bool { _, ok := r.Lookup(key); return ok }

// Get is the label's value, or "".
func (r *Record) Get(key string) string { v, _ := r.Lookup(key); return v }

// Labels yields the object's labels.
func (r *Record) Labels() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		at := r.selection()
		for range r.u16(hLabels) {
			var k, v string
			if k, v, at = r.pair(at); !yield(k, v) {
				return
			}
		}
	}
}

// Indexes yields the object's index entries and then its marks. A name may come more than once.
func (r *Record) Indexes() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		at := r.entries()
		for range r.u16(hIndex) {
			var k, v string
			if k, v, at = r.pair(at); !yield(k, v) {
				return
			}
		}
	}
}

// Posting is where in a Record an index entry lies: what refers to an entry need not carry its strings.
type Posting uint32

// Postings yields the index entries alone: those by which the object can be found.
func (r *Record) Postings() iter.Seq2[Posting, Index] {
	return func(yield func(Posting, Index) bool) {
		at := r.entries()
		for range r.u16(hIndex) - r.u16(hMarks) {
			k, v, next := r.pair(at)
			if !yield(Posting(at), Index{k, v}) {
				return
			}
			at = next
		}
	}
}

// Posted is the index entry that Postings found at p.
func (r *Record) Posted(p Posting) Index {
	k, v, _ := r.pair(int(p))
	return Index{k, v}
}

// entries is where the index entries start.
func (r *Record) entries() int {
	at := r.selection()
	for range r.u16(hLabels) {
		_, _, at = r.pair(at)
	}
	return at
}

// Indexed reports whether the object has the index entry or mark.
func (r *Record) Indexed(x Index) bool {
	for k, v := range r.Indexes() {
		if k == x.Name && v == x.Value {
			return true
		}
	}
	return false
}

// IndexValue is the object's first value under the index or mark, or "".
func (r *Record) IndexValue(name string) string {
	for k, v := range r.Indexes() {
		if k == name {
			return v
		}
	}
	return ""
}

// JSON is the object as stored, without managedFields. The caller must not change it.
func (r *Record) JSON() []byte { return slices.Clip(r.buf[r.u32(hJSON):]) }

// Metadata is the metadata object within JSON, without managedFields. The caller must not change it.
func (r *Record) Metadata() []byte {
	m := r.MetadataSpan()
	return slices.Clip(r.JSON()[m.Start:m.End])
}

// MetadataSpan locates Metadata in JSON.
func (r *Record) MetadataSpan() Span { return Span{r.u32(hMetaStart), r.u32(hMetaEnd)} }

// SlotOffset is where in JSON the resourceVersion's slot starts.
func (r *Record) SlotOffset() int { return r.u32(hSlot) }

// AppendJSON appends the object as a client sees it in the storage version: with managedFields in its metadata.
func (r *Record) AppendJSON(dst []byte) []byte {
	j, m := r.JSON(), r.MetadataSpan()
	dst = append(dst, j[:m.End-1]...)
	dst = r.AppendManagedFieldsMember(dst)
	return append(dst, j[m.End-1:]...)
}

// AppendMetadata appends the metadata object as a client sees it: with managedFields.
func (r *Record) AppendMetadata(dst []byte) []byte {
	m := r.Metadata()
	dst = append(dst, m[:len(m)-1]...)
	dst = r.AppendManagedFieldsMember(dst)
	return append(dst, '}')
}

// AppendManagedFieldsMember appends the managedFields member, if there is one, to metadata that lacks just that. Something
// always precedes it: at least the resourceVersion.
func (r *Record) AppendManagedFieldsMember(dst []byte) []byte {
	if r.u16(hTimes) == 0 {
		return dst
	}
	dst = append(dst, `,"managedFields":`...)
	return r.AppendManagedFields(dst)
}

func (r *Record) time(i int) int64 { return int64(binary.LittleEndian.Uint64(r.buf[hSize+8*i:])) }

// Ownership is the record's interned field ownership; equal ones are shared.
func (r *Record) Ownership() Ownership { return r.ownership }

// OwnedAlike reports whether both records have the same managedFields, times included.
func (r *Record) OwnedAlike(o *Record) bool {
	n := 8 * r.u16(hTimes)
	return r.ownership == o.ownership && n == 8*o.u16(hTimes) && bytes.Equal(r.buf[hSize:hSize+n], o.buf[hSize:hSize+n])
}

// Owners lists who owns which fields: the record's managedFields.
func (r *Record) Owners() Owners {
	o := r.ownership.owners()
	for i := range o {
		o[i].Time = r.time(i)
	}
	return o
}

// AppendManagedFields appends the JSON array of the record's managedFields.
func (r *Record) AppendManagedFields(dst []byte) []byte {
	return r.ownership.appendJSON(dst, r.time)
}

// Size is what the record holds in memory in bytes, without what it shares.
func (r *Record) Size() int { return cap(r.buf) + int(unsafe.Sizeof(*r)) }

// AppendBinary appends the record in the form DecodeRecord reads. The revision is not part of it: the store keeps it
// in the key, as some backends assign it after the bytes are written.
func (r *Record) AppendBinary(dst []byte) []byte {
	own := r.ownership.value()
	dst = binary.AppendUvarint(dst, uint64(len(own)))
	dst = append(dst, own...)
	start := len(dst)
	dst = append(dst, r.buf...)
	b := dst[start:]
	binary.LittleEndian.PutUint64(b[hRevision:], 0)
	at := r.u32(hJSON) + r.u32(hSlot)
	copy(b[at:], Slot)
	return dst
}

// DecodeRecord reads what AppendBinary wrote and stamps it. It copies what it keeps and rejects bytes that do not
// form a record.
func DecodeRecord(b []byte, rev Revision) (*Record, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, errors.New("record: truncated ownership")
	}
	own, err := decodeOwnership(b[w : w+int(n)])
	if err != nil {
		return nil, err
	}
	r := &Record{buf: slices.Clone(b[w+int(n):]), ownership: own}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.Stamp(rev)
	return r, nil
}

// check verifies that every offset of the header lies within the buffer.
func (r *Record) check() error {
	bad := errors.New("record: header does not fit its bytes")
	if len(r.buf) < hSize {
		return bad
	}
	at, end := r.selection(), r.u32(hJSON)
	if end > len(r.buf) {
		return bad
	}
	for range r.u16(hLabels) + r.u16(hIndex) {
		if at+4 > end {
			return bad
		}
		at += 4 + r.u16(at) + r.u16(at+2)
	}
	size := len(r.buf) - end
	m := r.MetadataSpan()
	if at != end || r.SlotOffset()+SlotSize > size || m.Start >= m.End || m.End > size || r.u16(hTimes) != r.ownership.count() || r.u16(hMarks) > r.u16(hIndex) {
		return bad
	}
	return nil
}
