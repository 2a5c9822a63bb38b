package schema

import (
	"context"
	"errors"
	"fmt"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	cellibrary "k8s.io/apiserver/pkg/cel/library"

	"pintle.dev/object"
	"pintle.dev/schema/rule"
)

// expression is CEL that reads a document: a rule, or the message of one.
type expression struct {
	compiled *rule.Rule // nil when only cel-go knows what is in it
	namesOld bool       // it names oldSelf

	// What cel-go runs, made on first use: with the cost tracked, and for errors of what is known to cost no more than it
	// may. Tracking takes cel-go the square of a loop's length.
	program   func() (celgo.Program, error)
	unmetered func() (interpreter.InterpretableV2, error)
}

// compileExpression compiles an expression of a type, whose self is of the given type.
func compileExpression(env *celgo.Env, text string, self *rule.Type, want *celgo.Type) (x expression, err error) {
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return x, issues.Err()
	}
	if checked.OutputType() != want {
		return x, fmt.Errorf("%q is no %s", text, want)
	}
	for _, ref := range checked.NativeRep().ReferenceMap() {
		x.namesOld = x.namesOld || ref.Name == cel.OldScopedVarName
	}
	x.program = sync.OnceValues(func() (celgo.Program, error) { return newProgram(env, checked) })
	x.unmetered = sync.OnceValues(func() (interpreter.InterpretableV2, error) { return newUnmetered(env, checked) })
	if x.compiled = rule.Compile(checked.NativeRep(), self, celFunction); x.compiled == nil {
		_, err = x.program()
	}
	return x, err
}

// answer is what an expression comes to: a bool or a string, unless there is an error.
type answer struct {
	cost  uint64
	holds bool
	text  string
	err   error // as cel-go has it
}

// errLimit is cel-go's error of an expression that costs too much.
var errLimit = errors.New("operation cancelled: actual cost limit exceeded")

// eval evaluates the expression on a document, which was old. Of budget there is left. vars are the documents for cel-go.
func (x *expression) eval(ctx context.Context, v, old *object.Value, budget int64, vars func() *variables) answer {
	if x.compiled != nil {
		r := x.compiled.Eval(ctx, v, old)
		switch r.Outcome {
		case rule.Value:
			return answer{cost: r.Cost, holds: r.Holds, text: r.Text}
		case rule.Error:
			if err := x.errorOf(ctx, vars()); err != nil {
				return answer{cost: r.Cost, err: err}
			} // else the compiled rule is mistaken
		case rule.TooLarge:
			// Upstream speaks of the budget when what was spent until cel-go stopped is more than is left of that.
			if left := uint64(budget); left <= celconfig.PerCallLimit || left < r.Cost-rule.Margin || left > r.Cost+rule.Margin {
				return answer{cost: r.Cost, err: errLimit}
			}
		}
	}
	return x.evalByProgram(ctx, vars())
}

// evalByProgram asks cel-go, which tracks the cost.
func (x *expression) evalByProgram(ctx context.Context, vars *variables) (a answer) {
	program, err := x.program()
	if err != nil {
		return answer{err: err}
	}
	result, details, err := program.ContextEval(ctx, vars)
	if details == nil || details.ActualCost() == nil {
		return answer{err: fmt.Errorf("the cost is not known: %w", err)}
	}
	a = answer{cost: *details.ActualCost(), err: err}
	if err == nil {
		a.holds = result == celtypes.True
		a.text, _ = result.Value().(string)
	}
	return a
}

// errorOf is cel-go's error of an expression; nil when that is none.
func (x *expression) errorOf(ctx context.Context, vars *variables) (err error) {
	program, err := x.unmetered()
	if err != nil {
		return err
	}
	frame, err := interpreter.NewExecutionFrame(vars)
	if err != nil {
		return err
	}
	defer frame.Close()
	if err := frame.SetContext(ctx, celconfig.CheckFrequency); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("internal error: %v", r) // as cel-go has it
		}
	}()
	result := program.Exec(frame)
	if celtypes.IsError(result) {
		return result.(*celtypes.Err)
	}
	return nil
}

// celFunction is what cel-go runs for a function or an overload of one, guarded against huge quantities.
func celFunction(name string) *functions.Overload { return celFunctions()[name] }

