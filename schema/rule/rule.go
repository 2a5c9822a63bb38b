// Package rule runs CEL rules on documents: a checked expression is compiled once into closures that read an
// object.Value where it lies. It knows the part of CEL that rules of CustomResourceDefinitions are mostly made of, and
// says of the rest that it does not (Compile gives nil). What a rule that does not hold means is not its business: the
// caller asks cel-go, which words the errors.
//
// Invariants:
//
//	R1 When Holds says a rule holds, cel-go's program of it gives true for the same values, at exactly the cost told. That
//	   of quantifiers over maps, which stop at a key that decides, changes with cel-go from run to run: it is that of
//	   the document's order.
//	R2 Whatever cel-go makes an error of (a field that is absent, data that is not of its type, an overflow, a limit)
//	   and whatever is not known for certain makes Holds say no. Of errors that && and || absorb, that is so for all but
//	   absent fields and keys which are compared, matched or asked for.
//	R3 A Rule does not change and may be shared.
//
// Package schema compares it with cel-go in its tests, for it has the programs of that.
//
// Data flows from the checked AST (compile.go) into terms (term.go), closures over a frame, one for each node; literal.go
// has those of what is written out, call.go and text.go those of functions, fold.go and gather.go those of macros,
// optional.go those of values that need not be there; recall.go keeps what would come to the same again, equal.go compares
// what is no scalar. Functions that are not common, and those of values that are no JSON, library.go has cel-go's own
// implementation run, for which url.go reads plain URLs.
package rule

import (
	"context"
	"math"

	"github.com/google/cel-go/common/types/ref"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"pintle.dev/object"
)

// Rule is a compiled rule.
type Rule struct {
	holds   func(*frame) bool
	slots   int // variables in a frame
	names   int // places that name a member
	recalls int // places that recall a value
}

// Holds reports whether the rule certainly holds for self, which was old before (nil when there was nothing), and what
// finding out cost in CEL's units. When it does not hold, the cost means nothing, except that one beyond
// celconfig.PerCallLimit is why, or comes on top of why.
func (r *Rule) Holds(ctx context.Context, self, old *object.Value) (cost uint64, ok bool) {
	f := &frame{ctx: ctx, self: self, old: old}
	if f.vars = f.few[:]; r.slots > len(f.few) {
		f.vars = make([]variable, r.slots)
	}
	if f.near = f.fewNear[:]; r.names > len(f.fewNear) {
		f.near = make([]int, r.names)
	}
	if r.recalls > 0 {
		f.recalled = make([]any, r.recalls)
	}
	ok = r.holds(f)
	return f.cost, ok && !f.failed && !f.erred && f.cost <= celconfig.PerCallLimit
}

// frame is one evaluation.
type frame struct {
	ctx       context.Context
	self, old *object.Value
	cost      uint64
	rounds    int // of all loops
	vars      []variable
	few       [4]variable
	near      []int // where members were found last, for each place in the rule that names one
	fewNear   [8]int
	recalled  []any // a []recollection for each place in the rule that recalls a value
	arguments [maxArguments]ref.Val

	// failed says that cel-go has to decide (R2). Everything goes on with zero values then, until a loop or the end sees it.
	failed bool
	// erred says that what was evaluated last is an error to cel-go. That goes on with zero values too, to add what cel-go
	// charges for functions of an error, until && or || or a macro absorbs it, or the end sees it.
	erred bool
}

// variable is what a loop binds: the element it is at, and the list or map that it accumulates; or a value that an
// expression names or makes.
type variable struct {
	at    *object.Value
	index int
	of    int // how many elements there are
	round int // what frame.rounds was when it came to the element
	runs  int // of the loop so far
	made  object.Value
}

// begin starts a loop over a list or map.
func (f *frame) begin(slot int, over *object.Value) *variable {
	v := &f.vars[slot]
	v.of = over.Len()
	v.runs++
	return v
}

// charge adds a cost that depends on the data.
func (f *frame) charge(n uint64) {
	if f.cost += n; f.cost > celconfig.PerCallLimit {
		f.failed = true
	}
}

// fail gives up. What comes of a value that is an error already is no reason to.
func (f *frame) fail() { f.failed = f.failed || !f.erred }

// come has a loop's variable come to element i of a list or map, unless the loop may not go on.
func (f *frame) come(v *variable, over *object.Value, i int) bool {
	if f.rounds++; f.rounds%celconfig.CheckFrequency == 0 && f.ctx.Err() != nil || f.cost > celconfig.PerCallLimit {
		f.failed = true
	}
	v.at, v.index, v.round = over.Index(i), i, f.rounds
	return !f.failed
}

// both runs the arguments of a function, the second as if the first were no error.
func both[T any](f *frame, a, b func(*frame) T) (x, y T) {
	x = a(f)
	if !f.erred {
		return x, b(f)
	}
	return x, after(f, b)
}

// after runs the second argument of a function whose first is an error.
func after[T any](f *frame, b func(*frame) T) T {
	f.erred = false
	y := b(f)
	f.erred = true
	return y
}

// traversal is what it costs to go through a string of n characters, or what CEL likens to it.
func traversal(n int) uint64 { return uint64(math.Ceil(float64(n) * 0.1)) }
