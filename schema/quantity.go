package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/cel-go/common/functions"
	celtypes "github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"

	"pintle.dev/object"
)

// MaxExponent bounds the decimal exponent of a quantity. Upstream's library takes memory and time in proportion to the
// value of the exponent, to read a negative one or compare a positive one: "1e-2000000000" takes it hours.
const MaxExponent = 999

// The exponent is beyond MaxExponent: in a text that is such a quantity, and in the JSON of a schema, where it may be a
// value or a literal of a rule.
var (
	hugeQuantity = regexp.MustCompile(`^\s*[+-]?[0-9.]*[eE][+-]?0*[1-9][0-9]{3,}\s*$`)
	hugeLiteral  = regexp.MustCompile(`["']\s*[+-]?[0-9.]*[eE][+-]?0*[1-9][0-9]{3,}\s*\\?["']`)
)

// HugeQuantity reports whether text is a quantity with an exponent beyond MaxExponent.
func HugeQuantity(text string) bool {
	return strings.ContainsAny(text, "eE") && hugeQuantity.MatchString(text)
}

// mentions reports whether a CEL rule of a schema is one that in says yes to.
func mentions(p *apiextensionsv1.JSONSchemaProps, in func(expression string) bool) bool {
	found := false
	Each(p, func(s *apiextensionsv1.JSONSchemaProps) {
		for i := range s.XValidations {
			r := &s.XValidations[i]
			found = found || in(r.Rule) || in(r.MessageExpression)
		}
	})
	return found
}

// mentionsQuantities reports whether there may be a call of quantity or isQuantity in an expression: they may be apart
// from their parentheses by white space and comments.
func mentionsQuantities(expression string) bool { return strings.Contains(expression, "uantity") }

// CheckCost refuses a schema that upstream's validation, which runs rules on defaults, would not survive: whose rules read
// quantities and that has one with an exponent beyond MaxExponent, in a rule or among its values, or whose rules make one
// of its defaults, or make more of it than maxText and maxItems allow.
func CheckCost(p *apiextensionsv1.JSONSchemaProps) error {
	if mentions(p, mentionsQuantities) {
		source, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encoding the schema: %w", err)
		}
		if found := hugeLiteral.Find(source); found != nil {
			return errExponent(bytes.Trim(found, `\"' `))
		}
	}
	var err error
	Each(p, func(s *apiextensionsv1.JSONSchemaProps) {
		if err != nil || s.Default == nil {
			return
		}
		if quantities := mentions(s, mentionsQuantities); quantities || mentions(s, mentionsBounded) {
			err = checkDefault(s, quantities)
		}
	})
	return err
}

func errExponent[T string | []byte](quantity T) error {
	return fmt.Errorf("quantity %.40s: the exponent must be between -%d and %d", quantity, MaxExponent, MaxExponent)
}

// checkDefault runs the rules of a schema on its default for the quantities and sizes that they make; what else they say of
// it is upstream's business. With quantities it must be possible to run them.
func checkDefault(p *apiextensionsv1.JSONSchemaProps, quantities bool) error {
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(p, &props, nil); err != nil {
		return fmt.Errorf("converting the schema: %w", err)
	}
	s, err := structuralschema.NewStructural(&props)
	if err != nil {
		return nil // upstream refuses it
	}
	t := model.SchemaDeclType(s, s.XEmbeddedResource)
	if t == nil {
		return nil // upstream compiles no rules for it
	}
	e, ok := compileRuled(s, newCELShape(s), t)
	if !ok {
		if !quantities {
			return nil // rules that do not compile, which upstream does not run either
		}
		return errors.New("rules that read quantities cannot be run on the default")
	}
	v, err := object.Parse(p.Default.Raw)
	if err != nil {
		return nil // upstream refuses it
	}
	for _, old := range []*object.Value{nil, v} {
		ev := &evaluation{ctx: context.Background(), budget: celconfig.RuntimeCELCostBudget}
		if e.run(ev, v, old); ev.huge != "" {
			return errExponent(ev.huge)
		}
		for _, err := range ev.errs {
			if strings.Contains(err.Detail, "call cost exceeds limit") {
				return fmt.Errorf("the default cannot be checked: %s", err.Detail)
			}
		}
	}
	return nil
}

// hugeQuantities finds the quantities with an exponent beyond MaxExponent in a document. The rules of a schema that
// reads quantities are not to see them: what they call cannot be interrupted.
func hugeQuantities(at *field.Path, v *object.Value, errs field.ErrorList) field.ErrorList {
	switch v.Kind() {
	case object.String:
		errs = hugeQuantityIn(at, v.Str(), errs)
	case object.List:
		for i, item := range v.Items() {
			errs = hugeQuantities(at.Index(i), item, errs)
		}
	case object.Map:
		for name, m := range v.Fields() {
			below := at.Child(name)
			errs = hugeQuantities(below, m, hugeQuantityIn(below, name, errs))
		}
	}
	return errs
}

func hugeQuantityIn(at *field.Path, text string, errs field.ErrorList) field.ErrorList {
	if !HugeQuantity(text) {
		return errs
	}
	return append(errs, field.Invalid(at, fmt.Sprintf("%.40s", text), fmt.Sprintf("the exponent of a quantity must be between -%d and %d", MaxExponent, MaxExponent)))
}

// hugeQuantityName is what guardQuantity finds, by way of the variables, the place to leave a huge quantity in: a name
// that no expression can have.
const hugeQuantityName = "@hugeQuantity"

// guardQuantity makes calls of quantity and isQuantity fail for an exponent beyond MaxExponent, which a rule may have put
// together of harmless parts of a document.
func guardQuantity(i interpreter.Interpretable) (interpreter.Interpretable, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 1 || !readsQuantity(call.Function()) {
		return i, nil
	}
	return &guardedQuantity{call}, nil
}

// readsQuantity reports whether a function parses quantities.
func readsQuantity(function string) bool { return function == "quantity" || function == "isQuantity" }

// guardedQuantities is read but for huge quantities, which are an error.
func guardedQuantities(read functions.UnaryOp) functions.UnaryOp {
	return func(v ref.Val) ref.Val {
		if text, ok := v.(celtypes.String); ok && HugeQuantity(string(text)) {
			return celtypes.NewErr("the exponent of a quantity must be between -%d and %d", MaxExponent, MaxExponent)
		}
		return read(v)
	}
}

// guardedQuantity takes over a call, with the same results: a quantity, or whether it is one.
type guardedQuantity struct{ interpreter.InterpretableCall }

// Exec implements interpreter.InterpretableV2.
func (g *guardedQuantity) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	arg := g.Args()[0].Exec(frame)
	text, ok := arg.(celtypes.String)
	if !ok {
		return celtypes.MaybeNoSuchOverloadErr(arg)
	}
	if HugeQuantity(string(text)) {
		if at, ok := frame.ResolveName(hugeQuantityName); ok {
			*at.(*string) = string(text)
		}
		return celtypes.NewErr("the exponent of a quantity must be between -%d and %d", MaxExponent, MaxExponent)
	}
	q, err := resource.ParseQuantity(string(text))
	switch {
	case g.Function() == "isQuantity":
		return celtypes.Bool(err == nil)
	case err != nil:
		return celtypes.WrapErr(err)
	}
	return apiservercel.Quantity{Quantity: &q}
}

// Eval implements interpreter.Interpretable.
func (g *guardedQuantity) Eval(vars interpreter.Activation) ref.Val {
	return g.Exec(interpreter.AsFrame(vars))
}
