package schema

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"pintle.dev/schema/rule"
)

// evaluator finds out what the CEL rules at a node of a schema and below it have against a document. It runs them in
// upstream's order, at the same cost and on values of the same types, but reads the document where it lies.
type evaluator struct {
	rules             []celRule
	typ               string // the type that the schema gives
	transitionHere    bool   // a rule here names oldSelf
	transitions       bool   // one here or below does
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
	expression
	source      *apiextensionsv1.ValidationRule
	optionalOld bool
	refusal     func() refusal // made on first use
}

// refusal is what a rule that does not hold says besides its message.
type refusal struct {
	message *expression // nil when there is none that compiles
	path    string      // of the field below that is to blame; "" when it is the value itself
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
	e := &evaluator{shape: shape, typ: s.Type}
	if s.XListType != nil && *s.XListType == "map" {
		e.keys = s.XListMapKeys
	}
	var err error
	if e.rules, err = compileCEL(s, shape, t); err != nil {
		return nil, false
	}
	for i := range e.rules {
		e.transitionHere = e.transitionHere || e.rules[i].namesOld
	}
	e.transitions = e.transitionHere
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
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) { // so that errors come in the same order each time
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
func compileCEL(s *structuralschema.Structural, shape *celShape, t *apiservercel.DeclType) ([]celRule, error) {
	if len(s.XValidations) == 0 {
		return nil, nil
	}
	if t == nil {
		return nil, fmt.Errorf("CEL has no type for the schema")
	}
	t = t.MaybeAssignTypeName("selfType")
	self := rule.TypeOf(shape)
	var rules []celRule
	envs := map[bool]*celgo.Env{}
	for i := range s.XValidations {
		v := &s.XValidations[i]
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
		env := envs[optional]
		r := celRule{source: v, optionalOld: optional}
		var err error
		if r.expression, err = compileExpression(env, v.Rule, self, celgo.BoolType); err != nil {
			return nil, err
		}
		readsOld := r.namesOld && !optional
		r.refusal = sync.OnceValue(func() refusal { return compileRefusal(env, v, self, s, readsOld) })
		rules = append(rules, r)
	}
	return rules, nil
}

// compileRefusal compiles what a rule says when it does not hold. readsOld tells that oldSelf is a value then.
func compileRefusal(env *celgo.Env, v *apiextensionsv1.ValidationRule, self *rule.Type, s *structuralschema.Structural, readsOld bool) (r refusal) {
	if v.MessageExpression != "" {
		message, err := compileExpression(env, v.MessageExpression, self, celgo.StringType)
		if err != nil {
			return refusal{} // without a path, as upstream has it
		}
		if message.namesOld && !readsOld {
			message.compiled = nil // what oldSelf is then is not what it was compiled as
		}
		r.message = &message
	}
	if v.FieldPath != "" {
		if path, _, err := cel.ValidFieldPath(v.FieldPath, s); err == nil {
			r.path = path.String()
		}
	}
	return r
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
