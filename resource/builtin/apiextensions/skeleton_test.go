package apiextensions

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"pintle.dev/resource"
)

// usual are schemas as operators have them, which the quick way must take.
var usual = []string{
	`{"type":"object"}`,
	`{"type":"object","description":"d","properties":{"apiVersion":{"type":"string"},"kind":{"type":"string"},"metadata":{"type":"object"},"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`,
	below(`{"type":"object","required":["name"],"x-kubernetes-validations":[{"rule":"self.name != 'none' && !has(self.part.gone)","message":"m"}],"properties":{
		"name":{"type":"string","maxLength":63,"pattern":"^[a-z]+$"},"other":{"type":"string","format":"date-time"},
		"part":{"type":"object","properties":{"gone":{"type":"string"},"stays":{"type":"integer","format":"int32","minimum":0,"maximum":9}}}}}`),
	below(`{"type":"object","properties":{"mode":{"type":"string","enum":["A","B"],"default":"A"},"count":{"type":"integer","default":3},
		"port":{"x-kubernetes-int-or-string":true,"anyOf":[{"type":"integer"},{"type":"string"}],"pattern":"^[0-9]+$"},
		"labels":{"type":"object","additionalProperties":{"type":"string"}},"limits":{"type":"object","default":{"cpu":1},"properties":{"cpu":{"type":"integer"}}}}}`),
	below(`{"type":"array","maxItems":16,"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name","port"],"items":{"type":"object","required":["name"],
		"properties":{"name":{"type":"string"},"port":{"type":"integer","default":80},"value":{"type":"string","maxLength":9,"x-kubernetes-validations":[{"rule":"self != 'x'"}]}}}}`),
	below(`{"type":"object","oneOf":[{"required":["a"]},{"required":["b"]}],"not":{"properties":{"a":{"enum":["x"]}}},"properties":{"a":{"type":"string"},"b":{"type":"string"},
		"c":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string","allOf":[{"maxLength":3},{"minLength":1}]}}}}`),
	below(`{"type":"object","x-kubernetes-map-type":"atomic","properties":{"a-b":{"type":"string"},"c":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.a__dash__b == 'x'","messageExpression":"'not ' + self.c","fieldPath":".c","reason":"FieldValueRequired"}]}`),
	below(`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"object","properties":{"c":{"type":"string","maxLength":10,"x-kubernetes-validations":[{"rule":"self == oldSelf"}]}}}},"x-kubernetes-validations":[{"rule":"!has(oldSelf.a) || self.a == oldSelf.a"}]}`),
}

func definitionOf(t testing.TB, schema string) *definition {
	t.Helper()
	crd := new(definition)
	if err := json.Unmarshal(withSchema(schema), crd); err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	prepare(context.Background(), nil, crd, nil)
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	return crd
}

// quickly reports whether the skeleton of a definition, in place of old unless that is nil, is accepted.
func quickly(crd, old *definition) bool {
	small, _, ok := skeleton(crd)
	if !ok {
		return false
	}
	if old != nil {
		old = replaced(old)
	}
	return len(judge(context.Background(), small, old, validateCurrent)) == 0
}

func TestUsualSchemasAreJudgedByTheirSkeleton(t *testing.T) {
	for _, s := range usual {
		crd := definitionOf(t, s)
		if !quickly(crd, nil) {
			t.Errorf("%s: not taken: %v", s, judge(context.Background(), crd, nil, validateCurrent))
		}
	}
}

