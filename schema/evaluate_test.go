package schema

import (
	"context"
	"slices"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/warning"

	"pintle.dev/object"
)

// ruledSchema has rules in every place and on every kind of value.
const ruledSchema = `{"type":"object","x-kubernetes-validations":[
	{"rule":"self.metadata.name != 'no' && (!has(self.spec) || !has(self.spec.n) || self.spec.n < 100)"},
	{"rule":"!oldSelf.hasValue() || has(self.spec) == has(oldSelf.value().spec)","optionalOldSelf":true}],
"properties":{"spec":{"type":"object","properties":{
	"n":{"type":"integer","nullable":true,"x-kubernetes-validations":[{"rule":"self >= oldSelf"},{"rule":"100 / self > 0"}]},
	"when":{"type":"string","format":"date-time","x-kubernetes-validations":[{"rule":"self > timestamp('2000-01-01T00:00:00Z')"}]},
	"wait":{"type":"string","format":"duration","x-kubernetes-validations":[{"rule":"self < duration('1h')"}]},
	"port":{"x-kubernetes-int-or-string":true,"x-kubernetes-validations":[{"rule":"type(self) == int ? self > 0 : self != ''"}]},
	"any":{"x-kubernetes-preserve-unknown-fields":true,"x-kubernetes-validations":[{"rule":"self == oldSelf"}]},
	"a-b":{"type":"object","additionalProperties":{"type":"string","x-kubernetes-validations":[{"rule":"self.size() < 3","message":"too long"}]},
		"x-kubernetes-validations":[{"rule":"self.all(k, k in oldSelf)"}]},
	"list":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"x-kubernetes-validations":[{"rule":"self.size() >= oldSelf.size()"}],
		"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"},"v":{"type":"integer","x-kubernetes-validations":[{"rule":"self >= oldSelf"}]}},
			"x-kubernetes-validations":[{"rule":"oldSelf.hasValue() || !has(self.v) || self.v == 0","optionalOldSelf":true}]}},
	"set":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"},"x-kubernetes-validations":[{"rule":"oldSelf.all(x, x in self)"}]},
	"part":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true,
		"x-kubernetes-validations":[{"rule":"self.kind == 'Pod' && (!has(self.metadata.name) || self.metadata.name.startsWith('p'))"}]}
}}}}`

// ruledDocs are documents whose rules hold, fail, or cannot be evaluated.
var ruledDocs = []string{
	`{"metadata":{"name":"x"}}`, `{"metadata":{"name":"no"}}`, `{}`, `{"metadata":{"name":"x"},"spec":null}`,
	`{"spec":{"n":5}}`, `{"spec":{"n":4}}`, `{"spec":{"n":0}}`, `{"spec":{"n":null}}`, `{"spec":{"n":200}}`, `{"spec":{"n":1.5}}`, `{"spec":{"n":"x"}}`,
	`{"spec":{"when":"2020-01-01T00:00:00Z"}}`, `{"spec":{"when":"1990-01-01T00:00:00Z"}}`, `{"spec":{"when":"soon"}}`,
	`{"spec":{"wait":"5m"}}`, `{"spec":{"wait":"5h"}}`, `{"spec":{"port":1}}`, `{"spec":{"port":""}}`, `{"spec":{"port":true}}`,
	`{"spec":{"any":{"a":[1]}}}`, `{"spec":{"any":{"a":[1.0]}}}`, `{"spec":{"any":2}}`,
	`{"spec":{"a-b":{"a":"x"}}}`, `{"spec":{"a-b":{"a":"x","b":"y"}}}`, `{"spec":{"a-b":{"a":"xxx"}}}`,
	`{"spec":{"list":[{"k":"a","v":0}]}}`, `{"spec":{"list":[{"k":"a","v":1},{"k":"b","v":0}]}}`, `{"spec":{"list":[{"k":"b","v":0},{"k":"a","v":0}]}}`, `{"spec":{"list":[{"v":7}]}}`,
	`{"spec":{"set":["a","b"]}}`, `{"spec":{"set":["b"]}}`, `{"spec":{"set":["b","a","c"]}}`,
	`{"spec":{"part":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}}}`, `{"spec":{"part":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"q"}}}}`, `{"spec":{"part":{"kind":"Job"}}}`,
}

