package apps

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
	"pintle.dev/resource/builtin/rules"
)

// Deployments defines Deployment, stored as apps/v1.
func Deployments() *resource.Definition {
	scale := scaleOf(resource.Scale{
		Spec:     func(o *resource.Object) *int32 { return o.Value.(*appsv1.Deployment).Spec.Replicas },
		SetSpec:  func(o *resource.Object, n int32) { o.Value.(*appsv1.Deployment).Spec.Replicas = &n },
		Status:   func(o *resource.Object) int32 { return o.Value.(*appsv1.Deployment).Status.Replicas },
		Selector: func(o *resource.Object) string { return selectorText(o.Value.(*appsv1.Deployment).Spec.Selector) },
	})
	return resource.Typed[appsv1.Deployment]{
		Definition: resource.Definition{
			Resource: api.Deployments, Kind: "Deployment", Singular: "deployment", ShortNames: []string{"deploy"}, Categories: []string{"all"}, Namespaced: true,
			Versions: append([]resource.Version{{Group: group, Name: "v1", Storage: true, Served: true, Codec: noteCodec("v1"), Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Ready", Type: "string", Description: "Number of the pod with ready state"},
				{Name: "Up-to-date", Type: "string", Description: "Total number of non-terminated pods targeted by this deployment that have the desired template spec."},
				{Name: "Available", Type: "string", Description: "Total number of available pods (ready for at least minReadySeconds) targeted by this deployment."},
				resource.AgeColumn,
				{Name: "Containers", Type: "string", Priority: 1, Description: "Names of each container in the template."},
				{Name: "Images", Type: "string", Priority: 1, Description: "Images referenced by each container in the template."},
				{Name: "Selector", Type: "string", Priority: 1, Description: "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this deployment."},
			}}}, olderDeployments(scale)...),
			Subresources: map[string]resource.Subresource{
				"status": {Verbs: []api.Verb{api.Get, api.Patch, api.Update}},
				"scale":  scale,
			},
		},
		Prepare:  prepareDeployment,
		Default:  defaultDeployment,
		Validate: validateDeployment,
		Warn: func(_ context.Context, w *resource.Write, d, old *appsv1.Deployment) []string {
			if d == nil || old != nil && (w.Subresource != "" || d.Generation == old.Generation) {
				return nil
			}
			return warnWorkload(w, &d.ObjectMeta, &d.Spec.Template)
		},
		Cells: func(d *appsv1.Deployment) []any {
			names, images := containersText(d.Spec.Template.Spec.Containers)
			desired := int32(0)
			if d.Spec.Replicas != nil {
				desired = *d.Spec.Replicas
			}
			return []any{
				d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, desired), int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas),
				resource.Age(d.CreationTimestamp), names, images, selectorCell(d.Spec.Selector),
			}
		},
	}.Define()
}

func scaleOf(s resource.Scale) resource.Subresource {
	return resource.Subresource{
		Verbs: []api.Verb{api.Get, api.Patch, api.Update}, Group: "autoscaling", Version: "v1", Kind: "Scale", Scale: &s,
	}
}

// selectorText is a label selector in the form of a query; "" when it is absent or malformed.
func selectorText(s *metav1.LabelSelector) string {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	return selector.String()
}

// selectorCell is a label selector as a table shows it.
func selectorCell(s *metav1.LabelSelector) string { return metav1.FormatLabelSelector(s) }

