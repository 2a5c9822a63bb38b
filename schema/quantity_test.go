package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// Rules that read quantities do not get those that would take them hours.
func TestRulesReadNoHugeQuantities(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"spec":{"type":"object","properties":{"a":{"type":"string"},"l":{"type":"array","items":{"type":"string"}}},
		"x-kubernetes-validations":[{"rule":"!has(self.a) || quantity(self.a).isGreaterThan(quantity('1'))","message":"too little"},{"rule":"!has(oldSelf.a) || isQuantity(oldSelf.a)"}]}}}`)
	doc := func(a string) string {
		return fmt.Sprintf(`{"apiVersion":"g/v1","kind":"K","metadata":{"name":"x"},"spec":{"a":%q}}`, a)
	}
	for a, want := range map[string]string{
		"2": "", "0.5": "too little", "1e9": "", "1e999": "", "1e2000000000": "must be between -999 and 999", "1e-2000000000": "must be between -999 and 999", " 1E+0001000 ": "must be between -999 and 999",
	} {
		errs := s.Validate(context.Background(), Check{New: mustParse(t, doc(a))})
		if (want == "") != (len(errs) == 0) || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("%q: %v, want %q", a, errs, want)
		}
	}
	if errs := s.Validate(context.Background(), Check{New: mustParse(t, doc("2")), Old: mustParse(t, doc("1e-2000000000"))}); len(errs) > 0 {
		t.Errorf("in place of a huge one: %v", errs)
	}
	free := mustCompile(t, `{"type":"object","properties":{"spec":{"type":"object","properties":{"a":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.a.size() > 1"}]}}}`)
	if errs := free.Validate(context.Background(), Check{New: mustParse(t, doc("1e2000000000"))}); len(errs) > 0 {
		t.Errorf("without rules for quantities: %v", errs)
	}
}

// Nor do rules that put them together, wherever they do.
func TestRulesMakeNoHugeQuantities(t *testing.T) {
	const want = "the exponent of a quantity must be between -999 and 999"
	for _, rules := range []string{
		`[{"rule":"quantity('1e' + self.a).isGreaterThan(quantity('1'))"}]`,
		`[{"rule":"isQuantity('1e' + self.a)"}]`,
		`[{"rule":"self.a == ''"},{"rule":"isQuantity('1e-' + self.a)"}]`,
		`[{"rule":"isQuantity('1e' + self.a) && self.a == ''"}]`,
		`[{"rule":"self.a == ''","messageExpression":"string(quantity('1e' + self.a).isInteger())"}]`,
	} {
		s := mustCompile(t, `{"type":"object","properties":{"spec":{"type":"object","required":["a"],"properties":{"a":{"type":"string"}},"x-kubernetes-validations":`+rules+`}}}`)
		errs := s.Validate(t.Context(), Check{New: mustParse(t, `{"metadata":{"name":"x"},"spec":{"a":"2000000000"}}`)})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%s: %v, want %q", rules, errs, want)
		}
		if errs := s.Validate(t.Context(), Check{New: mustParse(t, `{"metadata":{"name":"x"},"spec":{"a":"3"}}`)}); len(errs) > 0 && strings.Contains(errs[0].Error(), want) {
			t.Errorf("%s: %v", rules, errs)
		}
	}
}

func TestCheckCost(t *testing.T) {
	for source, ok := range map[string]bool{
		`{"rule":"quantity(self.a) > quantity('1e2000000000')"}`:               false,
		`{"rule":"quantity(\"1e-2000000000\").sign() == 1"}`:                   false,
		`{"rule":"quantity // all\n (\"1e-2000000000\").sign() == 1"}`:         false,
		`{"rule":"isQuantity(self)","default":"1e-2000000000"}`:                false,
		`{"rule":"isQuantity(self)","default":"1e-20"}`:                        true,
		`{"rule":"isQuantity(self)","description":"of 4e12345 bytes"}`:         true,
		`{"rule":"self != '1e2000000000'","default":"1e-2000000000"}`:          true,
		`{"rule":"quantity(self).isLessThan(quantity('100Gi'))","type":"str"}`: true,
	} {
		p := new(apiextensionsv1.JSONSchemaProps)
		if err := json.Unmarshal([]byte(`{"x-kubernetes-validations":[`+source+`],`+source[1:]), p); err != nil {
			t.Fatal(err)
		}
		if err := CheckCost(p); (err == nil) != ok {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// TestCheckCostOfDefaults: what rules put together of defaults is found before upstream's validation runs them.
func TestCheckCostOfDefaults(t *testing.T) {
	for rule, want := range map[string]string{
		`"rule":"isQuantity('1e' + self.a)"`:                                                      "quantity 1e2000000000: the exponent must be",
		`"rule":"isQuantity('1e' + oldSelf.a)"`:                                                   "quantity 1e2000000000: the exponent must be",
		`"rule":"isQuantity(self.a)"`:                                                             "",
		`"rule":"isQuantity('1e' + self.b)"`:                                                      "cannot be run on the default",
		`"rule":"!isQuantity(self.a)","messageExpression":"self.a + '1e'"`:                        "",
		`"rule":"('x' + self.a).replace('', self.a).size() > 0"`:                                  "",
		`"rule":"self.a.replace('', self.long).size() > 0"`:                                       "",
		`"rule":"self.long.replace('', self.long).size() > 0"`:                                    "call cost exceeds limit",
		`"rule":"self.a == ''","messageExpression":"self.long.replace('', self.long)"`:            "call cost exceeds limit",
		`"rule":"self.a == ''","messageExpression":"string(quantity('1e' + self.a).isInteger())"`: "quantity 1e2000000000: the exponent must be",
	} {
		p := new(apiextensionsv1.JSONSchemaProps)
		source := `{"type":"object","properties":{"spec":{"type":"object","default":{"a":"2000000000","long":"` + strings.Repeat("x", 10_000) + `"},"properties":{"a":{"type":"string"},"long":{"type":"string"}},"x-kubernetes-validations":[{` + rule + `}]}}}`
		if err := json.Unmarshal([]byte(source), p); err != nil {
			t.Fatal(err)
		}
		if err := CheckCost(p); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rule, err, want)
		}
	}
}