// agreeOn compares the evaluator with upstream's validator: what it has against a document, what it forgives, and what of
// the budget is left.
func agreeOn(t *testing.T, s *Schema, doc, was *object.Value) {
	t.Helper()
	u, err := s.upstream()
	if err != nil {
		t.Fatal(err)
	}
	if u.evaluator == nil {
		t.Fatal("the schema has no evaluator")
	}
	now, _ := doc.ToAny().(map[string]any)
	if now == nil {
		return
	}
	var old any
	var options []cel.Option
	w := &walk{upstream: u, check: Check{New: doc}}
	if m, _ := was.ToAny().(map[string]any); m != nil {
		old = m
		options = append(options, cel.WithRatcheting(common.NewCorrelatedObject(now, m, &model.Structural{Structural: u.structural})))
		w.check.Old = was
	}
	var warnings []string
	ev := &evaluation{ctx: t.Context(), budget: celconfig.RuntimeCELCostBudget, unchanged: w.unchanged, warn: func(text string) { warnings = append(warnings, text) }}
	goOn := u.evaluator.run(ev, doc, was)
	slices.Sort(warnings)
	var warned []string
	var errs field.ErrorList
	for range 200 { // upstream goes through the members of a map in an order that changes
		warned = nil
		ctx := warning.WithWarningRecorder(t.Context(), forgiven(func(text string) { warned = append(warned, text) }))
		var left int64
		errs, left = u.cel().Validate(ctx, nil, u.structural, now, old, celconfig.RuntimeCELCostBudget, options...)
		slices.Sort(warned)
		if slices.Equal(sayings(ev.errs), sayings(errs)) && slices.Equal(warnings, warned) && goOn == (left >= 0) && (!goOn || ev.budget == left) {
			return
		}
	}
	t.Errorf("%s was %s: %q, %q, %d of the budget left\nwant %q, %q", text(doc), text(was), ev.errs, warnings, ev.budget, errs, warned)
}

func TestRulesAsUpstream(t *testing.T) {
	s := mustCompile(t, ruledSchema)
	null := mustParse(t, `null`)
	for _, doc := range ruledDocs {
		agreeOn(t, s, mustParse(t, doc), null)
		for _, was := range ruledDocs {
			agreeOn(t, s, mustParse(t, doc), mustParse(t, was))
		}
	}
}

// TestRulesOfMetadata: rules at a member called metadata, or kind, are those of any member. In a resource they see what the
// schema declares, by the types that a resource has.
func TestRulesOfMetadata(t *testing.T) {
	const metadata = `"metadata":{"type":"object","properties":{"name":{"type":"string","x-kubernetes-validations":[{"rule":"self != 'no'"}]}},
		"x-kubernetes-validations":[{"rule":"has(self.name) && self.name.size() < 3"},{"rule":"self == oldSelf"}]},"kind":{"type":"string","x-kubernetes-validations":[{"rule":"self.startsWith('P')"}]}`
	for _, source := range []string{
		`{"type":"object","properties":{` + metadata + `}}`,
		`{"type":"object","properties":{"spec":{"type":"object","properties":{` + metadata + `}}}}`,
		`{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{` + metadata + `}}}}`,
		`{"type":"object","properties":{"spec":{"type":"object","properties":{"metadata":{"type":"object","properties":{"labels":{"type":"object","additionalProperties":{"type":"string"},"x-kubernetes-validations":[{"rule":"self.all(k, k != 'no')"}]}}}}}}}`,
		`{"type":"object","properties":{"metadata":{"type":"object","properties":{"name":{"type":"string"}},"x-kubernetes-validations":[{"rule":"!has(self.generateName)"}]}}}`,
	} {
		s := mustCompile(t, source)
		for _, member := range []string{`{}`, `{"kind":"Pod"}`, `{"kind":"Job","metadata":{"name":"a"}}`, `{"metadata":{"name":"a"}}`, `{"metadata":{"name":"no"}}`, `{"metadata":{"name":"long"}}`, `{"metadata":{"name":"a","generateName":"b"}}`, `{"metadata":{"labels":{"no":"x"}}}`, `{"metadata":null}`} {
			for _, doc := range []string{member, `{"spec":` + member + `}`} {
				agreeOn(t, s, mustParse(t, doc), nil)
				agreeOn(t, s, mustParse(t, doc), mustParse(t, doc))
				agreeOn(t, s, mustParse(t, doc), mustParse(t, `{"metadata":{"name":"b"},"spec":{"metadata":{"name":"c"}}}`))
			}
		}
	}
}

