package store

import (
	"iter"
	"slices"
)

// tree is a B-tree whose versions share nodes. Every change names a generation: nodes of that generation are changed in
// place, all others are copied first. Whoever hands a tree out as a snapshot must never use its generation for writing
// again; between two snapshots a writer therefore copies each node at most once, and none when nobody takes snapshots.
// The zero tree is empty. Copying a tree value copies one pointer.
type tree[K key[K], T item[K]] struct {
	root *node[K, T]
}

type key[K any] interface{ Compare(K) int }

type item[K any] interface{ Key() K }

// A node overflows at maxItems+1, which is the capacity its items grow to. Nodes may hold fewer than minItems at the
// right edge of an ascending insertion; a deletion that leaves fewer merges with or borrows from a neighbour. Nodes are
// small, as almost every write of a group copies some that no other of the group does: with twice as many items that
// takes twice the bytes, for 3 bytes less of memory per record.
const (
	maxItems = 31
	minItems = maxItems / 3
)

type node[K key[K], T item[K]] struct {
	gen   uint64
	count int // items here and below
	items []T
	kids  []*node[K, T] // nil in a leaf, else one more than items
}

// search finds the first item that is not less than k.
func (n *node[K, T]) search(k K) (at int, found bool) {
	lo, hi := 0, len(n.items)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := k.Compare(n.items[mid].Key()); {
		case c == 0:
			return mid, true
		case c < 0:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return lo, false
}

// own makes n changeable under gen.
func (n *node[K, T]) own(gen uint64) *node[K, T] {
	if n.gen == gen {
		return n
	}
	c := &node[K, T]{gen: gen, count: n.count}
	c.items = append(make([]T, 0, min(len(n.items)+len(n.items)/4+1, maxItems+1)), n.items...)
	if n.kids != nil {
		c.kids = append(make([]*node[K, T], 0, cap(c.items)+1), n.kids...)
	}
	return c
}

func (n *node[K, T]) ownKid(gen uint64, i int) *node[K, T] {
	n.kids[i] = n.kids[i].own(gen)
	return n.kids[i]
}

func (n *node[K, T]) recount() {
	n.count = len(n.items)
	for _, k := range n.kids {
		n.count += k.count
	}
}

// len is the number of items.
func (t tree[K, T]) len() int {
	if t.root == nil {
		return 0
	}
	return t.root.count
}

// get finds the item with the key.
func (t tree[K, T]) get(k K) (T, bool) {
	for n := t.root; n != nil; {
		i, found := n.search(k)
		if found {
			return n.items[i], true
		}
		if n.kids == nil {
			break
		}
		n = n.kids[i]
	}
	var none T
	return none, false
}

// rank is the number of items less than k.
func (t tree[K, T]) rank(k K) int {
	r := 0
	for n := t.root; n != nil; {
		i, found := n.search(k)
		r += i
		if n.kids == nil {
			break
		}
		for _, kid := range n.kids[:i] {
			r += kid.count
		}
		if found {
			return r + n.kids[i].count
		}
		n = n.kids[i]
	}
	return r
}

// all yields every item in order.
func (t tree[K, T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		if t.root != nil {
			t.root.ascend(nil, yield)
		}
	}
}

// from yields the items that are not less than k, in order.
func (t tree[K, T]) from(k K) iter.Seq[T] {
	return func(yield func(T) bool) {
		if t.root != nil {
			t.root.ascend(&k, yield)
		}
	}
}

func (n *node[K, T]) ascend(lo *K, yield func(T) bool) bool {
	i, found := 0, false
	if lo != nil {
		i, found = n.search(*lo)
	}
	for ; i <= len(n.items); i++ {
		if n.kids != nil && !found && !n.kids[i].ascend(lo, yield) {
			return false
		}
		found, lo = false, nil
		if i < len(n.items) && !yield(n.items[i]) {
			return false
		}
	}
	return true
}

// set puts the item under its key and returns what was there.
func (t *tree[K, T]) set(gen uint64, it T) (old T, replaced bool) {
	if t.root == nil {
		t.root = &node[K, T]{gen: gen, count: 1, items: []T{it}}
		return old, false
	}
	t.root = t.root.own(gen)
	old, replaced, right, median := t.root.set(gen, it.Key(), it)
	if right != nil {
		t.root = &node[K, T]{gen: gen, items: []T{median}, kids: []*node[K, T]{t.root, right}}
		t.root.recount()
	}
	return old, replaced
}

// set changes n, which gen owns, and returns its right half and the item between when it had to split.
func (n *node[K, T]) set(gen uint64, k K, it T) (old T, replaced bool, right *node[K, T], median T) {
	i, found := n.search(k)
	if found {
		old, n.items[i] = n.items[i], it
		return old, true, nil, median
	}
	if n.kids == nil {
		n.items = slices.Insert(n.items, i, it)
		n.count++
	} else {
		var r *node[K, T]
		var m T
		old, replaced, r, m = n.ownKid(gen, i).set(gen, k, it)
		if !replaced {
			n.count++
		}
		if r == nil {
			return old, replaced, nil, median
		}
		n.items = slices.Insert(n.items, i, m)
		n.kids = slices.Insert(n.kids, i+1, r)
	}
	if len(n.items) > maxItems {
		right, median = n.split(gen, i)
	}
	return old, replaced, right, median
}

// split moves the upper half of n to a new node. An insertion at the end keeps n full, as ascending insertions (a load,
// generated names) would otherwise leave every node half empty.
func (n *node[K, T]) split(gen uint64, inserted int) (*node[K, T], T) {
	mid := len(n.items) / 2
	if inserted == len(n.items)-1 {
		mid = len(n.items) - 2
	}
	median := n.items[mid]
	right := &node[K, T]{gen: gen, items: slices.Clone(n.items[mid+1:])}
	clear(n.items[mid:])
	n.items = n.items[:mid]
	if n.kids != nil {
		right.kids = slices.Clone(n.kids[mid+1:])
		clear(n.kids[mid+1:])
		n.kids = n.kids[:mid+1]
	}
	right.recount()
	n.recount()
	return right, median
}

// delete removes the item with the key and returns it.
func (t *tree[K, T]) delete(gen uint64, k K) (old T, found bool) {
	if old, found = t.get(k); !found {
		return old, false
	}
	t.root = t.root.own(gen)
	t.root.remove(gen, k)
	if len(t.root.items) == 0 {
		if t.root.kids == nil {
			t.root = nil
		} else {
			t.root = t.root.kids[0]
		}
	}
	return old, true
}

// remove takes the item with the key, which is there, out of n, which gen owns.
func (n *node[K, T]) remove(gen uint64, k K) {
	i, found := n.search(k)
	n.count--
	switch {
	case n.kids == nil:
		n.items = slices.Delete(n.items, i, i+1)
		return
	case found:
		n.items[i] = n.ownKid(gen, i).removeLast(gen)
	default:
		n.ownKid(gen, i).remove(gen, k)
	}
	n.rebalance(gen, i)
}

func (n *node[K, T]) removeLast(gen uint64) T {
	n.count--
	if n.kids == nil {
		last := n.items[len(n.items)-1]
		n.items = slices.Delete(n.items, len(n.items)-1, len(n.items))
		return last
	}
	i := len(n.kids) - 1
	last := n.ownKid(gen, i).removeLast(gen)
	n.rebalance(gen, i)
	return last
}

// rebalance merges kid i with a neighbour, or evens the two out, when it has become small.
func (n *node[K, T]) rebalance(gen uint64, i int) {
	if len(n.kids[i].items) >= minItems {
		return
	}
	if i == len(n.kids)-1 {
		i--
	}
	l, r := n.ownKid(gen, i), n.kids[i+1]
	items := make([]T, 0, len(l.items)+1+len(r.items))
	items = append(append(append(items, l.items...), n.items[i]), r.items...)
	var kids []*node[K, T]
	if l.kids != nil {
		kids = slices.Concat(l.kids, r.kids)
	}
	if len(items) <= maxItems {
		l.items, l.kids = items, kids
		l.recount()
		n.items = slices.Delete(n.items, i, i+1)
		n.kids = slices.Delete(n.kids, i+1, i+2)
		return
	}
	mid := len(items) / 2
	r = n.ownKid(gen, i+1)
	n.items[i] = items[mid]
	l.items, r.items = slices.Clone(items[:mid]), slices.Clone(items[mid+1:])
	if kids != nil {
		l.kids, r.kids = slices.Clone(kids[:mid+1]), slices.Clone(kids[mid+1:])
	}
	l.recount()
	r.recount()
}
