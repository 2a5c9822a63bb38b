package podtemplate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// plainResources reports requirements that nothing can be wrong with: cpu and memory that is asked for within limits.
func plainResources(r *corev1.ResourceRequirements) bool {
	for name, q := range r.Limits {
		if name != corev1.ResourceCPU && name != corev1.ResourceMemory || q.Sign() < 0 {
			return false
		}
	}
	for name, q := range r.Requests {
		if name != corev1.ResourceCPU && name != corev1.ResourceMemory || q.Sign() < 0 {
			return false
		}
		if limit, ok := r.Limits[name]; ok && q.Cmp(limit) > 0 {
			return false
		}
	}
	return true
}

func validateResources(p *field.Path, r *corev1.ResourceRequirements) field.ErrorList {
	var errs field.ErrorList
	compute, hugepages := false, false
	amounts := func(p *field.Path, l corev1.ResourceList) {
		for _, name := range slices.Sorted(maps.Keys(l)) {
			compute = compute || name == corev1.ResourceCPU || name == corev1.ResourceMemory
			hugepages = hugepages || isHugePages(name)
			errs = append(errs, validateAmount(p.Key(string(name)), name, l[name])...)
		}
	}
	limits, requests := p.Child("limits"), p.Child("requests")
	amounts(limits, r.Limits)
	amounts(requests, r.Requests)
	for _, name := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[name]
		limit, limited := r.Limits[name]
		switch {
		case limited && !overcommitted(name) && request.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(requests, request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String())))
		case limited && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(requests, request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		case !limited && !overcommitted(name):
			errs = append(errs, field.Required(limits, "Limit must be set for non overcommitable resources"))
		}
	}
	if hugepages && !compute {
		errs = append(errs, field.Forbidden(p, "HugePages require cpu or memory"))
	}
	return errs
}

func validateAmount(p *field.Path, name corev1.ResourceName, q resource.Quantity) field.ErrorList {
	errs := validateResourceName(p, name)
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(p, q.String(), rules.NotNegative))
	}
	if countable(name) && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(p, rules.Dump(q), "must be an integer"))
	}
	if isHugePages(name) && !divisible(name, q) {
		errs = append(errs, field.Invalid(p, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), name)))
	}
	return errs
}

func validateResourceName(p *field.Path, name corev1.ResourceName) field.ErrorList {
	if name == corev1.ResourceCPU || name == corev1.ResourceMemory {
		return nil
	}
	shown := rules.Verbatim(name)
	qualified := strings.Contains(string(name), "/")
	errs := rules.Invalid(p, shown, rules.QualifiedName(string(name)))
	if errs == nil && !qualified && !slices.Contains(standardResources, name) && !isHugePages(name) &&
		!strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix) {
		errs = append(errs, field.Invalid(p, shown, "must be a standard resource type or fully qualified"))
	}
	switch {
	case !qualified && name != corev1.ResourceEphemeralStorage && !isHugePages(name):
		errs = append(errs, field.Invalid(p, shown, "must be a standard resource for containers"))
	case qualified && !isNative(name) && !isExtended(name):
		errs = append(errs, field.Invalid(p, shown, "doesn't follow extended resource name standard"))
	}
	return errs
}

// standardResources are the unqualified names that mean something somewhere, if not in a container.
var standardResources = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage, corev1.ResourceRequestsStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
	corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
	corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// isNative reports a resource of Kubernetes' own.
func isNative(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// isExtended reports a resource of someone else's that a quota could be set on.
func isExtended(name corev1.ResourceName) bool {
	if isNative(name) || strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return rules.QualifiedName(corev1.DefaultResourceRequestsPrefix+string(name)) == nil
}

// overcommitted reports a resource of which less may be requested than is allowed.
func overcommitted(name corev1.ResourceName) bool { return isNative(name) && !isHugePages(name) }

// countable reports a resource that comes in whole pieces.
func countable(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory:
		return false
	case corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	return isExtended(name)
}

// divisible reports whether q is a whole number of the pages that the resource's name gives the size of.
func divisible(name corev1.ResourceName, q resource.Quantity) bool {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	if err != nil || size.Sign() <= 0 || size.MilliValue()%1000 != 0 {
		return false
	}
	return q.Value()%size.Value() == 0
}
