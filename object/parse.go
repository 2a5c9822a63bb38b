package object

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	kjson "sigs.k8s.io/json"
)

// maxDepth is how deep lists and maps may nest, as in encoding/json.
const maxDepth = 10000

// Fits reports whether lists and maps nest in v only as deep as in what Parse reads.
func (v *Value) Fits() bool { return v.nestsWithin(maxDepth) }

func (v *Value) nestsWithin(depth int) bool {
	c := v.children()
	if len(c) > 0 && depth == 0 {
		return false
	}
	for i := range c {
		if !c[i].nestsWithin(depth - 1) {
			return false
		}
	}
	return true
}

// errUTF8 is the one thing refused that upstream accepts: it puts U+FFFD in place of bytes that are not UTF-8, and so
// stores something else than was sent.
var errUTF8 = errors.New("invalid UTF-8 in string literal")

// Parse reads one JSON document. It must be valid UTF-8, nest at most 10,000 deep and hold no numbers beyond float64.
// Of duplicate members the last one counts. Errors are worded as encoding/json words them.
//
// Strings of the Value share memory with data, which must not change from now on.
func Parse(data []byte) (*Value, error) {
	v, _, err := parse(data)
	return v, err
}

// ParseStrict is Parse that also reports duplicate members, each as `duplicate field "spec.x"` with upstream's paths
// (spec.list[0].x), in the order of the text and at most 100.
func ParseStrict(data []byte) (v *Value, duplicates []string, err error) {
	v, dups, err := parse(data)
	if dups {
		d := duplicateScan{seen: map[string]bool{}}
		d.value(newParser(data), "", true)
		duplicates = d.found
	}
	return v, duplicates, err
}

func parse(data []byte) (v *Value, dups bool, err error) {
	p := newParser(data)
	scratch := scratches.Get().(*[]Value)
	p.stack = (*scratch)[:0]
	p.arena.chunk = make([]Value, 0, min(p.estimate(), arenaChunk))
	ok := p.value("")
	if ok {
		p.space()
		ok = p.at == len(p.text)
	}
	if ok {
		v = new(Value)
		*v = p.stack[0]
	}
	// The pool must not keep the document alive.
	clear(p.stack[:max(p.high, len(p.stack))])
	if cap(p.stack) <= arenaChunk {
		*scratch = p.stack[:0]
		scratches.Put(scratch)
	}
	if !ok {
		return nil, false, parseError(data)
	}
	return v, p.duplicates, nil
}

var scratches = sync.Pool{New: func() any { s := make([]Value, 0, 64); return &s }}

// parseError words what is wrong with data: upstream's decoder says it.
func parseError(data []byte) error {
	var discard any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &discard); err != nil {
		return err
	}
	return errUTF8
}

// parser reads values off a text. Its methods report false on the first violation; the caller has it worded.
type parser struct {
	text       string
	at         int
	depth      int
	stack      []Value // the children of all open lists and maps
	high       int     // how long the stack has been
	arena      arena
	duplicates bool
}

func newParser(data []byte) *parser {
	return &parser{text: unsafe.String(unsafe.SliceData(data), len(data))}
}

// estimate is the number of children in the document, exact unless strings contain brackets or commas.
func (p *parser) estimate() int {
	return strings.Count(p.text, ",") + strings.Count(p.text, "{") + strings.Count(p.text, "[")
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\n', '\t', '\r':
			p.at++
		default:
			return
		}
	}
}

