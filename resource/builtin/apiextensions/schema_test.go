package apiextensions

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pintle.dev/resource"
)

// withSchema is a definition whose only version has the given schema.
func withSchema(schema string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com","uid":"u"},
		"spec":{"group":"example.com","scope":"Cluster","names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},
		"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":%s}}]}}`, schema)
}

// below is a schema whose spec is s.
func below(s string) string { return `{"type":"object","properties":{"spec":` + s + `}}` }

// nested is a schema of the given depth.
func nested(depth int, before, leaf, after string) string {
	return strings.Repeat(before, depth) + leaf + strings.Repeat(after, depth)
}

// badSchemas are schemas that nobody means well with, and what upstream answers; "" where it accepts them.
var badSchemas = []struct{ name, schema, want string }{
	{"reference", below(`{"$ref":"#/definitions/x"}`), `properties[spec].$ref: Forbidden: $ref is not supported`},
	{"recursive definitions", `{"type":"object","definitions":{"x":{"properties":{"x":{"$ref":"#/definitions/x"}}}}}`, `definitions: Forbidden: definitions is not supported`},
	{"no type", `{"properties":{"spec":{"type":"object"}}}`, `openAPIV3Schema.type: Required value: must not be empty at the root`},
	{"properties beside additionalProperties", below(`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":{"type":"string"}}`), `additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive`},
	{"uniqueItems", below(`{"type":"array","uniqueItems":true,"items":{"type":"string"}}`), `uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic`},
	{"deep", below(nested(400, `{"type":"object","properties":{"a":`, `{"type":"string"}`, `}}`)), ""},
	{"deep lists", below(nested(200, `{"type":"array","items":`, `{"type":"string"}`, `}`)), ""},

	{"pattern that grows", below(`{"type":"string","pattern":"(((a{1,100}){1,100}){1,100})"}`), `pattern: Invalid value: "(((a{1,100}){1,100}){1,100})": must be a valid regular expression, but isn't: error parsing regexp: invalid repeat count`},
	{"pattern of another language", below(`{"type":"string","pattern":"(?=a)"}`), `error parsing regexp: invalid or unsupported Perl syntax`},
	{"pattern in a rule", below(`{"type":"string","maxLength":10,"x-kubernetes-validations":[{"rule":"self.matches('((a{1,100}){1,100}){1,100}')"}]}`), `compilation failed`},

	{"cubic rule", below(`{"type":"array","items":{"type":"string"},"x-kubernetes-validations":[{"rule":"self.all(x, self.all(y, self.all(z, x == y || y == z)))"}]}`), `estimated rule cost exceeds budget by factor of more than 100x`},
	{"rule below unbounded lists", below(nested(3, `{"type":"array","items":`, `{"type":"string","x-kubernetes-validations":[{"rule":"self.contains('x')"}]}`, `}`)), `estimated rule cost exceeds budget by factor of more than 100x`},
	{"dear message", below(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"string"}}},"x-kubernetes-validations":[{"rule":"true","messageExpression":"self.a.join(self.a.join(self.a.join('x')))"}]}`), `estimated messageExpression cost exceeds budget`},
	{"parentheses", below(`{"type":"integer","x-kubernetes-validations":[{"rule":"` + strings.Repeat("(", 500) + `self > 0` + strings.Repeat(")", 500) + `"}]}`), `compilation failed`},
	{"rule where there is no type", below(`{"type":"object","x-kubernetes-validations":[{"rule":"true"}],"items":{"type":"object","properties":{"a":{"type":"string","x-kubernetes-validations":[{"rule":"true"}]}}}}`), `spec.versions: Internal error: validating the schemas`},
	{"huge quantity", below(`{"type":"string","x-kubernetes-validations":[{"rule":"quantity ('1e-2000000000').sign() == 1"}]}`), `the exponent must be between -999 and 999`},

	{"default of another type", below(`{"type":"object","properties":{"a":{"type":"integer","default":"x"}}}`), `properties[a].default: Invalid value: "string":  in body must be of type integer: "string"`},
	{"default against a rule", below(`{"type":"object","properties":{"a":{"type":"integer","default":-1,"x-kubernetes-validations":[{"rule":"self > 0"}]}}}`), `properties[a].default: Invalid value: -1: failed rule: self > 0`},
	{"default that is pruned", below(`{"type":"object","properties":{"a":{"type":"integer"}},"default":{"b":1}}`), `properties[spec].default: Invalid value: {"b":1}: must not have unknown fields`},
	{"default without what is required", below(`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"default":{}}`), `properties[spec].default.a: Required value`},
}

func TestBadSchemas(t *testing.T) {
	for _, c := range badSchemas {
		_, err := create(withSchema(c.schema))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// FuzzSchema: no schema makes the server panic, and one that is accepted can be served: it compiles, and what it admits
// of a document comes back from the store as it went in.
func FuzzSchema(f *testing.F) {
	for _, c := range badSchemas {
		f.Add(c.schema, `{"spec":{"a":1}}`)
	}
	f.Add(below(`{"type":"object","nullable":true,"default":{"a":null},"properties":{"a":{"x-kubernetes-int-or-string":true,"nullable":true,"anyOf":[{"type":"integer"},{"type":"string"}]}}}`), `{"spec":{"a":"1"}}`)
	f.Add(below(`{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}`), `{"spec":{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"a":null}}}}`)
	f.Add(below(`{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"],"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"}},"x-kubernetes-validations":[{"rule":"self.k != oldSelf.k"}]}}`), `{"spec":[{"k":"a"},{"k":"a"},null]}`)
	f.Fuzz(func(t *testing.T, schema, doc string) {
		o, err := create(withSchema(schema))
		if err != nil {
			return
		}
		crd := o.Value.(*definition)
		if crd.Name != "widgets.example.com" || crd.Status.AcceptedNames.Plural != "widgets" {
			return // the schema went on with another definition
		}
		rec, err := resource.Seal(CustomResourceDefinitions(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, err := resource.FromCRD(rec, nil)
		if err != nil {
			t.Fatalf("an accepted definition is not served: %v", err)
		}
		v := d.Storage()
		if _, _, err := v.Codec.Decode([]byte(`{}`), false); err != nil {
			t.Fatalf("an accepted schema does not compile: %v", err)
		}
		w := &resource.Write{Definition: d, Version: v}
		if w.New, _, err = v.Codec.Decode([]byte(doc), false); err != nil {
			return
		}
		d.Hooks.Prepare(context.Background(), w)
		d.Hooks.Default(w.New)
		if len(d.Hooks.Validate(context.Background(), w)) > 0 {
			return
		}
		stored, err := v.Codec.Encode(nil, w.New)
		if err != nil {
			t.Fatal(err)
		}
		again, problems, err := v.Codec.Decode(stored, true)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%s is stored as %s: %v %q", doc, stored, err, problems)
		}
		d.Hooks.Default(again)
		if read, err := v.Codec.Encode(nil, again); err != nil || string(read) != string(stored) {
			t.Fatalf("%s is stored as %s, read as %s: %v", doc, stored, read, err)
		}
	})
}
