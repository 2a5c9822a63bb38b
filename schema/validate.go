package schema

import (
	"math"

	"github.com/go-openapi/swag"

	"pintle.dev/object"
)

// valid reports whether v fulfils the schema: exactly when upstream's validator has no error for it.
func (s *Schema) valid(v *object.Value) bool {
	kind := v.Kind()
	if kind == object.Null {
		return (s.types == 0 || s.is(nullable)) && (s.rules == nil || len(s.rules.enum) == 0)
	}
	if !s.fits(v, kind) {
		return false
	}
	if s.rules != nil && !(s.rules.validEnum(v) && s.rules.valid(v)) {
		return false
	}
	switch kind {
	case object.Map:
		return s.validMap(v)
	case object.List:
		if s.items != nil {
			for i := range v.Len() {
				if !s.items.valid(v.Index(i)) {
					return false
				}
			}
		}
	}
	return true
}

// fits checks the type of a value that is not null.
func (s *Schema) fits(v *object.Value, kind object.Kind) bool {
	formatted := s.rules != nil && s.rules.format != ""
	if s.types == 0 && !formatted {
		return true
	}
	// Upstream checks no type of a string or list where the schema has a format that is not for numbers.
	if formatted && (kind == object.String || kind == object.List) && s.types&(typeInteger|typeNumber) == 0 {
		return true
	}
	switch kind {
	case object.Map:
		return s.types&typeObject != 0
	case object.List:
		return s.types&typeArray != 0
	case object.String:
		return s.types&typeString != 0
	case object.Bool:
		return s.types&typeBoolean != 0
	}
	if s.types&typeNumber != 0 {
		return true
	}
	if s.types&typeInteger == 0 {
		return false
	}
	return !v.IsFloat() || isInteger(v.Float())
}

func isInteger(f float64) bool { return !math.IsNaN(f) && swag.IsFloat64AJSONInteger(f) }

func (s *Schema) validMap(v *object.Value) bool {
	for _, name := range s.required {
		if v.Get(name) == nil {
			return false
		}
	}
	if len(s.properties) == 0 && s.additional == nil && !s.is(closed) {
		return true
	}
	for i := range v.Len() {
		m := v.Index(i)
		c := s.property(m.Name())
		switch {
		case c != nil:
			if !c.valid(m) {
				return false
			}
		case s.is(closed):
			return false
		case s.additional != nil:
			if !s.additional.valid(m) {
				return false
			}
		}
	}
	return true
}

// listsValid reports whether every list of type set or map at v or below has distinct items, as upstream understands
// it: members of the root's additionalProperties and properties alike are looked into.
func (s *Schema) listsValid(v *object.Value) bool {
	if !s.is(belowUnique) {
		return true
	}
	switch v.Kind() {
	case object.Map:
		for i := range v.Len() {
			m := v.Index(i)
			if k := m.Kind(); k != object.Map && k != object.List {
				continue
			}
			if s.additional != nil && !s.additional.listsValid(m) {
				return false
			}
			if c := s.property(m.Name()); c != nil && !c.listsValid(m) {
				return false
			}
		}
	case object.List:
		if s.is(listSet) && !distinctBy(v, nil) || s.is(listMap) && !validListMap(v, s.keys) {
			return false
		}
		if s.items.is(belowUnique) {
			for i := range v.Len() {
				if !s.items.listsValid(v.Index(i)) {
					return false
				}
			}
		}
	}
	return true
}

func validListMap(v *object.Value, keys []string) bool {
	for _, item := range v.Items() {
		if k := item.Kind(); k != object.Map && k != object.Null {
			return false
		}
	}
	return distinctBy(v, keys)
}

// distinctBy reports whether no two items agree: in the values of keys, or, without keys, as a whole.
func distinctBy(v *object.Value, keys []string) bool {
	n := v.Len()
	if len(keys) == 1 && ascending(v, keys[0]) {
		return true
	}
	if n <= 24 {
		for i := range n {
			for j := range i {
				if agree(v.Index(i), v.Index(j), keys) {
					return false
				}
			}
		}
		return true
	}
	seen := make(map[string]struct{}, n)
	var buf []byte
	for _, item := range v.Items() {
		buf = appendIdentity(buf[:0], item, keys)
		if _, ok := seen[string(buf)]; ok {
			return false
		}
		seen[string(buf)] = struct{}{}
	}
	return true
}

// ascending reports whether the items' values of key are strings in ascending order, as people tend to write them: then
// no two are the same.
func ascending(v *object.Value, key string) bool {
	var last string
	for i := range v.Len() {
		k := v.Index(i).Get(key)
		if k.Kind() != object.String || i > 0 && k.Str() <= last {
			return false
		}
		last = k.Str()
	}
	return true
}

// agree follows upstream, which compares scalars as Go values, among which 1 and 1.0 differ, and everything else,
// several keys included, by its JSON.
func agree(a, b *object.Value, keys []string) bool {
	if keys == nil {
		return a.IsFloat() == b.IsFloat() && object.Equal(a, b)
	}
	for _, k := range keys {
		x, y := a.Get(k), b.Get(k)
		if (x == nil) != (y == nil) || !object.Equal(x, y) || len(keys) == 1 && x.IsFloat() != y.IsFloat() {
			return false
		}
	}
	return true
}

// appendIdentity appends bytes that two items share exactly when they agree.
func appendIdentity(dst []byte, item *object.Value, keys []string) []byte {
	one := func(dst []byte, v *object.Value) []byte {
		switch {
		case v == nil:
			return append(dst, 'n', ',')
		case v.IsFloat() && len(keys) < 2:
			dst = append(dst, 'f')
		}
		return append(object.AppendJSON(append(dst, '='), v), ',')
	}
	if keys == nil {
		return one(dst, item)
	}
	for _, k := range keys {
		dst = one(dst, item.Get(k))
	}
	return dst
}
