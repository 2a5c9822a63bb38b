package core

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

// Namespaces defines core/v1 Namespace. A namespace whose deletion has begun stays until the namespace controller has
// emptied it and taken "kubernetes" off spec.finalizers through the finalize subresource.
func Namespaces() *resource.Definition {
	return resource.Typed[corev1.Namespace]{
		Definition: resource.Definition{
			Resource: api.Namespaces, Kind: "Namespace", Singular: "namespace", ShortNames: []string{"ns"},
			MetadataRules: []resource.MetadataRule{resource.WholeMetadata, resource.ChangedMetadata},
			Verbs:         []api.Verb{api.Create, api.Delete, api.Get, api.List, api.Patch, api.Update, api.Watch},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Status", Type: "string", Description: "The status of the namespace"},
				resource.AgeColumn,
			}}},
			Subresources: map[string]resource.Subresource{
				"status":   {Verbs: []api.Verb{api.Get, api.Patch, api.Update}},
				"finalize": {Verbs: []api.Verb{api.Update}},
			},
			Index: []resource.IndexField{{Name: "status.phase", Values: func(o *resource.Object) []string {
				return []string{string(o.Value.(*corev1.Namespace).Status.Phase)}
			}}},
			ValidateName:  apivalidation.ValidateNamespaceName,
			ReturnDeleted: true,
			Hooks: resource.Hooks{
				Terminate: func(_ context.Context, w *resource.Write) {
					w.New.Value.(*corev1.Namespace).Status.Phase = corev1.NamespaceTerminating
				},
				Finalize: func(o *resource.Object) bool { return len(o.Value.(*corev1.Namespace).Spec.Finalizers) == 0 },
			},
		},
		Default: func(o *corev1.Namespace) {
			if o.Name != "" {
				labelName(o)
			}
			if o.Status.Phase == "" {
				o.Status.Phase = corev1.NamespaceActive
			}
		},
		Prepare:  prepareNamespace,
		Validate: validateNamespace,
		Cells: func(o *corev1.Namespace) []any {
			return []any{o.Name, string(o.Status.Phase), resource.Age(o.CreationTimestamp)}
		},
	}.Define()
}

// labelName labels a namespace with its name. Selectors rely on it, so nobody may give the label another value (KEP-2161).
func labelName(o *corev1.Namespace) {
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels[corev1.LabelMetadataName] = o.Name
}

func prepareNamespace(_ context.Context, w *resource.Write, o, old *corev1.Namespace) {
	switch {
	case w.Creating():
		o.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
		if w.Generated && len(apivalidation.ValidateNamespaceName(o.Name, false)) == 0 {
			labelName(o) // which defaulting could not know
		}
		if !slices.Contains(o.Spec.Finalizers, corev1.FinalizerKubernetes) {
			o.Spec.Finalizers = append(o.Spec.Finalizers, corev1.FinalizerKubernetes)
		}
	case w.Subresource == "status":
		o.Spec = old.Spec
	case w.Subresource == "finalize":
		o.Status = old.Status
	default:
		o.Spec.Finalizers, o.Status = old.Spec.Finalizers, old.Status
	}
}

func validateNamespace(_ context.Context, w *resource.Write, o, old *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for i, f := range o.Spec.Finalizers {
		p := field.NewPath("spec", "finalizers")
		switch w.Subresource {
		case "status":
			continue
		case "finalize": // upstream names the index only here
			p = p.Index(i)
		}
		for _, msg := range validation.IsQualifiedName(string(f)) {
			errs = append(errs, field.Invalid(p, string(f), msg))
		}
		errs = append(errs, rules.StandardFinalizer(p, string(f))...)
	}
	if w.Subresource == "status" {
		p := field.NewPath("status", "Phase")
		if o.DeletionTimestamp == nil && o.Status.Phase != corev1.NamespaceActive {
			errs = append(errs, field.Invalid(p, o.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty"))
		}
		if o.DeletionTimestamp != nil && o.Status.Phase != corev1.NamespaceTerminating {
			errs = append(errs, field.Invalid(p, o.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"))
		}
	}
	return errs
}
