package server

import (
	"sync"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// sealed is an object on its way to the store with who owns its fields.
type sealed struct {
	q      *request
	owners api.Owners
	buf    *[]byte // the object as ownership was decided on, which is also what is stored if nothing changes it
	exact  bool    // nothing will change it
}

var encodings = sync.Pool{New: func() any { return new([]byte) }}

// own decides who owns the fields of o, which replaces old. It is asked before admission and Prepare: what those add
// belongs to nobody, as on upstream.
func (q *request) own(old *api.Record, before *resource.Object, o *resource.Object) (*sealed, error) {
	s := &sealed{q: q, buf: encodings.Get().(*[]byte)}
	if old != nil {
		s.owners = old.Owners()
	}
	o.Meta.ManagedFields = nil
	return s, nil
}

func (s *sealed) free() { encodings.Put(s.buf) }

// encode writes the object as it will be stored.
func (s *sealed) encode(w *resource.Write) ([]byte, error) {
	b, err := resource.EncodeBlank((*s.buf)[:0], s.q.d, w.New)
	*s.buf = b
	return b, err
}

// seal makes the record.
func (s *sealed) seal(w *resource.Write) (*api.Record, error) {
	b, err := s.encode(w)
	if err != nil {
		return nil, err
	}
	return resource.SealJSON(s.q.d, w.New, b, s.owners)
}