func TestAcceptedRulesAreNotJudgedAgain(t *testing.T) {
	schemas := func(rule string) *props {
		t.Helper()
		crd := definitionOf(t, below(`{"type":"object","properties":{"a":{"type":"string"}},"x-kubernetes-validations":[{"rule":"`+rule+`"}]}`))
		w := &resource.Write{New: &resource.Object{Value: crd}}
		if errs := validate(context.Background(), w, crd, nil); (len(errs) > 0) != (rule == "no rule") {
			t.Fatalf("%s: %v", rule, errs)
		}
		small, _, ok := skeleton(crd)
		if !ok {
			t.Fatal("no skeleton")
		}
		return small.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	if s := schemas("self.a.lowerAscii() == 'once accepted'"); len(s.Properties) > 0 {
		t.Error("a rule that was accepted is judged again")
	}
	for range 2 {
		if s := schemas("no rule"); len(s.Properties) == 0 {
			t.Error("a rule that was refused is taken for accepted")
		}
	}
}

func TestSkeletonHasWhatRulesSee(t *testing.T) {
	crd := definitionOf(t, strings.Replace(usual[2], "self.name !=", "self.name.lowerAscii() !=", 1))
	small, _, ok := skeleton(crd)
	if !ok {
		t.Fatal("no skeleton")
	}
	spec := small.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	if names := slices.Sorted(maps.Keys(spec.Properties)); !slices.Equal(names, []string{"name", "part"}) {
		t.Errorf("spec has %q", names)
	}
	if names := slices.Sorted(maps.Keys(spec.Properties["part"].Properties)); !slices.Equal(names, []string{"gone"}) {
		t.Errorf("spec.part has %q", names)
	}
	if crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["other"].Type != "string" {
		t.Error("the definition has changed")
	}
}

// TestSkeletonsAreAcceptedOnlyWhereDefinitionsAre changes schemas at random: what is accepted of a skeleton is accepted by
// upstream of the whole, on create and in place of another definition.
func TestSkeletonsAreAcceptedOnlyWhereDefinitionsAre(t *testing.T) {
	const rounds = 600
	random := rand.New(rand.NewPCG(1, 2))
	var old *definition
	quick, valid := 0, 0
	for range rounds {
		s := mutate(random, usual[random.IntN(len(usual))])
		crd := new(definition)
		if json.Unmarshal(withSchema(s), crd) != nil {
			continue
		}
		prepare(context.Background(), nil, crd, nil)
		apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
		errs := judge(context.Background(), crd, nil, validateCurrent)
		taken := quickly(crd, nil)
		if taken && len(errs) > 0 {
			t.Fatalf("%s: the skeleton is accepted, the definition is not: %v", s, errs.ToAggregate())
		}
		if old != nil && quickly(crd, old) {
			if errs := judge(context.Background(), crd, old, validateCurrent); len(errs) > 0 {
				t.Fatalf("%s: the skeleton is accepted in place of another, the definition is not: %v", s, errs.ToAggregate())
			}
		}
		if len(errs) == 0 {
			valid++
			old = crd
		}
		if taken {
			quick++
		}
	}
	t.Logf("%d of %d valid definitions of %d went the quick way", quick, valid, rounds)
	if quick < rounds/10 || valid-quick < rounds/100 {
		t.Errorf("%d of %d valid definitions went the quick way: changes are too wild or too tame", quick, valid)
	}
}

func FuzzSkeleton(f *testing.F) {
	for _, s := range usual {
		f.Add(s)
	}
	for _, c := range badSchemas {
		f.Add(c.schema)
	}
	f.Fuzz(func(t *testing.T, s string) {
		crd := new(definition)
		if json.Unmarshal(withSchema(s), crd) != nil {
			return
		}
		prepare(context.Background(), nil, crd, nil)
		apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
		if strings.Contains(s, "uantity") || !quickly(crd, nil) {
			return // quantities may take hours, and are looked at before
		}
		if errs := judge(context.Background(), crd, nil, validateCurrent); len(errs) > 0 {
			t.Fatalf("the skeleton is accepted, the definition is not: %v", errs.ToAggregate())
		}
	})
}

// keywords are what mutate puts into schemas.
var keywords = []string{
	`"type":"object"`, `"type":"array"`, `"type":"string"`, `"type":"integer"`, `"type":"number"`, `"type":"boolean"`, `"type":"null"`, `"type":""`,
	`"nullable":true`, `"uniqueItems":true`, `"title":"t"`, `"format":"int32"`, `"format":"email"`, `"format":"uri-reference"`, `"format":"byte"`,
	`"pattern":"^a"`, `"pattern":"("`, `"maxLength":1`, `"minLength":-1`, `"maxItems":5`, `"maxProperties":5`, `"minimum":2.5`, `"multipleOf":0`,
	`"required":["a"]`, `"required":["a","b","c"]`, `"enum":["A"]`, `"enum":[1,null,{"a":1e5}]`, `"enum":[]`, `"example":1`,
	`"default":"A"`, `"default":1`, `"default":{}`, `"default":{"a":"x"}`, `"default":[]`, `"default":null`, `"default":true`, `"default":1e400`,
	`"x-kubernetes-preserve-unknown-fields":true`, `"x-kubernetes-preserve-unknown-fields":false`, `"x-kubernetes-embedded-resource":true`,
	`"x-kubernetes-int-or-string":true`, `"x-kubernetes-list-type":"set"`, `"x-kubernetes-list-type":"map"`, `"x-kubernetes-list-type":"atomic"`,
	`"x-kubernetes-list-type":"odd"`, `"x-kubernetes-list-map-keys":["a"]`, `"x-kubernetes-list-map-keys":["name","name"]`, `"x-kubernetes-map-type":"atomic"`,
	`"x-kubernetes-map-type":"granular"`, `"x-kubernetes-map-type":"odd"`, `"additionalProperties":true`, `"additionalProperties":{"type":"string"}`,
	`"properties":{"a":{"type":"string"}}`, `"properties":{"metadata":{"type":"object","properties":{"name":{"type":"string"}}}}`,
	`"properties":{"kind":{"type":"integer"}}`, `"items":{"type":"string"}`, `"items":[{"type":"string"}]`, `"items":{"type":"object","properties":{"a":{"type":"string"}}}`,
	`"anyOf":[{"type":"integer"},{"type":"string"}]`, `"anyOf":[{"required":["a"]}]`, `"allOf":[{"properties":{"a":{"maxLength":1}}}]`,
	`"oneOf":[{"items":{"pattern":"["}}]`, `"not":{"additionalProperties":true}`, `"not":{"description":"d"}`, `"allOf":[{"minimum":1,"not":{"enum":[3]}}]`,
	`"id":"i"`, `"$schema":"s"`, `"$ref":"r"`, `"definitions":{}`, `"dependencies":{}`, `"patternProperties":{"a":{}}`, `"additionalItems":true`,
	`"externalDocs":{"url":"u"}`,
	`"x-kubernetes-validations":[{"rule":"self.a == 'x'"}]`, `"x-kubernetes-validations":[{"rule":"self == oldSelf"}]`, `"x-kubernetes-validations":[{"rule":"has(self.spec)"}]`,
	`"x-kubernetes-validations":[{"rule":"self.all(x, x.a == 'b')"}]`, `"x-kubernetes-validations":[{"rule":"self.all(x, self.all(y, x == y || x.name > y.name))"}]`,
	`"x-kubernetes-validations":[{"rule":" "}]`, `"x-kubernetes-validations":[{"rule":"true","message":" "}]`, `"x-kubernetes-validations":[{"rule":"true ||\n false"}]`,
	`"x-kubernetes-validations":[{"rule":"true","fieldPath":".a"}]`, `"x-kubernetes-validations":[{"rule":"true","reason":"Odd"}]`, `"x-kubernetes-validations":[{"rule":"self.size() < 9"}]`,
	`"x-kubernetes-validations":[{"rule":"self.a == oldSelf.orValue(self).a","optionalOldSelf":true}]`, `"x-kubernetes-validations":[{"rule":"true","messageExpression":"self.a"}]`,
	`"x-kubernetes-validations":[{"rule":"'a' in self && self['a'] == 'b'"}]`, `"x-kubernetes-validations":[{"rule":"self.matches('^a(')"}]`,
}

// mutate changes a schema in up to three places.
func mutate(random *rand.Rand, schema string) string {
	var root map[string]any
	if json.Unmarshal([]byte(schema), &root) != nil {
		return schema
	}
	for range 1 + random.IntN(3) {
		nodes := schemasIn(root, nil)
		node := nodes[random.IntN(len(nodes))]
		switch random.IntN(5) {
		case 0:
			if names := slices.Sorted(maps.Keys(node)); len(names) > 0 {
				delete(node, names[random.IntN(len(names))])
			}
		case 1:
			from, _ := json.Marshal(nodes[random.IntN(len(nodes))])
			var other map[string]any
			_ = json.Unmarshal(from, &other)
			node["properties"], node["type"] = map[string]any{"a": other, "name": map[string]any{"type": "string"}}, "object"
		default:
			var add map[string]any
			if err := json.Unmarshal([]byte("{"+keywords[random.IntN(len(keywords))]+"}"), &add); err == nil {
				maps.Copy(node, add)
			}
		}
	}
	b, _ := json.Marshal(root)
	return string(b)
}

// schemasIn appends the schemas in s, itself first.
func schemasIn(s map[string]any, to []map[string]any) []map[string]any {
	to = append(to, s)
	below := func(v any) {
		if m, ok := v.(map[string]any); ok {
			to = schemasIn(m, to)
		}
	}
	for _, name := range []string{"items", "additionalProperties", "not"} {
		below(s[name])
	}
	for _, name := range []string{"allOf", "anyOf", "oneOf"} {
		list, _ := s[name].([]any)
		for _, v := range list {
			below(v)
		}
	}
	members, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		below(members[name])
	}
	return to
}
