package apiextensions

import (
	"math"
	"regexp"
	"strings"
	"sync"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
)

// soundRules reports whether upstream certainly accepts the CEL rules of a schema that is sound otherwise, of which s are
// the bones. Upstream makes four environments, each with all functions that CEL has, for every schema with rules, and plans
// a program of each rule, only to see whether that fails; it takes fifty times as long as to parse and check a rule, by the
// same parser and checker, against declarations that are shared, and to have the same estimator say what it costs. Functions
// that planning may fail for, or that estimate their own costs, are left to upstream.
func soundRules(s *props) (ok bool) {
	// Upstream's code panics for some schemas, which judge makes an error of.
	defer func() { ok = recover() == nil && ok }()
	var in internal.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s, &in, nil); err != nil {
		return false
	}
	root := validation.RootCELContext(&in)
	return soundRulesIn(&in, root, true) && root.TotalCost.Total <= validation.StaticEstimatedCRDCostLimit
}

// soundRulesIn is soundRules for the schema at a place, and all below it. correlated says whether rules may compare what is
// there with what was there before.
func soundRulesIn(s *internal.JSONSchemaProps, at *validation.CELSchemaContext, correlated bool) bool {
	for name := range s.Properties {
		p := s.Properties[name]
		if !soundRulesIn(&p, at.ChildPropertyContext(&p, name), correlated) {
			return false
		}
	}
	if s.Items != nil && !soundRulesIn(s.Items.Schema, at.ChildItemsContext(s.Items.Schema), false) {
		return false
	}
	if a := s.AdditionalProperties; a != nil && a.Schema != nil && !soundRulesIn(a.Schema, at.ChildAdditionalPropertiesContext(a.Schema), correlated) {
		return false
	}
	if len(s.XValidations) == 0 {
		return true
	}
	info, err := at.TypeInfo()
	if err != nil || info == nil || info.DeclType == nil {
		return false
	}
	c, err := newRuleChecker(info.DeclType)
	if err != nil {
		return false
	}
	times := uint64(celconfig.MaxRequestSizeBytes / (info.DeclType.MinSerializedSize + 1)) // as often as it fits into a request
	if at.MaxCardinality != nil {
		times = *at.MaxCardinality
	}
	for i := range s.XValidations {
		r := &s.XValidations[i]
		if !soundlyWritten(r) {
			return false
		}
		if _, _, err := cel.ValidFieldPath(r.FieldPath, info.Schema); r.FieldPath != "" && err != nil {
			return false
		}
		optional := r.OptionalOldSelf != nil && *r.OptionalOldSelf
		cost, old, ok := c.check(r.Rule, types.BoolType, optional)
		if !ok || old && !correlated || !old && r.OptionalOldSelf != nil || !affordable(at, cost, times) {
			return false
		}
		if r.MessageExpression == "" {
			continue
		}
		if cost, _, ok = c.check(r.MessageExpression, types.StringType, optional); !ok || !affordable(at, cost, 1) {
			return false
		}
	}
	return true
}

// affordable reports whether a rule may cost that much so many times, which it adds to the cost of the whole schema.
func affordable(at *validation.CELSchemaContext, cost, times uint64) bool {
	if cost > 0 && times > math.MaxUint64/cost {
		return false
	}
	at.TotalCost.ObserveExpressionCost(nil, cost*times)
	return cost*times <= validation.StaticEstimatedCostLimit
}

// soundlyWritten checks what is said of a rule.
func soundlyWritten(r *internal.ValidationRule) bool {
	for _, text := range []string{r.Rule, r.Message, r.MessageExpression, r.FieldPath} {
		if strings.ContainsAny(text, "\r\n") || text != "" && strings.TrimSpace(text) == "" {
			return false
		}
	}
	if r.Reason != nil {
		switch *r.Reason {
		case internal.FieldValueRequired, internal.FieldValueForbidden, internal.FieldValueInvalid, internal.FieldValueDuplicate:
		default:
			return false
		}
	}
	return r.Rule != ""
}

// ruleBase is what the rules of all schemas may mention.
type ruleBase struct {
	env      *celgo.Env
	declared checker.Option
}

var newRuleBase = sync.OnceValues(func() (*ruleBase, error) {
	b := &ruleBase{env: environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).NewExpressionsEnv()}
	declared, err := checker.NewEnv(b.env.Container, b.env.CELTypeProvider(), checker.CrossTypeNumericComparisons(true))
	if err != nil {
		return nil, err
	}
	if err := declared.AddIdents(b.env.Variables()...); err != nil {
		return nil, err
	}
	for _, f := range b.env.Functions() {
		if f.IsDeclarationDisabled() {
			continue
		}
		if err := declared.AddFunctions(f); err != nil {
			return nil, err
		}
	}
	b.declared = checker.ValidatedDeclarations(declared)
	return b, nil
})

