package client

import (
	"sync/atomic"

	"pintle.dev/api"
)

// Handover passes objects from who wrote them to who is woken by the write and would decode the record again: a pod from
// the scheduler's binding to its node. It holds the last ones, each until it is taken or another comes into its place;
// what it no longer has is decoded. The zero Handover is empty.
type Handover struct {
	slots [handoverSlots]atomic.Pointer[handed] // by revision
}

// handoverSlots is about how many writes of any kind may come between a binding and the node's look at it. Nodes are
// within a few hundred of it even when thousands of pods start.
const handoverSlots = 512

type handed struct {
	rec    *api.Record
	object any
}

func (h *Handover) slot(rec *api.Record) *atomic.Pointer[handed] {
	return &h.slots[uint64(rec.Revision())%handoverSlots]
}

// Give holds the object that rec was made of, exactly as rec decodes. Nobody changes it afterwards.
func (h *Handover) Give(rec *api.Record, object any) { h.slot(rec).Store(&handed{rec, object}) }

// Take returns the object that was given with rec, once; nil when it is not there.
func (h *Handover) Take(rec *api.Record) any {
	s := h.slot(rec)
	if x := s.Load(); x != nil && x.rec == rec && s.CompareAndSwap(x, nil) {
		return x.object
	}
	return nil
}

// Taken is Decode for one who is the first to look at a record that was just written, and the only one to: c may have
// the object at hand. It must not be changed.
func (k Kind[T]) Taken(c Client, rec *api.Record) (*T, error) {
	if l, ok := c.(*Local); ok && l.Handover != nil {
		if v, ok := l.Handover.Take(rec).(*T); ok {
			return v, nil
		}
	}
	return k.Decode(rec)
}
