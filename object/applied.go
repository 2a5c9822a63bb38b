package object

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errDuplicate is wrapped when a list that identifies its items has two of one identity where that is not tolerated.
var errDuplicate = errors.New("duplicate entries for key")

// appliedFields are the fields a document states as an apply configuration: its scalars, its atomic maps and lists, its
// items, empty maps and nulls, and members that the schema does not declare by name (of a map of strings, say). Maps and
// lists that the schema declares are not in the set themselves, unlike in what Compare calls added. With strict set,
// items of one identity are an error, inside of what is atomic as well; otherwise they are in the set as one.
func appliedFields(v *Value, s Shape, strict bool) (Fields, error) {
	d := diffs.Get().(*diff)
	defer func() {
		d.reset()
		diffs.Put(d)
	}()
	if v.kind != Map || s != nil && s.Atomic() {
		return Fields{}, nil
	}
	members := v.children()
	nodes := make([]fieldNode, 0, len(members))
	for i := range members {
		m := &members[i]
		field := memberShape(m, s)
		n := fieldNode{element: element{name: m.name, member: stated(m, field, s)}}
		if err := d.applied(m, field, strict); err != nil {
			return Fields{}, fmt.Errorf(".%s%w", m.name, err)
		}
		if n.text = d.text(); n.member || n.text != "" {
			nodes = append(nodes, n)
		}
	}
	return Fields{nodes}, nil
}

// memberShape is the shape of a map's member; nil for scalars, of which nothing need be known.
func memberShape(m *Value, s Shape) Shape {
	if s == nil || m.kind < List {
		return nil
	}
	return s.Field(m.name)
}

// stated reports whether a member is in the set of what is applied, and not only what is below it. field is its shape, s
// that of the map it is in.
func stated(m *Value, field, s Shape) bool {
	switch {
	case m.kind < List, field != nil && field.Atomic(), m.kind == Map && m.Len() == 0, m.kind == List && !granular(field):
		return true
	}
	return s == nil || !s.Declares(m.name)
}

// applied writes what a value of an apply configuration states below itself as members of fieldsV1, each followed by a comma.
func (d *diff) applied(v *Value, s Shape, strict bool) error {
	switch {
	case v.kind < List:
	case s != nil && s.Atomic(), v.kind == List && !granular(s):
		if strict {
			return d.identifiable(v, s, strict)
		}
	case v.kind == Map:
		for i, members := 0, v.children(); i < len(members); i++ {
			m := &members[i]
			field := memberShape(m, s)
			err := d.writeNode(&element{name: m.name, member: stated(m, field, s)}, func() error { return d.applied(m, field, strict) })
			if err != nil {
				return fmt.Errorf(".%s%w", m.name, err)
			}
		}
	default:
		return d.appliedItems(v.children(), s, strict)
	}
	return nil
}

func (d *diff) appliedItems(items []Value, s Shape, strict bool) error {
	item := s.Item()
	return d.eachItem(items, s, strict, func(it keyedItem, same int) error {
		it.member = true
		return d.writeNode(&it.element, func() error {
			if same > 1 {
				return nil // several items are owned as one
			}
			return d.applied(it.value, item, strict)
		})
	})
}

// granular reports a list whose items are owned and merged one by one.
func granular(s Shape) bool {
	return s != nil && !s.Atomic() && (s.Set() || len(s.Keys()) > 0)
}

