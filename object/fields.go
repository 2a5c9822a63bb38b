package object

import (
	"cmp"
	"strings"
	"sync"

	"pintle.dev/api"
)

// Fields is a set of field paths, held as a trie: what fieldsV1 of a managedFields entry says. The zero Fields is
// empty.
// Fields never change; operations share what they can. Paths are read when they
// are looked at, so one goroutine at a time may use a Fields.
type Fields struct {
	nodes []fieldNode // in order of their elements, each with itself or something below it in the set
}

type fieldNode struct {
	element
	below []fieldNode
	// text is what is below as members of fieldsV1 JSON the way AppendJSON writes them, without the braces and without
	// ".". It is "" when that has not been written yet; below is nil when it has not been read yet.
	text string
}

// leaf reports that nothing is below.
func (n *fieldNode) leaf() bool { return n.text == "" && len(n.below) == 0 }

// nodes are what is below, read if need be.
func (n *fieldNode) nodes() []fieldNode {
	if n.below == nil && n.text != "" {
		n.below = readLevel(n.text)
	}
	return n.below
}

// set replaces what is below.
func (n *fieldNode) set(below []fieldNode) { n.below, n.text = below, "" }

// element is one step of a path.
type element struct {
	name   string      // byName: the field
	key    []Value     // byKey: the key members in order of their names; byValue: the value; byIndex: the index
	kind   elementKind // first of all what elements are ordered by
	member bool        // the path that ends here is in the set; no part of the identity
}

type elementKind uint8

const (
	byName  elementKind = iota // f: a member of a map
	byKey                      // k: an item of an associative list
	byValue                    // v: an item of a set
	byIndex                    // i: an item by position; nothing writes them, but clients may send them
)

func compareElements(a, b *element) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	if a.kind == byName {
		return strings.Compare(a.name, b.name)
	}
	return compareKeys(a.key, b.key)
}

