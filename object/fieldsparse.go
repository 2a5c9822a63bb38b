package object

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseFields reads fieldsV1 JSON. Members whose kind is unknown are ignored, as upstream does. The set shares memory
// with the text.
func ParseFields(text string) (Fields, error) {
	p := parser{text: text}
	f, _, err := p.fields()
	if err == nil {
		if p.space(); p.at < len(text) {
			err = errors.New("unexpected trailing data after JSON object")
		}
	}
	if err != nil {
		return Fields{}, fmt.Errorf("parsing fieldsV1 at byte %d: %w", p.at, err)
	}
	return Fields{f}, nil
}

var errFieldsJSON = errors.New("malformed JSON")

// fields reads one level: the nodes below a path, and whether the path itself is in the set.
func (p *parser) fields() (nodes []fieldNode, member bool, err error) {
	if p.depth++; p.depth > maxDepth {
		return nil, false, errors.New("exceeded max depth")
	}
	defer func() { p.depth-- }()
	if p.next() != '{' {
		return nil, false, errors.New("expected an object")
	}
	p.at++
	if p.next() == '}' {
		p.at++
		return nil, true, nil
	}
	for {
		if p.next() != '"' {
			return nil, false, errFieldsJSON
		}
		name, ok := p.string()
		if !ok || p.next() != ':' {
			return nil, false, errFieldsJSON
		}
		p.at++
		n, known, err := parseElement(name)
		switch {
		case err != nil:
			return nil, false, err
		case name == "." || !known:
			member = member || name == "."
			if !p.skip() {
				return nil, false, errFieldsJSON
			}
		default:
			if n.below, n.member, err = p.fields(); err != nil {
				return nil, false, err
			}
			nodes = insertNode(nodes, n)
		}
		switch p.next() {
		case ',':
			p.at++
		case '}':
			p.at++
			return nodes, member || len(nodes) == 0, nil
		default:
			return nil, false, errFieldsJSON
		}
	}
}

// skip passes over one value.
func (p *parser) skip() bool {
	ok := p.value("")
	p.stack = p.stack[:0]
	return ok
}

func insertNode(nodes []fieldNode, n fieldNode) []fieldNode {
	if len(nodes) == 0 || compareElements(&nodes[len(nodes)-1].element, &n.element) < 0 {
		return append(nodes, n)
	}
	i, found := slices.BinarySearchFunc(nodes, &n.element, func(m fieldNode, e *element) int { return compareElements(&m.element, e) })
	if found {
		nodes[i].member = nodes[i].member || n.member
		nodes[i].set(union(nodes[i].nodes(), n.nodes()))
		return nodes
	}
	return slices.Insert(nodes, i, n)
}

// parseElement reads a member name of fieldsV1. An unknown kind is no error.
func parseElement(s string) (n fieldNode, known bool, err error) {
	if s == "." {
		return n, false, nil
	}
	if len(s) < 2 {
		return n, false, errors.New("key must be 2 characters long:")
	}
	if s[1] != ':' {
		return n, false, fmt.Errorf("missing colon: %v", s)
	}
	switch rest := s[2:]; s[0] {
	case 'f':
		n.name = rest
	case 'i':
		n.kind = byIndex
		i, err := strconv.Atoi(rest)
		if err != nil {
			return n, false, err
		}
		n.key = []Value{NewInt(int64(i))}
	case 'v':
		n.kind = byValue
		v, err := Parse([]byte(rest))
		if err != nil {
			return n, false, err
		}
		n.key = []Value{*v}
	case 'k':
		n.kind = byKey
		v, err := Parse([]byte(rest))
		if err != nil {
			return n, false, err
		}
		if v.Kind() != Map {
			return n, false, fmt.Errorf("the key %s is not an object", rest)
		}
		n.key = v.children()
	default:
		return n, false, nil
	}
	return n, true, nil
}

// readFields reads the fieldsV1 text of an owner without looking into it deeper than need be. Whatever is not as
// AppendJSON writes it goes the long way.
func readFields(text string) (Fields, error) {
	if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
		return ParseFields(text)
	}
	nodes, ok := scanLevel(text[1 : len(text)-1])
	if !ok {
		return ParseFields(text)
	}
	return Fields{nodes}, nil
}

