package schema

import (
	"context"
	"fmt"
	"strings"

	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"

	"pintle.dev/object"
)

// evaluation is one run of an evaluator.
type evaluation struct {
	ctx    context.Context
	budget int64  // what is left of it
	at     []step // from the root to the value that rules are run on
	errs   field.ErrorList

	// unchanged reports whether what is at a place is certainly what it was, so that rules which do not hold are forgiven;
	// nil where there was nothing.
	unchanged func(at []step) bool
	warn      func(text string) // is told of what is forgiven

	huge string // a quantity with an exponent beyond MaxExponent that a rule wanted to read
}

// step leads to a value from the one it is in.
type step struct {
	by    stepKind
	name  string
	index int
}

type stepKind uint8

const (
	byField stepKind = iota // one of properties
	byKey                   // one of additionalProperties
	byIndex
)

// path is where the evaluation is.
func (ev *evaluation) path() (p *field.Path) {
	for _, s := range ev.at {
		switch s.by {
		case byField:
			p = p.Child(s.name)
		case byKey:
			p = p.Key(s.name)
		case byIndex:
			p = p.Index(s.index)
		}
	}
	return p
}

// below runs an evaluator on a value that is within the one at hand.
func (ev *evaluation) below(e *evaluator, s step, v, old *object.Value) bool {
	ev.at = append(ev.at, s)
	goOn := e.run(ev, v, old)
	ev.at = ev.at[:len(ev.at)-1]
	return goOn
}

