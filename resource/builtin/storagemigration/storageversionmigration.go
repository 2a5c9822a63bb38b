// Package storagemigration defines the kinds of the storagemigration.k8s.io API group. What a migration does is the
// business of the controller, controller/storageversionmigrator.
package storagemigration

import (
	"context"
	"strings"

	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	storagemigrationv1beta1 "k8s.io/api/storagemigration/v1beta1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

const group = "storagemigration.k8s.io"

type migration = storagemigrationv1.StorageVersionMigration

// StorageVersionMigrations defines storagemigration.k8s.io StorageVersionMigration.
func StorageVersionMigrations() *resource.Definition {
	return resource.Typed[migration]{
		Definition: resource.Definition{
			Resource: api.StorageVersionMigrations, Kind: "StorageVersionMigration", Singular: "storageversionmigration",
			Versions: []resource.Version{{Group: group, Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				{Name: "Name", Type: "string", Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
				{Name: "Resource", Type: "string", Description: "Fully qualified resource to migrate"},
			}}, resource.Older[storagemigrationv1beta1.StorageVersionMigration](group, "v1beta1")},
			Subresources: map[string]resource.Subresource{"status": {Verbs: []api.Verb{api.Get, api.Patch, api.Update}}},
			PinnedUpdate: true,
			Index:        []resource.IndexField{{Name: api.IndexMigrates, Internal: true, Values: migrates}},
		},
		Prepare:  prepare,
		Validate: validate,
		Cells:    func(m *migration) []any { return []any{m.Name, resourceOf(m)} },
	}.Define()
}

func resourceOf(m *migration) string {
	return api.Resource{Group: m.Spec.Resource.Group, Name: m.Spec.Resource.Resource}.String()
}

func migrates(o *resource.Object) []string {
	m := o.Value.(*migration)
	if is(&m.Status, storagemigrationv1.MigrationSucceeded) || is(&m.Status, storagemigrationv1.MigrationFailed) {
		return nil
	}
	return []string{resourceOf(m)}
}

func is(s *storagemigrationv1.StorageVersionMigrationStatus, c storagemigrationv1.MigrationConditionType) bool {
	return meta.IsStatusConditionTrue(s.Conditions, string(c))
}

func prepare(_ context.Context, w *resource.Write, m, old *migration) {
	switch {
	case old == nil:
		m.Status = storagemigrationv1.StorageVersionMigrationStatus{}
	case w.Subresource == "status":
		m.Spec = old.Spec
		metav1.ResetObjectMetaForStatus(&m.ObjectMeta, &old.ObjectMeta)
	default:
		m.Status = old.Status
	}
}

func validate(_ context.Context, w *resource.Write, m, old *migration) field.ErrorList {
	if w.Subresource == "status" {
		return validateStatus(&m.Status, &old.Status, field.NewPath("status"))
	}
	at := field.NewPath("spec", "resource")
	r := m.Spec.Resource
	var errs field.ErrorList
	if r.Resource == "" {
		errs = append(errs, field.Required(at.Child("resource"), "resource is required to be set"))
	} else if msgs := validation.IsDNS1035Label(r.Resource); len(msgs) > 0 {
		errs = append(errs, field.Invalid(at.Child("resource"), r.Resource, strings.Join(msgs, ",")))
	}
	if r.Group != "" {
		if msgs := validation.IsDNS1123Subdomain(r.Group); len(msgs) > 0 {
			errs = append(errs, field.Invalid(at.Child("group"), r.Group, strings.Join(msgs, ",")))
		}
	}
	if old != nil {
		errs = append(errs, rules.Fixed(field.NewPath("spec"), m.Spec, old.Spec)...)
	}
	return errs
}

// validateStatus keeps a migration that has ended as it ended, and the resourceVersion that it started from.
func validateStatus(s, old *storagemigrationv1.StorageVersionMigrationStatus, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	version := at.Child("resourceVersion")
	if s.ResourceVersion != "" {
		if _, err := resourceversion.CompareResourceVersion(s.ResourceVersion, s.ResourceVersion); err != nil {
			errs = append(errs, field.Invalid(version, s.ResourceVersion, err.Error()))
		}
	}
	conditions := at.Child("conditions")
	errs = append(errs, metav1validation.ValidateConditions(s.Conditions, conditions)...)
	if old.ResourceVersion != "" {
		errs = append(errs, rules.Fixed(version, s.ResourceVersion, old.ResourceVersion)...)
	}
	const succeeded, failed = storagemigrationv1.MigrationSucceeded, storagemigrationv1.MigrationFailed
	if is(s, succeeded) && is(s, failed) {
		errs = append(errs, field.Invalid(conditions, s.Conditions, "Both success and failed conditions cannot be true at the same time"))
	}
	if is(old, succeeded) && !is(s, succeeded) {
		errs = append(errs, field.Invalid(conditions, s.Conditions, "Success condition cannot be set to false once it is true"))
	}
	if is(old, failed) && !is(s, failed) {
		errs = append(errs, field.Invalid(conditions, s.Conditions, "Failed condition cannot be set to false once it is true"))
	}
	return errs
}
