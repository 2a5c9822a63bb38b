package schema

import (
	"encoding/json"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func TestDefaultFits(t *testing.T) {
	for _, c := range []struct {
		schema string
		want   bool
	}{
		{`{"type":"string","enum":["A","B"],"default":"A"}`, true},
		{`{"type":"string","enum":["A","B"],"default":"C"}`, false},
		{`{"type":"string","pattern":"^a+$","default":"aa"}`, true},
		{`{"type":"string","pattern":"^a+$","default":"ab"}`, false},
		{`{"type":"integer","default":1.5}`, false},
		{`{"type":"integer","minimum":2,"default":1}`, false},
		{`{"type":"number","default":1e400}`, false},
		{`{"type":"string","format":"email","default":"a@example.com"}`, true},
		{`{"type":"string","format":"email","default":"a"}`, false},
		{`{"type":"string","format":"of-nobody","default":"a"}`, false}, // upstream does not take it off here
		{`{"type":"object","default":{},"properties":{"a":{"type":"string","default":"x"}},"required":["a"]}`, false},
		{`{"type":"object","default":{"a":"x"},"properties":{"a":{"type":"string"}}}`, true},
		{`{"type":"object","default":{"a":"x","b":1},"properties":{"a":{"type":"string"}}}`, false}, // b would go
		{`{"type":"object","default":{"a":"x","b":1},"properties":{"a":{"type":"string"}},"x-kubernetes-preserve-unknown-fields":true}`, true},
		{`{"type":"array","default":["a"],"items":{"type":"string","x-kubernetes-validations":[{"rule":"true"}]}}`, false}, // who knows
		{`{"type":"object","default":{},"x-kubernetes-embedded-resource":true}`, false},
	} {
		p := new(apiextensionsv1.JSONSchemaProps)
		if err := json.Unmarshal([]byte(c.schema), p); err != nil {
			t.Fatal(err)
		}
		if got := DefaultFits(p); got != c.want {
			t.Errorf("%s: %t", c.schema, got)
		}
	}
}
