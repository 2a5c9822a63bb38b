package object

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Changes are the paths in which two documents differ. No path is in more than one of the sets.
type Changes struct {
	Removed, Modified, Added Fields
}

// all is what changed in any way.
func (c Changes) all() Fields { return c.Modified.Union(c.Added).Union(c.Removed) }

// Compare finds what changed from before to after: structured-merge-diff's Compare, without its typed values. Lists
// that the shape does not call associative are compared as a whole. It fails on items of associative lists that have
// no identity (no key, or nothing but nulls and containers in a set).
func Compare(before, after *Value, s Shape) (Changes, error) {
	d := diffs.Get().(*diff)
	_, err := d.maps(before, after, s)
	var ch Changes
	if err == nil {
		ch = Changes{Fields{d.take(&d.removed, 0)}, Fields{d.take(&d.modified, 0)}, Fields{d.take(&d.added, 0)}}
	}
	d.reset()
	diffs.Put(d)
	return ch, err
}

// FieldsOf is every field of v that ownership speaks of: what the manager owns that creates v out of nothing.
func FieldsOf(v *Value, s Shape) (Fields, error) {
	c, err := Compare(&Value{kind: Map}, v, s)
	return c.Added, err
}

// Distinct reports whether the items of all lists that tell theirs apart have an identity each, and none that of another.
func Distinct(v *Value, s Shape) bool {
	d := diffs.Get().(*diff)
	err := d.identifiable(v, s, true)
	d.reset()
	diffs.Put(d)
	return err == nil
}

// diff walks two documents. The nodes found so far at the open paths lie on three stacks; closing a path moves what is
// below it into the slab.
type diff struct {
	removed, modified, added []fieldNode
	items                    []keyedItem // of the open lists
	slab                     []fieldNode
	w                        fieldsWriter
}

var diffs = sync.Pool{New: func() any { return new(diff) }}

// The slab grows from slabFirst nodes (72 bytes each) to slabLast at a time: most writes change little.
const (
	slabFirst = 8
	slabLast  = 256
)

// reset forgets the documents. Whatever was taken off the stacks before has been cleared.
func (d *diff) reset() {
	for _, stack := range []*[]fieldNode{&d.removed, &d.modified, &d.added} {
		clear(*stack)
		*stack = (*stack)[:0]
	}
	clear(d.items)
	d.items = d.items[:0]
	d.slab = nil
	d.w.dst = d.w.dst[:0]
}

// take moves the nodes from base on off a stack, in order.
func (d *diff) take(stack *[]fieldNode, base int) []fieldNode {
	top := (*stack)[base:]
	if len(top) == 0 {
		return nil
	}
	for i := 1; i < len(top); i++ {
		if compareElements(&top[i-1].element, &top[i].element) >= 0 {
			return d.takeUnordered(stack, base)
		}
	}
	if len(top) > cap(d.slab)-len(d.slab) {
		d.slab = make([]fieldNode, 0, max(len(top), min(max(4*cap(d.slab), slabFirst), slabLast)))
	}
	at := len(d.slab)
	d.slab = append(d.slab, top...)
	clear(top)
	*stack = (*stack)[:base]
	return d.slab[at:len(d.slab):len(d.slab)]
}

// takeUnordered is take for what was not found in order: a value that changed its kind counts twice.
func (d *diff) takeUnordered(stack *[]fieldNode, base int) []fieldNode {
	var sorted []fieldNode
	for _, n := range (*stack)[base:] {
		sorted = insertNode(sorted, n)
	}
	clear((*stack)[base:])
	*stack = (*stack)[:base]
	return sorted
}

// class groups kinds as ownership treats them: all scalars alike.
type class uint8

const (
	nothing class = iota // null or absent
	scalar
	list
	mapping
)

func classOf(v *Value) class {
	switch v.Kind() {
	case Null:
		return nothing
	case List:
		return list
	case Map:
		return mapping
	}
	return scalar
}

