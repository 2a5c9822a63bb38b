package object

import "bytes"

// AppendSkeleton appends what of a compact JSON map decides which fields its creator comes to own: the names and nesting
// of its members, and its lists as they are, since their items may be keys. A longer list is left out that s, which the map
// is described by, says is owned as a whole. Of a scalar outside of lists only its kind counts and whether it is an empty
// one, which a typed object of Go may have where nobody set it: "", 0, false, null. Strings of up to two characters are kept
// as well ("0" is an empty quantity).
//
// Documents of one kind with equal skeletons get equal owners from Own(nil, before, ...), provided that before has no
// longer strings than that, besides those all documents have.
func AppendSkeleton(dst, doc []byte, s Shape) []byte {
	var at place
	for i := 0; i < len(doc); {
		switch c := doc[i]; c {
		case '"':
			end := quoteEnd(doc, i)
			if end < len(doc) && doc[end] == ':' {
				at.name = doc[i+1 : end-1]
				dst = append(dst, doc[i:end]...)
			} else if end-i <= keptString+2 {
				dst = append(dst, doc[i:end]...)
			} else {
				dst = append(dst, 's')
			}
			i = end
		case '[':
			end := listEnd(doc, i)
			if end-i > keptList && at.whole(s) {
				dst = append(dst, '[') // which no list ends with
			} else {
				dst = append(dst, doc[i:end]...)
			}
			i = end
		case '-', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			dst = append(dst, '1')
			for i++; i < len(doc) && doc[i] != ',' && doc[i] != '}'; i++ {
			}
		default:
			switch c {
			case '{':
				at.open()
			case '}':
				at.depth--
			}
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// place is where in a document a scan is.
type place struct {
	name    []byte     // of the member at hand, as it is written
	depth   int        // how many maps are open
	outside [16][]byte // the names of the outermost of these; the first has none
}

func (p *place) open() {
	if p.depth < len(p.outside) {
		p.outside[p.depth] = p.name
	}
	p.depth++
}

// whole reports whether a list here is certainly one that s says is owned as a whole.
func (p *place) whole(s Shape) bool {
	if p.depth == 0 || p.depth > len(p.outside) {
		return false
	}
	for i := 1; i <= p.depth; i++ {
		name := p.name
		if i < p.depth {
			name = p.outside[i]
		}
		if bytes.IndexByte(name, '\\') >= 0 {
			return false
		}
		if s != nil {
			s = s.Field(string(name))
		}
	}
	return s == nil || !granular(s)
}

// keptList is how many bytes of a list take less to keep than to look for its shape.
const keptList = 64

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