func compareKeys(a, b []Value) int {
	for i := range min(len(a), len(b)) {
		if c := strings.Compare(a[i].name, b[i].name); c != 0 {
			return c
		}
		if c := compareValues(&a[i], &b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// compareValues orders values as structured-merge-diff does: numbers, strings, booleans, lists, maps, null.
func compareValues(a, b *Value) int {
	if a.kind != b.kind {
		return cmp.Compare(kindOrder[a.kind], kindOrder[b.kind])
	}
	switch a.kind {
	case Number:
		if !a.float && !b.float {
			return cmp.Compare(int64(a.word), int64(b.word))
		}
		return cmp.Compare(a.Float(), b.Float())
	case String:
		return strings.Compare(a.Str(), b.Str())
	case Bool:
		return cmp.Compare(a.word, b.word)
	case List, Map:
		return compareKeys(a.children(), b.children())
	}
	return 0
}

var kindOrder = [...]uint8{Number: 0, String: 1, Bool: 2, List: 3, Map: 4, Null: 5}

// Empty reports whether no path is in the set.
func (f Fields) Empty() bool { return len(f.nodes) == 0 }

// Union is the set of paths in f or g.
func (f Fields) Union(g Fields) Fields { return Fields{union(f.nodes, g.nodes)} }

// Intersection is the set of paths in both f and g.
func (f Fields) Intersection(g Fields) Fields { return Fields{intersection(f.nodes, g.nodes)} }

// Difference is the set of paths in f that are not in g. A path below one in g stays unless it is in g itself.
func (f Fields) Difference(g Fields) Fields { return Fields{difference(f.nodes, g.nodes)} }

// Without is the set of paths in f that are neither in g nor below a path in g.
func (f Fields) Without(g Fields) Fields { return Fields{without(f.nodes, g.nodes)} }

// Contains reports whether every path in g is in f.
func (f Fields) Contains(g Fields) bool { return contains(f.nodes, g.nodes) }

func union(a, b []fieldNode) []fieldNode {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make([]fieldNode, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := compareElements(&a[0].element, &b[0].element); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			n, m := a[0], &b[0]
			n.member = n.member || m.member
			switch {
			case m.leaf() || n.text != "" && n.text == m.text:
			case n.leaf():
				n.below, n.text = m.below, m.text
			default:
				n.set(union(n.nodes(), m.nodes()))
			}
			out, a, b = append(out, n), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func intersection(a, b []fieldNode) []fieldNode {
	var out []fieldNode
	for len(a) > 0 && len(b) > 0 {
		switch c := compareElements(&a[0].element, &b[0].element); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			n, m := a[0], &b[0]
			n.member = n.member && m.member
			switch {
			case n.leaf() || m.leaf():
				n.set(nil)
			case n.text != "" && n.text == m.text:
			default:
				n.set(intersection(n.nodes(), m.nodes()))
			}
			if n.member || !n.leaf() {
				out = append(out, n)
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func difference(a, b []fieldNode) []fieldNode {
	if len(a) == 0 || len(b) == 0 {
		return a
	}
	out := make([]fieldNode, 0, len(a))
	for len(a) > 0 && len(b) > 0 {
		switch c := compareElements(&a[0].element, &b[0].element); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			b = b[1:]
		default:
			n, m := a[0], &b[0]
			n.member = n.member && !m.member
			switch {
			case n.leaf() || m.leaf():
			case n.text != "" && n.text == m.text:
				n.set(nil)
			default:
				n.set(difference(n.nodes(), m.nodes()))
			}
			if n.member || !n.leaf() {
				out = append(out, n)
			}
			a, b = a[1:], b[1:]
		}
	}
	return append(out, a...)
}

func without(a, b []fieldNode) []fieldNode {
	if len(a) == 0 || len(b) == 0 {
		return a
	}
	out := make([]fieldNode, 0, len(a))
	for len(a) > 0 && len(b) > 0 {
		switch c := compareElements(&a[0].element, &b[0].element); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			b = b[1:]
		case b[0].member:
			a, b = a[1:], b[1:]
		default:
			n := a[0]
			if !n.leaf() {
				n.set(without(n.nodes(), b[0].nodes()))
			}
			if n.member || !n.leaf() {
				out = append(out, n)
			}
			a, b = a[1:], b[1:]
		}
	}
	return append(out, a...)
}

func contains(a, b []fieldNode) bool {
	for len(b) > 0 {
		if len(a) == 0 {
			return false
		}
		switch c := compareElements(&a[0].element, &b[0].element); {
		case c < 0:
			a = a[1:]
		case c > 0:
			return false
		default:
			n, m := &a[0], &b[0]
			if m.member && !n.member {
				return false
			}
			if !m.leaf() && (n.text == "" || n.text != m.text) && !contains(n.nodes(), m.nodes()) {
				return false
			}
			a, b = a[1:], b[1:]
		}
	}
	return true
}

// reaches reports whether a path in a, or one above it, is in b: whether without(b, a) takes anything away.
func reaches(a, b []fieldNode) bool {
	for len(a) > 0 && len(b) > 0 {
		switch c := compareElements(&a[0].element, &b[0].element); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			if n, m := &a[0], &b[0]; n.member || !n.leaf() && !m.leaf() && reaches(n.nodes(), m.nodes()) {
				return true
			}
			a, b = a[1:], b[1:]
		}
	}
	return false
}

// String is the set as fieldsV1 JSON.
func (f Fields) String() string {
	w := fieldsWriters.Get().(*fieldsWriter)
	w.nodes(f.nodes, false)
	s := string(w.dst)
	w.dst = w.dst[:0]
	fieldsWriters.Put(w)
	return s
}

var fieldsWriters = sync.Pool{New: func() any { return new(fieldsWriter) }}

// AppendJSON appends the set as fieldsV1 JSON: no white space, members in the order structured-merge-diff gives them.
func (f Fields) AppendJSON(dst []byte) []byte {
	w := fieldsWriter{dst: dst}
	w.nodes(f.nodes, false)
	return w.dst
}

type fieldsWriter struct {
	dst     []byte
	scratch []byte
}

func (w *fieldsWriter) nodes(nodes []fieldNode, member bool) {
	w.dst = append(w.dst, '{')
	if member && len(nodes) > 0 {
		w.dst = append(w.dst, `".":{},`...)
	}
	for i := range nodes {
		n := &nodes[i]
		w.element(&n.element)
		switch {
		case n.text != "":
			w.dst = append(w.dst, `":{`...)
			if n.member {
				w.dst = append(w.dst, `".":{},`...)
			}
			w.dst = append(append(w.dst, n.text...), '}', ',')
		case len(n.below) == 0:
			w.dst = append(w.dst, `":{},`...)
		default:
			w.dst = append(w.dst, '"', ':')
			w.nodes(n.below, n.member)
			w.dst = append(w.dst, ',')
		}
	}
	if last := len(w.dst) - 1; w.dst[last] == ',' {
		w.dst[last] = '}'
	} else {
		w.dst = append(w.dst, '}')
	}
}

// element appends a path element as a string that is still to be closed.
func (w *fieldsWriter) element(e *element) {
	switch e.kind {
	case byName:
		w.dst = append(w.dst, `"f:`...)
		if plain(e.name) == len(e.name) {
			w.dst = append(w.dst, e.name...)
			return
		}
		w.scratch = api.AppendString(w.scratch[:0], e.name)
		w.dst = append(w.dst, w.scratch[1:len(w.scratch)-1]...)
	case byIndex:
		w.dst = appendValue(append(w.dst, `"i:`...), &e.key[0])
	case byKey:
		w.dst = append(w.dst, `"k:{`...)
		for i := range e.key {
			if i > 0 {
				w.dst = append(w.dst, ',')
			}
			w.quoted(e.key[i].name)
			w.dst = append(w.dst, ':')
			w.value(&e.key[i])
		}
		w.dst = append(w.dst, '}')
	case byValue:
		w.dst = append(w.dst, `"v:`...)
		w.value(&e.key[0])
	}
}

// value appends JSON inside a string.
func (w *fieldsWriter) value(v *Value) {
	if v.kind == String {
		w.quoted(v.Str())
		return
	}
	w.scratch = appendValue(w.scratch[:0], v)
	w.quote(w.scratch)
}

func (w *fieldsWriter) quoted(s string) {
	if plain(s) == len(s) && strings.IndexByte(s, '<') < 0 && strings.IndexByte(s, '>') < 0 && strings.IndexByte(s, '&') < 0 {
		w.dst = append(append(append(w.dst, `\"`...), s...), `\"`...)
		return
	}
	w.scratch = appendString(w.scratch[:0], s)
	w.quote(w.scratch)
}

// quote appends JSON with what a string must escape. The JSON has HTML escaped, as upstream's encoder of path elements
// has it.
func (w *fieldsWriter) quote(json []byte) {
	for i := 0; i < len(json); i++ {
		switch c := json[i]; {
		case c == '"' || c == '\\':
			w.dst = append(w.dst, '\\', c)
		case c == '<' || c == '>' || c == '&':
			w.dst = append(w.dst, `\\u00`...)
			w.dst = append(w.dst, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		case c == 0xe2 && i+2 < len(json) && json[i+1] == 0x80 && json[i+2]&^1 == 0xa8:
			w.dst = append(append(w.dst, `\\u202`...), "89"[json[i+2]&1])
			i += 2
		default:
			w.dst = append(w.dst, c)
		}
	}
}
