package server

import (
	"container/list"
	"fmt"
	"iter"
	"slices"
	"sync"
	"weak"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// Bounds of what is converted ahead at once, so that it is still kept when it is asked for.
const (
	batchRecords = 256
	batchBytes   = 2 << 20
)

// batches gathers records for convertAhead.
func batches(recs iter.Seq[*api.Record]) iter.Seq[[]*api.Record] {
	return func(yield func([]*api.Record) bool) {
		var batch []*api.Record
		size := 0
		for rec := range recs {
			batch = append(batch, rec)
			if size += len(rec.JSON()); len(batch) == batchRecords || size >= batchBytes {
				if !yield(batch) {
					return
				}
				batch, size = nil, 0
			}
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// conversions keeps documents that had to be made from records, the last used ones within a budget. What is being made
// is made once.
type conversions struct {
	mu      sync.Mutex
	budget  int
	size    int
	entries map[conversion]*list.Element
	recent  list.List // of *converted, the last used first
	making  map[conversion]*making
}

// making is a conversion that is under way.
type making struct {
	done chan struct{} // closed when doc and err are set
	doc  rendition
	err  error
}

// conversion is what a document is kept for. It keeps no kind in memory that is served no longer: its compiled schema may
// be many times the document.
type conversion struct {
	rec *api.Record
	v   weak.Pointer[resource.Version]
}

type converted struct {
	key conversion
	doc rendition
}

func (c *conversions) get(d *resource.Definition, v *resource.Version, rec *api.Record) (rendition, error) {
	key := conversion{rec, weak.Make(v)}
	c.mu.Lock()
	if e := c.entries[key]; e != nil {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*converted).doc, nil
	}
	if m := c.making[key]; m != nil {
		c.mu.Unlock()
		<-m.done
		return m.doc, m.err
	}
	m := &making{done: make(chan struct{})}
	if c.making == nil {
		c.making = map[conversion]*making{}
	}
	c.making[key] = m
	c.mu.Unlock()
	defer func() {
		if m.doc.json == nil && m.err == nil {
			m.err = fmt.Errorf("showing %s %s as %s: the conversion did not end", d.Resource, rec.Key(), v.APIVersion())
		}
		c.mu.Lock()
		delete(c.making, key)
		if m.err == nil {
			c.put(key, m.doc)
		}
		c.mu.Unlock()
		close(m.done)
	}()
	m.doc, m.err = convert(d, v, rec)
	if m.err != nil {
		m.err = fmt.Errorf("showing %s %s as %s: %w", d.Resource, rec.Key(), v.APIVersion(), m.err)
	}
	return m.doc, m.err
}

// put keeps a document; c.mu is held.
func (c *conversions) put(key conversion, doc rendition) {
	if c.entries == nil {
		c.entries = map[conversion]*list.Element{}
	}
	if c.entries[key] == nil {
		c.entries[key] = c.recent.PushFront(&converted{key, doc})
		c.size += len(doc.json)
	}
	for c.size > c.budget && c.recent.Len() > 1 {
		last := c.recent.Remove(c.recent.Back()).(*converted)
		delete(c.entries, last.key)
		c.size -= len(last.doc.json)
	}
}

// missing are the records that are not at hand in version v.
func (c *conversions) missing(v *resource.Version, recs []*api.Record) []*api.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	version := weak.Make(v)
	var missing []*api.Record
	for _, rec := range recs {
		if c.entries[conversion{rec, version}] == nil {
			missing = append(missing, rec)
		}
	}
	return missing
}

// convertAhead has a webhook convert those of a batch that will be shown in version v and are not at hand, together.
func (s *Server) convertAhead(d *resource.Definition, v *resource.Version, recs []*api.Record) error {
	codec, ok := v.Codec.(resource.Converter)
	if !ok || !v.Converted {
		return nil
	}
	var foreign []*api.Record
	for _, rec := range recs {
		if !asStored(d, v, rec) {
			foreign = append(foreign, rec)
		}
	}
	missing := s.converted.missing(v, foreign)
	if len(missing) < 2 {
		return nil // one is converted when it is shown
	}
	os := make([]*resource.Object, 0, len(missing))
	for _, rec := range missing {
		o, err := decodeRecord(d, rec)
		if err != nil {
			return err
		}
		os = append(os, resource.Owned(codec, o, rec.Owners()))
	}
	os, err := codec.Convert(os)
	if err != nil {
		return err
	}
	for i, rec := range missing {
		doc, err := encodeConverted(v, rec, os[i])
		if err != nil {
			return err
		}
		s.converted.mu.Lock()
		s.converted.put(conversion{rec, weak.Make(v)}, doc)
		s.converted.mu.Unlock()
	}
	return nil
}

// aheadOf has what comes next of a list converted when the i-th is about to be shown and ahead of them have been.
func (s *Server) aheadOf(q *request, recs []*api.Record, i, ahead int) (int, error) {
	if !q.v.Converted || i < ahead {
		return ahead, nil
	}
	for batch := range batches(slices.Values(recs[i:])) {
		return i + len(batch), s.convertAhead(q.d, q.v, batch)
	}
	return ahead, nil
}

func convert(d *resource.Definition, v *resource.Version, rec *api.Record) (doc rendition, err error) {
	o, err := decodeRecord(d, rec)
	if err != nil {
		return doc, err
	}
	return encodeConverted(v, rec, resource.Owned(v.Codec, o, rec.Owners()))
}

// encodeConverted is rec's object o, in any version, in version v.
func encodeConverted(v *resource.Version, rec *api.Record, o *resource.Object) (doc rendition, err error) {
	o.Meta.ResourceVersion = blank
	if doc.json, err = v.Codec.Encode(nil, o); err != nil {
		return doc, err
	}
	if doc.meta, doc.slot, err = api.Locate(doc.json); err != nil {
		return doc, err
	}
	// What a document is cached for shows a revision: the record's, which fixRevision may replace.
	api.FillSlot(doc.json[doc.slot:doc.slot+api.SlotSize], rec.Revision())
	return doc, nil
}