// next skips white space and looks at the next byte; 0 at the end.
func (p *parser) next() byte {
	if p.at < len(p.text) && p.text[p.at] > ' ' {
		return p.text[p.at]
	}
	p.space()
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// value reads one value and pushes it with that name.
func (p *parser) value(name string) bool {
	switch c := p.next(); c {
	case '{':
		return p.members(name)
	case '[':
		return p.items(name)
	case '"':
		s, ok := p.string()
		if ok {
			v := NewString(s)
			v.name = name
			p.stack = append(p.stack, v)
		}
		return ok
	case 't':
		return p.literal("true", Value{name: name, kind: Bool, word: 1})
	case 'f':
		return p.literal("false", Value{name: name, kind: Bool})
	case 'n':
		return p.literal("null", Value{name: name})
	default:
		return p.number(name)
	}
}

func (p *parser) literal(word string, v Value) bool {
	if !strings.HasPrefix(p.text[p.at:], word) {
		return false
	}
	p.at += len(word)
	p.stack = append(p.stack, v)
	return true
}

func (p *parser) items(name string) bool {
	if p.depth++; p.depth > maxDepth {
		return false
	}
	p.at++
	base := len(p.stack)
	if p.next() == ']' {
		p.at++
		p.close(List, name, base)
		return true
	}
	for {
		if !p.value("") {
			return false
		}
		switch p.next() {
		case ',':
			p.at++
		case ']':
			p.at++
			p.close(List, name, base)
			return true
		default:
			return false
		}
	}
}

func (p *parser) members(name string) bool {
	if p.depth++; p.depth > maxDepth {
		return false
	}
	p.at++
	base := len(p.stack)
	if p.next() == '}' {
		p.at++
		p.close(Map, name, base)
		return true
	}
	sorted, last := true, ""
	for first := true; ; first = false {
		if p.next() != '"' {
			return false
		}
		member, ok := p.string()
		if !ok || p.next() != ':' {
			return false
		}
		p.at++
		if !first && member <= last {
			sorted = false
		}
		last = member
		if !p.value(member) {
			return false
		}
		switch p.next() {
		case ',':
			p.at++
			continue
		case '}':
		default:
			return false
		}
		p.at++
		if !sorted {
			p.sort(base)
		}
		p.close(Map, name, base)
		return true
	}
}

// sort brings the members from base on into order and drops all but the last of equal names.
func (p *parser) sort(base int) {
	members := p.stack[base:]
	if len(members) <= 16 {
		for i := 1; i < len(members); i++ {
			if members[i-1].name <= members[i].name {
				continue
			}
			m, j := members[i], i
			for ; j > 0 && members[j-1].name > m.name; j-- {
				members[j] = members[j-1]
			}
			members[j] = m
		}
	} else {
		slices.SortStableFunc(members, func(a, b Value) int { return strings.Compare(a.name, b.name) })
	}
	n := 0
	for i := range members {
		if i+1 < len(members) && members[i].name == members[i+1].name {
			p.duplicates = true
			continue
		}
		members[n] = members[i]
		n++
	}
	p.high = max(p.high, len(p.stack))
	p.stack = p.stack[:base+n]
}

// close makes a list or map of what was pushed since base and pushes it.
func (p *parser) close(kind Kind, name string, base int) {
	p.depth--
	v := Value{name: name, kind: kind}
	if n := len(p.stack) - base; n > 0 {
		c := p.arena.run(n)
		copy(c, p.stack[base:])
		v.setChildren(c)
		p.high = max(p.high, len(p.stack))
		p.stack = p.stack[:base]
	}
	p.stack = append(p.stack, v)
}

// number reads a number: an int64 when it has no fraction and fits, else a float64.
func (p *parser) number(name string) bool {
	s, i := p.text, p.at
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i == len(s) || s[i] < '0' || s[i] > '9':
		return false
	case s[i] == '0':
		i++
	default:
		i = digits(s, i)
	}
	if i-p.at <= 18 && (i == len(s) || s[i] != '.' && s[i]|0x20 != 'e') {
		// The usual case: a number that fits int64 whatever its digits.
		n, negative := int64(0), s[p.at] == '-'
		for _, c := range []byte(s[p.at:i]) {
			if c != '-' {
				n = n*10 + int64(c-'0')
			}
		}
		if negative {
			n = -n
		}
		p.at = i
		p.stack = append(p.stack, Value{name: name, kind: Number, word: uint64(n)})
		return true
	}
	whole, exponent := true, false
	if i < len(s) && s[i] == '.' {
		whole = false
		from := i + 1
		if i = digits(s, from); i == from {
			return false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		exponent = true
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		from := i
		if i = digits(s, from); i == from {
			return false
		}
	}
	text := s[p.at:i]
	p.at = i
	if whole && !exponent {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			p.stack = append(p.stack, Value{name: name, kind: Number, word: uint64(n)})
			return true
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return false
	}
	p.stack = append(p.stack, Value{name: name, kind: Number, float: true, word: math.Float64bits(f)})
	return true
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// string reads a string, of the text itself when it holds no escapes.
func (p *parser) string() (string, bool) {
	from := p.at + 1
	i := from
	for {
		i += plain(p.text[i:])
		if i == len(p.text) {
			return "", false
		}
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return p.text[from:i], true
		case c == '\\':
			return p.escaped(from, i)
		case c < ' ':
			return "", false
		default: // not ASCII
			_, size := utf8.DecodeRuneInString(p.text[i:])
			if size == 1 {
				return "", false
			}
			i += size
		}
	}
}

// escaped reads on at the first backslash of a string, into memory of its own.
func (p *parser) escaped(from, i int) (string, bool) {
	b := append(make([]byte, 0, 2*(i-from)+16), p.text[from:i]...)
	for {
		n := plain(p.text[i:])
		b = append(b, p.text[i:i+n]...)
		i += n
		if i == len(p.text) {
			return "", false
		}
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return unsafe.String(unsafe.SliceData(b), len(b)), true
		case c == '\\':
			var ok bool
			if b, i, ok = p.escape(b, i+1); !ok {
				return "", false
			}
		case c < ' ':
			return "", false
		default:
			_, size := utf8.DecodeRuneInString(p.text[i:])
			if size == 1 {
				return "", false
			}
			b = append(b, p.text[i:i+size]...)
			i += size
		}
	}
}