// member compares what two documents have at one step; nil is absent, which is not null.
func (d *diff) member(e element, before, after *Value, s Shape) error {
	if before != nil && after != nil {
		if sameScalar(before, after) {
			return nil
		}
		if before.kind >= List && sameInMemory(before, after) {
			return d.identifiable(after, s, false)
		}
	}
	var err error
	if before == nil {
		n := fieldNode{element: e}
		n.member = true
		if n.text, err = d.all(after, s); err != nil {
			return err
		}
		d.added = append(d.added, n)
		return nil
	}
	removed, modified, added := len(d.removed), len(d.modified), len(d.added)
	leaf := false
	cb, ca := classOf(before), classOf(after)
	switch {
	case cb == ca || ca == nothing:
		leaf, err = d.handle(cb, before, after, s)
	case cb == nothing:
		leaf, err = d.handle(ca, before, after, s)
	default:
		// The old and the new value each count as what they are.
		if leaf, err = d.handle(cb, before, after, s); err == nil {
			var also bool
			also, err = d.handle(ca, before, after, s)
			leaf = leaf || also
		}
	}
	if err != nil {
		return err
	}
	d.close(&d.removed, removed, e, after == nil)
	d.close(&d.modified, modified, e, leaf && before != nil && after != nil)
	d.close(&d.added, added, e, before == nil)
	return nil
}

// all is the text of everything below a value that is new as a whole: most of what there is to say on a create.
func (d *diff) all(v *Value, s Shape) (text string, err error) {
	if v.Len() == 0 {
		return "", nil
	}
	err = d.writeAll(v, s)
	return d.text(), err
}

// text takes what was written as the text of a node.
func (d *diff) text() (text string) {
	if n := len(d.w.dst); n > 0 {
		text = string(d.w.dst[:n-1]) // without the last comma
	}
	d.w.dst = d.w.dst[:0]
	return text
}

// writeAll writes the members of a map or the items of an associative list, each followed by a comma.
func (d *diff) writeAll(v *Value, s Shape) error {
	if s != nil && s.Atomic() {
		return nil
	}
	switch v.kind {
	case Map:
		for i, members := 0, v.children(); i < len(members); i++ {
			m := &members[i]
			var field Shape
			if s != nil && m.kind >= List {
				field = s.Field(m.name)
			}
			if err := d.writeNode(&element{name: m.name, member: true}, func() error { return d.writeAll(m, field) }); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
		}
	case List:
		if s == nil {
			return nil
		}
		keys := s.Keys()
		if len(keys) == 0 && !s.Set() {
			return nil
		}
		base := len(d.items)
		distinct, err := d.identify(v.children(), s, keys)
		if err != nil {
			return err
		}
		item := s.Item()
		for i := base; i < len(d.items); {
			it := d.items[i]
			n := run(d.items[i:], distinct)
			it.member = true
			err := d.writeNode(&it.element, func() error {
				if n > 1 {
					return nil // several items are owned as one
				}
				return d.writeAll(it.value, item)
			})
			if err != nil {
				return err
			}
			i += n
		}
		clear(d.items[base:])
		d.items = d.items[:base]
	}
	return nil
}

// writeNode writes one member of fieldsV1, with what below writes inside, and a comma; nothing when e is not in the set and
// nothing is below it.
func (d *diff) writeNode(e *element, below func() error) error {
	start := len(d.w.dst)
	d.w.element(e)
	d.w.dst = append(d.w.dst, `":{`...)
	outside := len(d.w.dst)
	if e.member {
		d.w.dst = append(append(d.w.dst, memberMark...), ',')
	}
	inside := len(d.w.dst)
	if err := below(); err != nil {
		return err
	}
	switch {
	case len(d.w.dst) > inside:
		d.w.dst = d.w.dst[:len(d.w.dst)-1] // the last comma
	case e.member:
		d.w.dst = d.w.dst[:outside]
	default:
		d.w.dst = d.w.dst[:start]
		return nil
	}
	d.w.dst = append(d.w.dst, '}', ',')
	return nil
}

// close makes a node of what was put on a stack since base.
func (d *diff) close(stack *[]fieldNode, base int, e element, member bool) {
	if !member && len(*stack) == base {
		return
	}
	e.member = member
	below := d.take(stack, base)
	*stack = append(*stack, fieldNode{element: e, below: below})
}

