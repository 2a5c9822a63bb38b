package schema

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
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

// quantityRules reports whether the JSON of a schema may have CEL rules that read quantities.
func quantityRules(source []byte) bool { return bytes.Contains(source, []byte("uantity(")) }

// CheckQuantities refuses the JSON of a schema whose rules read quantities and that has one with an exponent beyond
// MaxExponent, in a rule or among its values.
func CheckQuantities(source []byte) error {
	if !quantityRules(source) {
		return nil
	}
	if found := hugeLiteral.Find(source); found != nil {
		return fmt.Errorf("quantity %.40s: the exponent must be between -%d and %d", bytes.Trim(found, `\"' `), MaxExponent, MaxExponent)
	}
	return nil
}

// hugeQuantities finds the quantities with an exponent beyond MaxExponent in generic JSON. The rules of a schema that
// reads quantities are not to see them: what they call cannot be interrupted.
func hugeQuantities(at *field.Path, v any, errs field.ErrorList) field.ErrorList {
	switch v := v.(type) {
	case string:
		if HugeQuantity(v) {
			errs = append(errs, field.Invalid(at, fmt.Sprintf("%.40s", v), fmt.Sprintf("the exponent of a quantity must be between -%d and %d", MaxExponent, MaxExponent)))
		}
	case []any:
		for i := range v {
			errs = hugeQuantities(at.Index(i), v[i], errs)
		}
	case map[string]any:
		for k, e := range v {
			below := at.Child(k)
			errs = hugeQuantities(below, k, errs)
			errs = hugeQuantities(below, e, errs)
		}
	}
	return errs
}
