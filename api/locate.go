package api

import "errors"

// metadataMember is how the third member of every stored document begins, after apiVersion and kind, in either order.
const metadataMember = `"metadata":`

var errShape = errors.New("record: the document does not begin with apiVersion, kind and metadata with a blank resourceVersion")

// Locate finds the metadata object of a stored document and the slot in it. It reads no further than the end of the
// metadata: codecs write compact JSON in a fixed order, so this is a scan, not a parse.
func Locate(b []byte) (meta Span, slot int, err error) {
	slot = -1
	i := 1
	for n := 0; ; n++ {
		if n > 2 || i >= len(b) || b[i] != '"' {
			return meta, slot, errShape
		}
		if n == 2 {
			break
		}
		if i = skipString(b, i); i < len(b) && b[i] == ':' {
			i = skipValue(b, i+1) + 1
		}
	}
	if string(b[i:min(i+len(metadataMember), len(b))]) != metadataMember {
		return meta, slot, errShape
	}
	i += len(metadataMember)
	meta.Start = i
	if i >= len(b) || b[i] != '{' {
		return meta, slot, errShape
	}
	const member = `"resourceVersion"`
	for i++; i < len(b) && b[i] != '}'; {
		at := i
		if i = skipString(b, i) + 1; i >= len(b) {
			return meta, slot, errShape
		}
		if string(b[at:i-1]) == member {
			slot = i
		}
		if i = skipValue(b, i); i < len(b) && b[i] == ',' {
			i++
		}
	}
	if slot < 0 || i >= len(b) {
		return meta, slot, errShape
	}
	meta.End = i + 1
	return meta, slot, nil
}

// skipString returns the offset after the string that starts at i, or len(b).
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// skipValue returns the offset after the value that starts at i, or len(b).
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				// A closing bracket at depth 0 ended a scalar, and belongs to the document around it.
				if depth < 0 {
					return i
				}
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
