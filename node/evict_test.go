package node

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestExceeds(t *testing.T) {
	mebi := resource.MustParse("1Mi")
	volume := func(e corev1.EmptyDirVolumeSource) []corev1.Volume {
		return []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &e}}}
	}
	container := func(name, limit string) corev1.Container {
		c := corev1.Container{Name: name}
		if limit != "" {
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(limit)}
		}
		return c
	}
	for _, tt := range []struct {
		name    string
		spec    corev1.PodSpec
		written Written
		want    string
		looked  bool // whether there is anything to look for
	}{
		{"no limits", corev1.PodSpec{Volumes: volume(corev1.EmptyDirVolumeSource{}), Containers: []corev1.Container{container("a", "")}},
			Written{Volumes: map[string]int64{"v": 1 << 40}}, "", false},
		{"in memory, where the file system is as small", corev1.PodSpec{Volumes: volume(corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &mebi})},
			Written{}, "", false},
		{"volume at its limit", corev1.PodSpec{Volumes: volume(corev1.EmptyDirVolumeSource{SizeLimit: &mebi})},
			Written{Volumes: map[string]int64{"v": 1 << 20}}, "", true},
		{"volume above its limit", corev1.PodSpec{Volumes: volume(corev1.EmptyDirVolumeSource{SizeLimit: &mebi})},
			Written{Volumes: map[string]int64{"v": 1<<20 + 1}}, `Usage of EmptyDir volume "v" exceeds the limit "1Mi". `, true},
		{"a container", corev1.PodSpec{Containers: []corev1.Container{container("a", "1Mi"), container("b", "2Mi")}},
			Written{Containers: map[string]int64{"a": 2 << 20}}, `Container a exceeded its local ephemeral storage limit "1Mi". `, true},
		{"all together, volumes included", corev1.PodSpec{Volumes: volume(corev1.EmptyDirVolumeSource{}), Containers: []corev1.Container{container("a", "1Mi"), container("b", "2Mi")}},
			Written{Volumes: map[string]int64{"v": 2 << 20}, Containers: map[string]int64{"a": 1 << 20, "b": 1 << 20}},
			"Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. ", true},
	} {
		pod := &corev1.Pod{Spec: tt.spec}
		if got := exceeds(pod, tt.written); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if got := limited(pod); got != tt.looked {
			t.Errorf("%s: looked for limits: %t, want %t", tt.name, got, tt.looked)
		}
	}
}

// TestDoomedPodFails has a container that ends well when its pod's time is over: the pod has failed all the same, but not
// before the container has ended.
func TestDoomedPodFails(t *testing.T) {
	w := newWorld(t, func(p *corev1.Pod) {
		s := int64(60)
		p.Spec.ActiveDeadlineSeconds, p.Spec.RestartPolicy = &s, corev1.RestartPolicyNever
	})
	w.settle()
	after := w.now.Add(time.Minute)
	if s := Status(w.want, w.have, after); s.Phase != corev1.PodRunning || s.Reason != "" {
		t.Errorf("while its container runs: %s %s", s.Phase, s.Reason)
	}
	w.end("c", 0)
	if s := Status(w.want, w.have, after); s.Phase != corev1.PodFailed || s.Reason != "DeadlineExceeded" {
		t.Errorf("when its container has ended: %s %s", s.Phase, s.Reason)
	}
}
