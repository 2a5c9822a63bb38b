package apiextensions

import (
	"encoding/json"
	"testing"

	"github.com/google/cel-go/common/types"
	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// ruled is what the rules of these tests see.
const ruled = `{"type":"object","required":["name"],"properties":{
	"name":{"type":"string","maxLength":63},"text":{"type":"string"},"count":{"type":"integer","minimum":0},"share":{"type":"number"},"on":{"type":"boolean"},
	"when":{"type":"string","format":"date-time"},"lasts":{"type":"string","format":"duration"},"raw":{"type":"string","format":"byte"},
	"mode":{"type":"string","enum":["A","B"]},"a-b":{"type":"string"},"namespace":{"type":"string","maxLength":9},
	"labels":{"type":"object","maxProperties":8,"additionalProperties":{"type":"string","maxLength":20}},
	"open":{"type":"object","additionalProperties":{"type":"integer"}},
	"any":{"x-kubernetes-int-or-string":true},"loose":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"known":{"type":"string"}}},
	"tags":{"type":"array","maxItems":5,"items":{"type":"string","maxLength":10}},"unbounded":{"type":"array","items":{"type":"string"}},
	"items":{"type":"array","maxItems":16,"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string","maxLength":10},"port":{"type":"integer"},"deep":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string"}}}}}}},
	"part":{"type":"object","properties":{"gone":{"type":"string"},"left":{"type":"integer"},"right":{"type":"integer"}}}}}`

// plainRules are of the kind that must not take upstream's way.
var plainRules = []string{
	`self.name != 'x'`, `self == oldSelf`, `!has(self.text) || self.text == oldSelf.text`, `has(self.part) && has(self.part.gone) != has(self.part.left)`,
	`self.count >= 1 && self.count <= 65535`, `self.share > 0.5 || self.share < 1`, `self.count + 1 - self.part.left > 3`, `self.name.startsWith('a') && !self.text.endsWith('b') || self.text.contains(self.name)`,
	`size(self.tags) > 0 && self.tags.size() < 4`, `self.tags.all(t, t in ['a', 'b'])`, `self.items.exists(i, i.port == 80)`, `self.items.exists_one(i, i.name == self.name)`,
	`self.items.all(i, self.items.exists(j, i.name == j.name && i.port != j.port))`, `self.items.filter(i, i.port > 9).size() == 1`, `self.items.map(i, i.name).all(n, n != self.name)`,
	`self.labels.all(k, k.startsWith('x') && self.labels[k] != '')`, `'a' in self.labels`, `self.tags[0] == 'a'`, `self.unbounded.all(u, u.contains('x'))`,
	`self.name.matches('^[a-z]+$')`, `self.name.matches(self.text)`, `self.on ? self.count > 1 : self.count == 0`, `self.mode in ['A', 'B']`, `self.a__dash__b == 'x'`, `self.namespace == 'y'`,
	`self.any == 1 || self.any == 'x'`, `self.loose.known == 'k'`, `self.items.all(i, !has(i.deep) || i.deep.all(d, d.x != ''))`, `-self.count < 0`, `true`,
	`self.open.exists(k, self.open[k] > 2)`, `self.when > self.when`, `self.part == oldSelf.part`, `1 < 1.5`,
}

// otherRules are refused, or are for upstream to judge: nothing is said of them.
var otherRules = []string{
	`self.nothing == 'x'`, `self.name == 1`, `self.name`, `self.name.matches('(')`, `duration('1x') < duration('1s')`, `timestamp('x') == self.when`, `self.name == `, `[1, 'a'].size() == 2`,
	`int('x') == 1`, `self.name.find('(') == ''`, `@self == 1`, `selfType == 1`, `{'a': 1}.size() == 1`, `type(self.name) == string`, `quantity('x').sign() == 1`, `'%d'.format(['x']) == ''`,
	`self.tags.isSorted()`, `self.items.map(i, [i.name, i.name]).size() == 1`, `authorizer.path('x').check('y').allowed()`, `dyn(self.name) == 1`, `self.unknown.orValue(1) == 1`,
	`oldSelf.orValue(self) == self`, `string == string`, `b'a' == self.raw`, `self.open == {1: 2}`, `optional.none().hasValue()`, `self.lasts < duration('1h')`, `format.dns1123Label().value().validate(self.name).hasValue()`,
}

// TestRulesAreCheckedAsByUpstream: what is said of a rule is what upstream's compiler says, and it is said of usual rules.
func TestRulesAreCheckedAsByUpstream(t *testing.T) {
	var v1 props
	var in internal.JSONSchemaProps
	if err := json.Unmarshal([]byte(ruled), &v1); err != nil {
		t.Fatal(err)
	}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(&v1, &in, nil); err != nil {
		t.Fatal(err)
	}
	s, err := schema.NewStructural(&in)
	if err != nil {
		t.Fatal(err)
	}
	declared := model.SchemaDeclType(s, false)
	c, err := newRuleChecker(declared)
	if err != nil {
		t.Fatal(err)
	}
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	for i, rule := range append(append([]string(nil), plainRules...), otherRules...) {
		for _, optional := range []bool{false, true} {
			s.XValidations = apiextensionsv1.ValidationRules{{Rule: rule, OptionalOldSelf: &optional}}
			all, err := cel.Compile(s, declared, celconfig.PerCallLimit, base, cel.NewExpressionsEnvLoader())
			if err != nil {
				t.Fatal(err)
			}
			want := all[0]
			cost, old, ok := c.check(rule, types.BoolType, optional)
			switch {
			case ok && (want.Error != nil || cost != want.MaxCost || old != want.UsesOldSelf):
				t.Errorf("%s: cost %d, old %t; upstream says %d, %t, %v", rule, cost, old, want.MaxCost, want.UsesOldSelf, want.Error)
			case !ok && want.Error == nil && i < len(plainRules):
				t.Errorf("%s (optional %t): not checked", rule, optional)
			}
		}
	}
}

// BenchmarkRule is what a rule takes that no other schema has.
func BenchmarkRule(b *testing.B) {
	var s props
	if err := json.Unmarshal([]byte(below(ruled)), &s); err != nil {
		b.Fatal(err)
	}
	spec := s.Properties["spec"]
	spec.XValidations = apiextensionsv1.ValidationRules{{Rule: plainRules[0]}}
	s.Properties["spec"] = spec
	b.ReportAllocs()
	for b.Loop() {
		if !soundRules(bones(&s, "")) {
			b.Fatal("not checked")
		}
	}
}
