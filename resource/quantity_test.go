package resource

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestHugeExponents: a quantity that upstream's library would work on for hours, and this test with it, is refused,
// wherever it is and whatever else is wrong; what only looks like one elsewhere is not.
func TestHugeExponents(t *testing.T) {
	codec := TypedCodec[corev1.Pod]{APIVersion: "v1", Kind: "Pod"}
	requests := func(q string) string {
		return `{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":` + q + `}}}]}}`
	}
	const wanted = "the exponent must be between -999 and 999"
	for _, tt := range []struct {
		in      string
		refused bool
	}{
		{requests(`"1e-2000000000"`), true},
		{requests(`"1e9999999999"`), true},
		{requests(`" 1E+00001000 "`), true},
		{requests(`1e-2000000000`), true},
		{requests(`"e-2000000000"`), true},
		{requests(`"-.5e-2000000000"`), true},
		{strings.Replace(requests(`"1e-2000000000"`), `"metadata":{`, `"nope":1,"metadata":{"creationTimestamp":"yesterday","generation":"x",`, 1), true},
		{strings.Replace(requests(`"1e-2000000000"`), `{"name":"c"`, `{"name":"c","name":5,"ports":7`, 1), true},
		{`{"spec":{"volumes":[{"emptyDir":{"sizeLimit":"1e-2000000000"}}]}}`, true},
		{requests(`"1e3"`), false},
		{requests(`"1e-999"`), false},
		{requests(`"1e0000000009"`), false},
		{`{"metadata":{"name":"p","labels":{"commit":"1e20000"}},"spec":{"nodeName":"1e20000"}}`, false},
	} {
		_, _, err := codec.Decode([]byte(tt.in), false)
		if refused := err != nil && strings.Contains(err.Error(), wanted); refused != tt.refused || !refused && err != nil {
			t.Errorf("%s: %v", tt.in, err)
		}
	}
	service := TypedCodec[corev1.Service]{APIVersion: "v1", Kind: "Service"}
	if _, _, err := service.Decode([]byte(`{"metadata":{"name":"p"},"spec":{"clusterIP":"1e20000"}}`), false); err != nil {
		t.Errorf("a kind without quantities: %v", err)
	}
}

func TestMayHoldHuge(t *testing.T) {
	for in, want := range map[string]bool{
		`{"a":"1e1000"}`: true, `{"a":1e1000}`: true, `{"a":[1e1000]}`: true, `{"a":" .5E-20000 "}`: true, `{"a": e2000 }`: true, `{"a":"e2000"}`: true,
		`{"a":"1e100"}`: false, `{"uid":"5e123456-0f00-4000-8000-00000000000a"}`: false, `{"a":"x1e1000"}`: false, `{"a":"1e1000x"}`: false,
		`{"uid":"5e123456-0f00","a":"1e1000"}`: true,
	} {
		if got := mayHoldHuge([]byte(in)); got != want {
			t.Errorf("%s: %t", in, got)
		}
	}
}

func TestHugeExponentsInMessages(t *testing.T) {
	quantity := func(text string) []byte {
		// As a client would send it: Quantity has no way to hold such a text unread.
		return append([]byte{1<<3 | 2, byte(len(text))}, text...)
	}
	field := func(inner []byte) []byte {
		return append(append([]byte{2<<3 | 2, byte(len(inner))}, inner...), "2\x01"...)
	}
	for text, refused := range map[string]bool{
		"1e-2000000000": true, "1e2000": true, strings.Repeat("1", 40) + "e-20000": true, "1e200": false, "1Ki": false, "x1e20000": false,
	} {
		if err := CheckMessage(field(quantity(text))); (err != nil) != refused {
			t.Errorf("%s: %v", text, err)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"commit": "1e20000", "1e20000": "x"}},
		Spec: corev1.PodSpec{NodeName: "1e20000", Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "A", Value: "1e20000"}},
			Args: []string{"1e20000"}, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1e3")}}}}}}
	data, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckMessage(data); err != nil {
		t.Errorf("a pod whose texts only look like quantities: %v", err)
	}
}
