package schema

import (
	"context"
	"fmt"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/functions"
	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	cellibrary "k8s.io/apiserver/pkg/cel/library"

	"pintle.dev/object"
	"pintle.dev/schema/rule"
)

// evaluator tells whether all CEL rules at a node of a schema and below it hold. It says nothing else: what a rule that
// does not hold means is for upstream's validator to find out again, and to word. It runs the rules in the same order, at
// the same cost and on values of the same types, but reads the document where it lies.
type evaluator struct {
	rules             []celRule
	transitions       bool // a rule here or below names oldSelf
	keys              []string
	shape             *celShape
	items, additional *evaluator
	properties        []evaluatedProperty
}

type evaluatedProperty struct {
	name string
	*evaluator
}

// celRule is one of x-kubernetes-validations.
type celRule struct {
	compiled                *rule.Rule // nil when only cel-go knows what is in it
	program                 func() (celgo.Program, error)
	message                 celgo.Program // of a messageExpression that reads quantities; else nil
	transition, optionalOld bool
}

// newEvaluator compiles the rules of s and below. It returns nil when there are none, and ok is false when only upstream's
// validator can tell: for rules within allOf and where rules do not compile.
func newEvaluator(s *structuralschema.Structural) (e *evaluator, ok bool) {
	return compileRuled(s, newResourceShape(s), model.SchemaDeclType(s, true))
}

// compileRuled compiles the rules of s and below; t is the type of self in them.
func compileRuled(s *structuralschema.Structural, shape *celShape, t *apiservercel.DeclType) (*evaluator, bool) {
	if v := s.ValueValidation; v != nil {
		for i := range v.AllOf {
			if ruled(&v.AllOf[i]) {
				return nil, false
			}
		}
	}
	e := &evaluator{shape: shape}
	if s.XListType != nil && *s.XListType == "map" {
		e.keys = s.XListMapKeys
	}
	var err error
	if e.rules, err = compileCEL(s.XValidations, shape, t); err != nil {
		return nil, false
	}
	for i := range e.rules {
		e.transitions = e.transitions || e.rules[i].transition
	}
	var element *apiservercel.DeclType
	if t != nil {
		element = t.ElemType
	}
	ok := true
	if s.Items != nil {
		if e.items, ok = compileRuled(s.Items, shape.items, element); !ok {
			return nil, false
		}
	}
	if a := s.AdditionalProperties; a != nil && a.Structural != nil {
		if e.additional, ok = compileRuled(a.Structural, shape.additional.schema, element); !ok {
			return nil, false
		}
	}
	for name := range s.Properties {
		p := s.Properties[name]
		of := memberType(name, &p, t)
		if of == nil {
			continue // what CEL has no type for, its rules are not run on
		}
		below := shape.properties[name].(*celShape)
		if shape.resource && isMetaField(name) {
			below = newCELShape(&p) // to its own rules it is what the schema says, not what it is in every resource
		}
		c, ok := compileRuled(&p, below, of)
		if !ok {
			return nil, false
		}
		if c != nil {
			e.properties = append(e.properties, evaluatedProperty{name, c})
			e.transitions = e.transitions || c.transitions
		}
	}
	if e.rules == nil && e.items == nil && e.additional == nil && e.properties == nil {
		return nil, true
	}
	e.transitions = e.transitions || e.items != nil && e.items.transitions || e.additional != nil && e.additional.transitions
	return e, true
}

