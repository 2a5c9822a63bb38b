package node

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkStep is a running pod of which everything has been reported: what every look at a pod costs at least.
func BenchmarkStep(b *testing.B) {
	now := time.Now()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "example/bench:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
		}},
		VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
	}}}}
	have := PodState{
		UID: "u", Namespace: "ns", Name: "p", Volumes: true, Host: Host{IPs: []string{"10.0.0.1"}},
		Sandbox:    &Sandbox{ID: "s", Ready: true, Created: now, IPs: []string{"10.1.0.1"}},
		Containers: []Container{{Name: "main", Probed: Probed{"c", Success, Success, Success}, Instances: []Instance{{ID: "c", Image: "example/bench:1", Phase: Running, Hash: Hash(&pod.Spec.Containers[0]), Created: now, Started: now}}}},
	}
	pod.Status = *Status(pod, have, now)
	b.ReportAllocs()
	for b.Loop() {
		if as := Step(pod, have, now); len(as) != 0 {
			b.Fatal(as)
		}
	}
}
