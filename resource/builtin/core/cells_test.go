package core

import (
	"encoding/json"
	"math/rand"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"pintle.dev/resource"
)

// The fields that cells are said to look at must be all they look at.
func TestPodCellFields(t *testing.T) {
	own := func(serializer.CodecFactory) []any {
		return []any{
			func(q *quantity.Quantity, c randfill.Continue) {
				*q = *quantity.NewQuantity(c.Int63n(9), quantity.DecimalSI)
			},
			func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(9)) },
		}
	}
	fill := fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, own), rand.NewSource(1), serializer.NewCodecFactory(runtime.NewScheme()))
	fill.NilChance(.4).NumElements(0, 3)
	d, now := Pods(), metav1.Now()
	seen := map[any]bool{}
	for n := range 100 {
		var filled, whole corev1.Pod
		for _, part := range []any{&filled.ObjectMeta, &filled.Status, &filled.Spec.Containers, &filled.Spec.InitContainers, &filled.Spec.ReadinessGates, &filled.Spec.NodeName} {
			fill.Fill(part)
		}
		// What is random hardly ever meets: names of containers, kinds of conditions.
		always := corev1.ContainerRestartPolicyAlways
		for i := range filled.Spec.InitContainers {
			filled.Spec.InitContainers[i].RestartPolicy = []*corev1.ContainerRestartPolicy{&always, nil}[i%2]
		}
		filled.DeletionTimestamp = []*metav1.Time{nil, nil, &now}[n%3]
		for i := range filled.Status.InitContainerStatuses {
			if i < len(filled.Spec.InitContainers) {
				filled.Status.InitContainerStatuses[i].Name = filled.Spec.InitContainers[i].Name
			}
		}
		for i := range filled.Status.Conditions {
			filled.Status.Conditions[i].Type = []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.PodReady}[i%3]
		}
		doc, err := json.Marshal(&filled)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(doc, &whole); err != nil {
			t.Fatal(err)
		}
		cells, conditions, err := d.Hooks.Cells(d.Storage(), doc)
		if err != nil {
			t.Fatal(err)
		}
		if want := podCells(&whole); !reflect.DeepEqual(cells, want) {
			t.Fatalf("cells %q, of the whole pod %q: %s", cells, want, doc)
		}
		if want := podRowConditions(&whole); !reflect.DeepEqual(conditions, want) {
			t.Fatalf("conditions %v, of the whole pod %v", conditions, want)
		}
		seen[cells[2]] = true
	}
	if len(seen) < 10 {
		t.Errorf("the pods have only %d states", len(seen))
	}
}

func TestDataCells(t *testing.T) {
	for _, c := range []struct {
		d    *resource.Definition
		doc  string
		want []any
	}{
		{ConfigMaps(), `{"metadata":{"name":"a"},"data":{"k":"{,","l":""},"binaryData":{"m":"AA=="}}`, []any{"a", int64(3), "<unknown>"}},
		{ConfigMaps(), `{"metadata":{"name":"a","creationTimestamp":null}}`, []any{"a", int64(0), "<unknown>"}},
		{Secrets(), `{"metadata":{"name":"s"},"data":{"k":"AA=="},"type":"Opaque"}`, []any{"s", "Opaque", int64(1), "<unknown>"}},
	} {
		got, _, err := c.d.Hooks.Cells(c.d.Storage(), []byte(c.doc))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.doc, got, err, c.want)
		}
	}
}
