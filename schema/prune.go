package schema

import (
	"slices"
	"strconv"

	"pintle.dev/object"
)

// Prune removes from the object v what the root schema s does not declare, and returns the paths of what it removed,
// sorted, as upstream's field validation names them: "spec.list[0].foo". The root's and embedded resources' apiVersion,
// kind and metadata are left alone.
func (s *Schema) Prune(v *object.Value) (unknown []string) {
	root := s
	if !s.is(embedded) {
		root = new(Schema)
		*root = *s
		root.flags |= embedded
	}
	var p pruner
	p.prune(v, root)
	slices.Sort(p.unknown)
	return p.unknown
}

// pruner walks a document; path is where it is.
type pruner struct {
	path    []byte
	unknown []string
}

func (p *pruner) key(name string) int {
	at := len(p.path)
	if at > 0 {
		p.path = append(p.path, '.')
	}
	p.path = append(p.path, name...)
	return at
}

func (p *pruner) index(i int) int {
	at := len(p.path)
	p.path = append(strconv.AppendInt(append(p.path, '['), int64(i), 10), ']')
	return at
}

func isMetaField(name string) bool {
	return name == "apiVersion" || name == "kind" || name == "metadata"
}

// prune removes from v what s does not declare; a nil s declares nothing.
func (p *pruner) prune(v *object.Value, s *Schema) {
	switch v.Kind() {
	case object.Map:
		p.pruneMap(v, s)
	case object.List:
		for i, item := range v.Items() {
			if k := item.Kind(); k != object.Map && k != object.List {
				continue
			}
			at := p.index(i)
			switch {
			case s == nil:
				p.prune(item, nil)
			case s.is(preserving):
				p.skip(item, s.items)
			default:
				p.prune(item, s.items)
			}
			p.path = p.path[:at]
		}
	}
}

func (p *pruner) pruneMap(v *object.Value, s *Schema) {
	if s.is(preserving) {
		p.skip(v, s)
		return
	}
	removed := 0
	for name, m := range v.Fields() {
		if s.is(embedded) && isMetaField(name) {
			continue
		}
		c := s.property(name)
		if c == nil && !s.is(additional) {
			removed++
			// The root's own apiVersion, kind and metadata are never unknown, even where they are no part of the schema.
			if !isMetaField(name) || len(p.path) > 0 {
				at := p.key(name)
				p.unknown = append(p.unknown, string(p.path))
				p.path = p.path[:at]
			}
			continue
		}
		if k := m.Kind(); k != object.Map && k != object.List {
			continue
		}
		if c == nil {
			c = s.additional
		}
		at := p.key(name)
		p.prune(m, c)
		p.path = p.path[:at]
	}
	if removed > 0 {
		keep(v, func(name string, _ *object.Value) bool {
			return s.is(embedded) && isMetaField(name) || s.property(name) != nil || s.is(additional)
		})
	}
}

// skip leaves v whole, but prunes below it where the schema declares members again.
func (p *pruner) skip(v *object.Value, s *Schema) {
	if s == nil {
		return
	}
	switch v.Kind() {
	case object.Map:
		for name, m := range v.Fields() {
			if s.is(embedded) && isMetaField(name) {
				continue
			}
			c := s.property(name)
			if c == nil && !s.is(additional) {
				continue
			}
			if c == nil {
				c = s.additional
			}
			at := p.key(name)
			p.prune(m, c)
			p.path = p.path[:at]
		}
	case object.List:
		for i, item := range v.Items() {
			at := p.index(i)
			p.skip(item, s.items)
			p.path = p.path[:at]
		}
	}
}

// keep removes the members that ok does not want. It copies the others: removing one by one would be quadratic in what
// a client sends.
func keep(v *object.Value, ok func(name string, m *object.Value) bool) {
	kept := object.NewMap()
	for name, m := range v.Fields() {
		if ok(name, m) {
			kept.Set(name, *m)
		}
	}
	v.Replace(kept)
}

// DropNulls removes null members whose schema is neither nullable nor defaulted, as decoding into a Go type would.
func (s *Schema) DropNulls(v *object.Value) {
	switch v.Kind() {
	case object.Map:
		drop := false
		for name, m := range v.Fields() {
			c := s.member(name)
			switch m.Kind() {
			case object.Null:
				drop = drop || c.dropsNull()
			case object.Map, object.List:
				if c != nil {
					c.DropNulls(m)
				}
			}
		}
		if drop {
			keep(v, func(name string, m *object.Value) bool { return !m.IsNull() || !s.member(name).dropsNull() })
		}
	case object.List:
		if s == nil || s.items == nil {
			return
		}
		for _, item := range v.Items() {
			s.items.DropNulls(item)
		}
	}
}

func (s *Schema) dropsNull() bool { return s != nil && !s.is(nullable) && s.fallback == nil }

// MaxDefaults bounds, in bytes of JSON, what the defaults of a document may add up to: a list of a million empty items
// takes 3 MB to send, and each may have a default of a megabyte.
const MaxDefaults = 8 << 20

// Default fills in the defaults of members that are absent, or null where the schema does not admit null. It stops when
// it has added more than MaxDefaults bytes: such a document is too large to be stored.
func (s *Schema) Default(v *object.Value) {
	d := defaults{left: MaxDefaults}
	d.fill(s, v)
}

type defaults struct{ left int }

func (d *defaults) fill(s *Schema, v *object.Value) {
	if !s.is(belowDefault) {
		return
	}
	switch v.Kind() {
	case object.Map:
		d.fillMap(s, v)
	case object.List:
		for _, item := range v.Items() {
			d.replaceNull(s.items, item)
			d.fill(s.items, item)
		}
	}
}

// take is a copy of the default of s.
func (d *defaults) take(s *Schema) object.Value {
	d.left -= int(s.fallbackSize)
	return s.fallback.Clone()
}

func (d *defaults) fillMap(s *Schema, v *object.Value) {
	for i := range s.properties {
		p := &s.properties[i]
		if !p.is(belowDefault) {
			continue
		}
		m := v.Get(p.name)
		if p.fallback != nil && (m == nil || m.IsNull() && !p.is(nullable)) && d.left >= 0 {
			m = v.Set(p.name, d.take(p.Schema))
		}
		if m != nil {
			d.fill(p.Schema, m)
		}
	}
	if !s.additional.is(belowDefault) {
		return
	}
	for name, m := range v.Fields() {
		if s.property(name) == nil {
			d.replaceNull(s.additional, m)
			d.fill(s.additional, m)
		}
	}
}

func (d *defaults) replaceNull(s *Schema, v *object.Value) {
	if s != nil && s.fallback != nil && v.IsNull() && !s.is(nullable) && d.left >= 0 {
		v.Replace(d.take(s))
	}
}
