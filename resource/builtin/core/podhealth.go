package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// validateResourceHealth checks what statuses of containers say about the health of the devices they were given: each must
// be of a resource that the container requests, and named once. Statuses of containers the pod has not are let pass.
func validateResourceHealth(p *field.Path, statuses []corev1.ContainerStatus, containers []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		c := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == statuses[i].Name })
		for j, r := range statuses[i].AllocatedResourcesStatus {
			at := p.Index(i).Child("allocatedResourcesStatus").Index(j)
			if c >= 0 {
				errs = append(errs, validateAllocatedName(at.Child("name"), r.Name, &containers[c].Resources)...)
			}
			seen := sets.New[corev1.ResourceID]()
			for k, health := range r.Resources {
				at := at.Child("resources").Index(k)
				errs = append(errs, rules.Enum(at, "health", health.Health,
					corev1.ResourceHealthStatusHealthy, corev1.ResourceHealthStatusUnhealthy, corev1.ResourceHealthStatusUnknown)...)
				if seen.Has(health.ResourceID) {
					errs = append(errs, field.Duplicate(at.Child("resourceID"), health.ResourceID))
				}
				seen.Insert(health.ResourceID)
				if m := health.Message; m != nil && *m == "" {
					errs = append(errs, field.Required(at.Child("message"), "must be non-empty if specified"))
				} else if m != nil && len(*m) > corev1.ResourceHealthMessageMaxLength {
					errs = append(errs, field.TooLong(at.Child("message"), *m, corev1.ResourceHealthMessageMaxLength))
				}
			}
		}
	}
	return errs
}

func validateAllocatedName(p *field.Path, name corev1.ResourceName, r *corev1.ResourceRequirements) field.ErrorList {
	claim, isClaim := strings.CutPrefix(string(name), "claim:")
	if !isClaim {
		if _, ok := r.Requests[name]; ok {
			return nil
		}
		return field.ErrorList{field.Invalid(p, rules.Verbatim(name), "must match one of the container's resource requests")}
	}
	for _, c := range r.Claims {
		if claim == c.Name && c.Request == "" || claim == c.Name+"/"+c.Request {
			return nil
		}
	}
	return field.ErrorList{field.Invalid(p, rules.Verbatim(name), "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty")}
}