// compileCEL compiles the rules of a schema, as stored ones are; t is the type of self. It fails where upstream's
// compilation does.
func compileCEL(validations apiextensionsv1.ValidationRules, shape *celShape, t *apiservercel.DeclType) ([]celRule, error) {
	if len(validations) == 0 {
		return nil, nil
	}
	if t == nil {
		return nil, fmt.Errorf("CEL has no type for the schema")
	}
	t = t.MaybeAssignTypeName("selfType")
	self := rule.TypeOf(shape)
	var rules []celRule
	envs := map[bool]*celgo.Env{}
	for i := range validations {
		v := &validations[i]
		if strings.TrimSpace(v.Rule) == "" {
			continue
		}
		optional := v.OptionalOldSelf != nil && *v.OptionalOldSelf
		if envs[optional] == nil {
			var err error
			if envs[optional], err = ruleEnv(t, optional); err != nil {
				return nil, err
			}
		}
		r, err := compileRule(envs[optional], v.Rule, self)
		if err != nil {
			return nil, err
		}
		r.optionalOld = optional
		if mentionsQuantities(v.MessageExpression) {
			if checked, issues := envs[optional].Compile(v.MessageExpression); issues.Err() == nil {
				r.message, _ = newProgram(envs[optional], checked) // upstream ignores one that it cannot compile
			}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// compileRule compiles one rule whose self is of the given type.
func compileRule(env *celgo.Env, text string, self *rule.Type) (r celRule, err error) {
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return r, issues.Err()
	}
	if checked.OutputType() != celgo.BoolType {
		return r, fmt.Errorf("rule %q is no bool", text)
	}
	for _, ref := range checked.NativeRep().ReferenceMap() {
		r.transition = r.transition || ref.Name == cel.OldScopedVarName
	}
	r.program = sync.OnceValues(func() (celgo.Program, error) { return newProgram(env, checked) })
	if r.compiled = rule.Compile(checked.NativeRep(), self, celFunction); r.compiled == nil {
		_, err = r.program()
	}
	return r, err
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
		celgo.InterruptCheckFrequency(celconfig.CheckFrequency), celgo.CustomDecorator(guardQuantity))
}

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

// memberType is the type of a property of an object of type t; nil when it has none.
func memberType(name string, p *structuralschema.Structural, t *apiservercel.DeclType) *apiservercel.DeclType {
	escaped, ok := apiservercel.Escape(name)
	if !ok {
		return model.SchemaDeclType(p, p.XEmbeddedResource)
	}
	if t == nil || t.Fields[escaped] == nil {
		return nil
	}
	return t.Fields[escaped].Type
}

// ruled reports whether there are rules within an alternative.
func ruled(n *structuralschema.NestedValueValidation) bool {
	if n == nil {
		return false
	}
	if len(n.XValidations) > 0 || ruled(n.Items) || ruled(n.AdditionalProperties) {
		return true
	}
	for name := range n.Properties {
		if p := n.Properties[name]; ruled(&p) {
			return true
		}
	}
	for i := range n.AllOf {
		if ruled(&n.AllOf[i]) {
			return true
		}
	}
	return false
}

// evaluation is one run of an evaluator.
type evaluation struct {
	ctx    context.Context
	budget int64 // what is left of it
	broken bool  // a rule does not hold

	// thorough makes it go on after that, as upstream's validator does: to know beforehand what that will meet.
	thorough bool
	huge     string // a quantity with an exponent beyond MaxExponent that a rule wanted to read
}

// run evaluates all rules for v, which was old (nil when there is nothing to compare with). It returns false where
// nothing more is to be found out.
func (e *evaluator) run(ev *evaluation, v, old *object.Value) bool {
	if e == nil || v.IsNull() {
		return true
	}
	if old.IsNull() {
		old = nil
	}
	if len(e.rules) > 0 && !e.runHere(ev, v, old) {
		return false
	}
	switch v.Kind() {
	case object.List:
		return e.runItems(ev, v, old)
	case object.Map:
		if e.additional != nil {
			for name, m := range v.Fields() {
				if !e.additional.run(ev, m, old.Get(name)) {
					return false
				}
			}
		}
		for _, p := range e.properties {
			if !p.run(ev, v.Get(p.name), old.Get(p.name)) {
				return false
			}
		}
	}
	return true
}

func (e *evaluator) runItems(ev *evaluation, items, old *object.Value) bool {
	if e.items == nil {
		return true
	}
	was := func(*object.Value) *object.Value { return nil }
	if e.items.transitions && len(e.keys) > 0 && old.Kind() == object.List {
		was = byKeys(old, e.keys)
	}
	for _, item := range items.Items() {
		if !e.items.run(ev, item, was(item)) {
			return false
		}
	}
	return true
}

// byKeys finds the first item of a list of type map that has the same keys as another.
func byKeys(list *object.Value, keys []string) func(*object.Value) *object.Value {
	items := make(map[string]*object.Value, list.Len())
	var buf []byte
	identity := func(item *object.Value) bool {
		buf = buf[:0]
		for i, k := range keys {
			if kind := item.Get(k).Kind(); kind == object.Null || kind == object.List || kind == object.Map {
				return false
			}
			buf = appendIdentity(buf, item, keys[i:i+1]) // one by one: then it tells 1 from 1.0
		}
		return true
	}
	for _, item := range list.Items() {
		if identity(item) && items[string(buf)] == nil {
			items[string(buf)] = item
		}
	}
	return func(item *object.Value) *object.Value {
		if !identity(item) {
			return nil
		}
		return items[string(buf)]
	}
}

// runHere evaluates the rules of this node.
func (e *evaluator) runHere(ev *evaluation, v, old *object.Value) bool {
	var vars *variables // made for the first rule that needs them
	for i := range e.rules {
		r := &e.rules[i]
		if ev.budget <= 0 {
			ev.broken = true
			return false
		}
		if r.transition && old == nil && !r.optionalOld {
			continue
		}
		var cost uint64
		ok := false
		if r.compiled != nil {
			cost, ok = r.compiled.Holds(ev.ctx, v, old)
			if !ok && cost > celconfig.PerCallLimit && !ev.thorough {
				// Nor would cel-go come to the end, on a way that costs it the square of a loop's length. It is for upstream's
				// validator to go, once.
				ev.broken = true
				return false
			}
		}
		if !ok {
			if vars == nil {
				vars = e.variables(v, old)
				vars.huge = &ev.huge
			}
			cost, ok = r.holds(ev.ctx, *vars)
		}
		if cost > uint64(ev.budget) {
			ev.broken = true
			return false
		}
		ev.budget -= int64(cost)
		if !ok {
			ev.broken = true
			if !ev.thorough {
				return false
			}
			r.sayWhy(ev.ctx, *vars)
		}
	}
	return true
}

// holds asks cel-go. The cost is known whether or not the rule holds.
func (r *celRule) holds(ctx context.Context, vars variables) (cost uint64, ok bool) {
	program, err := r.program()
	if err != nil {
		return 0, false
	}
	if r.optionalOld {
		if vars.old == nil {
			vars.old = celtypes.OptionalNone
		} else {
			vars.old = celtypes.OptionalOf(vars.old)
		}
	}
	result, details, err := program.ContextEval(ctx, &vars)
	if details == nil || details.ActualCost() == nil {
		return 0, false
	}
	return *details.ActualCost(), err == nil && result == celtypes.True
}

// sayWhy runs the messageExpression of a rule that does not hold for the quantities it reads; what it says and where it
// fails is upstream's business.
func (r *celRule) sayWhy(ctx context.Context, vars variables) {
	if r.message != nil {
		_, _, _ = r.message.ContextEval(ctx, &vars)
	}
}

// variables are the documents as upstream's values.
func (e *evaluator) variables(v, old *object.Value) *variables {
	vars := &variables{self: common.UnstructuredToVal(v.ToAny(), e.shape)}
	if old != nil {
		vars.old = common.UnstructuredToVal(old.ToAny(), e.shape)
	}
	return vars
}

// variables are what a rule may name.
type variables struct {
	self, old ref.Val
	huge      *string // what guardQuantity tells of
}

// ResolveName implements interpreter.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case cel.ScopedVarName:
		return v.self, true
	case cel.OldScopedVarName:
		return v.old, v.old != nil
	case hugeQuantityName:
		return v.huge, v.huge != nil
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (v *variables) Parent() interpreter.Activation { return nil }

// celShape is a schema as CEL's values want it, with all below it made once.
type celShape struct {
	*model.Structural
	resource   bool                     // which has apiVersion, kind and metadata, whether or not the schema declares them
	properties map[string]common.Schema // *celShape
	items      *celShape
	additional *celAdditional
}

type celAdditional struct {
	schema *celShape // nil for a boolean
	allows bool
}

// newResourceShape is the shape of a whole resource.
func newResourceShape(s *structuralschema.Structural) *celShape {
	c := newCELShape(model.WithTypeAndObjectMeta(s))
	c.resource = true
	return c
}

func newCELShape(s *structuralschema.Structural) *celShape {
	resource := s.XEmbeddedResource
	if resource {
		s = model.WithTypeAndObjectMeta(s)
	}
	c := &celShape{Structural: &model.Structural{Structural: s}, resource: resource}
	if s.Properties != nil {
		c.properties = make(map[string]common.Schema, len(s.Properties))
		for name := range s.Properties {
			p := s.Properties[name]
			c.properties[name] = newCELShape(&p)
		}
	}
	if s.Items != nil {
		c.items = newCELShape(s.Items)
	}
	if a := s.AdditionalProperties; a != nil {
		c.additional = &celAdditional{allows: a.Bool}
		if a.Structural != nil {
			c.additional.schema = newCELShape(a.Structural)
		}
	}
	return c
}

// Properties implements common.Schema.
func (c *celShape) Properties() map[string]common.Schema { return c.properties }

// Items implements common.Schema.
func (c *celShape) Items() common.Schema {
	if c.items == nil {
		return nil
	}
	return c.items
}

// AdditionalProperties implements common.Schema.
func (c *celShape) AdditionalProperties() common.SchemaOrBool {
	if c.additional == nil {
		return nil
	}
	return c.additional
}

// WithTypeAndObjectMeta implements common.Schema: an embedded resource has them from the start.
func (c *celShape) WithTypeAndObjectMeta() common.Schema { return c }

// Schema implements common.SchemaOrBool.
func (a *celAdditional) Schema() common.Schema {
	if a.schema == nil {
		return nil
	}
	return a.schema
}

// Allows implements common.SchemaOrBool.
func (a *celAdditional) Allows() bool { return a.allows }