// identities are the items of a granular list with their identities, in their order.
func identities(items []Value, s Shape) ([]keyedItem, error) {
	keys := s.Keys()
	keyed := make([]keyedItem, len(items))
	for i := range items {
		keyed[i].value = &items[i]
		if err := identify(&keyed[i].element, items[i:i+1:i+1], s, keys); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return keyed, nil
}

// withNamed adds to a set each map and list below which something is in it, as far as the schema declares it by name.
func withNamed(nodes []fieldNode, s Shape) []fieldNode {
	if s == nil || len(nodes) == 0 {
		return nodes
	}
	out := slices.Clone(nodes)
	for i := range out {
		n := &out[i]
		if n.leaf() {
			continue
		}
		n.member = named(n, s)
		n.set(withNamed(n.nodes(), below(s, &n.element)))
	}
	return out
}

// named reports whether a node is in the set that withNamed makes.
func named(n *fieldNode, s Shape) bool {
	return n.member || s != nil && !n.leaf() && n.kind == byName && s.Declares(n.name)
}

// namedTops are the paths of withNamed's set that no other of its paths leads to.
func namedTops(nodes []fieldNode, s Shape) []fieldNode {
	if s == nil {
		return nodes
	}
	out := slices.Clone(nodes)
	for i := range out {
		n := &out[i]
		if n.member = named(n, s); n.member {
			n.set(nil)
		} else {
			n.set(namedTops(n.nodes(), below(s, &n.element)))
		}
	}
	return out
}

// namedDifference is the Difference of what withNamed makes of f and g. It reads only what differs.
func (f Fields) namedDifference(g Fields, s Shape) Fields {
	return Fields{namedDifference(f.nodes, g.nodes, s)}
}

func namedDifference(a, b []fieldNode, s Shape) []fieldNode {
	if len(b) == 0 {
		return withNamed(a, s)
	}
	var out []fieldNode
	for i := range a {
		for len(b) > 0 && compareElements(&b[0].element, &a[i].element) < 0 {
			b = b[1:]
		}
		n, sub := a[i], below(s, &a[i].element)
		n.member = named(&n, s)
		switch {
		case len(b) == 0 || compareElements(&b[0].element, &n.element) != 0:
			n.set(withNamed(n.nodes(), sub))
		case n.text != "" && n.text == b[0].text:
			n.member = n.member && !named(&b[0], s)
			n.set(nil)
		default:
			n.member = n.member && !named(&b[0], s)
			n.set(namedDifference(n.nodes(), b[0].nodes(), sub))
		}
		if n.member || !n.leaf() {
			out = append(out, n)
		}
	}
	return out
}

// namedIntersection is the Intersection of f and what withNamed makes of g. It reads no more of g than f has.
func (f Fields) namedIntersection(g Fields, s Shape) Fields {
	return Fields{namedIntersection(f.nodes, g.nodes, s)}
}

func namedIntersection(a, b []fieldNode, s Shape) []fieldNode {
	var out []fieldNode
	for i := range a {
		for len(b) > 0 && compareElements(&b[0].element, &a[i].element) < 0 {
			b = b[1:]
		}
		if len(b) == 0 {
			break
		}
		n := a[i]
		if compareElements(&b[0].element, &n.element) != 0 {
			continue
		}
		n.member = n.member && named(&b[0], s)
		if !n.leaf() {
			n.set(namedIntersection(n.nodes(), b[0].nodes(), below(s, &n.element)))
		}
		if n.member || !n.leaf() {
			out = append(out, n)
		}
	}
	return out
}

// below is the shape of what a path element leads to.
func below(s Shape, e *element) Shape {
	switch {
	case s == nil:
		return nil
	case e.kind == byName:
		return s.Field(e.name)
	case e.kind == byKey && granular(s):
		return s.Item()
	}
	return nil
}

// reconcile is the set after a change of the schema, and whether it changed: what is owned below a map or list that is
// atomic by now is owned as a whole.
func reconcile(nodes []fieldNode, s Shape) (out []fieldNode, changed bool) {
	if s == nil {
		return nodes, false
	}
	for i := range nodes {
		n := &nodes[i]
		if n.leaf() {
			continue
		}
		sub := below(s, &n.element)
		if sub == nil || n.below == nil && !sub.Atomic() && piecemeal(n.text, sub) {
			continue
		}
		next := *n
		if sub.Atomic() {
			next.member = true
			next.set(nil)
		} else if b, also := reconcile(n.nodes(), sub); also {
			next.set(b)
		} else {
			continue
		}
		if !changed {
			out, changed = slices.Clone(nodes), true
		}
		out[i] = next
	}
	if !changed {
		return nodes, false
	}
	return out, true
}

// piecemeal reports that what text, members of fieldsV1, says to be owned is certainly nothing inside of a map or list that
// is atomic by now, so that reconcile need not read it.
func piecemeal(text string, s Shape) bool {
	end, ok := scanPiecemeal(text, 0, s)
	return ok && end == len(text)
}

// scanPiecemeal is piecemeal for one level, from its first member at i to the brace that closes it.
func scanPiecemeal(text string, i int, s Shape) (end int, ok bool) {
	for {
		end := stringEnd(text, i)
		if end < 0 || !strings.HasPrefix(text[end:], ":{") {
			return 0, false
		}
		raw := text[i+1 : end-1]
		i = end + len(":{")
		if i == len(text) {
			return 0, false
		}
		if text[i] != '}' {
			var sub Shape
			switch name, named := strings.CutPrefix(raw, "f:"); {
			case named && strings.IndexByte(name, '\\') >= 0:
				return 0, false
			case named:
				sub = s.Field(name)
			case strings.HasPrefix(raw, "k:") && granular(s):
				sub = s.Item()
			}
			switch {
			case sub == nil:
				i = bodyEnd(text, i)
				ok = i >= 0
			case sub.Atomic():
				return 0, false
			default:
				i, ok = scanPiecemeal(text, i, sub)
			}
			if !ok || i == len(text) {
				return 0, false
			}
		}
		if i++; i == len(text) || text[i] == '}' {
			return i, true
		}
		if text[i] != ',' {
			return 0, false
		}
		i++
	}
}

// remove is v without the members and items in the set. Maps and lists of which nothing is left are null, and so are
// atomic ones of which something was to be removed. v itself stays as it is; the result shares memory with it.
func remove(v *Value, nodes []fieldNode, s Shape) Value {
	if v.kind < List {
		return *v
	}
	gone := Value{name: v.name}
	if v.Len() == 0 || s != nil && s.Atomic() || v.kind == List && !granular(s) {
		return gone
	}
	var left []Value
	if v.kind == Map {
		left = removeMembers(v.children(), nodes, s)
	} else {
		left = removeItems(v.children(), nodes, s)
	}
	if len(left) == 0 {
		return gone
	}
	out := *v
	out.setChildren(left)
	return out
}

func removeMembers(members []Value, nodes []fieldNode, s Shape) []Value {
	left := make([]Value, 0, len(members))
	for i := range members {
		m := &members[i]
		for len(nodes) > 0 && nodes[0].kind == byName && nodes[0].name < m.name {
			nodes = nodes[1:]
		}
		if len(nodes) == 0 || nodes[0].kind != byName || nodes[0].name != m.name {
			left = append(left, *m)
			continue
		}
		n := &nodes[0]
		if n.member {
			continue
		}
		var field Shape
		if s != nil {
			field = s.Field(m.name)
		}
		left = append(left, remove(m, n.nodes(), field))
	}
	return left
}

func removeItems(items []Value, nodes []fieldNode, s Shape) []Value {
	left := make([]Value, 0, len(items))
	keys, item := s.Keys(), s.Item()
	for i := range items {
		var e element
		if err := identify(&e, items[i:i+1:i+1], s, keys); err != nil {
			left = append(left, items[i]) // what has no identity is in no set
			continue
		}
		at, ok := slices.BinarySearchFunc(nodes, &e, func(n fieldNode, e *element) int { return compareElements(&n.element, e) })
		switch {
		case !ok:
			left = append(left, items[i])
		case nodes[at].member:
		default:
			left = append(left, remove(&items[i], nodes[at].nodes(), item))
		}
	}
	return left
}
