package rule

import (
	"math/bits"

	"github.com/google/cel-go/common/ast"
)

// An expression within a loop often names none of its variables, or in an inner loop that goes through the same list each
// time, none but those: self.all(a, self.exists_one(b, a.name == b.name)) comes to each name many times. The value of such an
// expression is recalled, at the cost that finding it out had. cel-go's own values too: comparing a quantity changes how it
// is kept, but nothing that the same comparison finds the next time, and adding copies it.

// recollection is what an expression came to.
type recollection[T any] struct {
	value T
	cost  uint64
	round int // that of the variable it depends on; 0 when there is nothing to recall
}

// maxRecalled is how many elements of a list there may be for values that depend on them to be recalled.
const maxRecalled = 1024

// recallable reports whether an expression that names those variables comes to the same again in another round of the
// innermost loop, or in another run of it.
func (c *compiler) recallable(named variables) bool {
	if len(c.loops) == 0 {
		return false
	}
	for i, b := range c.scope {
		if b.lazy && named&(1<<i) != 0 {
			return false
		}
	}
	inner := c.loops[len(c.loops)-1]
	outer := named & (1<<inner.first - 1)
	return outer == named || outer == 0 && inner.fixed && len(c.loops) > 1
}

// recalled is the term of e with its value recalled, when that is worth while.
func (c *compiler) recalled(e ast.Expr, t term) term {
	if e.Kind() == ast.IdentKind || t.literal != nil || !c.recallable(t.named) {
		return t
	}
	from := source{place: c.recalls, slot: -1}
	if t.named != 0 {
		last := bits.Len64(uint64(t.named)) - 1
		from.slot = c.scope[last].slot
		from.each = last >= c.loops[len(c.loops)-1].first
	}
	switch t.kind() {
	case boolKind:
		t.bool = recall(from, t.bool)
	case intKind:
		t.int = recall(from, t.int)
	case doubleKind:
		t.double = recall(from, t.double)
	case stringKind:
		t.string = recall(from, t.string)
	case opaqueKind:
		t.foreign = recall(from, t.foreign)
	case listKind, mapKind, objectKind:
		if from.each {
			return t // it may be in a list that is made anew for each element
		}
		t.value = recall(from, t.value)
	default:
		return t
	}
	c.recalls++
	return t
}

// source is what a recalled value depends on.
type source struct {
	place int
	slot  int  // of the innermost variable; -1 when there is none
	each  bool // values are kept for each element that the variable comes to, not only for the last
}

// recall runs a term unless its value is known. An error is none; what is found out after one does not count.
func recall[T any](from source, run func(*frame) T) func(*frame) T {
	return func(f *frame) T {
		i, n, round := 0, 1, 1
		if from.slot >= 0 {
			switch v := &f.vars[from.slot]; {
			case !from.each:
				round = v.round
			case v.runs == 1:
				return run(f) // perhaps the only one
			default:
				i, n = v.index, v.of
			}
		}
		kept, _ := f.recalled[from.place].([]recollection[T])
		if i < len(kept) && kept[i].round == round && !f.erred {
			f.cost += kept[i].cost
			return kept[i].value
		}
		before := f.cost
		v := run(f)
		if f.failed || f.erred || n > maxRecalled {
			return v
		}
		if kept == nil {
			kept = make([]recollection[T], n)
			f.recalled[from.place] = kept
		}
		kept[i] = recollection[T]{v, f.cost - before, round}
		return v
	}
}
