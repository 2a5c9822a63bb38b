package resource

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/object"
	"pintle.dev/webhook"
)

// FuzzConversionAnswer: whatever a webhook answers, an object that comes of it is of the version that was asked for and
// has the metadata of the one that was sent, but for labels and annotations.
func FuzzConversionAnswer(f *testing.F) {
	const whole = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","response":{"uid":"$UID","result":{"status":"Success"},"convertedObjects":[` +
		`{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"x","namespace":"n","uid":"u","labels":{"a":"b"},"finalizers":["f/g"]},"spec":{"replicas":1,"lost":true}}]}}`
	f.Add(whole)
	f.Add(strings.Replace(whole, `"labels":{"a":"b"}`, `"labels":null,"annotations":{"k":1}`, 1))
	f.Add(strings.Replace(whole, `"spec":{`, `"spec":[{`, 1))
	f.Add(strings.Replace(whole, `"name":"x"`, `"name":"y"`, 1))
	f.Add(`{"response":null}`)
	f.Add(`[]`)
	f.Add("\xff")
	var answer string
	d := established(f, []byte(strings.Replace(gadgets, `"scope":`, `"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://x"}}},"scope":`, 1)))
	v2 := versionOf(f, d, "v2").Codec.(*customVersion)
	v2.kind.webhook.call = func(_ context.Context, _ webhook.Client, body []byte, _ time.Duration) ([]byte, error) {
		review, err := object.Parse(body)
		if err != nil {
			f.Fatalf("%v: %s", err, body)
		}
		return []byte(strings.Replace(answer, "$UID", review.Path("request", "uid").Str(), 1)), nil
	}
	f.Fuzz(func(t *testing.T, a string) {
		answer = a
		doc, err := object.Parse([]byte(`{"apiVersion":"example.com/v1","kind":"Gadget","spec":{"color":"red"}}`))
		if err != nil {
			t.Fatal(err)
		}
		o := &Object{Meta: &metav1.ObjectMeta{Name: "x", Namespace: "n", UID: "u", Generation: 7, ResourceVersion: "5"}, Value: doc}
		before := string(object.AppendJSON(nil, doc))
		out, err := v2.Convert([]*Object{o})
		if after := string(object.AppendJSON(nil, doc)); after != before || o.Meta.Labels != nil {
			t.Fatalf("what was sent has changed to %s", after)
		}
		if err != nil {
			if a == whole {
				t.Fatal(err)
			}
			return
		}
		m, got := out[0].Meta, documentOf(out[0])
		if got.Get("apiVersion").Str() != "example.com/v2" || got.Get("kind").Str() != "Gadget" || got.Get("metadata") != nil || got.Path("spec", "lost") != nil {
			t.Errorf("converted to %s", object.AppendJSON(nil, got))
		}
		if m.Name != "x" || m.Namespace != "n" || m.UID != "u" || m.Generation != 7 || m.ResourceVersion != "5" || len(m.Finalizers) > 0 {
			t.Errorf("converted metadata %+v", m)
		}
	})
}