// identifiable fails on items of granular lists at v or below that have no identity, as comparing v with itself does.
// With strict set it also looks into what is owned as a whole, and fails on items of one identity.
func (d *diff) identifiable(v *Value, s Shape, strict bool) error {
	if v.kind < List || s == nil || s.Atomic() && !strict {
		return nil
	}
	children := v.children()
	switch {
	case v.kind == Map:
		for i := range children {
			if m := &children[i]; m.kind >= List {
				if err := d.identifiable(m, s.Field(m.name), strict); err != nil {
					return fmt.Errorf(".%s%w", m.name, err)
				}
			}
		}
		return nil
	case granular(s):
		return d.identifiableItems(children, s, strict)
	case !strict:
		return nil
	}
	item := s.Item()
	for i := range children {
		if err := d.identifiable(&children[i], item, strict); err != nil {
			return fmt.Errorf("[%d]%w", i, err)
		}
	}
	return nil
}

func (d *diff) identifiableItems(items []Value, s Shape, strict bool) error {
	item := s.Item()
	return d.eachItem(items, s, strict, func(it keyedItem, same int) error {
		if same > 1 || it.value.kind < List {
			return nil
		}
		return d.identifiable(it.value, item, strict)
	})
}

// eachItem visits the items of a granular list by identity, with how many there are of each. It fails on items without
// identity, and with strict set on those of one identity.
func (d *diff) eachItem(items []Value, s Shape, strict bool, visit func(it keyedItem, same int) error) error {
	base := len(d.items)
	distinct, err := d.identify(items, s, s.Keys())
	if err != nil {
		return fmt.Errorf(": %w", err)
	}
	for i := base; i < len(d.items); {
		it := d.items[i] // deeper lists may move the stack
		same := run(d.items[i:], distinct)
		if same > 1 && strict {
			return fmt.Errorf(": %w %s", errDuplicate, it.String())
		}
		if err := visit(it, same); err != nil {
			return fmt.Errorf("%s%w", it.String(), err)
		}
		i += same
	}
	clear(d.items[base:])
	d.items = d.items[:base]
	return nil
}

// sameScalar spares equal scalars the walk; containers are walked anyway.
func sameScalar(a, b *Value) bool {
	return a.kind == b.kind && a.kind < List && Equal(a, b)
}

// handle compares two values as values of one class; the one that is of another counts as null. It reports whether they
// differ as a whole.
func (d *diff) handle(c class, before, after *Value, s Shape) (leaf bool, err error) {
	switch c {
	case mapping:
		return d.maps(before, after, s)
	case list:
		return d.lists(before, after, s)
	}
	return !Equal(before, after), nil
}

func (d *diff) maps(before, after *Value, s Shape) (leaf bool, err error) {
	var a, b []Value
	if before.Kind() == Map {
		a = before.children()
	}
	if after.Kind() == Map {
		b = after.children()
	}
	if len(a) == 0 && len(b) == 0 || s != nil && s.Atomic() {
		return !Equal(before, after), nil
	}
	for len(a) > 0 || len(b) > 0 {
		var m, n *Value
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].name < b[0].name:
			m, a = &a[0], a[1:]
		case len(a) == 0 || b[0].name < a[0].name:
			n, b = &b[0], b[1:]
		default:
			m, n, a, b = &a[0], &b[0], a[1:], b[1:]
			if sameScalar(m, n) {
				continue
			}
		}
		e := element{}
		if m != nil {
			e.name = m.name
		} else {
			e.name = n.name
		}
		var field Shape
		if s != nil {
			field = s.Field(e.name)
		}
		if err := d.member(e, m, n, field); err != nil {
			return false, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return false, nil
}

func (d *diff) lists(before, after *Value, s Shape) (leaf bool, err error) {
	var a, b []Value
	if before.Kind() == List {
		a = before.children()
	}
	if after.Kind() == List {
		b = after.children()
	}
	if len(a) == 0 && len(b) == 0 || s == nil || s.Atomic() {
		return !Equal(before, after), nil
	}
	keys := s.Keys()
	if len(keys) == 0 && !s.Set() {
		return !Equal(before, after), nil
	}
	base := len(d.items)
	distinct, err := d.identify(a, s, keys)
	if err != nil {
		return false, err
	}
	middle := len(d.items)
	also, err := d.identify(b, s, keys)
	if err != nil {
		return false, err
	}
	end := len(d.items)
	item := s.Item()
	for i, j := base, middle; i < middle || j < end; {
		// Deeper lists may move the stack: the items are looked up again each time.
		l, r := d.items[i:middle], d.items[j:end]
		c := 0
		switch {
		case len(l) == 0:
			c = 1
		case len(r) == 0:
			c = -1
		default:
			c = compareElements(&l[0].element, &r[0].element)
		}
		m, n := 0, 0
		if c <= 0 {
			m = run(l, distinct)
		}
		if c >= 0 {
			n = run(r, also)
		}
		if err := d.alike(l[:m], r[:n], item); err != nil {
			return false, err
		}
		i, j = i+m, j+n
	}
	clear(d.items[base:])
	d.items = d.items[:base]
	return false, nil
}

