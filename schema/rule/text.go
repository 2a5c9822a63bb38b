package rule

import (
	"slices"
	"strings"
	"unicode/utf8"

	"pintle.dev/object"
)

// split is the list of what is between separators in a text.
func split(text, separator term) term {
	return term{typ: &Type{kind: listKind, elem: stringType}, value: func(f *frame) *object.Value {
		s, by := text.string(f), separator.string(f)
		if f.erred {
			return nil
		}
		if f.charge(traversal(2 * utf8.RuneCountInString(s))); f.failed {
			return nil
		}
		parts := strings.Split(s, by)
		items := make([]object.Value, len(parts))
		for i, part := range parts {
			items[i] = object.NewString(part)
		}
		l := object.NewList(items...)
		return &l
	}}
}

// substring is the characters of a text from one up to, but not with, another or to its end; the zero term when
// CEL does not know the type of one of them.
func substring(text term, bounds []term) term {
	unknown := func(t term) bool { return t.kind() == opaqueKind }
	if unknown(text) || slices.ContainsFunc(bounds, unknown) {
		return term{}
	}
	return stringTerm(func(f *frame) string {
		s, start := text.string(f), bounds[0].int(f)
		n := int64(utf8.RuneCountInString(s))
		end := n
		if len(bounds) > 1 {
			end = bounds[1].int(f)
		}
		if f.erred {
			return ""
		}
		f.charge(traversal(int(n)))
		if start < 0 || start > end || end > n {
			f.fail()
			return ""
		}
		if n < int64(len(s)) { // some are longer than a byte
			start, end = offset(s, start), offset(s, end)
		}
		return s[start:end]
	})
}

// offset is where character i is in a text.
func offset(s string, i int64) int64 {
	at := 0
	for ; i > 0; i-- {
		_, size := utf8.DecodeRuneInString(s[at:])
		at += size
	}
	return int64(at)
}
