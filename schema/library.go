package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"weak"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/warning"

	"pintle.dev/object"
)

// library holds upstream's form of a schema while somebody needs it: for the wording of errors, for embedded resources
// and for CEL rules. It is several times the size of the Schema, so it is left to the garbage collector unless every
// write needs it: where there are rules, whose programs are dear, or embedded resources.
type library struct {
	mu     sync.Mutex
	weak   weak.Pointer[upstream]
	strong *upstream
}

// upstream is a schema in the forms upstream's validators want.
type upstream struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	status     validation.SchemaValidator // of the property status; nil when there is none
	ruled      bool                       // there are CEL rules
	evaluator  *evaluator                 // nil when only the validator can tell
	cel        func() *cel.Validator      // made on first use
	quantities bool                       // rules may read quantities
}

func (s *Schema) upstream() (*upstream, error) {
	o := s.origin
	if o == nil {
		panic("schema: only the root of a compiled schema validates")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.strong != nil {
		return o.strong, nil
	}
	if u := o.weak.Value(); u != nil {
		return u, nil
	}
	u, err := newUpstream(o.source, s, o.loose)
	if err != nil {
		return nil, err
	}
	if s.is(belowRules | belowEmbedded) {
		o.strong = u
	} else {
		o.weak = weak.Make(u)
	}
	return u, nil
}

// newUpstream makes them of the source of s, which is nil when it is loose.
func newUpstream(source []byte, s *Schema, loose bool) (*upstream, error) {
	var v1 apiextensionsv1.JSONSchemaProps
	if len(source) > 0 {
		if err := json.Unmarshal(source, &v1); err != nil {
			return nil, fmt.Errorf("decoding the schema: %w", err)
		}
	}
	var props apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &props, nil); err != nil {
		return nil, fmt.Errorf("converting the schema: %w", err)
	}
	u := new(upstream)
	var err error
	if u.structural, err = structuralschema.NewStructural(&props); err != nil && !loose {
		return nil, fmt.Errorf("the schema is not structural: %w", err)
	}
	if u.validator, err = newWording(&props, s); err != nil {
		return nil, fmt.Errorf("building the validator: %w", err)
	}
	if status, ok := props.Properties["status"]; ok {
		if u.status, err = newWording(&status, s.property("status")); err != nil {
			return nil, fmt.Errorf("building the validator of status: %w", err)
		}
	}
	if s.is(belowRules) {
		u.cel = sync.OnceValue(func() *cel.Validator { return cel.NewValidator(u.structural, true, celconfig.PerCallLimit) })
		var ok bool
		if u.evaluator, ok = newEvaluator(u.structural); ok {
			u.ruled = u.evaluator != nil
		} else {
			u.ruled = u.cel() != nil
		}
		u.quantities = mentions(&v1, mentionsQuantities)
	}
	return u, nil
}

// Check is one validation of a document.
type Check struct {
	// New and Old are whole documents; Old is nil on create. They carry metadata when the Schema DescribesMetadata.
	New, Old *object.Value
	// Status validates what a write of the status subresource may change, and no more.
	Status bool
	// Foreign says that New is of another kind, as Found has it: upstream then looks at all but its values.
	Foreign bool
	// Found are errors found elsewhere, which come after those of the values. Some of them keep CEL rules from being
	// checked.
	Found field.ErrorList
	// Blocked says that what was found elsewhere, in what is not the schema's, keeps CEL rules from being checked.
	Blocked bool
	// Warn is told of the rules that Old broke already, at values that are still the same; nil when nobody wants to know.
	Warn func(text string)
}

