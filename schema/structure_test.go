package schema

import "testing"

func TestStructure(t *testing.T) {
	const base = `{"type":"object","properties":{"spec":{"type":"object","properties":{"description":{"type":"string"},"n":{"type":"integer","default":3}}}}}`
	for _, tt := range []struct {
		name, schema string
		alike        bool
	}{
		{"itself", base, true},
		{"described", `{"description":"A","type":"object","properties":{"spec":{"description":"B","type":"object","properties":{"description":{"description":"C","type":"string"},"n":{"type":"integer","default":3}}}}}`, true},
		{"validated", `{"type":"object","properties":{"spec":{"type":"object","required":["n"],"properties":{"description":{"type":"string","maxLength":9,"enum":["a"]},"n":{"type":"integer","default":3,"minimum":1}},"x-kubernetes-validations":[{"rule":"self.n > 1"}]}}}`, true},
		{"combined", `{"type":"object","anyOf":[{"required":["spec"]}],"properties":{"spec":{"type":"object","properties":{"description":{"type":"string"},"n":{"type":"integer","default":3}}}}}`, true},
		{"another default", `{"type":"object","properties":{"spec":{"type":"object","properties":{"description":{"type":"string"},"n":{"type":"integer","default":4}}}}}`, false},
		{"a property more", `{"type":"object","properties":{"spec":{"type":"object","properties":{"description":{"type":"string"},"m":{"type":"string"},"n":{"type":"integer","default":3}}}}}`, false},
		{"a property less, of the name of a keyword", `{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","default":3}}}}}`, false},
		{"nullable", `{"type":"object","properties":{"spec":{"type":"object","nullable":true,"properties":{"description":{"type":"string"},"n":{"type":"integer","default":3}}}}}`, false},
		{"preserving", `{"type":"object","properties":{"spec":{"type":"object","properties":{"description":{"type":"string"},"n":{"type":"integer","default":3}},"x-kubernetes-preserve-unknown-fields":true}}}`, false},
		{"embedded", `{"type":"object","properties":{"spec":{"type":"object","properties":{"description":{"type":"string"},"n":{"type":"integer","default":3}},"x-kubernetes-embedded-resource":true}}}`, false},
		{"additional properties", `{"type":"object","properties":{"spec":{"type":"object","additionalProperties":{"type":"string"}}}}`, false},
		{"none", ``, false},
		{"no schema", `{"type":`, false},
	} {
		if got := string(Structure([]byte(tt.schema))) == string(Structure([]byte(base))); got != tt.alike {
			t.Errorf("%s: alike %t", tt.name, got)
		}
	}
	// Fingerprints of stored objects are made of it: it should not change without need.
	const text = `{"type":"object""properties":{"spec":{"type":"object""properties":{"description":{"type":"string"}"n":{"type":"integer""default":3}}}}}`
	if got := string(Structure([]byte(base))); got != text {
		t.Errorf("the structure is written %s", got)
	}
	for _, odd := range []string{`{"properties":{"a\\"":{"type":"string"}}}`, `{"properties":[]}`, `{"properties":`, `[]`, `{}x`} {
		if got := string(Structure([]byte(odd))); got != odd {
			t.Errorf("%s has the structure %s", odd, got)
		}
	}
	items := func(s string) string { return string(Structure([]byte(`{"type":"array","items":` + s + `}`))) }
	if items(`{"type":"string","pattern":"a"}`) != items(`{"type":"string"}`) || items(`{"type":"string"}`) == items(`{"type":"integer"}`) {
		t.Error("items are not told apart by their structure")
	}
	if a, b := Structure([]byte(`{"additionalProperties":true}`)), Structure([]byte(`{"additionalProperties":false}`)); string(a) == string(b) {
		t.Error("boolean additionalProperties are not told apart")
	}
}

func BenchmarkStructure(b *testing.B) {
	source := []byte(`{"type":"object","properties":{`)
	for i := range 140 {
		if i > 0 {
			source = append(source, ',')
		}
		source = append(source, `"field`+string(rune('a'+i%26))+string(rune('a'+i/26))+`":{"description":"words words words words words words words words words words words words words words words","maxLength":100,"type":"string"}`...)
	}
	source = append(source, "}}"...)
	b.SetBytes(int64(len(source)))
	b.ReportAllocs()
	for b.Loop() {
		Structure(source)
	}
}
