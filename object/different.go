package object

import (
	"bytes"
	"iter"
	"slices"
)

// ParseDifferent parses two compact JSON maps, which must be well formed, without the members of the top level whose texts
// are the same in both, other than keep. What Compare and Own find in the Values is what they find in the whole documents,
// if lists in the members left out have identities. The Values share memory with buf, which is appended to and returned.
func ParseDifferent(buf []byte, before, after []byte, keep string) (b, a *Value, _ []byte, err error) {
	var roomBefore, roomAfter [8]topMember // of Kubernetes' objects
	membersBefore, membersAfter := appendTop(roomBefore[:0], before), appendTop(roomAfter[:0], after)
	start := len(buf)
	buf = appendDifferent(buf, membersBefore, membersAfter, keep)
	middle := len(buf)
	buf = appendDifferent(buf, membersAfter, membersBefore, keep)
	if b, err = Parse(buf[start:middle:middle]); err != nil {
		return nil, nil, buf, err
	}
	a, err = Parse(buf[middle:len(buf):len(buf)])
	return b, a, buf, err
}

// appendDifferent appends a map of those members that others have not got with the same text, and of the one to keep.
func appendDifferent(dst []byte, members, others []topMember, keep string) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for _, m := range members {
		same := func(o topMember) bool { return bytes.Equal(o.name, m.name) && bytes.Equal(o.text, m.text) }
		if string(m.name) != keep && slices.ContainsFunc(others, same) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(append(append(dst, '"'), m.name...), `":`...), m.text...)
	}
	return append(dst, '}')
}

// topMember is a member of a JSON map: its name as it is written, and the text of its value.
type topMember struct{ name, text []byte }

// appendTop appends the members of a compact JSON map.
func appendTop(members []topMember, doc []byte) []topMember {
	for name, text := range Members(doc) {
		members = append(members, topMember{name, text})
	}
	return members
}

// Members yields the members of a compact JSON map, which must be well formed: their names as they are written, and the
// texts of their values. It is for who wants few members of a large document: to pass over one costs a fifth of decoding it.
func Members(doc []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, text []byte) bool) {
		for i := 1; i < len(doc) && doc[i] == '"'; {
			colon := quoteEnd(doc, i)
			if colon >= len(doc) {
				return
			}
			end := valueEnd(doc, colon+1)
			if !yield(doc[i+1:colon-1], doc[colon+1:end]) {
				return
			}
			i = end + 1
		}
	}
}

// Walk visits the members of the map that starts at i, in compact JSON that is well formed, in one pass over what lies in
// it: visit is given a member's name as it is written and the position of its value, and returns the position after that,
// for which Skip may be asked. So does Walk for the map.
func Walk(doc []byte, i int, visit func(name []byte, at int) (end int)) (end int) {
	for i++; i < len(doc) && doc[i] == '"'; {
		colon := quoteEnd(doc, i)
		if colon >= len(doc) {
			return len(doc)
		}
		if i = visit(doc[i+1:colon-1], colon+1); i < len(doc) && doc[i] == ',' {
			i++
		}
	}
	return min(i+1, len(doc))
}

// Skip is the position after the value that starts at i.
func Skip(doc []byte, i int) int { return valueEnd(doc, i) }

// valueEnd is the position after the value that starts at i.
func valueEnd(doc []byte, i int) int {
	for depth := 0; i < len(doc); i++ {
		switch doc[i] {
		case '"':
			i = quoteEnd(doc, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(doc)
}
