package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// settleFamilies fills in the IP families of a Service and its policy about them, in a cluster that has IPv4 alone, and
// refuses what such a cluster cannot serve (KEP-563).
func settleFamilies(s *corev1.ServiceSpec, old *corev1.Service, spec *field.Path) field.ErrorList {
	anyFamily := isHeadless(s) && len(s.Selector) == 0 // nobody is known to stand behind it
	if s.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		switch {
		case old != nil && old.Spec.IPFamilyPolicy != nil:
			policy = *old.Spec.IPFamilyPolicy
		case anyFamily:
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		s.IPFamilyPolicy = &policy
	}
	if errs := validateClusterIPs(s, old, spec); len(errs) > 0 {
		return errs
	}
	if errs := matchFamilies(s, old, spec); len(errs) > 0 {
		return errs
	}
	if anyFamily {
		if len(s.IPFamilies) == 0 {
			s.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
		}
		if len(s.IPFamilies) == 1 && *s.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
			s.IPFamilies = append(s.IPFamilies, other(s.IPFamilies[0]))
		}
		return nil
	}
	var errs field.ErrorList
	if p := *s.IPFamilyPolicy; p == corev1.IPFamilyPolicyRequireDualStack {
		errs = append(errs, field.Invalid(spec.Child("ipFamilyPolicy"), p, "this cluster is not configured for dual-stack services"))
	}
	for i, f := range s.IPFamilies {
		if f != corev1.IPv4Protocol {
			errs = append(errs, field.Invalid(spec.Child("ipFamilies").Index(i), f, "not configured on this cluster"))
		}
	}
	if len(errs) == 0 {
		s.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	return errs
}

// matchFamilies makes the families those of the addresses, and holds both against the policy.
func matchFamilies(s *corev1.ServiceSpec, old *corev1.Service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	policy := spec.Child("ipFamilyPolicy")
	invalid := func(format string, args ...any) {
		errs = append(errs, field.Invalid(policy, *s.IPFamilyPolicy, fmt.Sprintf(format, args...)))
	}
	single := *s.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack
	if old != nil {
		was := &old.Spec
		switch {
		case single:
			// Who asks for one family and repeats the two there were means the first.
			if len(s.ClusterIPs) > 1 && slices.Equal(s.ClusterIPs, was.ClusterIPs) {
				s.ClusterIPs = s.ClusterIPs[:1]
			}
			if len(s.IPFamilies) > 1 && slices.Equal(s.IPFamilies, was.IPFamilies) {
				s.IPFamilies = s.IPFamilies[:1]
			}
		default:
			const release = "must be 'SingleStack' to release the secondary %s"
			if n := len(s.ClusterIPs); n > 0 && n < len(was.ClusterIPs) {
				invalid(release, "cluster IP")
			}
			if n := len(s.IPFamilies); n > 0 && n < len(was.IPFamilies) {
				invalid(release, "IP family")
			}
		}
	}
	if single {
		const several = "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified"
		if len(s.ClusterIPs) == 2 {
			invalid(several, "cluster IPs")
		}
		if len(s.IPFamilies) == 2 {
			invalid(several, "IP families")
		}
	}
	for i, ip := range s.ClusterIPs {
		switch {
		case ip == corev1.ClusterIPNone || i < len(s.IPFamilies):
		case netutils.IsIPv6String(ip):
			errs = append(errs, field.Invalid(spec.Child("clusterIPs").Index(i), s.ClusterIPs, "IPv6 is not configured on this cluster"))
		default:
			s.IPFamilies = append(s.IPFamilies, corev1.IPv4Protocol)
		}
	}
	return errs
}

func other(f corev1.IPFamily) corev1.IPFamily {
	if f == corev1.IPv4Protocol {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

// validateClusterIPs checks addresses, families and policy as far as this needs no knowledge of the cluster. Addresses
// that old has are not looked at again.
func validateClusterIPs(s *corev1.ServiceSpec, old *corev1.Service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	ips, families := spec.Child("clusterIPs"), spec.Child("ipFamilies")
	switch {
	case s.ClusterIP == "" && len(s.ClusterIPs) > 0:
		errs = append(errs, field.Invalid(ips, s.ClusterIPs, "must be empty when `clusterIP` is not specified"))
	case s.ClusterIP != "" && len(s.ClusterIPs) == 0:
		errs = append(errs, field.Required(ips, ""))
	case s.ClusterIP != "" && s.ClusterIPs[0] != s.ClusterIP:
		errs = append(errs, field.Invalid(ips, s.ClusterIPs, "first value must match `clusterIP`"))
	}
	seen := sets.New[corev1.IPFamily]()
	for i, f := range s.IPFamilies {
		errs = append(errs, supported(families.Index(i), f, "IPv4", "IPv6")...)
		if seen.Has(f) {
			errs = append(errs, field.Duplicate(families.Index(i), f))
		}
		seen.Insert(f)
	}
	errs = append(errs, supported(spec.Child("ipFamilyPolicy"), *s.IPFamilyPolicy, "PreferDualStack", "RequireDualStack", "SingleStack")...)
	var was []string
	if old != nil {
		was = old.Spec.ClusterIPs
	}
	misplaced := false
	for i, ip := range s.ClusterIPs {
		var bad field.ErrorList
		switch {
		case i > 0 || ip != corev1.ClusterIPNone:
			bad = validation.IsValidIPForLegacyField(ips.Index(i), ip, false, was)
		case len(s.ClusterIPs) > 1:
			bad = field.ErrorList{field.Invalid(ips, s.ClusterIPs, "'None' must be the first and only value")}
		}
		errs, misplaced = append(errs, bad...), misplaced || len(bad) > 0
	}
	if len(s.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(ips, s.ClusterIPs, "may only hold up to 2 values"))
	}
	if misplaced {
		return errs
	}
	if len(s.ClusterIPs) > 1 {
		if dual, err := netutils.IsDualStackIPStrings(s.ClusterIPs); err != nil {
			errs = append(errs, field.InternalError(ips, fmt.Errorf("failed to check for dual stack with error:%w", err)))
		} else if !dual {
			errs = append(errs, field.Invalid(ips, s.ClusterIPs, "may specify no more than one IP for each IP family"))
		}
	}
	if isHeadless(s) {
		return errs
	}
	for i, ip := range s.ClusterIPs[:min(len(s.ClusterIPs), len(s.IPFamilies))] {
		switch v6 := netutils.IsIPv6String(ip); {
		case s.IPFamilies[i] == corev1.IPv4Protocol && v6, s.IPFamilies[i] == corev1.IPv6Protocol && !v6:
			errs = append(errs, field.Invalid(ips.Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", s.IPFamilies[i], i)))
		}
	}
	return errs
}