func containersText(cs []corev1.Container) (names, images string) {
	n, i := make([]string, len(cs)), make([]string, len(cs))
	for k := range cs {
		n[k], i[k] = cs[k].Name, cs[k].Image
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}

// warnWorkload warns about a pod template, and at creation about a name that pods cannot well be named after.
func warnWorkload(w *resource.Write, m *metav1.ObjectMeta, t *corev1.PodTemplateSpec) []string {
	warnings := podtemplate.WarnTemplate(field.NewPath("spec", "template"), t)
	if w.Old == nil {
		if msgs := rules.DNSLabel(m.Name); len(msgs) > 0 {
			warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
		}
	}
	return warnings
}

func defaultDeployment(d *appsv1.Deployment) {
	podtemplate.DefaultTemplate(&d.Spec.Template)
	s := &d.Spec
	unset(&s.Replicas, 1)
	if s.Strategy.Type == "" {
		s.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		unset(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		unset(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		unset(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	unset(&s.RevisionHistoryLimit, 10)
	unset(&s.ProgressDeadlineSeconds, 600)
}

func unset[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

func prepareDeployment(_ context.Context, w *resource.Write, d, old *appsv1.Deployment) {
	switch {
	case d == nil:
	case w.Subresource == "status":
		d.Spec, d.Labels = old.Spec, old.Labels
	case old == nil:
		d.Status, d.Generation = appsv1.DeploymentStatus{}, 1
		podtemplate.DropUnservedTemplate(&d.Spec.Template)
	default:
		// Only a defaulted spec can be compared with a stored one.
		defaultDeployment(d)
		podtemplate.DropUnservedTemplate(&d.Spec.Template)
		d.Status, d.Generation = old.Status, old.Generation
		if !podtemplate.Same(&d.Spec, &old.Spec) || !sameMap(d.Annotations, old.Annotations) {
			d.Generation++
		}
	}
}

func sameMap(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func validateDeployment(_ context.Context, w *resource.Write, d, old *appsv1.Deployment) field.ErrorList {
	switch {
	case d == nil:
		return nil
	case w.Subresource == "status":
		return validateDeploymentStatus(&d.Status, &old.Status)
	case old == nil:
		return validateDeploymentSpec(d)
	}
	errs := validateDeploymentSpec(d)
	if selectorMutable(w.Version) {
		return errs
	}
	return append(errs, rules.Fixed(field.NewPath("spec", "selector"), d.Spec.Selector, old.Spec.Selector)...)
}

func validateDeploymentSpec(d *appsv1.Deployment) field.ErrorList {
	s, p := &d.Spec, field.NewPath("spec")
	errs := rules.NonNegative(p, int64(*s.Replicas), "replicas")
	errs = append(errs, validateSelected(p, s.Selector, &s.Template)...)
	errs = append(errs, validateStrategy(p.Child("strategy"), &s.Strategy)...)
	errs = append(errs, rules.NonNegative(p, int64(s.MinReadySeconds), "minReadySeconds")...)
	if n := s.RevisionHistoryLimit; n != nil {
		errs = append(errs, rules.NonNegative(p, int64(*n), "revisionHistoryLimit")...)
	}
	if n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedRollbackTo], 10, 64); err == nil {
		errs = append(errs, rules.NonNegative(p.Child("rollback"), n, "version")...)
	}
	if n := s.ProgressDeadlineSeconds; n != nil {
		errs = append(errs, rules.NonNegative(p, int64(*n), "progressDeadlineSeconds")...)
		if *n <= s.MinReadySeconds {
			errs = append(errs, field.Invalid(p.Child("progressDeadlineSeconds"), *n, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

// validateSelected checks a workload's selector, and its template for pods that the selector must find and that are
// always restarted. Upstream's words for an empty selector are the Deployment's in either kind.
func validateSelected(p *field.Path, s *metav1.LabelSelector, t *corev1.PodTemplateSpec) field.ErrorList {
	var errs field.ErrorList
	path := p.Child("selector")
	if s == nil {
		errs = append(errs, field.Required(path, ""))
	} else {
		errs = append(errs, rules.Selector(path, s)...)
		if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(path, s, "empty selector is invalid for deployment"))
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return append(errs, field.Invalid(path, s, "invalid label selector"))
	}
	tp := p.Child("template")
	if !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(tp.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, podtemplate.ValidateTemplate(tp, t)...)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(tp.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(tp.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported"))
	}
	return errs
}

func validateStrategy(p *field.Path, s *appsv1.DeploymentStrategy) field.ErrorList {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(p.Child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(p.Child("rollingUpdate"), "this should be defaulted and never be nil")}
		}
		return validateRollingUpdate(p.Child("rollingUpdate"), s.RollingUpdate)
	}
	return field.ErrorList{field.NotSupported(p, s, []appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType})}
}

func validateRollingUpdate(p *field.Path, r *appsv1.RollingUpdateDeployment) field.ErrorList {
	unavailable := p.Child("maxUnavailable")
	errs := intOrPercent(unavailable, *r.MaxUnavailable)
	errs = append(errs, intOrPercent(p.Child("maxSurge"), *r.MaxSurge)...)
	if amount(*r.MaxUnavailable) == 0 && amount(*r.MaxSurge) == 0 {
		errs = append(errs, field.Invalid(unavailable, rules.Dump(*r.MaxUnavailable), "may not be 0 when `maxSurge` is 0"))
	}
	if r.MaxUnavailable.Type == intstr.String && amount(*r.MaxUnavailable) > 100 {
		errs = append(errs, field.Invalid(unavailable, rules.Dump(*r.MaxUnavailable), "must not be greater than 100%"))
	}
	return errs
}

func intOrPercent(p *field.Path, v intstr.IntOrString) field.ErrorList {
	if v.Type == intstr.String {
		return rules.Invalid(p, rules.Dump(v), validation.IsValidPercent(v.StrVal))
	}
	return rules.NonNegative(p, int64(v.IntVal))
}

// amount is the number in a count or percentage; 0 for what is neither.
func amount(v intstr.IntOrString) int {
	if v.Type == intstr.Int {
		return int(v.IntVal)
	}
	n := 0
	if len(validation.IsValidPercent(v.StrVal)) == 0 {
		// A percentage too large for an int counts as none, as upstream has it.
		if _, err := fmt.Sscanf(v.StrVal, "%d%%", &n); err != nil {
			return 0
		}
	}
	return n
}

func validateDeploymentStatus(s, old *appsv1.DeploymentStatus) field.ErrorList {
	p := field.NewPath("status")
	errs := rules.NonNegative(p, s.ObservedGeneration, "observedGeneration")
	errs = append(errs, rules.NonNegative(p, int64(s.Replicas), "replicas")...)
	errs = append(errs, rules.NonNegative(p, int64(s.UpdatedReplicas), "updatedReplicas")...)
	errs = append(errs, rules.NonNegative(p, int64(s.ReadyReplicas), "readyReplicas")...)
	errs = append(errs, rules.NonNegative(p, int64(s.AvailableReplicas), "availableReplicas")...)
	errs = append(errs, rules.NonNegative(p, int64(s.UnavailableReplicas), "unavailableReplicas")...)
	if s.TerminatingReplicas != nil {
		errs = append(errs, rules.NonNegative(p, int64(*s.TerminatingReplicas), "terminatingReplicas")...)
	}
	if s.CollisionCount != nil {
		errs = append(errs, rules.NonNegative(p, int64(*s.CollisionCount), "collisionCount")...)
	}
	errs = append(errs, atMost(p.Child("updatedReplicas"), s.UpdatedReplicas, s.Replicas, "cannot be greater than status.replicas")...)
	errs = append(errs, atMost(p.Child("readyReplicas"), s.ReadyReplicas, s.Replicas, "cannot be greater than status.replicas")...)
	errs = append(errs, atMost(p.Child("availableReplicas"), s.AvailableReplicas, s.Replicas, "cannot be greater than status.replicas")...)
	errs = append(errs, atMost(p.Child("availableReplicas"), s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas")...)
	if old.CollisionCount != nil && (s.CollisionCount == nil || *s.CollisionCount < *old.CollisionCount) {
		n := int32(0)
		if s.CollisionCount != nil {
			n = *s.CollisionCount
		}
		errs = append(errs, field.Invalid(p.Child("collisionCount"), n, "cannot be decremented"))
	}
	return errs
}

func atMost(p *field.Path, n, limit int32, message string) field.ErrorList {
	if n <= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(p, n, message)}
}
