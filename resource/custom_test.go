package resource

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/object"
)

type goldenStep struct {
	Method, Path, ContentType string
	Body, Response            json.RawMessage
	Status                    int
}

type goldenCase struct {
	Name  string
	Steps []goldenStep
}

func goldenCases(t *testing.T) []goldenCase {
	t.Helper()
	packed, err := os.ReadFile("testdata/custom-resources.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Cases []goldenCase }
	if err := json.NewDecoder(r).Decode(&f); err != nil {
		t.Fatal(err)
	}
	return f.Cases
}

// established is the Definition of a CRD as a client sends it, with all names accepted.
func established(t testing.TB, body []byte) *Definition {
	t.Helper()
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := json.Unmarshal(body, crd); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	crd.Status.AcceptedNames = crd.Spec.Names
	crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}
	definitions := Typed[apiextensionsv1.CustomResourceDefinition]{Definition: Definition{
		Resource: api.CustomResourceDefinitions, Kind: "CustomResourceDefinition",
		Versions: []Version{{Group: api.CustomResourceDefinitions.Group, Name: "v1", Storage: true}},
	}}.Define()
	o, err := TypedObject(crd)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := Seal(definitions, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := FromCRD(rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// create runs what the server runs when an object is created, but for admission and ObjectMeta.
func create(d *Definition, v *Version, body []byte) (*Write, []string, error) {
	o, problems, err := v.Codec.Decode(body, false)
	if err != nil {
		return nil, nil, api.BadRequest("%v", err)
	}
	w := &Write{Definition: d, Version: v, New: o, Request: &api.Request{}}
	d.Hooks.Prepare(context.Background(), w)
	d.Hooks.Default(o)
	if errs := d.Hooks.Validate(context.Background(), w); len(errs) > 0 {
		return w, problems, api.Invalid(v.Group, d.Kind, o.Meta.Name, errs)
	}
	return w, problems, nil
}

// uid is what the recording replaced wherever it occurred.
var uid = regexp.MustCompile(`[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`)

var bracketed = regexp.MustCompile(`\[(.*)\]$`)

// unordered brings the list of errors in a message into one order: upstream has none.
func unordered(message string) string {
	m := bracketed.FindStringSubmatchIndex(message)
	if m == nil {
		return message
	}
	parts := strings.Split(message[m[2]:m[3]], ", ")
	slices.Sort(parts)
	// 1.32 printed Go values where 1.37 prints JSON.
	return message[:m[2]] + strings.Join(parts, ", ") + "]"
}

var goValue = strings.NewReplacer(`map[string]interface {}{"k":"a"}`, `{"k":"a"}`)

// TestGoldenCreates replays the recorded creates of custom resources.
func TestGoldenCreates(t *testing.T) {
	n := 0
	for _, c := range goldenCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			d := established(t, c.Steps[0].Body)
			for _, s := range c.Steps[1:] {
				at := strings.Split(strings.Split(s.Path, "?")[0], "/")
				if s.Method != "POST" || s.ContentType != "application/json" || at[len(at)-1] != "ws" || s.Body[0] != '{' && s.Body[0] != '"' || s.Status == 409 || s.Status == 415 {
					continue
				}
				body := []byte(s.Body)
				if body[0] == '"' {
					var text string
					if err := json.Unmarshal(body, &text); err != nil {
						t.Fatal(err)
					}
					body = []byte(text)
				}
				i := slices.IndexFunc(d.Versions, func(v Version) bool { return v.Name == at[3] })
				if i < 0 || !bytes.Contains(body, []byte(d.Versions[i].APIVersion())) || s.Status == 400 {
					continue
				}
				n++
				replayCreate(t, d, &d.Versions[i], body, s)
			}
		})
	}
	if n < 70 {
		t.Errorf("only %d creates were replayed", n)
	}
}

