package apps

import (
	"context"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
	"pintle.dev/resource/builtin/rules"
)

const replicationDoc = "More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/#what-is-a-replicationcontroller"

// ReplicaSets defines ReplicaSet, stored as apps/v1.
func ReplicaSets() *resource.Definition {
	scale := scaleOf(resource.Scale{
		Spec:     func(o *resource.Object) *int32 { return o.Value.(*appsv1.ReplicaSet).Spec.Replicas },
		SetSpec:  func(o *resource.Object, n int32) { o.Value.(*appsv1.ReplicaSet).Spec.Replicas = &n },
		Status:   func(o *resource.Object) int32 { return o.Value.(*appsv1.ReplicaSet).Status.Replicas },
		Selector: func(o *resource.Object) string { return selectorText(o.Value.(*appsv1.ReplicaSet).Spec.Selector) },
	})
	return resource.Typed[appsv1.ReplicaSet]{
		Definition: resource.Definition{
			Resource: api.ReplicaSets, Kind: "ReplicaSet", Singular: "replicaset", ShortNames: []string{"rs"}, Categories: []string{"all"}, Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.WholeMetadata, resource.ChangedMetadata},
			Versions: append([]resource.Version{{Group: group, Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Desired", Type: "integer", Description: "Replicas is the number of desired replicas. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. " + replicationDoc},
				{Name: "Current", Type: "integer", Description: "Replicas is the most recently observed number of replicas. " + replicationDoc},
				{Name: "Ready", Type: "integer", Description: "readyReplicas is the number of pods targeted by this ReplicaSet with a Ready Condition."},
				resource.AgeColumn,
				{Name: "Containers", Type: "string", Priority: 1, Description: "Names of each container in the template."},
				{Name: "Images", Type: "string", Priority: 1, Description: "Images referenced by each container in the template."},
				{Name: "Selector", Type: "string", Priority: 1, Description: appsv1.ReplicaSetSpec{}.SwaggerDoc()["selector"]},
			}}}, olderReplicaSets(scale)...),
			Subresources: map[string]resource.Subresource{
				"status": {Verbs: []api.Verb{api.Get, api.Patch, api.Update}},
				"scale":  scale,
			},
			Index: []resource.IndexField{{Name: "status.replicas", Values: func(o *resource.Object) []string {
				return []string{strconv.Itoa(int(o.Value.(*appsv1.ReplicaSet).Status.Replicas))}
			}}},
		},
		Prepare:  prepareReplicaSet,
		Default:  defaultReplicaSet,
		Validate: validateReplicaSet,
		Warn: func(_ context.Context, w *resource.Write, r, old *appsv1.ReplicaSet) []string {
			if r == nil || old != nil && (w.Subresource != "" || r.Generation == old.Generation) {
				return nil
			}
			return warnWorkload(w, &r.ObjectMeta, &r.Spec.Template)
		},
		Cells: func(r *appsv1.ReplicaSet) []any {
			names, images := containersText(r.Spec.Template.Spec.Containers)
			desired := int32(0)
			if r.Spec.Replicas != nil {
				desired = *r.Spec.Replicas
			}
			return []any{
				r.Name, int64(desired), int64(r.Status.Replicas), int64(r.Status.ReadyReplicas),
				resource.Age(r.CreationTimestamp), names, images, selectorCell(r.Spec.Selector),
			}
		},
	}.Define()
}

func defaultReplicaSet(r *appsv1.ReplicaSet) {
	podtemplate.DefaultTemplate(&r.Spec.Template)
	unset(&r.Spec.Replicas, 1)
}

func prepareReplicaSet(_ context.Context, w *resource.Write, r, old *appsv1.ReplicaSet) {
	switch {
	case r == nil:
	case w.Subresource == "status":
		r.Spec = old.Spec
	case old == nil:
		r.Status, r.Generation = appsv1.ReplicaSetStatus{}, 1
		podtemplate.DropUnservedTemplate(&r.Spec.Template)
	default:
		// Only a defaulted spec can be compared with a stored one.
		defaultReplicaSet(r)
		podtemplate.DropUnservedTemplate(&r.Spec.Template)
		r.Status, r.Generation = old.Status, old.Generation
		if !podtemplate.Same(&r.Spec, &old.Spec) {
			r.Generation++
		}
	}
}

func validateReplicaSet(_ context.Context, w *resource.Write, r, old *appsv1.ReplicaSet) field.ErrorList {
	switch {
	case r == nil:
		return nil
	case w.Subresource == "status":
		return validateReplicaSetStatus(&r.Status)
	case old == nil:
		return validateReplicaSetSpec(&r.Spec)
	}
	// Upstream judged the new spec for itself and again as an update, by the same rules, up to the recorded release.
	errs := validateReplicaSetSpec(&r.Spec)
	errs = append(errs, errs...)
	if selectorMutable(w.Version) {
		return errs
	}
	return append(errs, rules.Fixed(field.NewPath("spec", "selector"), r.Spec.Selector, old.Spec.Selector)...)
}

func validateReplicaSetSpec(s *appsv1.ReplicaSetSpec) field.ErrorList {
	p := field.NewPath("spec")
	errs := rules.NonNegative(p, int64(*s.Replicas), "replicas")
	errs = append(errs, rules.NonNegative(p, int64(s.MinReadySeconds), "minReadySeconds")...)
	return append(errs, validateSelected(p, s.Selector, &s.Template)...)
}

func validateReplicaSetStatus(s *appsv1.ReplicaSetStatus) field.ErrorList {
	p := field.NewPath("status")
	errs := rules.NonNegative(p, int64(s.Replicas), "replicas")
	errs = append(errs, rules.NonNegative(p, int64(s.FullyLabeledReplicas), "fullyLabeledReplicas")...)
	errs = append(errs, rules.NonNegative(p, int64(s.ReadyReplicas), "readyReplicas")...)
	errs = append(errs, rules.NonNegative(p, int64(s.AvailableReplicas), "availableReplicas")...)
	if s.TerminatingReplicas != nil {
		errs = append(errs, rules.NonNegative(p, int64(*s.TerminatingReplicas), "terminatingReplicas")...)
	}
	errs = append(errs, rules.NonNegative(p, s.ObservedGeneration, "observedGeneration")...)
	errs = append(errs, atMost(p.Child("fullyLabeledReplicas"), s.FullyLabeledReplicas, s.Replicas, "cannot be greater than status.replicas")...)
	errs = append(errs, atMost(p.Child("readyReplicas"), s.ReadyReplicas, s.Replicas, "cannot be greater than status.replicas")...)
	errs = append(errs, atMost(p.Child("availableReplicas"), s.AvailableReplicas, s.Replicas, "cannot be greater than status.replicas")...)
	return append(errs, atMost(p.Child("availableReplicas"), s.AvailableReplicas, s.ReadyReplicas, "cannot be greater than readyReplicas")...)
}