// selfType is what the type of objects is called here. No rule can: upstream takes care of that with a name that changes.
const selfType = "@self"

// ruleChecker checks the rules of one schema.
type ruleChecker struct {
	base      *ruleBase
	self      *apiservercel.DeclType
	provider  types.Provider
	envs      [2]*checker.Env // for rules that have oldSelf, and those that have an optional of it; made when they are needed
	estimator library.CostEstimator
}

func newRuleChecker(self *apiservercel.DeclType) (*ruleChecker, error) {
	base, err := newRuleBase()
	if err != nil {
		return nil, err
	}
	c := &ruleChecker{base: base, self: self.MaybeAssignTypeName(selfType), estimator: library.CostEstimator{SizeEstimator: sizes{self}}}
	provider := apiservercel.NewDeclTypeProvider(c.self)
	provider.SetRecognizeKeywordAsFieldName(true)
	c.provider, err = provider.WithTypeProvider(base.env.CELTypeProvider())
	return c, err
}

// env has self and oldSelf declared.
func (c *ruleChecker) env(optional bool) (*checker.Env, error) {
	i, old := 0, c.self.CelType()
	if optional {
		i, old = 1, types.NewOptionalType(old)
	}
	if c.envs[i] != nil {
		return c.envs[i], nil
	}
	env, err := checker.NewEnv(c.base.env.Container, c.provider, checker.CrossTypeNumericComparisons(true), c.base.declared)
	if err == nil {
		err = env.AddIdents(decls.NewVariable(cel.ScopedVarName, c.self.CelType()), decls.NewVariable(cel.OldScopedVarName, old))
	}
	c.envs[i] = env
	return env, err
}

// check says what an expression costs at most and whether it mentions oldSelf. ok is false when it is not certainly one that
// gives the type wanted.
func (c *ruleChecker) check(text string, want *types.Type, optional bool) (cost uint64, old, ok bool) {
	parsed, issues := c.base.env.Parse(text)
	if issues.Err() != nil {
		return 0, false, false
	}
	env, err := c.env(optional)
	if err != nil {
		return 0, false, false
	}
	checked, errs := checker.Check(parsed.NativeRep(), parsed.Source(), env)
	if len(errs.GetErrors()) > 0 || checked.GetType(checked.Expr().ID()) != want || !plain(checked) {
		return 0, false, false
	}
	estimate, err := checker.Cost(checked, &c.estimator, checker.PresenceTestHasCost(false))
	if err != nil {
		return 0, false, false
	}
	for _, r := range checked.ReferenceMap() {
		old = old || r.Name == cel.OldScopedVarName
	}
	return estimate.Max, old, true
}

// plain reports whether nothing can go wrong any more with a checked expression, and what it costs is known.
func plain(checked *ast.AST) bool {
	ok := true
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch {
		case e.Kind() == ast.CallKind:
			ok = ok && plainCall(e.AsCall())
		case e.Kind() == ast.ListKind:
			ok = ok && plainList(e.AsList())
		case e.Kind() == ast.MapKind, e.Kind() == ast.StructKind, checked.GetType(e.ID()).Kind() == types.TypeKind:
			ok = false
		}
	}))
	return ok
}

// plainList knows lists of constants of one type, and those that macros make.
func plainList(l ast.ListExpr) bool {
	items := l.Elements()
	if len(items) < 2 {
		return true
	}
	for _, item := range items {
		if item.Kind() != ast.LiteralKind || item.AsLiteral().Type() != items[0].AsLiteral().Type() {
			return false
		}
	}
	return true
}

// plainCall knows the functions that are usual.
func plainCall(call ast.CallExpr) bool {
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.NotStrictlyFalse,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Negate, operators.In, operators.Index,
		overloads.Size, overloads.StartsWith, overloads.EndsWith, overloads.Contains,
		"hasValue", "value", "orValue":
		return true
	case overloads.Matches:
		pattern := call.Args()[len(call.Args())-1]
		if pattern.Kind() != ast.LiteralKind {
			return true
		}
		text, ok := pattern.AsLiteral().Value().(string)
		if !ok {
			return false
		}
		_, err := regexp.Compile(text)
		return err == nil
	}
	return false
}

// sizes are what the limits of a schema say of the sizes of values, for the estimator.
type sizes struct{ root *apiservercel.DeclType }

// EstimateSize implements checker.CostEstimator.
func (s sizes) EstimateSize(n checker.AstNode) *checker.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	t := s.root
	for _, name := range path[1:] { // the first is self
		switch name {
		case "@items", "@values":
			t = t.ElemType
		case "@keys":
			t = t.KeyType
		default:
			f, ok := t.Fields[name]
			if !ok {
				return nil
			}
			t = f.Type
		}
		if t == nil {
			return nil
		}
	}
	return &checker.SizeEstimate{Max: uint64(t.MaxElements)}
}

// EstimateCallCost implements checker.CostEstimator.
func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}
