package schema

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"

	"pintle.dev/schema/rule"
)

// Some functions make far more of their arguments than CEL's costs tell: what replace puts in may be as long as a request,
// at each of its characters; a format may ask for a million digits again and again; lists that are added to themselves in
// each step of a rule double. Upstream's server runs out of memory at them. Here they end as what costs too much does.
const (
	maxText  = 32 << 20 // bytes of a text that a function makes
	maxItems = 1 << 20  // items of a list that one makes
)

// errTooMuch is what a call comes to that would make more than that.
var errTooMuch = celtypes.NewErr("%s", errLimit.Error())

// bounded reports whether a function is one of those.
func bounded(function string) bool {
	switch function {
	case "replace", "join", "format", operators.Add:
		return true
	}
	return false
}

// mentionsBounded reports whether there may be a call of such a function in an expression.
func mentionsBounded(expression string) bool {
	return slices.ContainsFunc([]string{"replace", "join", "format", "+"}, func(s string) bool { return strings.Contains(expression, s) })
}

// makesLittle reports whether a call of such a function makes no more than it may.
func makesLittle(function string, args []ref.Val) bool {
	switch function {
	case "replace":
		return replacedLength(args) <= maxText
	case "join":
		return joinedLength(args) <= maxText
	case "format":
		return formattedLength(args) <= maxText
	case operators.Add:
		left, ok := args[0].(traits.Lister)
		right, too := args[1].(traits.Lister)
		return !ok || !too || left.Size().(celtypes.Int)+right.Size().(celtypes.Int) <= maxItems
	}
	return true
}

// replacedLength is how long the result of replace is; 0 when there is none.
func replacedLength(args []ref.Val) int {
	if len(args) < 3 {
		return 0
	}
	s, ok := args[0].(celtypes.String)
	from, fromOK := args[1].(celtypes.String)
	to, toOK := args[2].(celtypes.String)
	if !ok || !fromOK || !toOK || len(to) <= len(from) {
		return 0
	}
	n := utf8.RuneCountInString(string(s)) + 1
	if from != "" {
		n = strings.Count(string(s), string(from))
	}
	if len(args) > 3 {
		if limit, ok := args[3].(celtypes.Int); ok && limit >= 0 {
			n = min(n, int(limit))
		}
	}
	return len(s) + n*(len(to)-len(from))
}

// joinedLength is how long the result of join is.
func joinedLength(args []ref.Val) int {
	list, ok := args[0].(traits.Lister)
	if !ok {
		return 0
	}
	between := 0
	if len(args) > 1 {
		if by, ok := args[1].(celtypes.String); ok {
			between = len(by)
		}
	}
	n := int(list.Size().(celtypes.Int)) * between
	for it := list.Iterator(); n <= maxText && it.HasNext() == celtypes.True; {
		if s, ok := it.Next().(celtypes.String); ok {
			n += len(s)
		}
	}
	return n
}

// formattedLength is about how long the result of format is: no less than a third of it.
func formattedLength(args []ref.Val) int {
	text, ok := args[0].(celtypes.String)
	if !ok || len(args) < 2 {
		return 0
	}
	n := len(text)
	for _, clause := range strings.Split(string(text), "%.")[1:] {
		digits := len(clause) - len(strings.TrimLeft(clause, "0123456789"))
		if precision, err := strconv.Atoi(clause[:digits]); err == nil {
			n += min(precision, maxText)
		}
		if n > maxText {
			return n
		}
	}
	return n + written(args[1], maxText)
}

// written is about how much it takes to write a value: more than most when that is beyond most.
func written(v ref.Val, most int) (n int) {
	switch v := v.(type) {
	case celtypes.String:
		return len(v)
	case celtypes.Bytes:
		return len(v)
	case celtypes.Double:
		if a := math.Abs(float64(v)); a != 0 && (a > 1e21 || a < 1e-21) {
			return 330
		}
	case traits.Lister:
		for it := v.Iterator(); n <= most && it.HasNext() == celtypes.True; {
			n += 2 + written(it.Next(), most-n)
		}
		return n
	case traits.Mapper:
		for it := v.Iterator(); n <= most && it.HasNext() == celtypes.True; {
			key := it.Next()
			n += 4 + written(key, most-n)
			n += written(v.Get(key), most-n)
		}
		return n
	}
	return 24
}

// boundedCall is call, of a function that is bounded.
func boundedCall(function string, call functions.FunctionOp) functions.FunctionOp {
	return func(args ...ref.Val) ref.Val {
		if !makesLittle(function, args) {
			return errTooMuch
		}
		return call(args...)
	}
}

// bound has an implementation make no more than it may.
func bound(function string, o *functions.Overload) {
	if unary := o.Unary; unary != nil {
		o.Unary = func(v ref.Val) ref.Val {
			return boundedCall(function, func(...ref.Val) ref.Val { return unary(v) })(v)
		}
	}
	if binary := o.Binary; binary != nil {
		o.Binary = func(a, b ref.Val) ref.Val {
			return boundedCall(function, func(...ref.Val) ref.Val { return binary(a, b) })(a, b)
		}
	}
	if call := o.Function; call != nil {
		o.Function = boundedCall(function, call)
	}
}

// boundSizes has cel-go's calls of functions that are bounded make no more than they may.
func boundSizes(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || !bounded(call.Function()) {
		return i, nil
	}
	impl := celFunction(call.OverloadID())
	if impl == nil {
		impl = celFunction(call.Function())
	}
	invoke := rule.Invocation(impl, len(call.Args()))
	if invoke == nil {
		return i, nil
	}
	return &sizedCall{call, invoke}, nil
}

// sizedCall takes over a call of a function that is bounded, with the same results.
type sizedCall struct {
	interpreter.InterpretableCall
	invoke functions.FunctionOp
}

// Exec implements interpreter.InterpretableV2. As in cel-go, of two arguments the second is evaluated whatever the first is.
func (c *sizedCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := make([]ref.Val, len(c.Args()))
	for i, arg := range c.Args() {
		if args[i] = arg.Exec(frame); celtypes.IsUnknownOrError(args[i]) && len(args) != 2 {
			return args[i]
		}
	}
	for _, arg := range args {
		if celtypes.IsUnknownOrError(arg) {
			return arg
		}
	}
	return c.invoke(args...)
}

// Eval implements interpreter.Interpretable.
func (c *sizedCall) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}
