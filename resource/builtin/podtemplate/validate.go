package podtemplate

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// ValidateTemplate checks a workload's pod template, which must have been defaulted.
func ValidateTemplate(p *field.Path, t *corev1.PodTemplateSpec) field.ErrorList {
	ap, sp := p.Child("annotations"), p.Child("spec")
	errs := rules.Labels(p.Child("labels"), t.Labels)
	errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, ap)...)
	errs = append(errs, ValidateAnnotations(ap, t.Annotations, &t.Spec)...)
	errs = append(errs, validateSpec(sp, &t.Spec, nil)...)
	errs = append(errs, validateSeccompMatch(sp, t.Annotations, &t.Spec)...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(sp.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidateCreate checks the annotations and the spec of a Pod about to be made, which must have been defaulted.
func ValidateCreate(p *corev1.Pod) field.ErrorList {
	sp := field.NewPath("spec")
	errs := ValidatePod(p)
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(sp.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if p.Spec.NodeName != "" && len(p.Spec.SchedulingGates) != 0 {
		errs = append(errs, field.Forbidden(sp.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	errs = append(errs, validateSeccompMatch(sp, p.Annotations, &p.Spec)...)
	return append(errs, validateAppArmorMatch(sp, p)...)
}

// ValidatePod checks the annotations and the spec of a Pod, new or updated.
func ValidatePod(p *corev1.Pod) field.ErrorList {
	sp := field.NewPath("spec")
	errs := ValidateAnnotations(field.NewPath("metadata", "annotations"), p.Annotations, &p.Spec)
	errs = append(errs, validateSpec(sp, &p.Spec, p)...)
	if p.Spec.ServiceAccountName == "" {
		for i := range p.Spec.Volumes {
			if v := p.Spec.Volumes[i].Projected; v != nil {
				errs = append(errs, noTokens(sp.Child("volumes").Index(i).Child("projected", "sources"), v)...)
			}
		}
	}
	errs = append(errs, trimmedImages(sp, "containers", p.Spec.Containers)...)
	return append(errs, trimmedImages(sp, "initContainers", p.Spec.InitContainers)...)
}

func noTokens(p *field.Path, v *corev1.ProjectedVolumeSource) field.ErrorList {
	var errs field.ErrorList
	for i := range v.Sources {
		if v.Sources[i].ServiceAccountToken != nil {
			errs = append(errs, field.Forbidden(p.Index(i).Child("serviceAccountToken"), "must not be specified when serviceAccountName is not set"))
		}
	}
	return errs
}

// validateSpec checks a pod spec. pod is the Pod it belongs to, nil in a template, which is judged more leniently.
func validateSpec(p *field.Path, s *corev1.PodSpec, pod *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	name := ""
	if pod != nil {
		name = pod.Name
	}
	vols, errs := validateVolumes(p.Child("volumes"), s.Volumes, name)
	ctx := &containerContext{volumes: vols, grace: deref(s.TerminationGracePeriodSeconds)}
	if s.TerminationGracePeriodSeconds == nil {
		errs = append(errs, field.Required(p.Child("terminationGracePeriodSeconds"), ""))
	}
	errs = append(errs, ctx.containers(p.Child("containers"), s.Containers)...)
	if len(s.InitContainers) > 0 {
		errs = append(errs, ctx.initContainers(p.Child("initContainers"), s)...)
	}
	if len(s.EphemeralContainers) > 0 {
		errs = append(errs, ctx.ephemeralContainers(p.Child("ephemeralContainers"), s)...)
	}
	if s.HostNetwork {
		errs = append(errs, validateHostPorts(p.Child("containers"), s.Containers, pod != nil)...)
	}
	errs = append(errs, requiredEnum(p, "restartPolicy", s.RestartPolicy, corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, requiredEnum(p, "dnsPolicy", s.DNSPolicy, corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	if len(s.NodeSelector) > 0 {
		errs = append(errs, rules.Labels(p.Child("nodeSelector"), s.NodeSelector)...)
	}
	if s.SecurityContext != nil {
		errs = append(errs, validatePodSecurity(p.Child("securityContext"), s)...)
	}
	if s.Affinity != nil {
		errs = append(errs, validateAffinity(p.Child("affinity"), s.Affinity)...)
	}
	if s.DNSConfig != nil || s.DNSPolicy == corev1.DNSNone {
		errs = append(errs, validateDNSConfig(p.Child("dnsConfig"), s)...)
	}
	errs = append(errs, validateGates(p, s)...)
	if len(s.TopologySpreadConstraints) > 0 {
		errs = append(errs, validateSpread(p.Child("topologySpreadConstraints"), s.TopologySpreadConstraints)...)
	}
	errs = append(errs, validateHostProcess(p, s)...)
	errs = append(errs, validateNames(p, s)...)
	errs = append(errs, ValidateTolerations(p.Child("tolerations"), s.Tolerations)...)
	if len(s.HostAliases) > 0 {
		errs = append(errs, validateHostAliases(p.Child("hostAliases"), s.HostAliases)...)
	}
	if s.PreemptionPolicy != nil {
		errs = append(errs, requiredEnum(p, "preemptionPolicy", *s.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	if s.Overhead != nil {
		errs = append(errs, validateResources(p.Child("overhead"), &corev1.ResourceRequirements{Limits: s.Overhead})...)
	}
	return append(errs, validateOS(p, s)...)
}

// validateNames checks the names a spec refers to and the two numbers beside them, in upstream's order.
func validateNames(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	subdomain := func(name, value string) {
		if value != "" {
			if msgs := rules.DNSSubdomain(value); msgs != nil {
				errs = append(errs, rules.Invalid(p, value, msgs, name)...)
			}
		}
	}
	label := func(name, value string) {
		if value != "" {
			if msgs := rules.DNSLabel(value); msgs != nil {
				errs = append(errs, rules.Invalid(p, value, msgs, name)...)
			}
		}
	}
	subdomain("serviceAccountName", s.ServiceAccountName)
	subdomain("nodeName", s.NodeName)
	if s.ActiveDeadlineSeconds != nil {
		errs = append(errs, rules.Range(p, *s.ActiveDeadlineSeconds, 1, math.MaxInt32, "activeDeadlineSeconds")...)
	}
	label("hostname", s.Hostname)
	label("subdomain", s.Subdomain)
	subdomain("priorityClassName", s.PriorityClassName)
	if s.RuntimeClassName != nil {
		errs = append(errs, rules.Invalid(p, *s.RuntimeClassName, rules.DNSSubdomain(*s.RuntimeClassName), "runtimeClassName")...)
	}
	return errs
}

// requiredEnum requires of a child of p one of the given values, and says so differently when there is none at all.
func requiredEnum[T ~string](p *field.Path, child string, v T, allowed ...T) field.ErrorList {
	if v == "" {
		return field.ErrorList{field.Required(p.Child(child), "")}
	}
	return rules.Enum(p, child, v, allowed...)
}