var celFunctions = sync.OnceValue(func() map[string]*functions.Overload {
	all := map[string]*functions.Overload{}
	for name, f := range storedExpressions().Functions() {
		bindings, err := f.Bindings()
		if err != nil {
			panic(fmt.Sprintf("schema: CEL function %s: %v", name, err))
		}
		for _, b := range bindings {
			if readsQuantity(name) {
				b.Unary, b.Function = guardedQuantities(b.Unary), nil
			}
			if bounded(f.Name()) {
				bound(f.Name(), b)
			}
			all[b.Operator] = b
		}
	}
	return all
})

// storedExpressions is the environment that rules are compiled in, without their variables.
func storedExpressions() *celgo.Env {
	return environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).StoredExpressionsEnv()
}

// newProgram is cel-go's program of an expression, which is guarded against huge quantities.
func newProgram(env *celgo.Env, checked *celgo.Ast) (celgo.Program, error) {
	return env.Program(checked, celgo.CostLimit(celconfig.PerCallLimit), celgo.CostTracking(&cellibrary.CostEstimator{}),
		celgo.InterruptCheckFrequency(celconfig.CheckFrequency), celgo.CustomDecorator(guardQuantity), celgo.CustomDecoratorV2(boundSizes))
}

// newUnmetered is what cel-go plans for a program of newProgram, but for the tracking of costs.
func newUnmetered(env *celgo.Env, checked *celgo.Ast) (interpreter.InterpretableV2, error) {
	attributes := interpreter.NewAttributeFactory(env.Container, env.CELTypeAdapter(), env.CELTypeProvider())
	planner := interpreter.NewInterpreter(celDispatcher(), env.Container, env.CELTypeProvider(), env.CELTypeAdapter(), attributes)
	return planner.NewInterpretable(checked.NativeRep(), interpreter.CustomDecoratorV2(chooseOptional), interpreter.CustomDecorator(guardQuantity),
		interpreter.InterruptableEval(), interpreter.Optimize(), interpreter.CompileRegexConstants(interpreter.MatchesRegexOptimization))
}

// chooseOptional has or and orValue, which are no functions to cel-go, run their second argument only when it is wanted.
func chooseOptional(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if call, ok := i.(interpreter.InterpretableCall); ok && len(call.Args()) == 2 && (call.Function() == "or" || call.Function() == "orValue") {
		return &optionalChoice{call}, nil
	}
	return i, nil
}

type optionalChoice struct{ interpreter.InterpretableCall }

// Exec implements interpreter.InterpretableV2.
func (c *optionalChoice) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	first := c.Args()[0].Exec(frame)
	optional, ok := first.(*celtypes.Optional)
	switch {
	case !ok:
		return celtypes.MaybeNoSuchOverloadErr(first)
	case !optional.HasValue():
		return c.Args()[1].Exec(frame)
	case c.Function() == "or":
		return optional
	}
	return optional.GetValue()
}

// Eval implements interpreter.Interpretable.
func (c *optionalChoice) Eval(vars interpreter.Activation) ref.Val {
	return c.Exec(interpreter.AsFrame(vars))
}

// celDispatcher finds the functions of the environment that rules are compiled in.
var celDispatcher = sync.OnceValue(func() interpreter.Dispatcher {
	all := interpreter.NewDispatcher()
	for name, f := range celFunctions() {
		if err := all.Add(f); err != nil {
			panic(fmt.Sprintf("schema: CEL function %s: %v", name, err))
		}
	}
	return all
})

// ruleEnv is the environment in which a rule with self of type t is compiled.
func ruleEnv(t *apiservercel.DeclType, optionalOld bool) (*celgo.Env, error) {
	base := storedExpressions()
	provider := apiservercel.NewDeclTypeProvider(t)
	provider.SetRecognizeKeywordAsFieldName(true)
	options, err := provider.EnvOptions(base.CELTypeProvider())
	if err != nil {
		return nil, err
	}
	old := t.CelType()
	if optionalOld {
		old = celtypes.NewOptionalType(old)
	}
	return base.Extend(append(options, celgo.Variable(cel.ScopedVarName, t.CelType()), celgo.Variable(cel.OldScopedVarName, old))...)
}
