package resource

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/object"
)

func TestCloneSharesNothing(t *testing.T) {
	typed, _, err := TypedCodec[corev1.ConfigMap]{APIVersion: "v1", Kind: "ConfigMap"}.Decode(
		[]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","labels":{"a":"b"}},"data":{"k":"v"}}`), false)
	if err != nil {
		t.Fatal(err)
	}
	c := typed.Clone()
	c.Meta.Labels["a"] = "changed"
	c.Value.(*corev1.ConfigMap).Data["k"] = "changed"
	if have := typed.Value.(*corev1.ConfigMap); have.Labels["a"] != "b" || have.Data["k"] != "v" {
		t.Errorf("a clone's change shows in the original: %+v", have)
	}
	if c.Meta != &c.Value.(*corev1.ConfigMap).ObjectMeta {
		t.Error("the clone's Meta is not its Value's")
	}

	doc, err := object.Parse([]byte(`{"spec":{"items":[{"n":1}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	custom := &Object{Meta: typed.Meta, Value: doc}
	c = custom.Clone()
	c.Meta.Labels["a"] = "changed"
	c.Value.(*object.Value).Path("spec", "items").Index(0).Set("n", object.NewInt(2))
	if n, _ := doc.Path("spec", "items").Index(0).Get("n").Int(); n != 1 || typed.Meta.Labels["a"] != "b" {
		t.Errorf("a clone's change shows in the original: n is %d, metadata %+v", n, typed.Meta)
	}
}
