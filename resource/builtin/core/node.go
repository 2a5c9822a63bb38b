package core

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"pintle.dev/api"
	res "pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
	"pintle.dev/resource/builtin/rules"
)

// Nodes defines core/v1 Node.
func Nodes() *res.Definition {
	info := corev1.NodeSystemInfo{}.SwaggerDoc()
	addresses := corev1.NodeStatus{}.SwaggerDoc()["addresses"]
	return res.Typed[corev1.Node]{
		Definition: res.Definition{
			Resource: api.Nodes, Kind: "Node", Singular: "node", ShortNames: []string{"no"},
			MetadataRules: []res.MetadataRule{res.WholeMetadata, res.ChangedMetadata},
			Versions: []res.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				res.NameColumn,
				{Name: "Status", Type: "string", Description: "The status of the node"},
				{Name: "Roles", Type: "string", Description: "The roles of the node"},
				res.AgeColumn,
				{Name: "Version", Type: "string", Description: info["kubeletVersion"]},
				{Name: "Internal-IP", Type: "string", Priority: 1, Description: addresses},
				{Name: "External-IP", Type: "string", Priority: 1, Description: addresses},
				{Name: "OS-Image", Type: "string", Priority: 1, Description: info["osImage"]},
				{Name: "Kernel-Version", Type: "string", Priority: 1, Description: info["kernelVersion"]},
				{Name: "Container-Runtime", Type: "string", Priority: 1, Description: info["containerRuntimeVersion"]},
			}}},
			Subresources: map[string]res.Subresource{"status": {Verbs: []api.Verb{api.Get, api.Patch, api.Update}}},
			Index: []res.IndexField{{Name: "spec.unschedulable", Values: func(o *res.Object) []string {
				return []string{strconv.FormatBool(o.Value.(*corev1.Node).Spec.Unschedulable)}
			}}},
		},
		Default: func(o *corev1.Node) {
			podtemplate.RoundUp(o.Status.Capacity)
			podtemplate.RoundUp(o.Status.Allocatable)
			if len(o.Status.Allocatable) == 0 && o.Status.Capacity != nil {
				o.Status.Allocatable = o.Status.Capacity.DeepCopy()
			}
			// podCIDR is the first of podCIDRs, and wins when the two differ.
			switch s := &o.Spec; {
			case s.PodCIDR != "" && (len(s.PodCIDRs) == 0 || s.PodCIDRs[0] != s.PodCIDR):
				s.PodCIDRs = []string{s.PodCIDR}
			case s.PodCIDR == "" && len(s.PodCIDRs) > 0:
				s.PodCIDR = s.PodCIDRs[0]
			}
		},
		Prepare: func(_ context.Context, w *res.Write, o, old *corev1.Node) {
			switch {
			case w.Creating():
			case w.Subresource == "status":
				o.Spec = old.Spec
			default:
				o.Status = old.Status
			}
			if old == nil || old.Spec.ConfigSource == nil {
				o.Spec.ConfigSource = nil // dynamic kubelet configuration was removed in 1.26
			}
			if old == nil || old.Status.Config == nil {
				o.Status.Config = nil
			}
			for i := range o.Status.Images {
				if len(o.Status.Images[i].Names) == 0 {
					o.Status.Images[i].Names = nil // upstream's storage does not tell empty from absent
				}
			}
		},
		Validate: validateNode,
		Warn: func(_ context.Context, w *res.Write, o, _ *corev1.Node) []string {
			var warnings []string
			if o != nil && w.Subresource == "" && o.Spec.DoNotUseExternalID != "" {
				warnings = append(warnings, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
			}
			return warnings
		},
		Cells: nodeCells,
	}.Define()
}

// validateNode follows upstream in holding an update, but not one of the status, to what holds for a new node too, so that
// much of what is wrong is reported twice.
func validateNode(_ context.Context, w *res.Write, o, old *corev1.Node) field.ErrorList {
	switch {
	case old == nil:
		return validateNewNode(o)
	case w.Subresource == "status":
		return validateNodeUpdate(o, old)
	}
	return append(validateNewNode(o), validateNodeUpdate(o, old)...)
}

