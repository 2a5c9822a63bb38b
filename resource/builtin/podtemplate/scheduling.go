package podtemplate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource/builtin/rules"
)

// ValidateTolerations checks a pod's tolerations.
func ValidateTolerations(p *field.Path, ts []corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i := range ts {
		t := &ts[i]
		if plainToleration(t) {
			continue
		}
		tp := p.Index(i)
		if t.Key != "" {
			if msgs := rules.QualifiedName(t.Key); msgs != nil {
				errs = append(errs, rules.Invalid(tp, t.Key, msgs, "key")...)
			}
		} else if t.Operator != corev1.TolerationOpExists {
			errs = append(errs, field.Invalid(tp.Child("operator"), t.Operator,
				"operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(tp.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
		}
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
			if msgs := rules.LabelValue(t.Value); len(msgs) > 0 {
				errs = append(errs, field.Invalid(tp.Child("operator"), t.Value, strings.Join(msgs, ";")))
			}
		case corev1.TolerationOpExists:
			if t.Value != "" {
				errs = append(errs, field.Invalid(tp.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'"))
			}
		default:
			errs = append(errs, rules.Enum(tp, "operator", t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)...)
		}
		if t.Effect != "" {
			errs = append(errs, rules.Enum(tp, "effect", t.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		}
	}
	return errs
}

// plainToleration reports the form that admission adds to every pod.
func plainToleration(t *corev1.Toleration) bool {
	return t.Operator == corev1.TolerationOpExists && t.Value == "" && t.Effect == corev1.TaintEffectNoExecute &&
		rules.QualifiedName(t.Key) == nil
}

// validateGates checks readiness and scheduling gates of the spec at p.
func validateGates(p *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	for i := range s.ReadinessGates {
		t := string(s.ReadinessGates[i].ConditionType)
		errs = append(errs, rules.Invalid(p.Child("readinessGates").Index(i), t, rules.QualifiedName(t), "conditionType")...)
	}
	repeats := rules.Repeats(s.SchedulingGates, func(g *corev1.PodSchedulingGate) string { return g.Name })
	for i := range s.SchedulingGates {
		name, gp := s.SchedulingGates[i].Name, p.Child("schedulingGates").Index(i)
		errs = append(errs, rules.Invalid(gp, name, rules.QualifiedName(name))...)
		if repeats(i) {
			errs = append(errs, field.Duplicate(gp, name))
		}
	}
	return errs
}

func validateSpread(p *field.Path, cs []corev1.TopologySpreadConstraint) field.ErrorList {
	var errs field.ErrorList
	for i := range cs {
		c, cp := &cs[i], p.Index(i)
		if c.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(cp.Child("maxSkew"), c.MaxSkew, "must be greater than zero"))
		}
		if c.TopologyKey == "" {
			errs = append(errs, field.Required(cp.Child("topologyKey"), "can not be empty"))
		}
		errs = append(errs, rules.Enum(cp, "whenUnsatisfiable", c.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
		for j := range cs[i+1:] {
			if d := &cs[i+1+j]; d.TopologyKey == c.TopologyKey && d.WhenUnsatisfiable == c.WhenUnsatisfiable {
				errs = append(errs, field.Duplicate(cp.Child("{topologyKey, whenUnsatisfiable}"), fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable)))
				break
			}
		}
		if c.MinDomains != nil {
			if *c.MinDomains <= 0 {
				errs = append(errs, field.Invalid(cp.Child("minDomains"), *c.MinDomains, "must be greater than zero"))
			}
			if c.WhenUnsatisfiable != corev1.DoNotSchedule {
				errs = append(errs, field.Invalid(cp.Child("minDomains"), *c.MinDomains,
					fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, c.WhenUnsatisfiable)))
			}
		}
		if c.NodeAffinityPolicy != nil {
			errs = append(errs, rules.Enum(cp, "nodeAffinityPolicy", *c.NodeAffinityPolicy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		if c.NodeTaintsPolicy != nil {
			errs = append(errs, rules.Enum(cp, "nodeTaintsPolicy", *c.NodeTaintsPolicy, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
		errs = append(errs, validateSpreadKeys(cp.Child("matchLabelKeys"), c)...)
		errs = append(errs, rules.Selector(cp.Child("labelSelector"), c.LabelSelector)...)
	}
	return errs
}

func validateSpreadKeys(p *field.Path, c *corev1.TopologySpreadConstraint) field.ErrorList {
	if len(c.MatchLabelKeys) == 0 {
		return nil
	}
	var errs field.ErrorList
	if c.LabelSelector == nil {
		errs = append(errs, field.Forbidden(p, "must not be specified when labelSelector is not set"))
	}
	for i, k := range c.MatchLabelKeys {
		errs = append(errs, rules.Invalid(p.Index(i), k, rules.QualifiedName(k))...)
		if selects(c.LabelSelector, k) {
			errs = append(errs, field.Invalid(p.Index(i), k, "exists in both matchLabelKeys and labelSelector"))
		}
	}
	return errs
}

// selects reports whether a label selector asks for the key.
func selects(s *metav1.LabelSelector, key string) bool {
	if s == nil {
		return false
	}
	if _, ok := s.MatchLabels[key]; ok {
		return true
	}
	return slices.ContainsFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool { return r.Key == key })
}
