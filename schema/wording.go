package schema

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiserver/pkg/cel/common"
	openapierrors "k8s.io/kube-openapi/pkg/validation/errors"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"pintle.dev/object"
)

// wording is upstream's validator of values, which says the same in time proportional to what it says. Upstream compares
// each error that it finds with all others, once for every list and map around it: 85,000 strings that do not match a
// pattern take it minutes.
//
// It goes only where something is wrong, and has an end: see wordingBudget.
type wording struct {
	schema *spec.Schema
	quick  *Schema // the same; nil when there is none
}

func newWording(p *apiextensions.JSONSchemaProps, quick *Schema) (wording, error) {
	_, s, err := validation.NewSchemaValidator(p)
	return wording{s, quick}, err
}

// wordingBudget is what may yet be spent on saying what is wrong with a document. A list of 3 MB may be wrong at each of
// its items, an alternative for an alternative, and each time all values of an enum are told: hours and gigabytes, for an
// answer of which nobody is told more than its beginning.
type wordingBudget struct {
	values int  // to be validated
	text   int  // bytes of errors
	spent  bool // so that there is more which is wrong
}

const (
	maxWordedValues = 60_000
	maxWordedText   = 4 << 20
)

// errMoreWrong stands for what there was no budget for.
var errMoreWrong = errors.New("there is more wrong with the object than is told here: it was not looked at any further")

// Validate implements validation.SchemaCreateValidator.
func (w wording) Validate(value any, _ ...validation.ValidationOption) *validate.Result {
	return w.validate(value, nil)
}

// ValidateUpdate implements validation.SchemaUpdateValidator. Errors of what is as it was are forgiven (KEP-4008).
func (w wording) ValidateUpdate(value, _ any, options ...validation.ValidationOption) *validate.Result {
	o := validation.NewValidationOptions(options...)
	return w.validate(value, o.CorrelatedObject)
}

func (w wording) validate(value any, correlated *common.CorrelatedObject) *validate.Result {
	n := &wordedNode{schema: w.schema, root: w.schema, correlated: correlated, budget: &wordingBudget{values: maxWordedValues, text: maxWordedText}}
	if doc, err := object.FromAny(value); err == nil {
		n.quick, n.doc = w.quick, &doc
	}
	found := n.Validate(value)
	out := &validate.Result{Errors: unfold(found.Errors, nil, map[string]bool{}), MatchCount: found.MatchCount}
	if n.budget.spent {
		out.AddErrors(errMoreWrong)
	}
	return out
}

// wordedNode validates a value and those in it, of which it keeps the errors to itself.
type wordedNode struct {
	schema     *spec.Schema
	quick      *Schema       // nil where it is not known, and in alternatives, of which one is chosen by what is right with it
	doc        *object.Value // the value, to be asked quick of
	depth      int           // how many values it is in
	budget     *wordingBudget
	root       any
	path       string
	correlated *common.CorrelatedObject // nil when there is nothing to compare with
	around     *wordedNode              // nil for the root
	below      foldedErrors
}

// foldedErrors are all errors found in the members of a value, in their order. It stands among those of the value itself
// where the first was found, as upstream looks at members one after the other.
type foldedErrors struct {
	path string
	errs []error
}

// Error is a text that is no other error's.
func (f *foldedErrors) Error() string { return fmt.Sprintf("\x00%p", f) }

// unfold appends errs, with those that are folded in them, to all. Of errors with one text it takes the first.
func unfold(errs, all []error, seen map[string]bool) []error {
	for _, err := range errs {
		if f, ok := err.(*foldedErrors); ok {
			all = unfold(f.errs, all, seen)
		} else if text := err.Error(); !seen[text] {
			seen[text] = true
			all = append(all, err)
		}
	}
	return all
}

// Validate implements validate.ValueValidator.
func (n *wordedNode) Validate(value any) *validate.Result {
	if n.budget.spent || n.correlated.CachedDeepEqual() || n.certainlyValid() {
		return new(validate.Result) // what is as it was is forgiven
	}
	if n.budget.values--; n.budget.values < 0 || n.budget.text < 0 {
		n.budget.spent = true
		return new(validate.Result)
	}
	n.below.path = n.path
	alone, s := n.schema, n.schema
	alternatives := len(s.AllOf) > 0 || len(s.AnyOf) > 0 || len(s.OneOf) > 0 || s.Not != nil
	if alternatives {
		without := *s
		without.AllOf, without.AnyOf, without.OneOf, without.Not = nil, nil, nil, nil
		alone = &without
	}
	found := validate.NewSchemaValidator(alone, n.root, n.path, strfmt.Default, func(o *validate.SchemaValidatorOptions) {
		o.NewValidatorForField, o.NewValidatorForIndex = n.field, n.index
	}).Validate(value)
	if alternatives && value != nil {
		n.addAlternatives(found, value)
	}
	if n.budget.spent { // what is said of the value itself may come of what was not looked at
		found.Errors = slices.DeleteFunc(found.Errors, func(err error) bool { _, folded := err.(*foldedErrors); return !folded })
	}
	for _, err := range found.Errors {
		if _, folded := err.(*foldedErrors); !folded {
			n.budget.text -= len(err.Error())
		}
	}
	out := &validate.Result{MatchCount: found.MatchCount}
	switch {
	case found.IsValid():
	case n.around == nil:
		out.Errors = found.Errors
	default:
		if len(n.around.below.errs) == 0 {
			out.Errors = []error{&n.around.below}
		}
		n.around.below.errs = append(n.around.below.errs, found.Errors...)
	}
	return out
}

