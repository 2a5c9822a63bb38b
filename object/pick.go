package object

import "strings"

// Pick is a choice of members of documents: what is asked of an object that need not be decoded whole.
type Pick struct {
	members []pickMember // nil: everything
	names   bool         // of a map all members, each with "" for a value
}

type pickMember struct {
	name string
	text string // the name in JSON, as all that is stored is written
	Pick
}

// NewPick chooses the members at paths. What they lie in is chosen as far as it is needed; a path leads through a list to
// all its items. The last step "*" chooses the names of a map's members, with "" for values.
func NewPick(paths ...[]string) *Pick {
	p := &Pick{members: []pickMember{}}
	for _, path := range paths {
		p.add(path)
	}
	return p
}

// PickFields is NewPick with the steps of each path separated by dots ("metadata.name").
func PickFields(paths ...string) *Pick {
	steps := make([][]string, len(paths))
	for i, path := range paths {
		steps[i] = strings.Split(path, ".")
	}
	return NewPick(steps...)
}

func (p *Pick) add(path []string) {
	switch {
	case p.members == nil && !p.names:
		return // chosen whole already
	case len(path) == 0:
		*p = Pick{}
		return
	case path[0] == "*":
		p.names = true
		return
	}
	for i := range p.members {
		if p.members[i].name == path[0] {
			p.members[i].add(path[1:])
			return
		}
	}
	m := pickMember{path[0], string(appendString(nil, path[0])), Pick{members: []pickMember{}}}
	m.add(path[1:])
	p.members = append(p.members, m)
}

// Append appends what is chosen of doc, a map in compact JSON. Of what is no such thing it appends no such thing either,
// but never fails.
func (p *Pick) Append(dst, doc []byte) []byte {
	dst, _ = p.value(dst, doc, 0)
	return dst
}

// Parse parses what is chosen of doc, which may change afterwards.
func (p *Pick) Parse(doc []byte) (*Value, error) {
	return Parse(p.Append(make([]byte, 0, min(len(doc), 512)), doc))
}

// value appends what is chosen of the value at i and returns the position after it.
func (p *Pick) value(dst, doc []byte, i int) ([]byte, int) {
	if i < len(doc) && (p.names || p.members != nil) {
		switch doc[i] {
		case '{':
			return p.fields(dst, doc, i)
		case '[':
			return p.items(dst, doc, i)
		}
	}
	end := valueEnd(doc, i)
	return append(dst, doc[i:end]...), end
}

func (p *Pick) fields(dst, doc []byte, i int) ([]byte, int) {
	dst = append(dst, '{')
	first := true
	for i++; i < len(doc) && doc[i] == '"'; {
		from := i
		i = min(quoteEnd(doc, i)+1, len(doc)) // and the colon
		m := p.member(doc[from:i])
		if m == nil && !p.names {
			i = valueEnd(doc, i)
		} else {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, doc[from:i]...)
			if m != nil {
				dst, i = m.value(dst, doc, i)
			} else {
				dst, i = append(dst, `""`...), valueEnd(doc, i)
			}
		}
		if i < len(doc) && doc[i] == ',' {
			i++
		}
	}
	return append(dst, '}'), min(i+1, len(doc))
}

// member is the choice within the member that a text `"name":` begins; nil when it is not chosen.
func (p *Pick) member(text []byte) *Pick {
	for i := range p.members {
		m := &p.members[i]
		if string(text[:len(text)-1]) == m.text {
			return &m.Pick
		}
	}
	return nil
}

func (p *Pick) items(dst, doc []byte, i int) ([]byte, int) {
	dst = append(dst, '[')
	for i++; i < len(doc) && doc[i] != ']'; {
		from := i
		if dst, i = p.value(dst, doc, i); i == from {
			break
		}
		if i < len(doc) && doc[i] == ',' {
			dst = append(dst, ',')
			i++
		}
	}
	return append(dst, ']'), min(i+1, len(doc))
}
