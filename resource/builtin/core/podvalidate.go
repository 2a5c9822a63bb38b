package core

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
)

func validatePod(_ context.Context, w *resource.Write, p, old *corev1.Pod) field.ErrorList {
	if p == nil || w.Subresource != "" {
		return nil
	}
	return podtemplate.Validate(field.NewPath("spec"), &p.Spec)
}