// readLevel reads the members of one level of a text that has been read as a whole before, or written by AppendJSON: if
// it cannot be read, an invariant is broken.
func readLevel(text string) []fieldNode {
	if nodes, ok := scanLevel(text); ok {
		return nodes
	}
	f, err := ParseFields("{" + text + "}")
	if err != nil {
		panic("object: a field set was changed behind our back: " + err.Error())
	}
	return f.nodes
}

// scanLevel reads the members of one level and leaves what is below them as text. It is false when the text is not as
// AppendJSON writes it, as far as it looks.
func scanLevel(text string) (nodes []fieldNode, ok bool) {
	nodes = make([]fieldNode, 0, 4) // most levels have few
	var keys arena
	for i := 0; i < len(text); i++ {
		end := stringEnd(text, i)
		if end < 0 || !strings.HasPrefix(text[end:], ":{") {
			return nil, false
		}
		n, ok := keys.element(text[i+1 : end-1])
		if !ok {
			return nil, false
		}
		from := end + len(":{")
		at := bodyEnd(text, from)
		if at < 0 || at+1 < len(text) && text[at+1] != ',' || at+2 == len(text) {
			return nil, false
		}
		n.text = text[from:at]
		if n.text == "" {
			n.member = true
		} else if rest, ok := strings.CutPrefix(n.text, memberMark); ok {
			n.text, ok = strings.CutPrefix(rest, ",")
			if n.member = true; !ok {
				return nil, false
			}
		}
		nodes = insertNode(nodes, n)
		i = at + 1 // the comma
	}
	return nodes, true
}

// stringEnd is the position after the string that begins at i; -1 when there is none.
func stringEnd(s string, i int) int {
	if i >= len(s) || s[i] != '"' {
		return -1
	}
	for i++; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// bodyEnd is the position of the brace that closes the object whose inside begins at i; -1 when there is none, or it
// holds anything but objects.
func bodyEnd(s string, i int) int {
	for depth := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		case ':', ',':
		default:
			return -1
		}
	}
	return -1
}

// element reads the name of a member of fieldsV1 as it stands in the text, with its escapes.
func (a *arena) element(raw string) (n fieldNode, ok bool) {
	if strings.HasPrefix(raw, "f:") && strings.IndexByte(raw, '\\') < 0 {
		n.name = raw[2:]
		return n, true
	}
	if n.key, ok = a.key(raw); ok {
		n.kind = byKey
		return n, true
	}
	p := parser{text: raw + `"`, at: -1}
	name, ok := p.string()
	if !ok {
		return n, false
	}
	n, known, err := parseElement(name)
	return n, known && err == nil
}

// key reads the key of a list's item when it is of the usual make, strings without escapes and whole numbers:
// k:{\"name\":\"a\",\"port\":80}.
func (a *arena) key(raw string) ([]Value, bool) {
	rest, ok := strings.CutPrefix(raw, "k:{")
	var found [4]Value
	for n := 0; ok && n < len(found); n++ {
		v := &found[n]
		if v.name, rest, ok = quoted(rest); !ok || rest == "" || rest[0] != ':' || n > 0 && v.name <= found[n-1].name {
			return nil, false
		}
		rest = rest[1:]
		if s, after, ok := quoted(rest); ok {
			name := v.name
			*v = NewString(s)
			v.name, rest = name, after
		} else {
			end := digits(rest, 0)
			if end == 0 || end > 18 {
				return nil, false
			}
			i, err := strconv.ParseInt(rest[:end], 10, 64)
			if err != nil {
				return nil, false
			}
			v.kind, v.word, rest = Number, uint64(i), rest[end:]
		}
		if rest == "}" {
			key := a.run(n + 1)
			copy(key, found[:])
			return key, true
		}
		rest, ok = strings.CutPrefix(rest, ",")
	}
	return nil, false
}

// quoted takes a string without escapes off JSON that is itself inside a string.
func quoted(s string) (text, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `\"`); !ok {
		return "", "", false
	}
	i := strings.IndexByte(s, '\\')
	if i < 0 || i+1 == len(s) || s[i+1] != '"' {
		return "", "", false
	}
	return s[:i], s[i+2:], true
}

// memberMark says in fieldsV1 that the path itself is in the set, where paths below it are as well.
const memberMark = `".":{}`