// Validate checks a document against the root schema s, in upstream's order: values, embedded resources, lists of type
// set and map, CEL rules. On update, errors that Old had at the same place are forgiven as upstream does (KEP-4008).
func (s *Schema) Validate(ctx context.Context, c Check) field.ErrorList {
	if s.origin.loose {
		return s.validateLoose(c)
	}
	valid := c.Foreign || s.validPart(c)
	embedded := s.is(belowEmbedded) && !c.Status
	lists := s.listsValid(c.New)
	if valid && !embedded && lists && !s.is(belowRules) {
		return c.Found
	}
	u, err := s.upstream()
	if err != nil {
		return append(c.Found, field.InternalError(nil, err))
	}
	w := &walk{upstream: u, check: c}
	var errs field.ErrorList
	if !valid {
		errs = w.values()
	}
	errs = append(errs, c.Found...)
	if embedded {
		w.convert()
		errs = append(errs, objectmeta.Validate(ctx, nil, w.new, u.structural, false)...)
	}
	if !lists {
		errs = append(errs, w.lists()...)
	}
	if !u.ruled {
		return errs
	}
	if c.Blocked || BlocksRules(errs) {
		// The value is the text "null", as upstream showed it until it printed values as JSON.
		return append(errs, field.Invalid(nil, "null", "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
	}
	return append(errs, w.rules(ctx)...)
}

// BlocksRules reports whether one of errs is of those that leave nothing for CEL rules to be sure of.
func BlocksRules(errs field.ErrorList) bool {
	return slices.ContainsFunc(errs, func(e *field.Error) bool {
		switch e.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
		return false
	})
}

// validateLoose is Validate for a schema that is not structural. Nothing is forgiven on update: where an error would be
// the same cannot be told.
func (s *Schema) validateLoose(c Check) field.ErrorList {
	u, err := s.upstream()
	if err != nil {
		return append(c.Found, field.InternalError(nil, err))
	}
	if c.Foreign {
		return c.Found
	}
	doc, _ := c.New.ToAny().(map[string]any)
	if !c.Status {
		return append(validation.ValidateCustomResource(nil, doc, u.validator), c.Found...)
	}
	if u.status == nil {
		return c.Found
	}
	return append(validation.ValidateCustomResource(field.NewPath("status"), doc["status"], u.status), c.Found...)
}

// validPart is the quick answer to whether the values are valid.
func (s *Schema) validPart(c Check) bool {
	if !c.Status {
		return s.valid(c.New)
	}
	status, declared := c.New.Get("status"), s.property("status")
	return status == nil || declared == nil || declared.valid(status)
}

// walk is a Check for upstream's validators.
type walk struct {
	*upstream
	check Check

	// The documents in Go's generic JSON, once they are converted.
	new, old   map[string]any
	correlated *common.CorrelatedObject // nil on create
}

// convert makes generic JSON of the documents, which upstream's validators want.
func (w *walk) convert() {
	if w.new != nil {
		return
	}
	w.new, _ = w.check.New.ToAny().(map[string]any)
	if w.check.Old != nil {
		w.old, _ = w.check.Old.ToAny().(map[string]any)
		w.correlated = common.NewCorrelatedObject(w.new, w.old, &model.Structural{Structural: w.structural})
	}
}

func (w *walk) values() field.ErrorList {
	w.convert()
	switch {
	case w.old == nil:
		return validation.ValidateCustomResource(nil, w.new, w.validator)
	case w.check.Status:
		if w.status == nil {
			return nil
		}
		return validation.ValidateCustomResourceUpdate(field.NewPath("status"), w.new["status"], w.old["status"], w.status,
			validation.WithRatcheting(w.correlated.Key("status")))
	}
	return validation.ValidateCustomResourceUpdate(nil, w.new, w.old, w.validator, validation.WithRatcheting(w.correlated))
}

// lists reports duplicates, but not to who updates an object that had some before.
func (w *walk) lists() field.ErrorList {
	w.convert()
	if w.old != nil && len(listtype.ValidateListSetsAndMaps(nil, w.structural, w.old)) > 0 {
		return nil
	}
	return listtype.ValidateListSetsAndMaps(nil, w.structural, w.new)
}

func (w *walk) rules(ctx context.Context) field.ErrorList {
	was := w.check.Old
	if w.quantities {
		if errs := hugeQuantities(nil, w.check.New, nil); len(errs) > 0 {
			return errs
		}
		if len(hugeQuantities(nil, was, nil)) > 0 {
			was = nil // it was stored before there were such rules: it is not compared with
		}
	}
	if w.evaluator != nil {
		ev := &evaluation{ctx: ctx, budget: celconfig.RuntimeCELCostBudget, warn: w.check.Warn}
		if was != nil {
			ev.unchanged = w.unchanged
		}
		w.evaluator.run(ev, w.check.New, was)
		if ev.huge != "" {
			return hugeQuantityIn(nil, ev.huge, nil)
		}
		return ev.errs
	}
	w.convert()
	var old any
	if was != nil && w.old != nil {
		old = w.old
	}
	var options []cel.Option
	if old != nil {
		options = append(options, cel.WithRatcheting(w.correlated))
	}
	if w.check.Warn != nil {
		ctx = warning.WithWarningRecorder(ctx, forgiven(w.check.Warn))
	}
	errs, _ := w.cel().Validate(ctx, nil, w.structural, w.new, old, celconfig.RuntimeCELCostBudget, options...)
	return errs
}

// unchanged reports whether the value at a place, or the innermost one around it that can be told from others, is what it was.
func (w *walk) unchanged(at []step) bool {
	w.convert()
	value := w.correlated
	var around *common.CorrelatedObject
	for i, s := range at {
		switch {
		case value == nil:
			return around.CachedDeepEqual()
		case s.by == byIndex:
			value, around = value.Index(s.index), value
		case i == 0 && (s.name == "apiVersion" || s.name == "kind"):
			return false // documents are compared in one version
		default:
			value, around = value.Key(s.name), value
		}
	}
	if value == nil {
		return around.CachedDeepEqual()
	}
	return value.CachedDeepEqual()
}

// forgiven receives what upstream's library says of the errors it forgives.
type forgiven func(text string)

// AddWarning implements warning.Recorder.
func (f forgiven) AddWarning(_, text string) { f(text) }

// Coerce brings the metadata of embedded resources into the form of metav1.ObjectMeta and returns the paths of fields
// it dropped because that type does not know them, sorted. With lenient set, for documents that were stored before,
// malformed fields are dropped too; else they are an error. Most schemas embed nothing, and Coerce does nothing.
func (s *Schema) Coerce(v *object.Value, lenient bool) (unknown []string, err error) {
	if !s.is(belowEmbedded) {
		return nil, nil
	}
	u, err := s.upstream()
	if err != nil {
		return nil, err
	}
	doc := v.ToAny()
	ferr, unknown := objectmeta.CoerceWithOptions(nil, doc, u.structural, false, objectmeta.CoerceOptions{
		DropInvalidFields: lenient, ReturnUnknownFieldPaths: true,
	})
	if ferr != nil {
		return nil, ferr
	}
	coerced, err := object.FromAny(doc)
	if err != nil {
		return nil, err
	}
	v.Replace(coerced)
	return unknown, nil
}