// TestMessagesAsUpstream: what is said of a rule that does not hold, what it costs, and what is forgiven of it.
func TestMessagesAsUpstream(t *testing.T) {
	member := func(rules string) string {
		return `{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer"}},"x-kubernetes-validations":[` + rules + `]}`
	}
	s := mustCompile(t, `{"type":"object","properties":{
		"new":`+member(`{"rule":"self.n > 3","messageExpression":"oldSelf.a","message":"m"},{"rule":"self.n > 4","messageExpression":"self.a","fieldPath":".n"}`)+`,
		"was":`+member(`{"rule":"self == oldSelf","messageExpression":"oldSelf.a + '>' + self.a"},{"rule":"self.n > 3","messageExpression":"oldSelf.a"}`)+`,
		"may":`+member(`{"rule":"oldSelf.hasValue() && self == oldSelf.value()","optionalOldSelf":true,"messageExpression":"oldSelf.orValue(self).a"},
			{"rule":"oldSelf.orValue(self).n > 3","optionalOldSelf":true,"messageExpression":"self.a","reason":"FieldValueRequired"}`)+`,
		"items":{"type":"array","items":{"type":"integer","x-kubernetes-validations":[{"rule":"self < 2","messageExpression":"string(self) + ' of ' + string(1 / (self - 3))"}]}}}}`)
	var docs []*object.Value
	for _, a := range []string{`"x"`, `" y "`, `"z\nz"`, `" "`, `"` + strings.Repeat("x", 5<<10+1) + `"`} {
		m := `{"a":` + a + `,"n":1}`
		docs = append(docs, mustParse(t, `{"new":`+m+`,"was":`+m+`,"may":`+m+`,"items":[1,2,3,4]}`), mustParse(t, `{"new":`+m+`,"items":[4,3]}`))
	}
	docs = append(docs, mustParse(t, `{"was":{"n":1},"may":{"n":5},"items":[1,2,3,4]}`), mustParse(t, `{"may":{"a":"x"}}`))
	for _, doc := range docs {
		agreeOn(t, s, doc, nil)
		for _, was := range docs {
			agreeOn(t, s, doc, was)
		}
	}
}

