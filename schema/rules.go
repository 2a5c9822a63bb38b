package schema

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"pintle.dev/object"
)

// rules are the keywords that restrict values beyond their type.
type rules struct {
	format                       string // "" when upstream ignores it for the type
	formatKnown                  bool   // the format restricts strings
	pattern                      *regexp.Regexp
	minLength, maxLength         *int64
	minItems, maxItems           *int64
	minProperties, maxProperties *int64
	unique                       bool
	number                       *numberRules
	enum                         []any               // as upstream decodes them
	enumTexts                    map[string]struct{} // when all of many are strings: those
	allOf, anyOf, oneOf          []*Schema
	not                          *Schema
}

// numberRules are what restricts numbers. Plain integers and floats are compared here; exact is upstream's validator for
// the combinations of type, format and bounds whose rules are stranger than that.
type numberRules struct {
	simple                     bool
	min, max                   *float64
	exclusiveMin, exclusiveMax bool
	multipleOf                 int64 // 0: none
	int32                      bool
	exact                      *validate.SchemaValidator
}

// compileRules returns nil when p has no keyword that restricts values.
func compileRules(p *apiextensionsv1.JSONSchemaProps, s *Schema) (*rules, error) {
	r := &rules{
		minLength: p.MinLength, maxLength: p.MaxLength, minItems: p.MinItems, maxItems: p.MaxItems,
		minProperties: p.MinProperties, maxProperties: p.MaxProperties, unique: p.UniqueItems,
	}
	var err error
	if p.Pattern != "" {
		if r.pattern, err = regexp.Compile(p.Pattern); err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
	}
	if r.format, err = effectiveFormat(p); err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	r.formatKnown = r.format != "" && strfmt.Default.ContainsName(r.format)
	r.number = compileNumber(p, s.types, r.format)
	for i := range p.Enum {
		var v any
		if err := json.Unmarshal(p.Enum[i].Raw, &v); err != nil && len(p.Enum[i].Raw) > 0 {
			return nil, fmt.Errorf("enum[%d]: %w", i, err)
		}
		r.enum = append(r.enum, v)
	}
	r.enumTexts = textsOf(r.enum)
	if err := r.compileJunctors(p, s); err != nil {
		return nil, err
	}
	if reflect.ValueOf(*r).IsZero() {
		return nil, nil
	}
	return r, nil
}

func (r *rules) compileJunctors(p *apiextensionsv1.JSONSchemaProps, s *Schema) error {
	for _, j := range []struct {
		name string
		from []apiextensionsv1.JSONSchemaProps
		to   *[]*Schema
	}{{"allOf", p.AllOf, &r.allOf}, {"anyOf", p.AnyOf, &r.anyOf}, {"oneOf", p.OneOf, &r.oneOf}} {
		for i := range j.from {
			c, err := compile(&j.from[i])
			if err != nil {
				return fmt.Errorf("%s[%d]: %w", j.name, i, err)
			}
			s.flags |= c.flags & belowRules
			*j.to = append(*j.to, c)
		}
	}
	if p.Not != nil {
		c, err := compile(p.Not)
		if err != nil {
			return fmt.Errorf("not: %w", err)
		}
		s.flags |= c.flags & belowRules
		r.not = c
	}
	return nil
}

// effectiveFormat is p's format, or "" where upstream ignores it: formats count for the types they are defined for, and
// only those of a fixed list do.
func effectiveFormat(p *apiextensionsv1.JSONSchemaProps) (string, error) {
	if p.Format == "" {
		return "", nil
	}
	sp := &spec.Schema{SchemaProps: spec.SchemaProps{Format: p.Format}}
	switch {
	case p.XIntOrString:
		sp.Type = spec.StringOrArray{"integer", "string"}
	case p.Type != "":
		sp.Type = spec.StringOrArray{p.Type}
	}
	err := validation.StripUnsupportedFormatsPostProcessorForVersion(environment.DefaultCompatibilityVersion())(sp)
	return sp.Format, err
}

func compileNumber(p *apiextensionsv1.JSONSchemaProps, t types, format string) *numberRules {
	ranged := t == typeInteger && format == "int32" || t == typeNumber && format == "float"
	if p.Minimum == nil && p.Maximum == nil && p.MultipleOf == nil && !ranged {
		return nil
	}
	n := &numberRules{
		min: p.Minimum, max: p.Maximum, exclusiveMin: p.ExclusiveMinimum, exclusiveMax: p.ExclusiveMaximum,
		int32: t == typeInteger && format == "int32",
	}
	// Upstream compares integers with bounds cut to int64; that is the same as comparing with the bound only where the
	// bound is whole and small. Bounds beyond int32 are judged by upstream where the format says int32.
	const exactFloat, maxInt32 = 1 << 53, 1 << 31
	limit := float64(exactFloat)
	if n.int32 {
		limit = maxInt32
	}
	whole := func(f *float64) bool { return f == nil || *f == math.Trunc(*f) && math.Abs(*f) < limit }
	n.simple = whole(p.Minimum) && whole(p.Maximum) && format != "float"
	if m := p.MultipleOf; m != nil {
		n.simple = n.simple && t == typeInteger && whole(m) && *m >= 1
		if n.simple {
			n.multipleOf = int64(*m)
		}
	}
	if n.simple && n.multipleOf == 0 {
		return n
	}
	sp := &spec.Schema{SchemaProps: spec.SchemaProps{
		Format: format, Minimum: p.Minimum, Maximum: p.Maximum, MultipleOf: p.MultipleOf,
		ExclusiveMinimum: p.ExclusiveMinimum, ExclusiveMaximum: p.ExclusiveMaximum,
	}}
	// The type decides how bounds are understood; its own check has been made before.
	switch t {
	case typeInteger:
		sp.Type = spec.StringOrArray{"integer"}
	case typeNumber:
		sp.Type = spec.StringOrArray{"number"}
	default:
		sp.Format = ""
	}
	n.exact = validate.NewSchemaValidator(sp, nil, "", strfmt.Default)
	return n
}

