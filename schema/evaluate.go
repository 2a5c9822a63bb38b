package schema

import (
	"context"

	celgo "github.com/google/cel-go/cel"
	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
)

// evaluator tells whether all CEL rules at a node of a schema and below it hold. It says nothing else: what a rule that
// does not hold means is for upstream's validator to find out again, and to word. It runs the same programs on the same
// values in the same order, but does not build the schema of every object anew each time a rule reads a field of it.
type evaluator struct {
	rules             []rule
	shape             *celShape
	items, additional *evaluator
	properties        map[string]*evaluator
}

type rule struct {
	celgo.Program
	transition, optionalOld bool
}

// newEvaluator compiles the rules of s and below. It returns nil when there are none, and ok is false when only upstream's
// validator can tell: for rules within allOf or on metadata, and where rules do not compile.
func newEvaluator(s *structuralschema.Structural) (e *evaluator, ok bool) {
	root := model.WithTypeAndObjectMeta(s)
	return compileRuled(s, newCELShape(root), model.SchemaDeclType(s, true))
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
	compiled, err := cel.Compile(s, t, celconfig.PerCallLimit, environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()), cel.StoredExpressionsEnvLoader())
	if err != nil {
		return nil, false
	}
	for i, c := range compiled {
		if c.Error != nil {
			return nil, false
		}
		if c.Program != nil {
			optional := s.XValidations[i].OptionalOldSelf
			e.rules = append(e.rules, rule{c.Program, c.UsesOldSelf, optional != nil && *optional})
		}
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
		c, ok := compileRuled(&p, shape.properties[name].(*celShape), of)
		if !ok || c != nil && isMetaField(name) {
			return nil, false // rules on metadata see less of it as self than from above
		}
		if c != nil {
			if e.properties == nil {
				e.properties = map[string]*evaluator{}
			}
			e.properties[name] = c
		}
	}
	if e.rules == nil && e.items == nil && e.additional == nil && e.properties == nil {
		return nil, true
	}
	return e, true
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

// hold reports whether all rules hold for v, which was old, within what is left of the budget.
func (e *evaluator) hold(ctx context.Context, v, old any, budget *int64) bool {
	if e == nil || v == nil {
		return true
	}
	if len(e.rules) > 0 && !e.run(ctx, v, old, budget) {
		return false
	}
	switch v := v.(type) {
	case []any:
		return e.holdItems(ctx, v, old, budget)
	case map[string]any:
		was, _ := old.(map[string]any)
		if e.additional != nil {
			for name, m := range v {
				if !e.additional.hold(ctx, m, was[name], budget) {
					return false
				}
			}
		}
		for name, p := range e.properties {
			if !p.hold(ctx, v[name], was[name], budget) {
				return false
			}
		}
	}
	return true
}

func (e *evaluator) holdItems(ctx context.Context, items []any, old any, budget *int64) bool {
	if e.items == nil {
		return true
	}
	was := func(any) any { return nil }
	if l, _ := old.([]any); len(l) > 0 {
		was = common.MakeMapList(e.shape, l).Get
	}
	for _, item := range items {
		if !e.items.hold(ctx, item, was(item), budget) {
			return false
		}
	}
	return true
}

// run evaluates the rules of this node.
func (e *evaluator) run(ctx context.Context, v, old any, budget *int64) bool {
	now := variables{self: common.UnstructuredToVal(v, e.shape)}
	optional := variables{self: now.self, old: celtypes.OptionalNone}
	if old != nil {
		now.old = common.UnstructuredToVal(old, e.shape)
		optional.old = celtypes.OptionalOf(now.old)
	}
	for i := range e.rules {
		r := &e.rules[i]
		if *budget <= 0 {
			return false
		}
		vars := &now
		if r.optionalOld {
			vars = &optional
		} else if r.transition && old == nil {
			continue
		}
		result, details, err := r.ContextEval(ctx, vars)
		if err != nil || result != celtypes.True || details == nil {
			return false
		}
		cost := details.ActualCost()
		if cost == nil || *cost > uint64(*budget) {
			return false
		}
		*budget -= int64(*cost)
	}
	return true
}

// variables are what a rule may name.
type variables struct{ self, old ref.Val }

// ResolveName implements interpreter.Activation.
func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case cel.ScopedVarName:
		return v.self, true
	case cel.OldScopedVarName:
		return v.old, v.old != nil
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (v *variables) Parent() interpreter.Activation { return nil }

// celShape is a schema as CEL's values want it, with all below it made once.
type celShape struct {
	*model.Structural
	properties map[string]common.Schema // *celShape
	items      *celShape
	additional *celAdditional
}

type celAdditional struct {
	schema *celShape // nil for a boolean
	allows bool
}

func newCELShape(s *structuralschema.Structural) *celShape {
	c := &celShape{Structural: &model.Structural{Structural: s}}
	if s.XEmbeddedResource {
		c.Structural.Structural = model.WithTypeAndObjectMeta(s)
	}
	s = c.Structural.Structural
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
