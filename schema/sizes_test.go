package schema

import (
	"fmt"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"pintle.dev/object"
	"pintle.dev/schema/rule"
)

// doubled is a rule that adds a list to itself n times.
func doubled(n int) string {
	return "[self.l]" + strings.Repeat(".map(a, a + a)", n) + "[0].size() > 0"
}

// TestSizesAreBounded: what functions make is bounded, whoever runs them, and otherwise as it was.
func TestSizesAreBounded(t *testing.T) {
	s := mustCompile(t, `{"type":"object","properties":{"s":{"type":"string"},"t":{"type":"string"},"n":{"type":"number"},"l":{"type":"array","items":{"type":"string"}}}}`)
	u, err := s.upstream()
	if err != nil {
		t.Fatal(err)
	}
	e := &evaluator{shape: newCELShape(model.WithTypeAndObjectMeta(u.structural))}
	typ := model.SchemaDeclType(u.structural, true).MaybeAssignTypeName("selfType")
	env, err := ruleEnv(typ, false)
	if err != nil {
		t.Fatal(err)
	}
	doc := object.NewMap()
	long := strings.Repeat("a", 1<<18)
	doc.Set("s", object.NewString(long))
	doc.Set("t", object.NewString(long))
	doc.Set("n", object.NewFloat(1.5))
	items := make([]object.Value, 1000)
	for i := range items {
		items[i] = object.NewString("x")
	}
	doc.Set("l", object.NewList(items...))
	format, list := strings.Repeat("%.999999f", 40), "["+strings.Repeat("self.n,", 39)+"self.n]"
	for text, bounded := range map[string]bool{
		`self.s.replace('a', self.t).size() > 0`:                true,
		`self.s.replace('', self.t).size() > 0`:                 true,
		`self.s.replace('a', self.t, 1).size() > 0`:             false,
		`self.s.replace('', 'bb').size() == 786434`:             false,
		`self.s.replace(self.t, '').size() == 0`:                false,
		`self.l.join(self.s).size() > 0`:                        true,
		`self.l.join('--').size() == 2998`:                      false,
		`self.l.map(x, self.s).join().size() > 0`:               true,
		`'%s'.format([self.l.map(x, self.s)]).size() > 0`:       true,
		`'%s%s'.format([self.s, self.t]).size() > 0`:            false,
		fmt.Sprintf(`'%s'.format(%s).size() > 0`, format, list): true,
		`'%.3f'.format([self.n]) == '1.500'`:                    false,
		doubled(4):                                              false,
		doubled(40):                                             true,
		`(self.l + self.l).size() == 2000`:                      false,
	} {
		x, err := compileExpression(env, text, rule.TypeOf(e.shape), celgo.BoolType)
		if err != nil {
			t.Fatalf("%.80s: %v", text, err)
		}
		vars := func() *variables { return e.variables(&doc, nil) }
		for name, got := range map[string]answer{
			"compiled": x.eval(t.Context(), &doc, nil, celconfig.RuntimeCELCostBudget, vars),
			"cel-go":   x.evalByProgram(t.Context(), vars()),
		} {
			if limited := got.err != nil && strings.HasPrefix(got.err.Error(), errLimit.Error()); limited != bounded || !bounded && !got.holds {
				t.Errorf("%s: %.80s: %+v", name, text, got)
			}
		}
	}
}