// run evaluates all rules for v, which was old (nil when there is nothing to compare with). It returns false where no
// further ones are to be.
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
				if !ev.below(e.additional, step{by: byKey, name: name}, m, old.Get(name)) {
					return false
				}
			}
		}
		for _, p := range e.properties {
			if !ev.below(p.evaluator, step{by: byField, name: p.name}, v.Get(p.name), old.Get(p.name)) {
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
	for i, item := range items.Items() {
		if !ev.below(e.items, step{by: byIndex, index: i}, item, was(item)) {
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

// outOfBudget is what upstream says where rules have cost too much already.
const outOfBudget = "validation failed due to running out of cost budget, no further validation rules will be run"

// runHere evaluates the rules of this node.
func (e *evaluator) runHere(ev *evaluation, v, old *object.Value) bool {
	if ev.budget <= 0 {
		return e.stop(ev, outOfBudget)
	}
	s := &site{evaluator: e, ev: ev, value: v, old: old}
	for i := range e.rules {
		r := &e.rules[i]
		if r.namesOld && old == nil && !r.optionalOld {
			continue
		}
		if !s.run(r) {
			return false
		}
	}
	return true
}

// stop ends the evaluation with an error at the value.
func (e *evaluator) stop(ev *evaluation, detail string) bool {
	ev.errs = append(ev.errs, field.Invalid(ev.path(), e.typ, detail))
	return false
}

// site is a value that rules are run on.
type site struct {
	*evaluator
	ev         *evaluation
	value, old *object.Value
	vars       *variables // made for the first expression that needs them
}

// run evaluates a rule. It returns false where no further ones are to be.
func (s *site) run(r *celRule) bool {
	ev := s.ev
	a := r.eval(ev.ctx, s.value, s.old, ev.budget, func() *variables { return s.ruleVariables(r.optionalOld) })
	if a.cost > uint64(ev.budget) {
		return s.stop(ev, outOfBudget)
	}
	ev.budget -= int64(a.cost)
	if a.err == nil {
		return a.holds || s.refuse(r)
	}
	name := ruleName(r.source)
	switch text := a.err.Error(); {
	case strings.HasPrefix(text, "no such overload"):
		s.stop(ev, fmt.Sprintf("'%s': call arguments did not match a supported operator, function or macro signature for rule: %s", text, name))
	case strings.HasPrefix(text, errLimit.Error()):
		return s.stop(ev, fmt.Sprintf("'%s': no further validation rules will be run due to call cost exceeds limit for rule: %s", text, name))
	default:
		s.stop(ev, fmt.Sprintf("%s evaluating rule: %s", text, name))
	}
	return true
}

// refuse tells of a rule that does not hold.
func (s *site) refuse(r *celRule) bool {
	to, path := r.refusal(), s.ev.path()
	if to.path != "" {
		path = path.Child(to.path)
	}
	detail, fatal := s.explain(r, to.message)
	if fatal {
		s.add(r, field.Invalid(path, s.typ, detail))
		return false
	}
	var value any = field.OmitValueType{}
	if s.typ != "object" && s.typ != "array" {
		value = s.value.ToAny()
	}
	s.add(r, refusalFor(r.source.Reason, path, value, detail))
	return true
}

// explain is the text of a rule that does not hold; a fatal one ends the evaluation. A message that fails, or is none, is
// passed over.
func (s *site) explain(r *celRule, message *expression) (detail string, fatal bool) {
	if message != nil {
		a := message.eval(s.ev.ctx, s.value, s.old, s.ev.budget, s.messageVariables)
		if a.cost > uint64(s.ev.budget) {
			return "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run", true
		}
		if a.err != nil && strings.HasPrefix(a.err.Error(), errLimit.Error()) {
			return fmt.Sprintf("no further validation rules will be run due to call cost exceeds limit for messageExpression: %q", r.source.MessageExpression), true
		}
		s.ev.budget -= int64(a.cost)
		text := strings.TrimSpace(a.text)
		if a.err == nil && text != "" && len(text) <= celconfig.MaxEvaluatedMessageExpressionSizeBytes && !strings.Contains(text, "\n") {
			return text, false
		}
	}
	if r.source.Message == "" {
		return "failed rule: " + ruleName(r.source), false
	}
	return ruleName(r.source), false
}

// ruleName is what upstream calls a rule.
func ruleName(r *apiextensionsv1.ValidationRule) string {
	if r.Message != "" {
		return strings.TrimSpace(r.Message)
	}
	return strings.TrimSpace(r.Rule)
}

// refusalFor is the error of a rule that does not hold, by the reason it gives.
func refusalFor(reason *apiextensionsv1.FieldValueErrorReason, path *field.Path, value any, detail string) *field.Error {
	if reason != nil {
		switch *reason {
		case apiextensionsv1.FieldValueForbidden:
			return field.Forbidden(path, detail)
		case apiextensionsv1.FieldValueRequired:
			return field.Required(path, detail)
		case apiextensionsv1.FieldValueDuplicate:
			return field.Duplicate(path, value)
		}
	}
	return field.Invalid(path, value, detail)
}

// add adds the error of a rule that does not hold, unless that is forgiven (KEP-4008).
func (s *site) add(r *celRule, err *field.Error) {
	ev := s.ev
	if r.namesOld || ev.unchanged == nil || !ev.unchanged(ev.at) {
		ev.errs = append(ev.errs, err)
	} else if ev.warn != nil {
		ev.warn(err.Error())
	}
}

// variables are the documents as upstream's values. Those that there are already are kept: upstream shares them among the
// rules of a node too.
func (s *site) variables() variables {
	if s.vars == nil {
		s.vars = s.evaluator.variables(s.value, s.old)
		s.vars.huge = &s.ev.huge
	}
	return *s.vars
}

func (s *site) ruleVariables(optionalOld bool) *variables {
	vars := s.variables()
	if optionalOld {
		vars.wrapOld()
	}
	return &vars
}

// messageVariables are those of a message, which has oldSelf only beside a rule that names it, and never an optional.
func (s *site) messageVariables() *variables {
	vars := s.variables()
	if !s.transitionHere {
		vars.old = nil
	}
	return &vars
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

// wrapOld makes oldSelf an optional.
func (v *variables) wrapOld() {
	if v.old == nil {
		v.old = celtypes.OptionalNone
	} else {
		v.old = celtypes.OptionalOf(v.old)
	}
}