// alike compares the items of one identity. Where there are several the identity is owned as one.
func (d *diff) alike(l, r []keyedItem, s Shape) error {
	var before, after *Value
	var e element
	if len(l) > 0 {
		e, before = l[0].element, l[0].value
	}
	if len(r) > 0 {
		e, after = r[0].element, r[0].value
	}
	switch {
	case len(l) < 2 && len(r) < 2:
		return d.member(e, before, after, s)
	case len(l) > 1 && len(r) > 1:
		if !slices.EqualFunc(l, r, func(a, b keyedItem) bool { return Equal(a.value, b.value) }) {
			d.close(&d.modified, len(d.modified), e, true)
		}
	case len(l) > 1:
		if len(r) > 0 {
			if err := d.member(e, nil, after, s); err != nil {
				return err
			}
		}
		d.close(&d.removed, len(d.removed), e, true)
	default:
		if len(l) > 0 {
			if err := d.member(e, before, nil, s); err != nil {
				return err
			}
		}
		d.close(&d.added, len(d.added), e, true)
	}
	return nil
}

// keyedItem is an item of an associative list with its identity.
type keyedItem struct {
	element
	value *Value
}

// run is how many items at the start are of one identity.
func run(items []keyedItem, distinct bool) int {
	n := 1
	for !distinct && n < len(items) && compareElements(&items[n].element, &items[0].element) == 0 {
		n++
	}
	return n
}

// identify pushes the items of a list with their identities, and sorts them by it. It reports whether no two are alike.
func (d *diff) identify(items []Value, s Shape, keys []string) (distinct bool, err error) {
	base := len(d.items)
	ascending := true
	for i := range items {
		d.items = append(d.items, keyedItem{value: &items[i]})
		out := d.items[base:]
		if err := identify(&out[i].element, items[i:i+1:i+1], s, keys); err != nil {
			return false, fmt.Errorf("[%d]: %w", i, err)
		}
		ascending = ascending && (i == 0 || compareElements(&out[i-1].element, &out[i].element) < 0)
	}
	if !ascending {
		slices.SortStableFunc(d.items[base:], func(a, b keyedItem) int { return compareElements(&a.element, &b.element) })
	}
	return ascending, nil
}

// identify fills in the path element of a list's item, given as a slice of it alone.
func identify(e *element, item []Value, s Shape, keys []string) error {
	v := &item[0]
	if len(keys) == 0 {
		switch v.kind {
		case Null:
			return errors.New("associative list without keys has an element that's an explicit null")
		case Map:
			return errors.New("associative list without keys has an element that's a map type")
		case List:
			return errors.New("not supported: associative list with lists as elements")
		}
		e.kind, e.key = byValue, item
		return nil
	}
	switch v.kind {
	case Null:
		return errors.New("associative list with keys may not have a null element")
	case Map:
	default:
		return errors.New("associative list with keys may not have non-map elements")
	}
	e.kind = byKey
	members := v.children()
	if len(keys) == 1 {
		// The usual case: the key is a slice of the item.
		if i, ok := find(members, keys[0]); ok {
			e.key = members[i : i+1 : i+1]
			return nil
		}
	}
	for _, key := range keys {
		if i, ok := find(members, key); ok {
			e.key = append(e.key, members[i])
		} else if text := s.KeyDefault(key); text != "" {
			def, err := Parse([]byte(text))
			if err != nil {
				return fmt.Errorf("couldn't find default value for %v: %w", key, err)
			}
			def.name = key
			e.key = append(e.key, *def)
		}
	}
	if len(e.key) == 0 {
		return fmt.Errorf("associative list with keys has an element that omits all key fields %q (and doesn't have default values for any key fields)", keys)
	}
	slices.SortFunc(e.key, func(a, b Value) int { return strings.Compare(a.name, b.name) })
	return nil
}
