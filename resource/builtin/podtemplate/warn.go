package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// WarnTemplate comments on a pod template.
func WarnTemplate(p *field.Path, t *corev1.PodTemplateSpec) []string { return nil }

// WarnPod comments on a pod.
func WarnPod(pod, old *corev1.Pod) []string { return nil }
