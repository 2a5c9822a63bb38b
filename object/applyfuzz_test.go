package object

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	"sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"pintle.dev/api"
)

// script is a random source that reads its numbers off an input, a byte each, so that a fuzzer decides what is made of
// them. At its end it goes on by itself.
type script struct {
	input []byte
	rest  rand.Source
}

func (s *script) Uint64() uint64 {
	if len(s.input) == 0 {
		return s.rest.Uint64()
	}
	b := s.input[0]
	s.input = s.input[1:]
	return uint64(b) << 56 // IntN goes by the highest bits
}

// schemaChoices are what a widget's schema may have otherwise, one bit each.
var schemaChoices = [][2]string{
	{"name: selector, type: {map: {elementType: {scalar: string}, elementRelationship: atomic}}", "name: selector, type: {map: {elementType: {scalar: string}}}"},
	{"name: args, type: {list: {elementType: {scalar: string}, elementRelationship: atomic}}", "name: args, type: {list: {elementType: {scalar: string}, elementRelationship: associative}}"},
	{"name: numbers, type: {list: {elementType: {scalar: numeric}, elementRelationship: associative}}", "name: numbers, type: {list: {elementType: {scalar: numeric}, elementRelationship: atomic}}"},
	{"{elementType: {namedType: item}, elementRelationship: associative, keys: [name]}", "{elementType: {namedType: item}, elementRelationship: atomic}"},
	{"keys: [port, protocol]", "keys: [port]"},
	{"name: free, type: {namedType: __untyped_deduced_}", "name: free, type: {namedType: __untyped_atomic_}"},
	{"name: nested, type: {namedType: spec}", "name: nested, type: {map: {elementType: {namedType: __untyped_deduced_}}}"},
}

var chosenSchemas sync.Map // byte -> widgetConverter

// chosenSchema is the widget's schema with those of schemaChoices whose bits are set.
func chosenSchema(t *testing.T, bits byte) widgetConverter {
	bits &= 1<<len(schemaChoices) - 1
	if c, ok := chosenSchemas.Load(bits); ok {
		return c.(widgetConverter)
	}
	text := widgetSchema
	for i, c := range schemaChoices {
		if bits>>i&1 == 0 {
			continue
		}
		if !strings.Contains(text, c[0]) {
			t.Fatalf("the schema has no %s", c[0])
		}
		text = strings.ReplaceAll(text, c[0], c[1])
	}
	p, err := typed.NewParser(typed.YAMLObject(text))
	if err != nil {
		t.Fatal(err)
	}
	chosenSchemas.Store(bits, widgetConverter{p})
	return widgetConverter{p}
}

// TestApplyLooksIntoAtomicLists: items that come twice are refused inside of what is owned as a whole, too.
func TestApplyLooksIntoAtomicLists(t *testing.T) {
	converter := chosenSchema(t, 1<<3) // spec.items is atomic
	name := "widget"
	shape := smdShape{&converter.Schema, schema.TypeRef{NamedType: &name}}
	live := parsed(t, `{"apiVersion":"g/v1","kind":"Widget"}`)
	for doc, want := range map[string]string{
		`{"spec":{"items":[{"name":"a","tags":["x","y"]},{"name":"a"}]}}`:               "",
		`{"spec":{"items":[{"name":"a"},{"name":"b","tags":["x","x"]}]}}`:               `.spec.items[1].tags: duplicate entries for key [="x"]`,
		`{"spec":{"items":[{"nested":{"ports":[{"port":1},{"port":1}]}}]}}`:             `.spec.items[0].nested.ports: duplicate entries for key [port=1,protocol="TCP"]`,
		`{"spec":{"items":[{"nested":{"numbers":[null]}}]}}`:                            `.spec.items[0].nested.numbers: [0]: associative list without keys has an element that's an explicit null`,
		`{"spec":{"items":[{"nested":{"items":[{"tags":["x"]},{"tags":["x","x"]}]}}]}}`: `.spec.items[0].nested.items[1].tags: duplicate entries for key [="x"]`,
	} {
		by := Application{Write: Write{Owner: api.Owner{Manager: "m", APIVersion: "g/v1"}}, Config: parsed(t, doc)}
		_, err := Apply(live, nil, shape, by)
		if got := fmt.Sprint(err); got != want && (err != nil || want != "") {
			t.Errorf("%s: %s, want %s", doc, got, want)
		}
	}
}

// FuzzApply applies and updates objects as the input says, under a schema of its choice, and compares objects, managers
// and conflicts with those of upstream's field manager. doc is JSON that configurations have as their spec or status.
func FuzzApply(f *testing.F) {
	f.Add(byte(0), []byte("a"), []byte(`{"replicas":1,"items":[{"name":"a","value":"x"}],"free":{"a":{"b":null}}}`))
	f.Add(byte(1), []byte("\x00\x40\x80\xc0\xff\x10\x20"), []byte(`{"selector":{"a":"x"},"ports":[{"port":80},{"port":80,"protocol":"UDP"}]}`))
	f.Add(byte(0x7f), []byte(strings.Repeat("\x90\x30\xe0", 60)), []byte(`{"items":[{"name":"a","nested":{"x":[1,{}],"y":null}}],"args":["a","a"],"numbers":[1,1.0]}`))
	f.Add(byte(8), []byte(strings.Repeat("\xa1\x11\x5f\xd0", 90)), []byte(`{"items":null,"ports":[],"selector":{},"any":1.5}`))
	f.Fuzz(func(t *testing.T, bits byte, input, doc []byte) {
		sent, err := Parse(doc)
		if err != nil || len(doc) > 4<<10 {
			sent = nil
		}
		converter := chosenSchema(t, bits)
		name := "widget"
		shape := smdShape{&converter.Schema, schema.TypeRef{NamedType: &name}}
		synctest.Test(t, func(t *testing.T) {
			r := &random{Rand: rand.New(&script{input, rand.NewPCG(uint64(len(input)), 1)})}
			p := &pair{t: t, shape: shape, outcomes: map[string]int{}, version: "g/v1"}
			p.upstream = managedfieldstest.NewFakeFieldManager(converter, (&unstructured.Unstructured{Object: r.widget("")}).GroupVersionKind())
			p.theirs = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "g/v1", "kind": "Widget"}}
			p.ours = parsed(t, `{"apiVersion":"g/v1","kind":"Widget"}`)
			for step := range 6 {
				p.where = fmt.Sprintf("step %d under schema %x", step, bits)
				time.Sleep(time.Duration(r.IntN(2)) * time.Second)
				manager := r.pick("a", "b")
				if step > 0 && r.IntN(4) == 0 {
					p.update(r.widget("u"), manager)
					continue
				}
				config := r.config(r.IntN(8) == 0)
				if sent != nil && r.IntN(2) == 0 {
					config[r.pick("spec", "status")] = sent.ToAny()
					// Who calls Apply has asked the schema before, which tolerates items that come twice.
					if _, err := converter.ObjectToTyped(&unstructured.Unstructured{Object: config}, typed.AllowDuplicates); err != nil {
						continue
					}
				}
				p.apply(config, manager, r.IntN(3) == 0)
			}
		})
	})
}
