package rule

import (
	"math/bits"

	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"

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
		t = equals(a.string, b.string, not, chargeStrings)
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
	if left == nil || right == nil {
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

// upstream is v as upstream has its values in CEL.
func (t *Type) upstream(v *object.Value) ref.Val {
	return common.UnstructuredToVal(v.ToAny(), t.schema)
}

func isError(v ref.Val) bool { return types.IsUnknownOrError(v) }

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
		if t.schema.IsXIntOrString() && isKey(a) && isKey(b) && a.Kind() != object.Bool && b.Kind() != object.Bool {
			return object.Equal(a, b), true
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
	x := t.upstream(a)
	if a.Kind() == object.String && b.Kind() == object.String && a.Str() == b.Str() {
		return true, !isError(x)
	}
	y := t.upstream(b)
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
	for i := range a.Len() {
		for j := range i + 1 {
			if same, ok := t.sameKeys(a.Index(i), a.Index(j)); !ok || same != (i == j) {
				return t.equalUpstream(a, b)
			}
		}
	}
	var matched uint64
	for i := range b.Len() {
		item, at := b.Index(i), -1
		for n := 0; n < a.Len() && at < 0; n++ {
			j := (i + n) % a.Len() // most likely it is where it was
			same, ok := t.sameKeys(a.Index(j), item)
			if !ok {
				return t.equalUpstream(a, b)
			}
			if same {
				at = j
			}
		}
		if at < 0 {
			return false, true
		}
		if equal, ok := t.elem.equal(a.Index(at), item); !equal || !ok {
			return equal, ok
		}
		matched |= 1 << at
	}
	return bits.OnesCount64(matched) == a.Len(), true
}

// sameKeys reports whether two items of a list of type map have the same keys. It is not ok when those are no scalars.
func (t *Type) sameKeys(a, b *object.Value) (same, ok bool) {
	for _, key := range t.keys {
		x, y := a.Get(key), b.Get(key)
		if !isKey(x) || !isKey(y) {
			return false, false
		}
		if !object.Equal(x, y) {
			return false, true
		}
	}
	return true, true
}

// isKey reports whether v is a key that is equal to another just when they are the same JSON.
func isKey(v *object.Value) bool {
	return v.Kind() == object.String || v.Kind() == object.Bool || v.Kind() == object.Number && !v.IsFloat()
}

// equalFields compares objects, in which null is absent. What the schema does not declare is for upstream to compare.
func (t *Type) equalFields(a, b *object.Value) (equal, ok bool) {
	equal = true
	near := 0
	for name, x := range a.Fields() {
		field := t.fields[name]
		if plain, ok := apiservercel.Unescape(name); field == nil || !ok || plain != name {
			return t.equalUpstream(a, b)
		}
		y := b.GetNear(name, &near)
		near++
		switch {
		case x.IsNull() != y.IsNull():
			equal = false
		case !x.IsNull():
			same, ok := field.equal(x, y)
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
