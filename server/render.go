package server

import (
	"bytes"
	"fmt"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// rendition is an object's JSON in one version, without managedFields, and where its metadata and resourceVersion are.
type rendition struct {
	json []byte
	meta api.Span
	slot int
}

// metadataKey precedes the metadata object in every document; the two members before it are apiVersion and kind.
const metadataKey = `"metadata":`

// versionKey precedes the resourceVersion in the metadata.
const versionKey = `"resourceVersion":`

// rendition is rec in version v: its own bytes when that is provably right, else decoded, defaulted and written anew.
func (s *Server) rendition(d *resource.Definition, v *resource.Version, rec *api.Record) (rendition, error) {
	if asStored(d, v, rec) {
		return rendition{rec.JSON(), rec.MetadataSpan(), rec.SlotOffset()}, nil
	}
	return s.converted.get(d, v, rec)
}

// asStored reports whether rec's own bytes are the object in version v.
func asStored(d *resource.Definition, v *resource.Version, rec *api.Record) bool {
	return rec.Definition() == d.Generation &&
		(v.Storage || v.AsStored && (v.Except == "" || !bytes.Contains(rec.JSON(), []byte(v.Except))))
}

// appendObject appends rec as a client of version v sees it, showing revision rev: its own, that of its deletion, or
// none (0) for what was not stored. bare leaves out apiVersion and kind, as the lists of built-in kinds do.
func (s *Server) appendObject(dst []byte, d *resource.Definition, v *resource.Version, rec *api.Record, rev api.Revision, bare bool) ([]byte, error) {
	return s.appendObjectOf(dst, d, v, shown{rec, rev, bare, nil})
}

// shown is an object as appendObject shows it.
type shown struct {
	rec   *api.Record
	rev   api.Revision
	bare  bool
	owned *lastOwners // nil for an object alone
}

// lastOwners is the managedFields member last written: the objects of a list often have the same.
type lastOwners struct {
	rec  *api.Record
	text []byte
}

func (l *lastOwners) append(dst []byte, rec *api.Record) []byte {
	if l == nil {
		return rec.AppendManagedFieldsMember(dst)
	}
	if l.rec == nil || !rec.OwnedAlike(l.rec) {
		start := len(dst)
		dst = rec.AppendManagedFieldsMember(dst)
		l.rec, l.text = rec, append(l.text[:0], dst[start:]...)
		return dst
	}
	return append(dst, l.text...)
}

func (s *Server) appendObjectOf(dst []byte, d *resource.Definition, v *resource.Version, o shown) ([]byte, error) {
	rec, rev, bare, owned := o.rec, o.rev, o.bare, o.owned
	doc, err := s.rendition(d, v, rec)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	head := doc.meta.Start - len(metadataKey)
	switch {
	case bare:
		dst = append(dst, '{')
	case v.Storage:
		dst = append(dst, doc.json[:head]...)
	default:
		dst = append(append(dst, `{"kind":"`...), d.KindOf(v)...)
		dst = append(append(append(dst, `","apiVersion":"`...), v.APIVersion()...), `",`...)
	}
	shift := len(dst) - head
	dst = append(dst, doc.json[head:doc.meta.End-1]...)
	dst = owned.append(dst, rec)
	dst = append(dst, doc.json[doc.meta.End-1:]...)
	return fixRevision(dst, start, doc.slot+shift, rec, rev), nil
}

// appendMetadata appends the metadata object alone.
func (s *Server) appendMetadata(dst []byte, d *resource.Definition, v *resource.Version, rec *api.Record, rev api.Revision) ([]byte, error) {
	doc, err := s.rendition(d, v, rec)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = append(dst, doc.json[doc.meta.Start:doc.meta.End-1]...)
	dst = append(rec.AppendManagedFieldsMember(dst), '}')
	return fixRevision(dst, start, start+doc.slot-doc.meta.Start, rec, rev), nil
}

// fixRevision puts rev into the slot at an offset of dst, or takes the whole member out when there is none to show.
func fixRevision(dst []byte, start, slot int, rec *api.Record, rev api.Revision) []byte {
	if rev != 0 {
		api.FillSlot(dst[slot:slot+api.SlotSize], rev)
		return dst
	}
	from, to := slot-len(versionKey), slot+api.SlotSize
	if dst[to] == ',' {
		to++
	} else if from > start && dst[from-1] == ',' {
		from--
	}
	return append(dst[:from], dst[to:]...)
}

// blank is the text of an api.Slot.
const blank = "00000000000000000000"

// decodeRecord reads a stored object, defaulted as d wants it now.
func decodeRecord(d *resource.Definition, rec *api.Record) (*resource.Object, error) {
	o, err := resource.DecodeStored(d, rec)
	if err != nil {
		return nil, errStored(d, rec, err)
	}
	return o, nil
}

// decodeIn is decodeRecord that yields custom resources in version v.
func (s *Server) decodeIn(d *resource.Definition, v *resource.Version, rec *api.Record) (*resource.Object, error) {
	c, ok := v.Codec.(resource.Converter)
	if !ok {
		return decodeRecord(d, rec)
	}
	if !asStored(d, v, rec) {
		// What was converted for others, or will be.
		doc, err := s.converted.get(d, v, rec)
		if err != nil {
			return nil, err
		}
		o, _, err := v.Codec.Decode(doc.json, true)
		if err != nil {
			return nil, errStored(d, rec, err)
		}
		return o, nil
	}
	o, err := decodeRecord(d, rec)
	if err != nil || v.Storage {
		return o, err
	}
	os, err := c.Convert([]*resource.Object{o})
	if err != nil {
		return nil, err
	}
	return os[0], nil
}

func errStored(d *resource.Definition, rec *api.Record, err error) error {
	return fmt.Errorf("reading stored %s %s: %w", d.Resource, rec.Key(), err)
}