// TestRulesOutOfBudget: documents whose rules cost too much together are refused in upstream's words.
func TestRulesOutOfBudget(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"l":{"type":"array","items":{"type":"string","x-kubernetes-validations":[{"rule":"!self.matches('^(a|b|c|d)*x$')"},{"rule":"!self.matches('^(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s)*x$')"}]}}}}`)
	doc := object.NewMap()
	items := make([]string, 4000)
	for i := range items {
		items[i] = `"` + strings.Repeat("a", 2000) + `"`
	}
	doc.Set("l", *mustParse(t, "["+strings.Join(items, ",")+"]"))
	errs := s.Validate(context.Background(), Check{New: &doc})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "validation failed due to running out of cost budget, no further validation rules will be run") {
		t.Errorf("%v", errs)
	}
}

// TestRulesOnlyUpstreamKnows: where the evaluator cannot tell, upstream's validator is asked.
func TestRulesOnlyUpstreamKnows(t *testing.T) {
	for _, c := range []struct{ schema, doc, want string }{
		{`{"type":"object","properties":{"a":{"type":"integer","x-kubernetes-validations":[{"rule":"self > 0"}],"allOf":[{"x-kubernetes-validations":[{"rule":"self > 5"}]}]}}}`, `{"a":3}`, "failed rule: self > 5"},
		{`{"type":"object","properties":{"a":{"type":"integer","x-kubernetes-validations":[{"rule":"self."}]}}}`, `{"a":3}`, "rule compile error"},
	} {
		errs := mustCompile(t, c.schema).Validate(context.Background(), Check{New: mustParse(t, c.doc)})
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.doc, errs, c.want)
		}
	}
}

// FuzzRules: the evaluator and upstream's validator agree on any two documents.
func FuzzRules(f *testing.F) {
	for i, doc := range ruledDocs {
		f.Add(doc, ruledDocs[len(ruledDocs)-1-i])
	}
	s := mustCompile(f, ruledSchema)
	f.Fuzz(func(t *testing.T, doc, was string) {
		now, err := object.Parse([]byte(doc))
		if err != nil {
			return
		}
		old, err := object.Parse([]byte(was))
		if err != nil {
			return
		}
		agreeOn(t, s, now, old)
	})
}

// TestLimitsWithoutCELGo: rules and messages that cost more than a call may, and rules that do not hold, are answered in
// upstream's words without showing them to cel-go, which would take the square of a loop's length.
func TestLimitsWithoutCELGo(t *testing.T) {
	const limited = "no further validation rules will be run due to call cost exceeds limit for "
	for _, c := range []struct{ rule, more, want string }{
		{`self.l.map(x, x).size() > 0`, "", "'operation cancelled: actual cost limit exceeded': " + limited + "rule: self.l.map(x, x).size() > 0"},
		{`self.l.size() < 3`, `,"messageExpression":"self.l.map(x, x)[0]"`, limited + `messageExpression: "self.l.map(x, x)[0]"`},
		{`!self.l.all(x, x == 'x')`, "", "failed rule: !self.l.all(x, x == 'x')"},
		{`self.l.all(x, self.m == x)`, "", "no such key: m evaluating rule: self.l.all(x, self.m == x)"},
		{`self.l.all(x, 1/0 > x.size())`, "", "division by zero evaluating rule: self.l.all(x, 1/0 > x.size())"},
		{`self.l[0].size() < 0 || self.l.all(x, self.l[500000] == x)`, "", "index out of bounds: 500000 evaluating rule: self.l[0].size() < 0 || self.l.all(x, self.l[500000] == x)"},
		{`sets.contains(self.l, self.l)`, "", outOfBudget},
	} {
		s := mustCompile(t, `{"type":"object","properties":{"l":{"type":"array","items":{"type":"string"}},"m":{"type":"string"}},"x-kubernetes-validations":[{"rule":`+string(object.AppendJSON(nil, new(object.NewString(c.rule))))+c.more+`}]}`)
		u, err := s.upstream()
		if err != nil {
			t.Fatal(err)
		}
		r := &u.evaluator.rules[0]
		for _, x := range []*expression{&r.expression, r.refusal().message} {
			if x != nil {
				x.program = func() (celgo.Program, error) { t.Errorf("%s: asked cel-go", c.rule); return nil, errLimit }
			}
		}
		n := 100_000
		if strings.Contains(c.want, "failed rule") || strings.Contains(c.want, "evaluating") {
			n = 50_000
		}
		doc := object.NewMap()
		doc.Set("l", object.NewList(slices.Repeat([]object.Value{object.NewString("x")}, n)...))
		if errs := s.Validate(t.Context(), Check{New: &doc}); len(errs) != 1 || errs[0].Detail != c.want {
			t.Errorf("%s: %v, want %s", c.rule, errs, c.want)
		}
	}
}