func (n *numberRules) valid(v *object.Value) bool {
	i, whole := v.Int()
	switch {
	case !n.simple, v.IsFloat() && n.multipleOf != 0:
		return n.exact.Validate(v.ToAny()).IsValid()
	case v.IsFloat():
		f := v.Float()
		return inRange(f, n.min, n.max, n.exclusiveMin, n.exclusiveMax, func(b float64) float64 { return b }) &&
			(!n.int32 || whole && i == int64(int32(i)))
	}
	return inRange(i, n.min, n.max, n.exclusiveMin, n.exclusiveMax, func(b float64) int64 { return int64(b) }) &&
		(!n.int32 || i == int64(int32(i))) && (n.multipleOf == 0 || i%n.multipleOf == 0)
}

func inRange[T int64 | float64](v T, lo, hi *float64, exclusiveLow, exclusiveHigh bool, bound func(float64) T) bool {
	if lo != nil && (v < bound(*lo) || exclusiveLow && v == bound(*lo)) {
		return false
	}
	return hi == nil || v < bound(*hi) || v == bound(*hi) && !exclusiveHigh
}

// valid checks all keywords but enum, which counts for null too.
func (r *rules) valid(v *object.Value) bool {
	switch v.Kind() {
	case object.String:
		if !r.validString(v.Str()) {
			return false
		}
	case object.Number:
		if r.number != nil && !r.number.valid(v) {
			return false
		}
	case object.Map:
		if !within(v.Len(), r.minProperties, r.maxProperties) {
			return false
		}
	case object.List:
		if !within(v.Len(), r.minItems, r.maxItems) || r.unique && !distinct(v) {
			return false
		}
	}
	return r.validJunctors(v)
}

func (r *rules) validJunctors(v *object.Value) bool {
	for _, s := range r.allOf {
		if !s.valid(v) {
			return false
		}
	}
	ok := len(r.anyOf) == 0
	for i := 0; i < len(r.anyOf) && !ok; i++ {
		ok = r.anyOf[i].valid(v)
	}
	if !ok {
		return false
	}
	if len(r.oneOf) > 0 {
		n := 0
		for _, s := range r.oneOf {
			if s.valid(v) {
				if n++; n > 1 {
					return false
				}
			}
		}
		if n != 1 {
			return false
		}
	}
	return r.not == nil || !r.not.valid(v)
}

func (r *rules) validString(s string) bool {
	if r.minLength != nil || r.maxLength != nil {
		if !within(utf8.RuneCountInString(s), r.minLength, r.maxLength) {
			return false
		}
	}
	if r.pattern != nil && !r.pattern.MatchString(s) {
		return false
	}
	return !r.formatKnown || strfmt.Default.Validates(r.format, s)
}

func within(n int, lo, hi *int64) bool {
	return (lo == nil || int64(n) >= *lo) && (hi == nil || int64(n) <= *hi)
}

func distinct(v *object.Value) bool {
	items := v.ToAny().([]any)
	for i := range items {
		for j := range i {
			if reflect.DeepEqual(items[i], items[j]) {
				return false
			}
		}
	}
	return true
}

// textsOf is the set of alternatives when there are many and they are strings; nil otherwise.
func textsOf(enum []any) map[string]struct{} {
	if len(enum) < 16 {
		return nil
	}
	texts := make(map[string]struct{}, len(enum))
	for _, e := range enum {
		text, ok := e.(string)
		if !ok {
			return nil
		}
		texts[text] = struct{}{}
	}
	return texts
}

// validEnum follows upstream in converting the value to the Go type of each alternative before comparing, so that 1.5
// matches the integer 1 and 65 the string "A".
func (r *rules) validEnum(v *object.Value) bool {
	if len(r.enum) == 0 {
		return true
	}
	if v.Kind() == object.String && r.enumTexts != nil {
		_, ok := r.enumTexts[v.Str()]
		return ok
	}
	for _, e := range r.enum {
		switch e := e.(type) {
		case string:
			if v.Kind() == object.String && v.Str() == e {
				return true
			}
			if i, ok := v.Int(); ok && !v.IsFloat() && reflect.ValueOf(i).Convert(reflect.TypeFor[string]()).String() == e {
				return true
			}
		case int64:
			if v.Kind() != object.Number {
				continue
			}
			if i, ok := v.Int(); ok && i == e || v.IsFloat() && int64(v.Float()) == e {
				return true
			}
		case float64:
			if v.Kind() == object.Number && v.Float() == e {
				return true
			}
		case bool:
			if v.Kind() == object.Bool && v.Bool() == e {
				return true
			}
		case nil:
			// Upstream passes over a null among the alternatives.
		default:
			if k := v.Kind(); (k == object.Map || k == object.List) && reflect.DeepEqual(v.ToAny(), e) {
				return true
			}
		}
	}
	return false
}
