package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/store"
	"pintle.dev/webhook"
)

// gadgets has a stored v2 with the status and scale subresources and a v1 without status.
const gadgets = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gadgets.example.com","uid":"u"},"spec":{
	"group":"example.com","scope":"Namespaced","names":{"plural":"gadgets","kind":"Gadget"},"versions":[
	{"name":"v1","served":true,"storage":false,"deprecated":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{
		"spec":{"type":"object","properties":{"replicas":{"type":"integer"},"color":{"type":"string"}}},
		"status":{"type":"object","properties":{"replicas":{"type":"integer"}}}}}}},
	{"name":"v2","served":true,"storage":true,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas","labelSelectorPath":".status.selector"}},
		"selectableFields":[{"jsonPath":".spec.size"}],
		"additionalPrinterColumns":[{"name":"Size","type":"integer","jsonPath":".spec.size","priority":1},{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}],
		"schema":{"openAPIV3Schema":{"type":"object","properties":{
			"spec":{"type":"object","properties":{"replicas":{"type":"integer"},"size":{"type":"integer","default":3}}},
			"status":{"type":"object","properties":{"replicas":{"type":"integer"},"selector":{"type":"string"},
				"conditions":{"type":"array","items":{"type":"object","properties":{"type":{"type":"string"},"status":{"type":"string"}}}}}}}}}},
	{"name":"v3alpha1","served":false,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`

func versionOf(t testing.TB, d *Definition, name string) *Version {
	t.Helper()
	i := slices.IndexFunc(d.Versions, func(v Version) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("no version %s", name)
	}
	return &d.Versions[i]
}

func decode(t testing.TB, v *Version, doc string) *Object {
	t.Helper()
	o, _, err := v.Codec.Decode([]byte(doc), false)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func encode(t testing.TB, v *Version, o *Object) string {
	t.Helper()
	b, err := v.Codec.Encode(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDefinitionOfCRD(t *testing.T) {
	d := established(t, []byte(gadgets))
	var names []string
	for _, v := range d.Versions {
		names = append(names, v.Name)
	}
	if got := strings.Join(names, " "); got != "v2 v1 v3alpha1" {
		t.Errorf("versions %s, want the newest stable first", got)
	}
	if w := versionOf(t, d, "v1").Warning; w != "example.com/v1 Gadget is deprecated; use example.com/v2 Gadget" {
		t.Errorf("warning %q", w)
	}
	if versionOf(t, d, "v2").Warning != "" || d.Storage().Name != "v2" || versionOf(t, d, "v1").AsStored || !versionOf(t, d, "v2").AsStored {
		t.Error("versions are mixed up")
	}
	if d.Resource != (api.Resource{Group: "example.com", Name: "gadgets"}) || d.ListKind != "GadgetList" || d.Singular != "gadget" || !d.PinnedUpdate || !d.Custom {
		t.Errorf("%+v", d)
	}
	if sub := versionOf(t, d, "v2").Subresources; len(sub) != 2 || sub["scale"].Kind != "Scale" || sub["scale"].Scale.Path != ".spec.replicas" {
		t.Errorf("subresources %+v", sub)
	}
	if _, has := d.Subresource(versionOf(t, d, "v1"), "status"); has {
		t.Error("v1 has the status of v2")
	}
}

func TestGenerationCoversWhatNormalizes(t *testing.T) {
	base := established(t, []byte(gadgets)).Generation
	for change, same := range map[string]bool{
		`"priority":1`: true, `"default":3`: false, `".spec.size"}]`: false, `"color":{"type":"string"}`: true, `"name":"v2"`: false,
	} {
		changed := strings.Replace(gadgets, change, map[string]string{
			`"priority":1`: `"priority":0`, `"default":3`: `"default":4`, `".spec.size"}]`: `".spec.replicas"}]`,
			`"color":{"type":"string"}`: `"shape":{"type":"string"}`, `"name":"v2"`: `"name":"v4"`,
		}[change], 1)
		if got := established(t, []byte(changed)).Generation; (got == base) != same {
			t.Errorf("changing %s: generation %x, was %x", change, got, base)
		}
	}
}

func TestConvertsByExchangingTheVersion(t *testing.T) {
	d := established(t, []byte(gadgets))
	v1, v2 := versionOf(t, d, "v1"), versionOf(t, d, "v2")
	o := decode(t, v1, `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{"color":"red","replicas":1}}`)
	d.Hooks.Default(o)
	if got, want := encode(t, v2, o), `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},"spec":{"replicas":1,"size":3}}`; got != want {
		t.Errorf("stored %s\nwant   %s", got, want)
	}
	if got, want := encode(t, v1, o), `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{"color":"red","replicas":1}}`; got != want {
		t.Errorf("encoding for another version changed the object: %s", got)
	}
	stored, _, err := v2.Codec.Decode([]byte(encode(t, v2, o)), true)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := encode(t, v1, stored), `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{"replicas":1}}`; got != want {
		t.Errorf("shown %s\nwant  %s", got, want)
	}
}

// TestReversion: what is converted for field ownership stays as it is, with nulls, without defaults, declared or not.
func TestReversion(t *testing.T) {
	d := established(t, []byte(gadgets))
	doc, err := object.Parse([]byte(`{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x","labels":{}},"spec":{"color":"red","replicas":null},"status":null}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Reversion(versionOf(t, d, "v2"), doc)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"labels":{},"name":"x"},"spec":{"color":"red","replicas":null},"status":null}`
	if got := string(object.AppendJSON(nil, got)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if doc.Path("spec", "color").Str() != "red" {
		t.Error("converting changed the document")
	}
}

// TestReversionByWebhook: what a webhook makes of a document is not brought into line with the schema for field ownership,
// and nothing is not sent to it.
func TestReversionByWebhook(t *testing.T) {
	d := established(t, []byte(strings.Replace(gadgets, `"scope":`, `"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"]}},"scope":`, 1)))
	v2 := versionOf(t, d, "v2")
	called := 0
	v2.Codec.(*customVersion).kind.webhook.call = func(_ context.Context, _ webhook.Client, body []byte, _ time.Duration) ([]byte, error) {
		called++
		review, err := object.Parse(body)
		if err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","response":{"uid":%q,"result":{"status":"Success"},"convertedObjects":[
			{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x","labels":{"a":"b"}},"spec":{"color":"blue","replicas":null}}]}}`, review.Path("request", "uid").Str()), nil
	}
	doc, err := object.Parse([]byte(`{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x","generation":3},"spec":{"color":"red"}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Reversion(v2, doc)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"generation":3,"labels":{"a":"b"},"name":"x"},"spec":{"color":"blue","replicas":null}}`
	if got := string(object.AppendJSON(nil, got)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	empty, err := object.Parse([]byte(`{"apiVersion":"example.com/v1","kind":"Gadget"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Reversion(v2, empty); err != nil || called != 1 || string(object.AppendJSON(nil, got)) != `{"apiVersion":"example.com/v2","kind":"Gadget"}` {
		t.Errorf("of nothing: %s, %v, after %d calls", object.AppendJSON(nil, got), err, called)
	}
	// What is stored fits the schema and has the defaults.
	o := decode(t, versionOf(t, d, "v1"), `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x"},"spec":{"color":"red"}}`)
	if got, want := encode(t, v2, o), `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x","labels":{"a":"b"}},"spec":{"size":3}}`; got != want {
		t.Errorf("stored %s\nwant   %s", got, want)
	}
}

func TestWebhookConversionIsRefusedNotFaked(t *testing.T) {
	for conversion, want := range map[string]string{
		`{"strategy":"Webhook"}`: "no supported conversion review versions",
		`{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v7"]}}`:                                                "no supported conversion review versions",
		`{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://127.0.0.1:1/x"}}}`: "conversion webhook for example.com/v1, Kind=Gadget failed: ",
	} {
		d := established(t, []byte(strings.Replace(gadgets, `"scope":`, `"conversion":`+conversion+`,"scope":`, 1)))
		o := decode(t, versionOf(t, d, "v1"), `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"x"}}`)
		if _, err := d.Storage().Codec.Encode(nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", conversion, err)
		}
	}
}

func TestPrepareUpdate(t *testing.T) {
	d := established(t, []byte(gadgets))
	const old = `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x","generation":5,"labels":{"a":"b"}},"spec":{"replicas":1,"size":3},"status":{"replicas":1}}`
	for _, tt := range []struct{ name, version, subresource, new, want string }{
		{"nothing, the default left out", "v2", "", `"metadata":{"name":"x"},"spec":{"replicas":1},"status":{"replicas":9}`,
			`{"generation":5,"status":{"replicas":1}}`},
		{"labels", "v2", "", `"metadata":{"name":"x","labels":{"c":"d"}},"spec":{"replicas":1,"size":3}`, `{"generation":5,"status":{"replicas":1}}`},
		{"spec", "v2", "", `"metadata":{"name":"x"},"spec":{"replicas":2,"size":3}`, `{"generation":6,"status":{"replicas":1}}`},
		{"number", "v2", "", `"metadata":{"name":"x"},"spec":{"replicas":1.0,"size":3}`, `{"generation":6,"status":{"replicas":1}}`},
		{"status", "v2", "status", `"metadata":{"name":"x","labels":{"c":"d"},"generation":9},"spec":{"replicas":7},"status":{"replicas":2}`,
			`{"generation":5,"status":{"replicas":2}}`},
		{"status removed", "v2", "status", `"metadata":{"name":"x"},"spec":{"replicas":7}`, `{"generation":5,"status":null}`},
		{"scale counts as a change of the object", "v2", "scale", `"metadata":{"name":"x"},"spec":{"replicas":4,"size":3},"status":{"replicas":1}`,
			`{"generation":6,"status":{"replicas":1}}`},
		{"in a version without the subresource status is a field", "v1", "", `"metadata":{"name":"x"},"spec":{"replicas":1},"status":{"replicas":2}`,
			`{"generation":6,"status":{"replicas":2}}`},
		{"in another version, unchanged", "v1", "", `"metadata":{"name":"x"},"spec":{"replicas":1},"status":{"replicas":1}`,
			`{"generation":5,"status":{"replicas":1}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := versionOf(t, d, tt.version)
			was, err := toVersion(v.Codec, decode(t, d.Storage(), old))
			if err != nil {
				t.Fatal(err)
			}
			before := encode(t, d.Storage(), was)
			w := &Write{Definition: d, Version: v, Subresource: tt.subresource, Old: was,
				New: decode(t, v, `{"apiVersion":"`+v.APIVersion()+`","kind":"Gadget",`+tt.new+`}`)}
			d.Hooks.Prepare(context.Background(), w)
			got := fmt.Sprintf(`{"generation":%d,"status":%s}`, w.New.Meta.Generation, object.AppendJSON(nil, documentOf(w.New).Get("status")))
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if tt.subresource == "status" {
				if n, _ := documentOf(w.New).Path("spec", "replicas").Int(); n != 1 || w.New.Meta.Labels["a"] != "b" {
					t.Errorf("a write of status changed more: %s", encode(t, v, w.New))
				}
			}
			if after := encode(t, d.Storage(), was); after != before {
				t.Errorf("Old was changed: %s", after)
			}
		})
	}
}

// TestPrepareUnpruned: what an apply or a Scale sets and the schema does not declare is dropped, but raises the generation.
func TestPrepareUnpruned(t *testing.T) {
	d := established(t, []byte(gadgets))
	v := versionOf(t, d, "v2")
	old := decode(t, v, `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x","generation":5},"spec":{"replicas":1,"size":3}}`)
	doc, err := object.Parse([]byte(`{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},"spec":{"replicas":1,"size":3,"stray":true}}`))
	if err != nil {
		t.Fatal(err)
	}
	applied, err := v.Codec.(DocumentCodec).DecodeApplied(doc)
	if err != nil {
		t.Fatal(err)
	}
	w := &Write{Definition: d, Version: v, Old: old, New: applied, Unpruned: true}
	d.Hooks.Prepare(context.Background(), w)
	if got := encode(t, v, w.New); !strings.Contains(got, `"generation":6`) || strings.Contains(got, "stray") {
		t.Errorf("got %s", got)
	}
}

func TestPrepareCreate(t *testing.T) {
	d := established(t, []byte(gadgets))
	for name, want := range map[string]bool{"v1": true, "v2": false} {
		v := versionOf(t, d, name)
		w := &Write{Definition: d, Version: v, New: decode(t, v, `{"apiVersion":"example.com/`+name+`","kind":"Gadget","metadata":{"name":"x","generation":7},"status":{"replicas":2}}`)}
		d.Hooks.Prepare(context.Background(), w)
		if got := documentOf(w.New).Get("status") != nil; got != want || w.New.Meta.Generation != 1 {
			t.Errorf("%s: status kept %v, generation %d", name, got, w.New.Meta.Generation)
		}
	}
}

func TestScale(t *testing.T) {
	d := established(t, []byte(gadgets))
	v := versionOf(t, d, "v2")
	s := v.Subresources["scale"].Scale
	o := decode(t, v, `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},"status":{"replicas":2,"selector":"a=b"}}`)
	if s.Spec(o) != nil || s.Status(o) != 2 || s.Selector(o) != "a=b" {
		t.Errorf("spec %v, status %d, selector %q", s.Spec(o), s.Status(o), s.Selector(o))
	}
	s.SetSpec(o, 4)
	if n := s.Spec(o); n == nil || *n != 4 {
		t.Errorf("after SetSpec: %v", n)
	}
}

func TestScaleIsValidated(t *testing.T) {
	d := established(t, []byte(gadgets))
	for spec, want := range map[string]string{
		`{"spec":{"replicas":-1}}`:         `.spec.replicas: Invalid value: -1: should be a non-negative integer`,
		`{"spec":{"replicas":3000000000}}`: `.spec.replicas: Invalid value: 3000000000: should be less than or equal to 2147483647`,
		`{"spec":{"replicas":1}}`:          ``,
	} {
		v := versionOf(t, d, "v2")
		_, _, err := create(d, v, []byte(`{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},`+spec[1:]))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestKindCannotBePatched(t *testing.T) {
	d := established(t, []byte(gadgets))
	v := versionOf(t, d, "v2")
	w := &Write{Definition: d, Version: v, New: decode(t, v, `{"apiVersion":"example.com/v1","kind":"Q","metadata":{"name":"x"}}`)}
	errs := d.Hooks.Validate(context.Background(), w)
	if got := errs.ToAggregate().Error(); got != `[kind: Invalid value: "Q": must be Gadget, apiVersion: Invalid value: "example.com/v1": must be example.com/v2]` {
		t.Error(got)
	}
}

func TestSelectableFieldsAreIndexes(t *testing.T) {
	d := established(t, []byte(gadgets))
	if len(d.Index) != 1 || d.Index[0].Name != "spec.size" || d.Index[0].Internal {
		t.Fatalf("%+v", d.Index)
	}
	for doc, want := range map[string]string{`"spec":{"size":5}`: "5", `"spec":{}`: ""} {
		o := decode(t, versionOf(t, d, "v2"), `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},`+doc+`}`)
		if got := d.Index[0].Values(o); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", doc, got, want)
		}
	}
}

// TestEmbeddedMetadataIsStorable: what another version lets pass where the stored one has an embedded resource.
func TestEmbeddedMetadataIsStorable(t *testing.T) {
	version := func(name string, stored bool, schema string) string {
		return fmt.Sprintf(`{"name":%q,"served":true,"storage":%t,"schema":{"openAPIV3Schema":{"type":"object","properties":{"part":{"type":"object",
			"x-kubernetes-preserve-unknown-fields":true%s}}}}}`, name, stored, schema)
	}
	d := established(t, []byte(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gadgets.example.com"},
		"spec":{"group":"example.com","scope":"Cluster","names":{"plural":"gadgets","kind":"Gadget"},"versions":[`+
		version("v1", true, `,"x-kubernetes-embedded-resource":true`)+","+version("v2", false, "")+`]}}`))
	for part, want := range map[string]string{
		`{"metadata":{"labels":{"a":"b"}}}`: "",
		`{"metadata":5}`:                    "part.metadata: Invalid value: 5: json: cannot unmarshal number into Go value of type v1.ObjectMeta",
	} {
		o := decode(t, versionOf(t, d, "v2"), `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},"part":`+part+`}`)
		if err := CheckStorable(d, o); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %s", part, err, want)
		}
	}
}

func TestMetadataIsCoerced(t *testing.T) {
	v := versionOf(t, established(t, []byte(gadgets)), "v2")
	const head = `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":`
	for _, tt := range []struct{ name, meta, want, problems, err string }{
		{"plain", `{"name":"x","namespace":"n","uid":"u","generation":2,"creationTimestamp":"2020-01-02T03:04:05Z","labels":{"b":"2","a":"1"},"finalizers":["f/g"]}`,
			`{"name":"x","namespace":"n","uid":"u","generation":2,"creationTimestamp":"2020-01-02T03:04:05Z","labels":{"a":"1","b":"2"},"finalizers":["f/g"]}`, "", ""},
		{"references", `{"name":"x","ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"u","controller":true}]}`,
			`{"name":"x","ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"u","controller":true}]}`, "", ""},
		{"nulls", `{"name":"x","creationTimestamp":null,"labels":null}`, `{"name":"x"}`, "", ""},
		{"unknown", `{"name":"x","foo":1,"ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"u","bar":1}]}`,
			`{"name":"x","ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"u"}]}`,
			`unknown field "metadata.foo", unknown field "metadata.ownerReferences[0].bar"`, ""},
		{"wrong type", `{"name":5}`, "", "", "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"},
		{"wrong type in labels", `{"labels":{"a":1}}`, "", "", "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"},
		{"no object", `[]`, "", "", "json: cannot unmarshal array into Go value of type v1.ObjectMeta"},
		{"escapes", `{"name":"x","annotations":{"a\n":"<\u00e9\"\\>"}}`, `{"name":"x","annotations":{"a\n":"<é\"\\>"}}`, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, problems, err := v.Codec.Decode([]byte(head+tt.meta+`}`), false)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(problems, ", "); got != tt.problems {
				t.Errorf("problems %s, want %s", got, tt.problems)
			}
			if got := encode(t, v, o); got != head+tt.want+`}` {
				t.Errorf("got  %s\nwant %s", got, head+tt.want+`}`)
			}
		})
	}
}

// TestMetadataIsEncodedAsByBuiltIns compares with the codec of typed objects.
func TestMetadataIsEncodedAsByBuiltIns(t *testing.T) {
	yes, grace := true, int64(30)
	at := metav1.NewTime(time.Date(2020, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600)))
	for _, m := range []metav1.ObjectMeta{
		{}, {Name: "x", GenerateName: "y", Namespace: "n", SelfLink: "s", UID: "u", ResourceVersion: "1", Generation: 3},
		{CreationTimestamp: at, DeletionTimestamp: &at, DeletionGracePeriodSeconds: &grace, Labels: map[string]string{"b": "<&>", "a": "\u2028"}, Annotations: map[string]string{"k": "\x00"}},
		{OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "K", Name: "n", UID: "u", Controller: &yes}}, Finalizers: []string{"a", "b"}},
	} {
		got, err := appendMeta(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		var back metav1.ObjectMeta
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		want, err := TypedCodec[metav1.PartialObjectMetadata]{APIVersion: "v1", Kind: "K"}.Encode(nil, &Object{Meta: &m, Value: &metav1.PartialObjectMetadata{ObjectMeta: m}})
		if err != nil {
			t.Fatal(err)
		}
		if w := `{"kind":"K","apiVersion":"v1"`; string(want) != w+`,"metadata":`+string(got)+`}` && string(want) != `{"apiVersion":"v1","kind":"K","metadata":`+string(got)+`}` && !(string(got) == "{}") {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestCells(t *testing.T) {
	d := established(t, []byte(gadgets))
	v2 := versionOf(t, d, "v2")
	doc := []byte(`{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x"},"spec":{"size":5},"status":{"conditions":[{"type":"A","status":"no"},{"type":"Ready","status":"True"}]}}`)
	got, _, err := d.Hooks.Cells(v2, doc)
	if want := []any{"x", int64(5), "True"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if c := v2.Columns; len(c) != 3 || c[0].Name != "Name" || c[1].Priority != 1 || c[2].Description != `Custom resource definition column (in JSONPath format): .status.conditions[?(@.type=="Ready")].status` {
		t.Errorf("columns %+v", c)
	}
	v1 := versionOf(t, d, "v1")
	if c := v1.Columns; len(c) != 2 || c[1].Name != "Age" || c[1].Type != "date" {
		t.Errorf("columns of a version that declares none: %+v", c)
	}
	if got, _, err := d.Hooks.Cells(v1, doc); err != nil || len(got) != 2 || got[1] != "<unknown>" {
		t.Errorf("cells %v, %v", got, err)
	}
}

func TestWarnFinalizers(t *testing.T) {
	w := &Write{Old: &Object{Meta: &metav1.ObjectMeta{Finalizers: []string{"old"}}}, New: &Object{Meta: &metav1.ObjectMeta{
		Finalizers: []string{"old", "a.b/c", "orphan", "plain", "a.b"},
	}}}
	want := []string{
		`metadata.finalizers: "a.b": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers`,
		`metadata.finalizers: "plain": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers`,
	}
	if got := warnFinalizers(context.Background(), w); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestCreatesAreGuarded(t *testing.T) {
	d := established(t, []byte(gadgets))
	w := &Write{Definition: d, New: &Object{Meta: &metav1.ObjectMeta{Name: "x"}}}
	_, err := d.Hooks.Claim(context.Background(), store.View{}, w)
	if api.AsError(err).Status.Code != http.StatusNotFound {
		t.Errorf("without the definition: %v", err)
	}
	w.Old = w.New
	if ws, err := d.Hooks.Claim(context.Background(), store.View{}, w); err != nil || len(ws) > 0 {
		t.Errorf("an update: %v, %v", ws, err)
	}
}

// TestPathsAgainstUpstream compares with the interpreter of kubectl and upstream's API server.
func TestPathsAgainstUpstream(t *testing.T) {
	doc, err := object.Parse([]byte(`{"spec":{"a":"x","n":5,"f":1.5,"b":true,"null":null,"m":{"k":"v","z":[1,2]},"one":{"k":"v"},"l":["p","q"],"a-b":{"c_d":1},"dotted.name":2},
		"status":{"conditions":[{"type":"Other","status":"no","n":1},{"type":"Ready"},{"type":"Ready","status":"True"},{"type":"Ready","status":"later"}],"mixed":[{"type":1},{"type":"Ready","status":"x"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := MetaValue(&metav1.ObjectMeta{Name: "nm", Labels: map[string]string{"app": "w"}})
	if err != nil {
		t.Fatal(err)
	}
	doc.Set("metadata", *meta)
	native := 0
	for _, text := range []string{
		".spec.a", ".spec.n", ".spec.f", ".spec.b", ".spec.null", ".spec.m", ".spec.m.k", ".spec.m.z[1]", ".spec.l", ".spec.l[0]", ".spec.l[7]", ".spec.a.x", ".spec.missing.x",
		".spec['a']", ".spec.a-b.c_d", ".metadata.name", ".metadata.labels.app", ".metadata.labels['app']",
		`.status.conditions[?(@.type=="Ready")].status`, `.status.conditions[?(@.type == "Ready")].status`, `.status.conditions[?(@.type=='Other')].n`, `.status.conditions[?(@.type=="None")].status`,
		`.status.mixed[?(@.type=="Ready")].status`, `.spec[?(@.type=="Ready")].status`, `.spec.l[*]`, `.spec.l[-1]`, `.spec.l[0:1]`, `..k`, `.spec.dotted\.name`, `.status.conditions[?(@.n>0)].type`,
		`.spec.one.*`, `.spec.l[0,1]`, `.status.conditions[0].type`, `.spec.a[0]`, `.status.conditions[*].type`,
	} {
		p := parsePath(text)
		if p.text == "" {
			native++
			part, err := object.Parse(object.NewPick(p.fields(nil)...).Append(nil, object.AppendJSON(nil, doc)))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if got, want := p.first(part), p.first(doc); (got == nil) != (want == nil) || !object.Equal(got, want) {
				t.Errorf("%s: got %s of the fields it looks at, %s of all", text, object.AppendJSON(nil, got), object.AppendJSON(nil, want))
			}
		}
		foreign := &fieldPath{text: text}
		got, want := p.first(doc), foreign.first(doc)
		if (got == nil) != (want == nil) || !object.Equal(got, want) {
			t.Errorf("%s: got %s, upstream %s", text, object.AppendJSON(nil, got), object.AppendJSON(nil, want))
		}
	}
	if native < 20 {
		t.Errorf("only %d of the usual paths are followed in place", native)
	}
}
