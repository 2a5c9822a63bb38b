package object

import (
	"fmt"
	"slices"
)

// merge lays an apply configuration over a live value as the schema says: maps member by member, granular lists item by
// item, all else as a whole. What the configuration does not mention stays. The result shares memory with both, and where
// nothing becomes of the live value it is that value (sameInMemory tells): most of an object that is applied again.
func merge(live, config *Value, s Shape) (Value, error) {
	if live == nil {
		return *config, nil
	}
	atomic := s != nil && s.Atomic()
	switch {
	case config.kind == Null && live.Len() > 0 && !atomic && (live.kind == Map || granular(s)):
		// A null says nothing of a map or list that is owned piecemeal.
		kept := *live
		kept.name = config.name
		return kept, nil
	case config.kind < List, atomic, config.kind == List && !granular(s):
		return *config, nil
	}
	var l []Value
	if live.kind == config.kind {
		l = live.children()
	}
	if len(l) == 0 {
		return *config, nil
	}
	var out []Value
	var err error
	if config.kind == Map {
		out, err = layMembers(l, config.children(), s)
	} else {
		out, err = layItems(l, config.children(), s)
	}
	v := Value{name: config.name, kind: config.kind}
	v.setChildren(out)
	return v, err
}

// sameInMemory reports that two values are certainly the same: equal scalars, lists and maps that are one in memory.
func sameInMemory(a, b *Value) bool {
	if a.kind != b.kind || a.float != b.float {
		return false
	}
	if a.kind == String {
		return a.Str() == b.Str()
	}
	return a.word == b.word && a.data == b.data
}

func layMembers(l, r []Value, s Shape) ([]Value, error) {
	out := laid{live: l, most: max(len(l), len(r))}
	for rest := l; len(rest) > 0 || len(r) > 0; {
		switch {
		case len(r) == 0 || len(rest) > 0 && rest[0].name < r[0].name:
			out.put(&rest[0])
			rest = rest[1:]
		case len(rest) == 0 || r[0].name < rest[0].name:
			out.put(&r[0])
			r = r[1:]
		default:
			var field Shape
			if s != nil && (r[0].kind >= List || r[0].kind == Null) {
				field = s.Field(r[0].name)
			}
			m, err := merge(&rest[0], &r[0], field)
			if err != nil {
				return nil, fmt.Errorf(".%s%w", r[0].name, err)
			}
			out.put(&m)
			rest, r = rest[1:], r[1:]
		}
	}
	return out.values(), nil
}

// laid are the members or items of a merged value: the live one's, as long as no other is put.
type laid struct {
	live []Value
	same int     // how many of live have been put, while out is nil
	out  []Value // once another has been put
	most int     // how many there will be at most, or nearly
}

func (d *laid) put(v *Value) {
	if d.out == nil {
		if d.same < len(d.live) && d.live[d.same].name == v.name && sameInMemory(&d.live[d.same], v) {
			d.same++
			return
		}
		d.out = append(make([]Value, 0, d.most), d.live[:d.same]...)
	}
	d.out = append(d.out, *v)
}

func (d *laid) values() []Value {
	if d.out == nil {
		return d.live // all of it has been put: nothing goes by a merge
	}
	return d.out
}

// identityIndex finds the items of a granular list by their identity.
type identityIndex struct {
	items  []keyedItem // in the list's order
	sorted []int       // positions in items, by identity and then position
}

func indexItems(items []Value, s Shape) (x identityIndex, err error) {
	if x.items, err = identities(items, s); err != nil {
		return x, fmt.Errorf(": %w", err)
	}
	x.sorted = make([]int, len(items))
	for i := range x.sorted {
		x.sorted[i] = i
	}
	slices.SortStableFunc(x.sorted, func(a, b int) int { return compareElements(&x.items[a].element, &x.items[b].element) })
	return x, nil
}

// find is the position of the first item of an identity, and whether it is the only one; -1 when there is none.
func (x *identityIndex) find(e *element) (at int, only bool) {
	i, ok := slices.BinarySearchFunc(x.sorted, e, func(at int, e *element) int { return compareElements(&x.items[at].element, e) })
	if !ok {
		return -1, false
	}
	return x.sorted[i], i+1 == len(x.sorted) || compareElements(&x.items[x.sorted[i+1]].element, e) != 0
}

// layItems merges two granular lists. The configuration decides the order of its items; what only the live list has
// stays between its neighbours as far as that goes.
func layItems(l, r []Value, s Shape) ([]Value, error) {
	if out, ok, err := layAlike(l, r, s); ok || err != nil {
		return out, err
	}
	left, err := indexItems(l, s)
	if err != nil {
		return nil, err
	}
	right, err := indexItems(r, s)
	if err != nil {
		return nil, err
	}
	var shared []int // positions in r of what l has as well
	for i := range r {
		if at, _ := left.find(&right.items[i].element); at >= 0 {
			shared = append(shared, i)
		}
	}
	out := make([]Value, 0, max(len(l), len(r)))
	merged := make([]bool, len(r))
	item := s.Item()
	take := func(i int) error {
		merged[i] = true
		m := r[i]
		// Items that the live list has twice are replaced, not merged.
		if at, only := left.find(&right.items[i].element); at >= 0 && only {
			if m, err = merge(&l[at], &r[i], item); err != nil {
				return fmt.Errorf("%s%w", right.items[i].String(), err)
			}
		}
		out = append(out, m)
		return nil
	}
	next := 0 // in shared: what is waited for before further shared items of l may pass
	for i, j := 0, 0; i < len(l) || j < len(r); {
		at := -1
		if i < len(l) {
			at, _ = right.find(&left.items[i].element)
		}
		if i < len(l) && j < len(r) {
			if at == j {
				if err := take(j); err != nil {
					return nil, err
				}
				i, j, next = i+1, j+1, next+1
				continue
			}
			if at >= 0 && next < len(shared) && shared[next] != at {
				i++
				continue
			}
		}
		if i < len(l) {
			if at < 0 {
				out = append(out, l[i])
				i++
				continue
			}
			if merged[at] {
				i++
			}
		}
		if j < len(r) {
			if err := take(j); err != nil {
				return nil, err
			}
			if next < len(shared) && shared[next] == j {
				next++
			}
			j++
		}
	}
	return out, nil
}

// layAlike merges lists of the same items in the same order, as most applies find them: nothing has to be looked up then.
// It reports false when they are not that.
func layAlike(l, r []Value, s Shape) (out []Value, ok bool, err error) {
	if len(l) != len(r) {
		return nil, false, nil
	}
	keys, item := s.Keys(), s.Item()
	same := laid{live: l, most: len(l)}
	for i := range r {
		var a, b element
		if identify(&a, l[i:i+1:i+1], s, keys) != nil || identify(&b, r[i:i+1:i+1], s, keys) != nil || compareElements(&a, &b) != 0 {
			return nil, false, nil
		}
		m, err := merge(&l[i], &r[i], item)
		if err != nil {
			return nil, false, fmt.Errorf("%s%w", b.String(), err)
		}
		same.put(&m)
	}
	return same.values(), true, nil
}
