package resource

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is written of an object of which only metadata and status changed is what would be written of all of it.
func TestEncodeStatus(t *testing.T) {
	codec := TypedCodec[corev1.Pod]{APIVersion: "v1", Kind: "Pod"}
	encoded := func(p *corev1.Pod) string {
		t.Helper()
		b, err := codec.Encode(nil, &Object{Meta: &p.ObjectMeta, Value: p})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, stored := range map[string]*corev1.Pod{
		"empty": {},
		"full": {
			ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}},
			Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{
				Name: "c", Args: []string{`<"metadata":{"status"}>`},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("1000m")}},
			}}},
			Status: corev1.PodStatus{Phase: corev1.PodPending},
		},
	} {
		before := encoded(stored)
		next := stored.DeepCopy()
		next.Labels = map[string]string{"a": "c", "d": "<&>"}
		next.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, Message: "}", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, LastTransitionTime: metav1.NewTime(time.Unix(1e9, 0))}},
		}
		got, err := codec.EncodeStatus([]byte("before"), &Object{Meta: &next.ObjectMeta, Value: next}, []byte(before))
		if err != nil {
			t.Fatal(err)
		}
		if want := "before" + encoded(next); string(got) != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}
