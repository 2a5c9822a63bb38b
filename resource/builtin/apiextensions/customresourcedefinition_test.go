package apiextensions

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// create runs what the server runs when a definition is created, but for ObjectMeta, in an empty store.
func create(body []byte) (*resource.Object, error) {
	d := CustomResourceDefinitions()
	v := &d.Versions[0]
	o, _, err := v.Codec.Decode(body, false)
	if err != nil {
		return nil, api.BadRequest("%v", err)
	}
	w := &resource.Write{Definition: d, Version: v, New: o}
	d.Hooks.Prepare(context.Background(), w)
	d.Hooks.Default(o)
	if errs := d.Hooks.Validate(context.Background(), w); len(errs) > 0 {
		return o, api.Invalid(v.Group, d.Kind, o.Meta.Name, errs)
	}
	if _, err := d.Hooks.Claim(context.Background(), store.View{}, w); err != nil {
		return o, err
	}
	return o, nil
}

// reworded are the texts that 1.37 says otherwise than the recorded 1.32.
var reworded = strings.NewReplacer(
	"fieldPath must be a valid path", "must be a valid path",
	"message must", "must",
	"Required value: schemas are required", "Required value",
	"Required value: service name is required", "Required value",
	"Required value: service namespace is required", "Required value",
	`"string": failed rule: self != 'bad'`, `"bad": failed rule: self != 'bad'`,
)

func TestGoldenCreates(t *testing.T) {
	packed, err := os.ReadFile("testdata/creates.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name           string
			Body, Response json.RawMessage
			Status         int
		}
	}
	if err := json.NewDecoder(r).Decode(&golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 80 {
		t.Fatalf("only %d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(c.Name, func(t *testing.T) {
			// The recorded namespace had eight letters, and some rules look at lengths and characters.
			body := bytes.ReplaceAll(c.Body, []byte("$NS"), []byte("gabcdefg"))
			response := bytes.ReplaceAll(c.Response, []byte("$NS"), []byte("gabcdefg"))
			o, err := create(body)
			if c.Status >= 400 {
				compareStatus(t, err, response)
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			compareDefinition(t, o, response)
		})
	}
}

func compareStatus(t *testing.T, err error, response []byte) {
	var want metav1.Status
	if e := json.Unmarshal(response, &want); e != nil {
		t.Fatal(e)
	}
	if err == nil {
		t.Fatalf("accepted, recorded: %s", want.Message)
	}
	got := api.AsError(err).Status
	if g, w := causes(got), causes(want); !slices.Equal(g, w) {
		t.Errorf("got\n%s\nrecorded\n%s", strings.Join(g, "\n"), strings.Join(w, "\n"))
	}
}

// causes are the errors of a Status in one order; upstream has none. Values are left out where they are Go syntax, which
// differs between versions.
func causes(s metav1.Status) []string {
	var l []string
	for _, c := range s.Details.Causes {
		m := reworded.Replace(c.Message)
		if c.Type == metav1.CauseTypeFieldValueInvalid && !strings.HasPrefix(m, `Invalid value: "`) {
			if i := strings.LastIndex(m, ": "); i > 0 {
				m = m[i:]
			}
		}
		l = append(l, c.Field+" "+string(c.Type)+" "+m)
	}
	slices.Sort(l)
	return l
}

func compareDefinition(t *testing.T, o *resource.Object, response []byte) {
	d := CustomResourceDefinitions()
	data, err := d.Versions[0].Codec.Encode(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := object.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := object.Parse(response)
	if err != nil {
		t.Fatal(err)
	}
	if !object.Equal(got.Get("spec"), want.Get("spec")) {
		t.Errorf("spec\ngot      %s\nrecorded %s", object.AppendJSON(nil, got.Get("spec")), object.AppendJSON(nil, want.Get("spec")))
	}
	if a, b := got.Path("status", "storedVersions"), want.Path("status", "storedVersions"); !object.Equal(a, b) {
		t.Errorf("storedVersions %s, recorded %s", object.AppendJSON(nil, a), object.AppendJSON(nil, b))
	}
	if n, _ := got.Path("metadata", "generation").Int(); n != 1 {
		t.Errorf("generation %d", n)
	}
	crd := o.Value.(*apiextensionsv1.CustomResourceDefinition)
	established := apiextensionsv1.ConditionTrue
	if invalidBundle(crd) {
		established = apiextensionsv1.ConditionFalse
	}
	if c := crd.Status.Conditions; len(c) != 2 || c[0].Type != apiextensionsv1.NamesAccepted || c[1].Type != apiextensionsv1.Established || c[1].Status != established {
		t.Errorf("conditions %v", c)
	}
}

// BenchmarkCreate is what a definition with a schema of 20 KB costs, but for ownership and the commit.
func BenchmarkCreate(b *testing.B) {
	props := map[string]any{}
	for i := range 140 {
		props["field"+strings.Repeat("x", i)] = map[string]any{"type": "string", "maxLength": 100, "description": strings.Repeat("words ", 8)}
	}
	crd := widgets("ws", "w", "W")
	raw, err := json.Marshal(map[string]any{"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "properties": props}}})
	if err != nil {
		b.Fatal(err)
	}
	crd.Spec.Versions[0].Schema = &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: new(apiextensionsv1.JSONSchemaProps)}
	if err := json.Unmarshal(raw, crd.Spec.Versions[0].Schema.OpenAPIV3Schema); err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(crd)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := create(body); err != nil {
			b.Fatal(err)
		}
	}
}

// The rules of a definition run on its defaults when it is created: huge quantities must not reach them.
func TestHugeQuantitiesAreRefused(t *testing.T) {
	body := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"foos.b.io"},"spec":{"group":"b.io","scope":"Namespaced",
		"names":{"plural":"foos","kind":"Foo"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{
		"a":{"type":"string","maxLength":20,"default":"%s","x-kubernetes-validations":[{"rule":"quantity(self).isGreaterThan(quantity('0'))"}]}}}}}}}]}}`
	if _, err := create(fmt.Appendf(nil, body, "1e-2000000000")); err == nil || !strings.Contains(err.Error(), "must be between -999 and 999") {
		t.Errorf("a default beyond all bounds: %v", err)
	}
	if _, err := create(fmt.Appendf(nil, body, "1e-2")); err != nil {
		t.Errorf("a usual default: %v", err)
	}
}

// TestGenerationIgnoresHowJSONIsWritten: a default that is written with other white space is no change.
func TestGenerationIgnoresHowJSONIsWritten(t *testing.T) {
	with := func(fallback string) *definition {
		return &definition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Name: "v1", Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Default: &apiextensionsv1.JSON{Raw: []byte(fallback)}},
			},
		}}}}
	}
	for fallback, want := range map[string]bool{`{"a":[1,2]}`: true, `{ "a": [1, 2] }`: true, `{"a":[2,1]}`: false} {
		if got := sameSpec(with(fallback), with(`{"a":[1,2]}`)); got != want {
			t.Errorf("a default of %s is the same: %t, want %t", fallback, got, want)
		}
	}
}
