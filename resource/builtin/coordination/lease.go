// Package coordination defines the kinds of the coordination.k8s.io API group.
package coordination

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	coordinationv1beta1 "k8s.io/api/coordination/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/resource"
)

const group = "coordination.k8s.io"

// Leases defines coordination.k8s.io Lease.
func Leases() *resource.Definition {
	return resource.Typed[coordinationv1.Lease]{
		Definition: resource.Definition{
			Resource: api.Leases, Kind: "Lease", Singular: "lease", Namespaced: true,
			Versions: []resource.Version{{Group: group, Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Holder", Type: "string", Description: coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"]},
				resource.AgeColumn,
			}}, resource.Older[coordinationv1beta1.Lease](group, "v1beta1")},
			PinnedUpdate:    true,
			CreateOnUpdate:  true,
			PlainFinalizers: true,
		},
		Prepare: func(_ context.Context, _ *resource.Write, o, _ *coordinationv1.Lease) {
			// The CoordinatedLeaderElection feature gate is off by default, and with it these two fields.
			o.Spec.Strategy, o.Spec.PreferredHolder = nil, nil
		},
		Validate: func(_ context.Context, _ *resource.Write, o, _ *coordinationv1.Lease) field.ErrorList {
			return validateLeaseSpec(&o.Spec, field.NewPath("spec"))
		},
		Cells: func(o *coordinationv1.Lease) []any {
			return []any{o.Name, ptr.Deref(o.Spec.HolderIdentity, ""), resource.Age(o.CreationTimestamp)}
		},
	}.Define()
}

func validateLeaseSpec(s *coordinationv1.LeaseSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := s.LeaseDurationSeconds; n != nil && *n <= 0 {
		errs = append(errs, field.Invalid(p.Child("leaseDurationSeconds"), *n, "must be greater than 0"))
	}
	if n := s.LeaseTransitions; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(p.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
	}
	return errs
}
