package rule

import (
	"math/bits"
	"slices"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"pintle.dev/object"
)

// equality is == and, when not is set, !=.
func (c *compiler) equality(a, b term, not bool) term {
	var t term
	switch {
	case a.kind() != b.kind():
		return c.equalityForeign(a, b, not)
	case a.kind() == boolKind:
		t = equals(a.bool, b.bool, not, func(f *frame, _, _ bool) { f.cost++ })
	case a.kind() == intKind:
		t = equals(a.int, b.int, not, func(f *frame, _, _ int64) { f.cost++ })
	case a.kind() == doubleKind:
		t = equals(a.double, b.double, not, func(f *frame, _, _ float64) { f.cost++ })
	case a.kind() == stringKind:
		t = equalStrings(a.string, b.string, not)
	case a.kind() == opaqueKind || a.typ != b.typ || a.typ.schema == nil:
		return c.equalityForeign(a, b, not)
	}
	t.exact = a.exact && b.exact && t.typ != nil
	if t.typ != nil {
		return t
	}
	typ := a.typ
	return boolTerm(func(f *frame) bool {
		x, y := a.value(f), b.value(f)
		if f.failed || f.erred {
			return false
		}
		f.charge(traversal(min(typ.size(x), typ.size(y))))
		equal, ok := typ.equal(x, y)
		if !ok {
			f.fail()
		}
		return equal != not
	})
}

// equalityForeign compares values as cel-go has them.
func (c *compiler) equalityForeign(a, b term, not bool) term {
	left, right := a.foreigner(), b.foreigner()
	if left == nil || right == nil || (a.typ.mixed() || b.typ.mixed()) && a.kind() != b.kind() {
		return c.no()
	}
	function := operators.Equals
	if not {
		function = operators.NotEquals
	}
	return boolTerm(func(f *frame) bool {
		x, y := left(f), right(f)
		if f.failed || f.erred {
			return false
		}
		equal := types.Equal(x, y)
		f.charge(costOf(function, overloads.Equals, []ref.Val{x, y}, equal))
		f.want(!isError(equal))
		return (equal == types.True) != not
	})
}

func equals[T comparable](a, b func(*frame) T, not bool, charge func(f *frame, x, y T)) term {
	return boolTerm(func(f *frame) bool {
		x, y := both(f, a, b)
		charge(f, x, y)
		return (x == y) != not
	})
}

// size is what counts of a value in the cost of comparing it.
func (t *Type) size(v *object.Value) int {
	if t.kind != opaqueKind {
		return v.Len()
	}
	if s, ok := t.upstream(v).(traits.Sizer); ok {
		return int(s.Size().(types.Int))
	}
	return 1
}

// equal reports whether a and b are equal as CEL sees it. It is not ok when one of them is not what its type says.
func (t *Type) equal(a, b *object.Value) (equal, ok bool) {
	if t.kind == opaqueKind {
		if t.format == intOrString && isKey(a) && isKey(b) && a.Kind() != object.Bool && b.Kind() != object.Bool {
			return object.Equal(a, b), true
		}
		if a.Kind() == object.String && b.Kind() == object.String && a.Str() == b.Str() {
			return true, t.admits(a)
		}
		return t.equalUpstream(a, b)
	}
	if !t.admits(a) || !t.admits(b) {
		return false, false
	}
	switch t.kind {
	case boolKind:
		return a.Bool() == b.Bool(), true
	case intKind, stringKind:
		return object.Equal(a, b), true
	case doubleKind:
		return a.Float() == b.Float(), true
	}
	if a.Len() != b.Len() {
		return false, true
	}
	switch {
	case t.kind == objectKind:
		return t.equalFields(a, b)
	case t.kind == mapKind:
		return t.equalValues(a, b)
	case t.unordered && len(t.keys) > 0 && a.Len() <= maxMatched:
		return t.equalItems(a, b)
	case t.unordered:
		return t.equalUpstream(a, b)
	}
	for i := range a.Len() {
		if equal, ok = t.elem.equal(a.Index(i), b.Index(i)); !equal || !ok {
			return equal, ok
		}
	}
	return true, true
}