func validateNewNode(o *corev1.Node) field.ErrorList {
	errs := validateTaints(o.Spec.Taints, field.NewPath("metadata", "taints"))
	errs = append(errs, validateNodeAmounts(&o.Status)...)
	if len(o.Spec.PodCIDRs) > 0 {
		p := field.NewPath("spec", "podCIDRs")
		for i, c := range o.Spec.PodCIDRs {
			errs = append(errs, validation.IsValidCIDRForLegacyField(p.Index(i), c, false, nil)...)
		}
		if len(o.Spec.PodCIDRs) > 1 {
			dual, err := netutils.IsDualStackCIDRStrings(o.Spec.PodCIDRs)
			if err != nil {
				errs = append(errs, field.InternalError(p, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%v", err)))
			}
			if !dual || len(o.Spec.PodCIDRs) > 2 {
				errs = append(errs, field.Invalid(p, o.Spec.PodCIDRs, "may specify no more than one CIDR for each IP family"))
			}
			for i, c := range o.Spec.PodCIDRs {
				if slices.Contains(o.Spec.PodCIDRs[:i], c) {
					errs = append(errs, field.Duplicate(p.Index(i), c))
				}
			}
		}
	}
	return errs
}

func validateNodeUpdate(o, old *corev1.Node) field.ErrorList {
	errs := validateNodeAmounts(&o.Status)
	seen := sets.New[corev1.NodeAddress]()
	for i, a := range o.Status.Addresses {
		if seen.Has(a) {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), a))
		}
		seen.Insert(a)
	}
	spec := field.NewPath("spec")
	if was, now := old.Spec.PodCIDRs, o.Spec.PodCIDRs; len(was) > 0 {
		fixed := field.Forbidden(spec.Child("podCIDRs"), `node updates may not change podCIDR except from "" to valid`)
		if len(was) != len(now) {
			errs = append(errs, fixed)
		} else {
			for i := range was {
				if was[i] != now[i] {
					errs = append(errs, fixed)
				}
			}
		}
	}
	if old.Spec.ProviderID != "" && old.Spec.ProviderID != o.Spec.ProviderID {
		errs = append(errs, field.Forbidden(spec.Child("providerID"), `node updates may not change providerID except from "" to valid`))
	}
	errs = append(errs, validateTaints(o.Spec.Taints, field.NewPath("metadata", "taints"))...)
	if o.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(spec.Child("externalID"), "may not be updated"))
	}
	return errs
}

func validateNodeAmounts(s *corev1.NodeStatus) field.ErrorList {
	errs := validateNodeResources(s.Capacity, field.NewPath("status", "capacity"))
	return append(errs, validateNodeResources(s.Allocatable, field.NewPath("status", "allocatable"))...)
}

var taintEffects = []string{string(corev1.TaintEffectNoSchedule), string(corev1.TaintEffectPreferNoSchedule), string(corev1.TaintEffectNoExecute)}

func validateTaints(taints []corev1.Taint, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	type pair struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := sets.New[pair]()
	for i, t := range taints {
		at := p.Index(i)
		for _, msg := range validation.IsQualifiedName(t.Key) {
			errs = append(errs, field.Invalid(at.Child("key"), t.Key, msg))
		}
		if msgs := validation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, strings.Join(msgs, ";")))
		}
		switch {
		case t.Effect == "":
			errs = append(errs, field.Required(at.Child("effect"), ""))
		case !slices.Contains(taintEffects, string(t.Effect)):
			errs = append(errs, field.NotSupported(at.Child("effect"), string(t.Effect), taintEffects))
		}
		if seen.Has(pair{t.Key, t.Effect}) {
			e := field.Duplicate(at, t)
			e.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, e)
		}
		seen.Insert(pair{t.Key, t.Effect})
	}
	return errs
}

// validateNodeResources refuses negative amounts, and fractions of what can only be had whole: extended resources, pods
// and huge pages.
func validateNodeResources(list corev1.ResourceList, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := make([]string, 0, len(list))
	for name := range list {
		names = append(names, string(name))
	}
	slices.Sort(names)
	for _, name := range names {
		q := list[corev1.ResourceName(name)]
		at := p.Child(name)
		if q.Cmp(resource.Quantity{}) < 0 {
			errs = append(errs, field.Invalid(at, q.String(), "must be greater than or equal to 0"))
		}
		if whole(name) && q.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(at, rules.Dump(q), "must be an integer"))
		}
	}
	return errs
}

func whole(name string) bool {
	switch corev1.ResourceName(name) {
	case corev1.ResourcePods, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceQuotas, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	domain, _, ok := strings.Cut(name, "/")
	return ok && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

const nodeRolePrefix = "node-role.kubernetes.io/"

func nodeCells(o *corev1.Node) []any {
	status := "Unknown"
	for _, c := range o.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if status = "NotReady"; c.Status == corev1.ConditionTrue {
				status = "Ready"
			}
		}
	}
	if o.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	roles := sets.New[string]()
	for k, v := range o.Labels {
		if role, ok := strings.CutPrefix(k, nodeRolePrefix); ok && role != "" {
			roles.Insert(role)
		} else if k == "kubernetes.io/role" && v != "" {
			roles.Insert(v)
		}
	}
	address := func(t corev1.NodeAddressType) string {
		for _, a := range o.Status.Addresses {
			if a.Type == t {
				return a.Address
			}
		}
		return "<none>"
	}
	i := o.Status.NodeInfo
	return []any{o.Name, status, or(strings.Join(sets.List(roles), ","), "<none>"), res.Age(o.CreationTimestamp), i.KubeletVersion,
		address(corev1.NodeInternalIP), address(corev1.NodeExternalIP), or(i.OSImage, "<unknown>"), or(i.KernelVersion, "<unknown>"), or(i.ContainerRuntimeVersion, "<unknown>")}
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}