// escape appends what the escape sequence with the letter at i stands for and returns the position after it. A lone
// half of a surrogate pair becomes U+FFFD, as in encoding/json.
func (p *parser) escape(b []byte, i int) ([]byte, int, bool) {
	if i == len(p.text) {
		return b, i, false
	}
	switch c := p.text[i]; c {
	case '"', '\\', '/':
		return append(b, c), i + 1, true
	case 'b':
		return append(b, '\b'), i + 1, true
	case 'f':
		return append(b, '\f'), i + 1, true
	case 'n':
		return append(b, '\n'), i + 1, true
	case 'r':
		return append(b, '\r'), i + 1, true
	case 't':
		return append(b, '\t'), i + 1, true
	case 'u':
		r, ok := hex4(p.text, i+1)
		if !ok {
			return b, i, false
		}
		i += 5
		if utf16.IsSurrogate(r) {
			if strings.HasPrefix(p.text[i:], `\u`) {
				low, ok := hex4(p.text, i+2)
				if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
					return utf8.AppendRune(b, pair), i + 6, true
				}
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(b, r), i, true
	}
	return b, i, false
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// plain is the length of the prefix of s that is printable ASCII without quote and backslash.
func plain(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for ; i+8 <= len(b); i += 8 {
		// Eight bytes at a time: a byte's high bit is set in stop when it is below 0x20, '"', '\\' or not ASCII.
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		stop := w | (w - ones*0x20) | (quote - ones) | (slash - ones)
		if stop&highs != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

// duplicateScan finds the paths of duplicate members in a text that has been parsed without error.
type duplicateScan struct {
	seen  map[string]bool
	found []string
}

// maxDuplicates is where upstream's decoder stops collecting.
const maxDuplicates = 100

func (d *duplicateScan) value(p *parser, path string, top bool) {
	switch p.next() {
	case '{':
		p.at++
		names := map[string]bool{}
		for p.next() == '"' {
			name, _ := p.string()
			p.next()
			p.at++ // the colon
			at := name
			if !top { // the path of a member called "" is empty too
				at = path + "." + name
			}
			if names[name] && !d.seen[at] && len(d.found) < maxDuplicates {
				d.seen[at] = true
				d.found = append(d.found, "duplicate field "+strconv.Quote(at))
			}
			names[name] = true
			d.value(p, at, false)
			if p.next() == ',' {
				p.at++
			}
		}
		p.at++
	case '[':
		p.at++
		for i := 0; p.next() != ']'; i++ {
			d.value(p, path+"["+strconv.Itoa(i)+"]", false)
			if p.next() == ',' {
				p.at++
			}
		}
		p.at++
	default:
		p.value("")
	}
}