// equalUpstream leaves it to upstream's values.
func (t *Type) equalUpstream(a, b *object.Value) (equal, ok bool) {
	x, y := t.upstream(a), t.upstream(b)
	if isError(x) || isError(y) {
		return false, false
	}
	eq, ok := types.Equal(x, y).(types.Bool)
	return bool(eq), ok
}

// maxMatched is how many items of a list of type map are compared here, one by one with all others.
const maxMatched = 64

// equalItems compares lists of type map, of the same length, whose keys are all scalars and are a's once only. Others are
// for upstream to compare.
func (t *Type) equalItems(a, b *object.Value) (equal, ok bool) {
	var few [2 * maxMatched]*object.Value
	keys, ok := t.keysOf(a, few[:0])
	if !ok {
		return t.equalUpstream(a, b)
	}
	keys, ok = t.keysOf(b, keys)
	if !ok {
		return t.equalUpstream(a, b)
	}
	items, n := a.Len(), len(t.keys)
	ofA, ofB := keys[:items*n], keys[items*n:]
	for i := range items {
		for j := range i {
			if sameKeys(ofA[i*n:][:n], ofA[j*n:][:n]) {
				return t.equalUpstream(a, b)
			}
		}
	}
	var matched uint64
	for i := range items {
		at := i // most likely it is where it was
		for tried := 0; !sameKeys(ofA[at*n:][:n], ofB[i*n:][:n]); tried++ {
			if tried == items {
				return false, true
			}
			at = (at + 1) % items
		}
		if equal, ok := t.elem.equal(a.Index(at), b.Index(i)); !equal || !ok {
			return equal, ok
		}
		matched |= 1 << at
	}
	return bits.OnesCount64(matched) == items, true
}

// keysOf appends the keys of each item of a list of type map. It is not ok when some are no scalars.
func (t *Type) keysOf(list *object.Value, keys []*object.Value) (all []*object.Value, ok bool) {
	start, n := len(keys), len(t.keys)
	all = slices.Grow(keys, list.Len()*n)[:start+list.Len()*n]
	for k, name := range t.keys {
		near := 0
		for i := range list.Len() {
			key := list.Index(i).GetNear(name, &near)
			if !isKey(key) {
				return nil, false
			}
			all[start+i*n+k] = key
		}
	}
	return all, true
}

func sameKeys(a, b []*object.Value) bool {
	for i := range a {
		if !object.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// isKey reports whether v is a key that is equal to another just when they are the same JSON.
func isKey(v *object.Value) bool {
	return v.Kind() == object.String || v.Kind() == object.Bool || v.Kind() == object.Number && !v.IsFloat()
}

// equalFields compares objects, in which null is absent. What the schema does not declare is for upstream to compare.
func (t *Type) equalFields(a, b *object.Value) (equal, ok bool) {
	equal = true
	fields, near := t.fields, 0
	for name, x := range a.Fields() {
		for len(fields) > 0 && fields[0].name != name {
			fields = fields[1:]
		}
		if len(fields) == 0 || !fields[0].plain {
			return t.equalUpstream(a, b)
		}
		y := b.GetNear(name, &near)
		near++
		switch {
		case x.IsNull() != y.IsNull():
			equal = false
		case !x.IsNull():
			same, ok := fields[0].typ.equal(x, y)
			if !ok {
				return false, false
			}
			equal = equal && same
		}
	}
	return equal, true
}

func (t *Type) equalValues(a, b *object.Value) (equal, ok bool) {
	equal = true
	for name, x := range a.Fields() {
		y := b.Get(name)
		if y == nil {
			equal = false
			continue
		}
		same, ok := t.elem.equal(x, y)
		if !ok {
			return false, false
		}
		equal = equal && same
	}
	return equal, true
}
