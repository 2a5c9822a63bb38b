package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

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

// ruleAuthor makes up schemas with rules at any node, which fit the types there, and have errors where members are absent.
type ruleAuthor struct {
	*rand.Rand
	vars int
}

// write adds rules to a schema that is made up, and to those below.
func (a *ruleAuthor) write(p map[string]any) {
	for range pick(a.Rand, 0, 0, 1, 1, 2) {
		optional := a.IntN(5) == 0
		self, old := "self", "oldSelf"
		if optional {
			old = pick(a.Rand, "oldSelf.orValue(self)", "oldSelf.value()")
		}
		text := a.about(p, self, 3)
		switch a.IntN(4) {
		case 0:
			text = a.about(p, old, 2) + pick(a.Rand, " || ", " && ", " == ") + text
		case 1:
			text = self + pick(a.Rand, " == ", " != ") + old + pick(a.Rand, " || ", " && ") + text
		}
		r := map[string]any{"rule": text}
		if optional && strings.Contains(text, "oldSelf") {
			r["optionalOldSelf"] = true
		}
		switch a.IntN(5) {
		case 0:
			r["message"] = "said so"
		case 1:
			r["messageExpression"] = pick(a.Rand, "'about ' + string(1)", "''", "'two\\nlines'", "string(1/0)", "' '", "'x' + string(dyn(self) == 1)")
		case 2:
			r["reason"] = pick(a.Rand, "FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
		case 3:
			if props, ok := p["properties"].(map[string]any); ok && len(props) > 0 {
				r["fieldPath"] = "." + slices.Sorted(maps.Keys(props))[0]
			}
		}
		rules, _ := p["x-kubernetes-validations"].([]any)
		p["x-kubernetes-validations"] = append(rules, r)
	}
	props, _ := p["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		a.write(props[name].(map[string]any))
	}
	for _, name := range []string{"items", "additionalProperties"} {
		if below, ok := p[name].(map[string]any); ok {
			a.write(below)
		}
	}
}

// about is a condition of a value that a schema describes.
func (a *ruleAuthor) about(p map[string]any, self string, depth int) string {
	if p["x-kubernetes-int-or-string"] == true {
		return pick(a.Rand, "type("+self+") == int ? "+self+" > 1 : "+self+" != 'a'", self+" == 1", self+" > 1", "string("+self+") != ''")
	}
	if depth == 0 {
		return pick(a.Rand, "true", self+" == "+self)
	}
	switch p["type"] {
	case "object":
		return a.aboutObject(p, self, depth)
	case "array":
		a.vars++
		x := fmt.Sprintf("v%d", a.vars)
		items := p["items"].(map[string]any)
		switch a.IntN(6) {
		case 0:
			return self + ".size() < " + pick(a.Rand, "2", "3", "20")
		case 1:
			return self + ".exists(i" + x + ", " + x + ", " + a.about(items, x, depth-1) + ")"
		case 2:
			return self + ".filter(" + x + ", " + a.about(items, x, depth-1) + ").size() " + pick(a.Rand, "> 0", "< 3", "!= 1")
		case 3:
			return a.about(items, self+"[0]", depth-1)
		}
		return self + pick(a.Rand, ".all(", ".exists(", ".exists_one(") + x + ", " + a.about(items, x, depth-1) + ")"
	case "string":
		switch p["format"] {
		case "date", "date-time":
			return self + pick(a.Rand, " < ", " != ") + "timestamp('2020-01-02T00:00:00Z')"
		case "duration":
			return self + pick(a.Rand, " < ", " != ") + "duration('5s')"
		}
		return pick(a.Rand, self+".size() < 2", self+" != 'b'", self+".matches('^[a-c]*$')", "!"+self+".startsWith('a')", self+" in ['a', 'b', '']", self+".split('b').size() < 3", "isIP("+self+") || "+self+" < 'b'")
	case "integer":
		return self + pick(a.Rand, " > 1", " < 65", " % 2 == 1", " in [1, 2, 3]", " != 0", " * 9223372036854775807 != 7", "/("+self+"-3) >= 0")
	case "number":
		return self + pick(a.Rand, " > 1.5", " <= 3.0", " != 2.5")
	case "boolean":
		return pick(a.Rand, "", "!") + self
	}
	return "true"
}

func (a *ruleAuthor) aboutObject(p map[string]any, self string, depth int) string {
	props, _ := p["properties"].(map[string]any)
	if more, ok := p["additionalProperties"].(map[string]any); ok {
		a.vars++
		k := fmt.Sprintf("k%d", a.vars)
		return pick(a.Rand, self+pick(a.Rand, ".all(", ".exists(")+k+", "+a.about(more, self+"["+k+"]", depth-1)+")", a.about(more, self+"['a']", depth-1), "'b' in "+self, self+".size() < 2")
	}
	names := slices.Sorted(maps.Keys(props))
	if len(names) == 0 {
		return self + pick(a.Rand, " == ", " != ") + self
	}
	name := pick(a.Rand, names...)
	m := a.about(props[name].(map[string]any), self+"."+name, depth-1)
	return pick(a.Rand, m, "has("+self+"."+name+")", "!has("+self+"."+name+") || "+m, "has("+self+"."+name+") && ("+m+")", self+".?"+name+".hasValue()")
}

// upstreamSays is what upstream's strategies for custom resources and for their status find in a document, which was another
// before unless old is nil, but of its metadata. It is sorted: members are looked at in no order.
func upstreamSays(u *upstream, doc, old map[string]any, status bool) (errs, warnings []string) {
	ctx := warning.WithWarningRecorder(context.Background(), forgiven(func(text string) { warnings = append(warnings, text) }))
	var all field.ErrorList
	var options []cel.Option
	var was any
	var c *common.CorrelatedObject
	if old != nil {
		c = common.NewCorrelatedObject(doc, old, &model.Structural{Structural: u.structural})
		options, was = append(options, cel.WithRatcheting(c)), old
	}
	switch s, ok := doc["status"]; {
	case old == nil:
		all = validation.ValidateCustomResource(nil, doc, unworded(u.validator))
	case !status:
		all = validation.ValidateCustomResourceUpdate(nil, doc, old, unworded(u.validator), validation.WithRatcheting(c))
	case ok && u.status != nil:
		all = validation.ValidateCustomResourceUpdate(field.NewPath("status"), s, old["status"], unworded(u.status), validation.WithRatcheting(c.Key("status")))
	}
	if !status {
		all = append(all, objectmeta.Validate(ctx, nil, doc, u.structural, false)...)
	}
	if old == nil || len(listtype.ValidateListSetsAndMaps(nil, u.structural, old)) == 0 {
		all = append(all, listtype.ValidateListSetsAndMaps(nil, u.structural, doc)...)
	}
	if BlocksRules(all) {
		all = append(all, field.Invalid(nil, "null", "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"))
	} else if v := u.cel(); v != nil {
		found, _ := v.Validate(ctx, nil, u.structural, doc, was, celconfig.RuntimeCELCostBudget, options...)
		all = append(all, found...)
	}
	return sayings(all), slices.Sorted(slices.Values(warnings))
}

func sayings(errs field.ErrorList) []string {
	said := make([]string, len(errs))
	for i, err := range errs {
		said[i] = string(err.Type) + " " + err.Error()
	}
	slices.Sort(said)
	return said
}

// checkRandomRules compares what is said of random documents, by a random schema with rules, with what upstream says. It
// returns how many of them no rule has anything against, and how many some rule does.
func checkRandomRules(t *testing.T, seed uint64) (held, broken int) {
	a := &ruleAuthor{Rand: rand.New(rand.NewPCG(seed, 2))}
	props := map[string]any{"type": "object"}
	randomObject(a.Rand, props, 4)
	if a.IntN(4) > 0 {
		delete(props, "additionalProperties") // beside which there are no rules at a root
	}
	members, _ := props["properties"].(map[string]any)
	if members != nil && a.IntN(2) == 0 {
		members["status"] = randomSchema(a.Rand, 3)
	}
	a.write(props)
	source, err := json.Marshal(props)
	if err != nil {
		t.Fatal(err)
	}
	s, err := CompileJSON(source)
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	u, err := s.upstream()
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	if !u.ruled || u.evaluator == nil && a.IntN(8) > 0 {
		return 0, 0
	}
	var old *object.Value // nil until a document is valid
	for range 12 {
		text, err := json.Marshal(randomValue(a.Rand, props, 4))
		if err != nil {
			t.Fatal(err)
		}
		if text[0] != '{' {
			continue
		}
		doc := mustParse(t, string(text))
		if status, ok := members["status"].(map[string]any); ok {
			text, err := json.Marshal(randomValue(a.Rand, status, 3))
			if err != nil {
				t.Fatal(err)
			}
			doc.Set("status", *mustParse(t, string(text)))
		}
		doc.Set("metadata", *mustParse(t, `{"name":"x"}`))
		s.Prune(doc)
		s.DropNulls(doc)
		s.Default(doc)
		checks := []Check{{New: doc}}
		if old != nil {
			checks = append(checks, Check{New: doc, Old: old}, Check{New: doc, Old: old, Status: true})
		}
		for _, c := range checks {
			was, _ := c.Old.ToAny().(map[string]any)
			var warnings []string
			c.Warn = func(text string) { warnings = append(warnings, text) }
			got := sayings(s.Validate(context.Background(), c))
			slices.Sort(warnings)
			var want, warned []string
			agree := false
			// Upstream compares maps in an order that changes, and tells of the first member that differs or cannot be compared.
			for range 200 {
				want, warned = upstreamSays(u, doc.ToAny().(map[string]any), was, c.Status)
				if agree = slices.Equal(got, want) && slices.Equal(warnings, warned); agree {
					break
				}
			}
			if !agree {
				t.Errorf("seed %d, status %t: %q %q\nupstream %q %q\ndocument %s was %s\nschema %s", seed, c.Status, got, warnings, want, warned, jsonText(doc), jsonText(old), source)
			}
			if len(want) == 0 {
				held++
			} else if !strings.HasPrefix(strings.Join(want, "\n"), "FieldValueInvalid <nil>: Invalid value: \"null\"") {
				broken++
			}
		}
		if s.valid(doc) && a.IntN(2) == 0 { // else what upstream says of comparing with it changes with the order of members
			old = doc
		}
	}
	return held, broken
}

// TestRandomRules: what is said of documents by rules at random places is what upstream says.
func TestRandomRules(t *testing.T) {
	held, broken := 0, 0
	for seed := range uint64(max(60, *seeds)) {
		h, b := checkRandomRules(t, seed)
		held, broken = held+h, broken+b
		if t.Failed() {
			return
		}
	}
	t.Logf("rules held %d times, and did not %d times", held, broken)
	if held < 50 || broken < 50 {
		t.Errorf("the documents are too much alike: rules held %d times, and did not %d times", held, broken)
	}
}
