// Package rule runs CEL rules on documents: a checked expression is compiled once into closures that read an
// object.Value where it lies. It knows the part of CEL that rules of CustomResourceDefinitions are mostly made of, and
// says of the rest that it does not (Compile gives nil). It does not word errors: for those the caller asks cel-go.
//
// Invariants:
//
//	R1 A Result that is not Unknown is what cel-go's program comes to for the same values: that value, or an error, or
//	   the limit, at exactly the cost told (of the limit: about that). The cost of quantifiers over maps, which stop at
//	   a key that decides, changes with cel-go from run to run: it is that of the document's order.
//	R2 Whatever is not known for certain is Unknown: data that is not of its type, most errors of functions, and those
//	   that && and || would absorb of terms whose cost is not known where they fail (term.exact).
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

// Rule is a compiled expression: a rule, or the message of one.
type Rule struct {
	holds   func(*frame) bool   // nil when it is a text
	text    func(*frame) string // nil when it is a rule
	exact   bool                // of the expression, as of a term
	certain bool                // all terms in it are exact
	slots   int                 // variables in a frame
	names   int                 // places that name a member
	recalls int                 // places that recall a value
}

// Outcome is how an evaluation ends.
type Outcome uint8

const (
	Unknown  Outcome = iota // only cel-go knows
	Value                   // with a value
	Error                   // with an error, which cel-go words
	TooLarge                // before its end, as it costs more than celconfig.PerCallLimit
)

// Result is what an expression comes to.
type Result struct {
	Outcome Outcome
	Holds   bool   // the Value of a rule
	Text    string // that of a message

	// Cost is in CEL's units; it means nothing when the Outcome is Unknown. Of what is TooLarge it is the cost at which
	// cel-go stops, give or take Margin.
	Cost uint64
}

// Margin bounds what the cost of an unfinished evaluation may be off cel-go's: terms are charged for in another order
// than they are come to, and less often. It is more than there are nodes in an expression.
const Margin = 10_000

// Eval evaluates the expression for self, which was old before (nil when there was nothing).
func (r *Rule) Eval(ctx context.Context, self, old *object.Value) Result {
	f := &frame{ctx: ctx, self: self, old: old, certain: r.certain}
	if f.vars = f.few[:]; r.slots > len(f.few) {
		f.vars = make([]variable, r.slots)
	}
	if f.near = f.fewNear[:]; r.names > len(f.fewNear) {
		f.near = make([]int, r.names)
	}
	if r.recalls > 0 {
		f.recalled = make([]any, r.recalls)
	}
	out := Result{}
	if r.text != nil {
		out.Text = r.text(f)
	} else {
		out.Holds = r.holds(f)
	}
	out.Outcome, out.Cost = f.outcome(r), f.cost
	if out.Outcome == TooLarge && f.limited > 0 {
		out.Cost = f.limited
	}
	return out
}

// outcome is how the evaluation has ended.
func (f *frame) outcome(r *Rule) Outcome {
	switch {
	case f.stopped, !f.failed && f.sure() && f.cost > celconfig.PerCallLimit:
		return TooLarge
	case f.failed || f.stopped || f.cost > celconfig.PerCallLimit:
		return Unknown
	case !f.erred:
		return Value
	case r.exact:
		return Error
	}
	return Unknown
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
	// absorbed says that something has been an error, and certain that it cost what it costs cel-go.
	absorbed, certain bool
	// stopped says that the cost is certainly beyond the limit, so that cel-go would not go on. It comes with failed.
	stopped bool
	limited uint64 // about the cost at which the limit was passed; 0 when that was not noticed
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
	before := f.cost
	if f.cost += n; f.cost > celconfig.PerCallLimit {
		f.limit(before)
	}
}

// limit stops an evaluation whose cost, which was another before a charge, is certainly beyond the limit.
func (f *frame) limit(before uint64) {
	switch {
	case f.failed:
		return
	case f.limited > 0:
	case before <= celconfig.PerCallLimit:
		f.limited = f.cost
	case f.cost-before > Margin:
		f.failed = true // whether cel-go would have come to the charge is not certain
		return
	default:
		f.limited = before
	}
	if f.cost > celconfig.PerCallLimit+Margin {
		f.failed, f.stopped = true, f.sure()
	}
}

// sure reports whether the cost so far is certain.
func (f *frame) sure() bool { return f.certain || !f.absorbed }

// fail gives up. What comes of a value that is an error already is no reason to.
func (f *frame) fail() { f.failed = f.failed || !f.erred }

// err makes what is evaluated an error.
func (f *frame) err() { f.erred, f.absorbed = true, true }

// come has a loop's variable come to element i of a list or map, unless the loop may not go on.
func (f *frame) come(v *variable, over *object.Value, i int) bool {
	if f.rounds++; f.rounds%celconfig.CheckFrequency == 0 && f.ctx.Err() != nil {
		f.failed = true
	}
	if f.cost > celconfig.PerCallLimit {
		f.limit(f.cost)
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
