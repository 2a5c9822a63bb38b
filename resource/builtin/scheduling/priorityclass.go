package scheduling

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

const group = "scheduling.k8s.io"

// The priority classes that always exist. Names that start with systemPrefix are theirs alone.
const (
	ClusterCritical = "system-cluster-critical"
	NodeCritical    = "system-node-critical"

	systemPrefix = "system-"
	// highestUserPriority bounds the value of every class but the system's.
	highestUserPriority   = 1_000_000_000
	systemCriticalLowest  = 2 * highestUserPriority
	nodeCriticalOverOther = 1000
)

// SystemPriorityClasses are the two classes the cluster is born with.
func SystemPriorityClasses() []*schedulingv1.PriorityClass {
	preempt := corev1.PreemptLowerPriority
	return []*schedulingv1.PriorityClass{{
		ObjectMeta:  metav1.ObjectMeta{Name: NodeCritical},
		Value:       systemCriticalLowest + nodeCriticalOverOther,
		Description: "Used for system critical pods that must not be moved from their current node.", PreemptionPolicy: &preempt,
	}, {
		ObjectMeta:  metav1.ObjectMeta{Name: ClusterCritical},
		Value:       systemCriticalLowest,
		Description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.", PreemptionPolicy: &preempt,
	}}
}

// PriorityClasses defines scheduling.k8s.io PriorityClass.
func PriorityClasses() *resource.Definition {
	doc := schedulingv1.PriorityClass{}.SwaggerDoc()
	return resource.Typed[schedulingv1.PriorityClass]{
		Definition: resource.Definition{
			Resource: api.PriorityClasses, Kind: "PriorityClass", Singular: "priorityclass", ShortNames: []string{"pc"},
			Versions: []resource.Version{{Group: group, Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Value", Type: "integer", Description: doc["value"]},
				{Name: "Global-Default", Type: "boolean", Description: doc["globalDefault"]},
				resource.AgeColumn,
				{Name: "PreemptionPolicy", Type: "string", Description: doc["preemptionPolicy"]},
			}}, resource.Older[schedulingv1beta1.PriorityClass](group, "v1beta1"), alpha()},
		},
		Prepare: func(_ context.Context, _ *resource.Write, c, old *schedulingv1.PriorityClass) {
			if c != nil && old == nil {
				c.Generation = 1
			}
		},
		Default: func(c *schedulingv1.PriorityClass) {
			if c.PreemptionPolicy == nil {
				preempt := corev1.PreemptLowerPriority
				c.PreemptionPolicy = &preempt
			}
		},
		Validate: validatePriorityClass,
		Cells: func(c *schedulingv1.PriorityClass) []any {
			policy := ""
			if c.PreemptionPolicy != nil {
				policy = string(*c.PreemptionPolicy)
			}
			return []any{c.Name, int64(c.Value), c.GlobalDefault, resource.Age(c.CreationTimestamp), policy}
		},
	}.Define()
}

// alpha is the version of Kubernetes 1.8. Its Go types are gone from k8s.io/api; they were those of v1beta1.
func alpha() resource.Version {
	v := resource.Older[schedulingv1beta1.PriorityClass](group, "v1alpha1")
	v.Model = "io.k8s.api.scheduling.v1alpha1.PriorityClass"
	return v
}

func validatePriorityClass(_ context.Context, _ *resource.Write, c, old *schedulingv1.PriorityClass) field.ErrorList {
	switch {
	case c == nil:
		return nil
	case old != nil:
		var errs field.ErrorList
		if c.Value != old.Value {
			errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
		}
		return append(errs, rules.Fixed(field.NewPath("preemptionPolicy"), c.PreemptionPolicy, old.PreemptionPolicy)...)
	}
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPrefix) {
		if err := knownSystemClass(c); err != nil {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				"priority class names with '"+systemPrefix+"' prefix are reserved for system use only. error: "+err.Error()))
		}
	} else if c.Value > highestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"),
			fmt.Sprintf("maximum allowed value of a user defined priority is %v", highestUserPriority)))
	}
	p := field.NewPath("preemptionPolicy")
	switch policy := c.PreemptionPolicy; {
	case policy == nil:
	case *policy == "":
		errs = append(errs, field.Required(p, ""))
	default:
		errs = append(errs, rules.Enum(p, "", *policy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

// knownSystemClass reports how c differs from the system's class of its name.
func knownSystemClass(c *schedulingv1.PriorityClass) error {
	for _, known := range SystemPriorityClasses() {
		switch {
		case known.Name != c.Name:
			continue
		case known.Value != c.Value:
			return fmt.Errorf("value of %v PriorityClass must be %v", known.Name, known.Value)
		case known.GlobalDefault != c.GlobalDefault:
			return fmt.Errorf("globalDefault of %v PriorityClass must be %v", known.Name, known.GlobalDefault)
		}
		return nil
	}
	return fmt.Errorf("%v is not a known system priority class", c.Name)
}
