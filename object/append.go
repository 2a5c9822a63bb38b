package object

import "pintle.dev/api"

// AppendJSON appends v as compact JSON: at the top level apiVersion, kind and metadata come first, all other members
// are in order of their names. Numbers are written as encoding/json writes them; HTML is not escaped.
func AppendJSON(dst []byte, v *Value) []byte {
	if v.Kind() != Map {
		return appendValue(dst, v)
	}
	members := v.children()
	dst = append(dst, '{')
	var first [3]int
	for i := range first {
		at, ok := find(members, leading[i])
		if !ok {
			at = -1
		} else {
			dst = appendMember(dst, &members[at])
		}
		first[i] = at
	}
	for i := range members {
		if i != first[0] && i != first[1] && i != first[2] {
			dst = appendMember(dst, &members[i])
		}
	}
	return append(dst, '}')
}

// leading are the members that come first in an object, in this order.
var leading = [3]string{"apiVersion", "kind", "metadata"}

func appendMember(dst []byte, m *Value) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(appendString(dst, m.name), ':')
	return appendValue(dst, m)
}

func appendValue(dst []byte, v *Value) []byte {
	switch v.Kind() {
	case Bool:
		if v.word == 1 {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	case Number:
		return appendNumber(dst, v)
	case String:
		return appendString(dst, v.Str())
	case List:
		items := v.children()
		dst = append(dst, '[')
		for i := range items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, &items[i])
		}
		return append(dst, ']')
	case Map:
		members := v.children()
		dst = append(dst, '{')
		for i := range members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, members[i].name), ':')
			dst = appendValue(dst, &members[i])
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// appendString is api.AppendString with a short way for what needs no escape, which is nearly everything.
func appendString(dst []byte, s string) []byte {
	if plain(s) != len(s) {
		return api.AppendString(dst, s)
	}
	dst = append(append(dst, '"'), s...)
	return append(dst, '"')
}