// maxQuickDepth bounds how often a value is looked at because of those it is in.
const maxQuickDepth = 64

// certainlyValid reports whether nothing is wrong with the value. Of the root something is, or nobody would ask.
func (n *wordedNode) certainlyValid() bool {
	return n.quick != nil && n.doc != nil && 0 < n.depth && n.depth <= maxQuickDepth && n.quick.valid(n.doc)
}

// addAlternatives adds what allOf, anyOf, oneOf and not have against a value, where upstream has it: after its type.
func (n *wordedNode) addAlternatives(found *validate.Result, value any) {
	more := new(validate.Result)
	if all := n.schema.AnyOf; len(all) > 0 {
		valid, best := n.tryAlternatives(all, value, true)
		if valid == 0 {
			more.AddErrors(fmt.Errorf(validate.MustValidateAtLeastOneSchemaError, n.path))
		}
		more.Merge(best)
	}
	if all := n.schema.OneOf; len(all) > 0 {
		valid, best := n.tryAlternatives(all, value, false)
		switch {
		case valid == 0:
			more.AddErrors(fmt.Errorf(validate.MustValidateOnlyOneSchemaError, n.path, "Found none valid"))
			more.Merge(best)
		case valid > 1:
			more.AddErrors(fmt.Errorf(validate.MustValidateOnlyOneSchemaError, n.path, fmt.Sprintf("Found %d valid alternatives", valid)))
		default:
			more.Merge(best)
		}
	}
	if all := n.schema.AllOf; len(all) > 0 {
		valid := 0
		for i := range all {
			r := n.alternative(&all[i], value)
			if r.IsValid() {
				valid++
			}
			more.Merge(r)
		}
		switch {
		case valid == 0:
			more.AddErrors(fmt.Errorf(validate.MustValidateAllSchemasError, n.path, ". None validated"))
		case valid < len(all):
			more.AddErrors(fmt.Errorf(validate.MustValidateAllSchemasError, n.path, ""))
		}
	}
	if not := n.schema.Not; not != nil && n.alternative(not, value).IsValid() {
		more.AddErrors(fmt.Errorf(validate.MustNotValidateSchemaError, n.path))
	}
	at := 0
	if len(found.Errors) > 0 {
		if err, ok := found.Errors[0].(*openapierrors.Validation); ok && err.Code() == openapierrors.InvalidTypeCode {
			at = 1
		}
	}
	found.Errors = slices.Insert(found.Errors, at, more.Errors...)
	found.MatchCount += more.MatchCount
}

// tryAlternatives counts those that are valid, or stops at the first. best is the result of the first of them or, when there
// is none, the one with the most that matches.
func (n *wordedNode) tryAlternatives(all []spec.Schema, value any, stop bool) (valid int, best *validate.Result) {
	for i := range all {
		r := n.alternative(&all[i], value)
		if r.IsValid() {
			if valid++; valid == 1 {
				best = r
			}
			if stop {
				break
			}
		} else if valid == 0 && (best == nil || r.MatchCount > best.MatchCount) {
			best = r
		}
	}
	return valid, best
}

// alternative validates the value by another schema. Nothing is forgiven there.
func (n *wordedNode) alternative(s *spec.Schema, value any) *validate.Result {
	return (&wordedNode{schema: s, budget: n.budget, root: n.root, path: n.path}).Validate(value)
}

// field is the validator of a member of a map.
func (n *wordedNode) field(name string, s *spec.Schema, root any, path string, _ strfmt.Registry, _ ...validate.Option) validate.ValueValidator {
	m := &wordedNode{schema: s, quick: n.quick.member(name), doc: n.doc.Get(name), depth: n.depth + 1, budget: n.budget, root: root, path: path, around: n}
	if n.path != "" || name != "apiVersion" && name != "kind" { // which documents are compared in one version of
		m.correlated = n.correlated.Key(name)
	}
	return m
}

// index is the validator of an item of a list.
func (n *wordedNode) index(i int, s *spec.Schema, root any, path string, _ strfmt.Registry, _ ...validate.Option) validate.ValueValidator {
	m := &wordedNode{schema: s, doc: n.doc.Index(i), depth: n.depth + 1, budget: n.budget, root: root, path: path, around: n, correlated: n.correlated.Index(i)}
	if n.quick != nil {
		m.quick = n.quick.items
	}
	return m
}

// SetPath implements validate.ValueValidator. Upstream does not call it.
func (n *wordedNode) SetPath(path string) { n.path = path }

// Applies implements validate.ValueValidator.
func (n *wordedNode) Applies(any, reflect.Kind) bool { return true }
