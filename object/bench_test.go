package object

import (
	"fmt"
	"strings"
	"testing"

	kjson "sigs.k8s.io/json"

	"pintle.dev/api"
)

// benchCR is the custom resource of the performance bars: 1.1 KB with a keyed list of 16 items.
func benchCR() []byte {
	var b strings.Builder
	b.WriteString(`{"apiVersion":"v1","kind":"Widget","metadata":{"name":"widget-00017","namespace":"bench","uid":"6c7a1f3e-6c55-4b49-9c39-1f3b5a5d0d11","resourceVersion":"123456","generation":1,"creationTimestamp":"2026-01-02T03:04:05Z","labels":{"app":"widget","tier":"t7"}},"spec":{"replicas":3,"image":"registry.example.com/widget:1.2.3","paused":false,"items":[`)
	for i := range 16 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"item-%02d","value":"v%d","weight":%d}`, i, i*7, i)
	}
	b.WriteString(`]}}`)
	return []byte(b.String())
}

// benchConfigMap is a ConfigMap of 1.3 KB.
func benchConfigMap() []byte {
	var b strings.Builder
	b.WriteString(`{"apiVersion":"v1","data":{`)
	for i := range 10 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"key-%02d":"%s"`, i, strings.Repeat("0123456789", 10))
	}
	b.WriteString(`},"kind":"ConfigMap","metadata":{"name":"c-00017","namespace":"bench","uid":"6c7a1f3e-6c55-4b49-9c39-1f3b5a5d0d11"}}`)
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	for name, data := range map[string][]byte{"cr": benchCR(), "configmap": benchConfigMap()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	for name, data := range map[string][]byte{"cr": benchCR(), "configmap": benchConfigMap()} {
		b.Run(name, func(b *testing.B) {
			v := parsed(b, string(data))
			dst := AppendJSON(nil, v)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendJSON(dst[:0], v)
			}
		})
	}
}

// itemsShape is the shape of benchCR: spec.items is keyed by name.
type itemsShape struct{ at string }

func (s itemsShape) Field(name string) Shape {
	switch s.at + "." + name {
	case ".spec", "spec.items":
		return itemsShape{name}
	}
	return itemsShape{"-"}
}
func (s itemsShape) Declares(string) bool      { return true }
func (s itemsShape) Item() Shape               { return itemsShape{"item"} }
func (s itemsShape) Atomic() bool              { return false }
func (s itemsShape) Set() bool                 { return false }
func (s itemsShape) KeyDefault(string) string  { return "" }
func (s itemsShape) Patch() (string, []string) { return "", nil }
func (s itemsShape) Keys() []string {
	if s.at == "items" {
		return itemKeys
	}
	return nil
}

var itemKeys = []string{"name"}

func BenchmarkFieldsOf(b *testing.B) {
	for name, data := range map[string][]byte{"cr": benchCR(), "configmap": benchConfigMap()} {
		b.Run(name, func(b *testing.B) {
			v := parsed(b, string(data))
			b.ReportAllocs()
			for b.Loop() {
				f, err := FieldsOf(v, itemsShape{})
				if err != nil || f.Empty() {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOwn(b *testing.B) {
	for name, data := range map[string][]byte{"cr": benchCR(), "configmap": benchConfigMap()} {
		before := parsed(b, string(data))
		fresh := before.Clone()
		fresh.Get("metadata").Remove("uid")
		by := Write{Custom: name == "cr", Owner: api.Owner{Manager: "bench", APIVersion: "v1", Time: 1}}
		owners := own(nil, nil, &fresh, itemsShape{}, by)
		changed := before.Clone()
		changed.Set("extra", NewInt(1))
		if spec := changed.Get("spec"); spec != nil {
			spec.Set("replicas", NewInt(4))
			spec.Get("items").Index(3).Set("value", NewString("other"))
		}
		b.Run("create/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				own(nil, nil, &fresh, itemsShape{}, by)
			}
		})
		b.Run("update/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				own(owners, before, &changed, itemsShape{}, by)
			}
		})
		b.Run("update-other/"+name, func(b *testing.B) {
			b.ReportAllocs()
			by := by
			by.Manager = "other"
			for b.Loop() {
				own(owners, before, &changed, itemsShape{}, by)
			}
		})
		b.Run("noop/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				own(owners, before, before, itemsShape{}, by)
			}
		})
	}
}

// BenchmarkReference is upstream's decoder on the same document: what the machine is worth at the moment.
func BenchmarkReference(b *testing.B) {
	data := benchCR()
	for b.Loop() {
		var v any
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApply is one more apply of a configuration that changes one member.
func BenchmarkApply(b *testing.B) {
	for name, data := range map[string][]byte{"cr": benchCR(), "configmap": benchConfigMap()} {
		b.Run(name, func(b *testing.B) {
			live, config := parsed(b, string(data)), parsed(b, string(data))
			by := Application{Write: Write{Owner: api.Owner{Manager: "m", APIVersion: "v1", Time: 1}}, Config: config}
			done, err := Apply(live, nil, itemsShape{}, by)
			if err != nil {
				b.Fatal(err)
			}
			again := func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Apply(live, done.Owners, itemsShape{}, by); err != nil {
						b.Fatal(err)
					}
				}
			}
			config.Set("changed", NewString("x"))
			b.Run("change", again)
			config.Get("metadata").Set("labels", NewMap())
			b.Run("prune", again)
		})
	}
}
