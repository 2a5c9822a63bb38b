package podtemplate

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

const (
	requiredField  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferredField = "preferredDuringSchedulingIgnoredDuringExecution"
)

func validateAffinity(p *field.Path, a *corev1.Affinity) field.ErrorList {
	var errs field.ErrorList
	if n := a.NodeAffinity; n != nil {
		errs = append(errs, validateNodeAffinity(p.Child("nodeAffinity"), n)...)
	}
	if n := a.PodAffinity; n != nil {
		errs = append(errs, validatePodAffinity(p.Child("podAffinity"),
			n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	if n := a.PodAntiAffinity; n != nil {
		errs = append(errs, validatePodAffinity(p.Child("podAntiAffinity"),
			n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	return errs
}

func weight(p *field.Path, n int32) field.ErrorList {
	if 0 < n && n <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(p, n, "must be in the range 1-100")}
}

func validateNodeAffinity(p *field.Path, n *corev1.NodeAffinity) field.ErrorList {
	var errs field.ErrorList
	if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		errs = append(errs, validateNodeSelector(p.Child(requiredField), r)...)
	}
	for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
		t, tp := &n.PreferredDuringSchedulingIgnoredDuringExecution[i], p.Child(preferredField).Index(i)
		errs = append(errs, weight(tp.Child("weight"), t.Weight)...)
		errs = append(errs, validateNodeTerm(tp.Child("preference"), &t.Preference)...)
	}
	return errs
}

func validateNodeSelector(p *field.Path, s *corev1.NodeSelector) field.ErrorList {
	p = p.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(p, "must have at least one node selector term")}
	}
	var errs field.ErrorList
	for i := range s.NodeSelectorTerms {
		errs = append(errs, validateNodeTerm(p.Index(i), &s.NodeSelectorTerms[i])...)
	}
	return errs
}

func validateNodeTerm(p *field.Path, t *corev1.NodeSelectorTerm) field.ErrorList {
	var errs field.ErrorList
	for i := range t.MatchExpressions {
		errs = append(errs, validateNodeRequirement(p.Child("matchExpressions").Index(i), &t.MatchExpressions[i])...)
	}
	for i := range t.MatchFields {
		errs = append(errs, validateNodeFieldRequirement(p.Child("matchFields").Index(i), &t.MatchFields[i])...)
	}
	return errs
}

// validateNodeRequirement checks a requirement on a node's labels. Its values may be what no label can have: such a
// requirement is merely never met.
func validateNodeRequirement(p *field.Path, r *corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	vp := p.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(vp, "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Forbidden(vp, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(vp, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return append(errs, rules.Invalid(p, r.Key, rules.QualifiedName(r.Key), "key")...)
}

func validateNodeFieldRequirement(p *field.Path, r *corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(p.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	default:
		errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	if r.Key != metav1.ObjectNameField {
		return append(errs, field.Invalid(p.Child("key"), r.Key, "not a valid field selector key"))
	}
	for i, v := range r.Values {
		errs = append(errs, rules.Invalid(p.Child("values").Index(i), v, rules.DNSSubdomain(v))...)
	}
	return errs
}

func validatePodAffinity(p *field.Path, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) field.ErrorList {
	var errs field.ErrorList
	for i := range required {
		errs = append(errs, validatePodTerm(p.Child(requiredField).Index(i), &required[i])...)
	}
	for i := range preferred {
		tp := p.Child(preferredField).Index(i)
		errs = append(errs, weight(tp.Child("weight"), preferred[i].Weight)...)
		errs = append(errs, validatePodTerm(tp.Child("podAffinityTerm"), &preferred[i].PodAffinityTerm)...)
	}
	return errs
}

func validatePodTerm(p *field.Path, t *corev1.PodAffinityTerm) field.ErrorList {
	errs := rules.Selector(p.Child("labelSelector"), t.LabelSelector)
	errs = append(errs, rules.Selector(p.Child("namespaceSelector"), t.NamespaceSelector)...)
	for _, n := range t.Namespaces {
		errs = append(errs, rules.Invalid(p, n, rules.DNSLabel(n), "namespace")...)
	}
	errs = append(errs, validateTermKeys(p, t)...)
	kp := p.Child("topologyKey")
	if t.TopologyKey == "" {
		errs = append(errs, field.Required(kp, "can not be empty"))
	}
	return append(errs, rules.Invalid(kp, t.TopologyKey, rules.QualifiedName(t.TopologyKey))...)
}

// validateTermKeys checks matchLabelKeys and mismatchLabelKeys. The selector already holds the requirements that were
// made of them at creation, so a key is in both only when the selector names it a second time.
func validateTermKeys(p *field.Path, t *corev1.PodAffinityTerm) field.ErrorList {
	mp := p.Child("matchLabelKeys")
	errs := validateLabelKeys(mp, t.MatchLabelKeys, t.LabelSelector)
	errs = append(errs, validateLabelKeys(p.Child("mismatchLabelKeys"), t.MismatchLabelKeys, t.LabelSelector)...)
	if t.LabelSelector != nil && len(t.MatchLabelKeys) > 0 {
		index := map[string]int{}
		for i, k := range t.MatchLabelKeys {
			index[k] = i
		}
		seen := map[string]bool{}
		for k := range t.LabelSelector.MatchLabels {
			seen[k] = true
		}
		for _, e := range t.LabelSelector.MatchExpressions {
			if i, ok := index[e.Key]; ok && seen[e.Key] {
				errs = append(errs, field.Invalid(p.Index(i), e.Key, "exists in both matchLabelKeys and labelSelector"))
			}
			seen[e.Key] = true
		}
	}
	for i, k := range t.MatchLabelKeys {
		for _, m := range t.MismatchLabelKeys {
			if k == m {
				errs = append(errs, field.Invalid(mp.Index(i), k, "exists in both matchLabelKeys and mismatchLabelKeys"))
				break
			}
		}
	}
	return errs
}

func validateLabelKeys(p *field.Path, keys []string, s *metav1.LabelSelector) field.ErrorList {
	if len(keys) == 0 {
		return nil
	}
	if s == nil {
		return field.ErrorList{field.Forbidden(p, "must not be specified when labelSelector is not set")}
	}
	var errs field.ErrorList
	for i, k := range keys {
		errs = append(errs, rules.Invalid(p.Index(i), k, rules.QualifiedName(k))...)
	}
	return errs
}
