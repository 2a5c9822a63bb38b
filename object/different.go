package object

import "bytes"

// ParseDifferent parses two compact JSON maps, which must be well formed, without the members of the top level whose texts are the same in both,
// other than keep. What Compare and Own find in the Values is what they find in the whole documents, if lists in the
// members left out have identities. The Values share memory with buf, which is appended to and returned.
func ParseDifferent(buf []byte, before, after []byte, keep string) (b, a *Value, _ []byte, err error) {
	differs := func(name, text, in []byte) bool {
		if string(name) == keep {
			return true
		}
		for n, t := range topMembers(in) {
			if bytes.Equal(n, name) {
				return !bytes.Equal(t, text)
			}
		}
		return true
	}
	start := len(buf)
	buf = appendMembers(buf, before, func(name, text []byte) bool { return differs(name, text, after) })
	middle := len(buf)
	buf = appendMembers(buf, after, func(name, text []byte) bool { return differs(name, text, before) })
	if b, err = Parse(buf[start:middle:middle]); err != nil {
		return nil, nil, buf, err
	}
	a, err = Parse(buf[middle:len(buf):len(buf)])
	return b, a, buf, err
}

// appendMembers appends doc with those members of its top level that are wanted.
func appendMembers(dst, doc []byte, wanted func(name, text []byte) bool) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for name, text := range topMembers(doc) {
		if !wanted(name, text) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(append(append(append(dst, '"'), name...), `":`...), text...)
	}
	return append(dst, '}')
}

// topMembers are the members of a compact JSON map: their names as they are written, and the texts of their values.
func topMembers(doc []byte) func(yield func(name, text []byte) bool) {
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
