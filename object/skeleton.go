package object

import "bytes"

// AppendSkeleton appends what of a compact JSON map decides which fields its creator comes to own: the names and nesting
// of its members, and its lists as they are, since their items may be keys. Of a scalar outside of lists only its kind
// counts and whether it is an empty one, which a typed object of Go may have where nobody set it: "", 0, false, null.
// Strings of up to two characters are kept as well ("0" is an empty quantity).
//
// Documents of one kind with equal skeletons get equal owners from Own(nil, before, ...), provided that before has no
// longer strings than that, besides those all documents have.
func AppendSkeleton(dst, doc []byte) []byte {
	for i := 0; i < len(doc); {
		switch c := doc[i]; c {
		case '"':
			end := quoteEnd(doc, i)
			if end < len(doc) && doc[end] == ':' || end-i <= keptString+2 {
				dst = append(dst, doc[i:end]...)
			} else {
				dst = append(dst, 's')
			}
			i = end
		case '[':
			end := listEnd(doc, i)
			dst = append(dst, doc[i:end]...)
			i = end
		case '-', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			dst = append(dst, '1')
			for i++; i < len(doc) && doc[i] != ',' && doc[i] != '}'; i++ {
			}
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

const keptString = 2

// quoteEnd is the position after the string that starts at i.
func quoteEnd(doc []byte, i int) int {
	for i++; i < len(doc); {
		n := bytes.IndexByte(doc[i:], '"')
		if n < 0 {
			return len(doc)
		}
		i += n + 1
		escapes := 0
		for doc[i-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
	return len(doc)
}

// listEnd is the position after the list that starts at i.
func listEnd(doc []byte, i int) int {
	depth := 0
	for i < len(doc) {
		switch doc[i] {
		case '"':
			i = quoteEnd(doc, i)
			continue
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return len(doc)
}

// LongStrings reports whether a map has strings outside of lists that AppendSkeleton does not keep, other than the
// members of its top.
func LongStrings(v *Value) bool {
	for i := range v.children() {
		m := &v.children()[i]
		if m.kind == Map && longStrings(m) {
			return true
		}
	}
	return false
}

func longStrings(v *Value) bool {
	for i := range v.children() {
		switch m := &v.children()[i]; {
		case m.kind == String && len(m.Str()) > keptString, m.kind == Map && longStrings(m):
			return true
		}
	}
	return false
}
