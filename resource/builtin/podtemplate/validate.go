package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// ValidateTemplate checks a workload's pod template.
func ValidateTemplate(p *field.Path, t *corev1.PodTemplateSpec) field.ErrorList {
	errs := rules.Labels(p.Child("labels"), t.Labels)
	errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, p.Child("annotations"))...)
	return append(errs, Validate(p.Child("spec"), &t.Spec)...)
}

// Validate checks a defaulted pod spec.
func Validate(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	if len(s.Containers) == 0 {
		errs = append(errs, field.Required(p.Child("containers"), ""))
	}
	return errs
}