func replayCreate(t *testing.T, d *Definition, v *Version, body []byte, s goldenStep) {
	t.Helper()
	w, _, err := create(d, v, body)
	if err != nil {
		var want metav1.Status
		if e := json.Unmarshal(s.Response, &want); e != nil {
			t.Fatal(e)
		}
		got := api.AsError(err).Status
		if g, r := unordered(got.Message), unordered(goValue.Replace(want.Message)); g != r {
			t.Errorf("%s\ngot      %s\nrecorded %s", body, g, r)
		}
		return
	}
	if s.Status >= 400 {
		t.Errorf("%s\naccepted, recorded %s", body, s.Response)
		return
	}
	want, err := object.Parse(s.Response)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := d.Storage().Codec.Encode(nil, w.New)
	if err != nil {
		t.Fatal(err)
	}
	o, _, err := d.Storage().Codec.Decode(stored, true)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := v.Codec.Encode(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := object.Parse(uid.ReplaceAll(shown, []byte("<uid>")))
	if err != nil {
		t.Fatal(err)
	}
	want.Remove("metadata")
	got.Remove("metadata")
	if !object.Equal(got, want) {
		t.Errorf("%s\nstored   %s\nrecorded %s", body, text(got), text(want))
	}
	again, err := d.Storage().Codec.Encode(nil, o)
	if err != nil || !bytes.Equal(again, stored) {
		t.Errorf("encoding what was decoded gives other bytes (%v):\n%s\n%s", err, stored, again)
	}
}

func text(v *object.Value) string { return string(object.AppendJSON(nil, v)) }

const benchCRD = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.bench.pintle.dev"},"spec":{
	"group":"bench.pintle.dev","scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},"versions":[{"name":"v1","served":true,"storage":true,
	"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","required":["image"],"properties":{
		"image":{"type":"string","minLength":1},"replicas":{"type":"integer","minimum":0,"default":1},"paused":{"type":"boolean"},
		"items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],
			"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"value":{"type":"string"}}}}}}}}}}]}}`

func benchBody() []byte {
	var b bytes.Buffer
	b.WriteString(`{"apiVersion":"bench.pintle.dev/v1","kind":"Widget","metadata":{"name":"widget-00001","namespace":"default","labels":{"app":"bench","tier":"x"}},"spec":{"image":"registry.example.com/team/app:v1.2.3","paused":false,"items":[`)
	for i := range 16 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"item-%02d","value":"some value of the item %d"}`, i, i)
	}
	b.WriteString(`]}}`)
	return b.Bytes()
}

// BenchmarkCustomResource is the work of package resource on a create of the project's benchmark.
func BenchmarkCustomResource(b *testing.B) {
	d := established(b, []byte(benchCRD))
	v := &d.Versions[0]
	body := benchBody()
	w, _, err := create(d, v, body)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := v.Codec.Decode(body, false); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			if buf, err = v.Codec.Encode(buf[:0], w.New); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := create(d, v, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// FuzzCustomResource: what a client sends never panics, and what is stored of it is in its final form: decoding and
// defaulting it again changes nothing and finds nothing unknown.
func FuzzCustomResource(f *testing.F) {
	f.Add(string(benchBody()))
	f.Add(`{"metadata":{"labels":null,"finalizers":[null]},"spec":null,"status":{}}`)
	f.Add(`{"apiVersion":"bench.pintle.dev/v1","kind":"Widget","metadata":{"name":5},"spec":{"items":[{"name":null},null,[]],"replicas":1e400}}`)
	f.Add(`{"apiVersion":"x","metadata":{"managedFields":[{}],"creationTimestamp":"x","generation":1.5},"a":{"b":[{"c":{}}]}}`)
	d := established(f, []byte(benchCRD))
	v := &d.Versions[0]
	f.Fuzz(func(t *testing.T, body string) {
		w, _, err := create(d, v, []byte(body))
		if err != nil {
			return
		}
		stored, err := v.Codec.Encode(nil, w.New)
		if err != nil {
			t.Fatal(err)
		}
		o, problems, err := v.Codec.Decode(stored, false)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%v, %q\n%s", err, problems, stored)
		}
		d.Hooks.Default(o)
		if again, err := v.Codec.Encode(nil, o); err != nil || !bytes.Equal(again, stored) {
			t.Fatalf("%v\n%s\n%s", err, stored, again)
		}
	})
}

// A change of what a schema says of its fields, or which values they may have, leaves what is stored as it is; what it
// keeps or fills in does not.
func TestGenerationIsOfStructure(t *testing.T) {
	define := func(schema string) *Definition {
		t.Helper()
		return established(t, []byte(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},
			"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},"versions":[
			{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":`+schema+`}},
			{"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","properties":{"size":{"type":"integer"}}}}}]}}`))
	}
	plain := define(`{"type":"object","properties":{"size":{"type":"integer"}}}`)
	described := define(`{"type":"object","description":"A widget.","properties":{"size":{"type":"integer","description":"In mm.","minimum":1}}}`)
	filled := define(`{"type":"object","properties":{"size":{"type":"integer","default":1}}}`)
	if plain.Generation != described.Generation {
		t.Error("a description sends all that is stored through the schema")
	}
	if plain.Generation == filled.Generation {
		t.Error("a default does not reach what is stored")
	}
	for _, d := range []*Definition{plain, described, filled} {
		if v2 := d.Version("example.com/v2"); v2.AsStored != (d != filled) {
			t.Errorf("v2 is shown as it is stored: %t", v2.AsStored)
		}
	}
}
