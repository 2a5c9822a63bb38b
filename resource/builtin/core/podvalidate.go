package core

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
	"pintle.dev/resource/builtin/rules"
)

func validatePod(_ context.Context, w *resource.Write, p, old *corev1.Pod) field.ErrorList {
	switch {
	case p == nil:
		return nil
	case old == nil:
		return podtemplate.ValidateCreate(p)
	case w.Subresource == "":
		return validatePodUpdate(p, old)
	case w.Subresource == "status":
		return validatePodStatus(p, old)
	}
	return nil
}

// updatablePodFields is how upstream names the fields of a pod's spec that may change.
var updatablePodFields = strings.Join([]string{
	"`spec.containers[*].image`",
	"`spec.initContainers[*].image`",
	"`spec.activeDeadlineSeconds`",
	"`spec.tolerations` (only additions to existing tolerations)",
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
}, ",")

func validatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	same := podtemplate.Same(&p.Spec, &old.Spec)
	if same {
		// What is stored was valid; a change of labels need not prove it again. Upstream reports annotations twice.
		errs := podtemplate.ValidateAnnotations(field.NewPath("metadata", "annotations"), p.Annotations, &p.Spec)
		return append(errs, podtemplate.ValidateAnnotationUpdate(p, old)...)
	}
	errs := podtemplate.ValidatePod(p)
	errs = append(errs, podtemplate.ValidateAnnotationUpdate(p, old)...)
	sp := field.NewPath("spec")
	for _, list := range []struct {
		name     string
		new, old []corev1.Container
	}{{"containers", p.Spec.Containers, old.Spec.Containers}, {"initContainers", p.Spec.InitContainers, old.Spec.InitContainers}} {
		if len(list.new) != len(list.old) {
			return append(errs, field.Forbidden(sp.Child(list.name), "pod updates may not add or remove containers"))
		}
		errs = append(errs, updatedImages(sp.Child(list.name), list.new)...)
	}
	deadline := sp.Child("activeDeadlineSeconds")
	switch now, was := p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds; {
	case now == nil && was != nil:
		errs = append(errs, field.Invalid(deadline, "null", "must not update from a positive integer to nil value"))
	case now != nil && (*now < 0 || *now > math.MaxInt32):
		return append(errs, rules.Range(deadline, *now, 0, math.MaxInt32)...)
	case now != nil && was != nil && *was < *now:
		return append(errs, field.Invalid(deadline, *now, "must be less than or equal to previous value"))
	}
	errs = append(errs, onlyAddedTolerations(sp.Child("tolerations"), p.Spec.Tolerations, old.Spec.Tolerations)...)
	errs = append(errs, onlyDeletedGates(sp.Child("schedulingGates"), p.Spec.SchedulingGates, old.Spec.SchedulingGates)...)
	return append(errs, validateFixedSpec(sp, &p.Spec, &old.Spec)...)
}

func updatedImages(p *field.Path, cs []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for i := range cs {
		ip := p.Index(i).Child("image")
		errs = append(errs, rules.Required(ip, cs[i].Image)...)
		if strings.TrimSpace(cs[i].Image) != cs[i].Image {
			errs = append(errs, field.Invalid(ip, cs[i].Image, "must not have leading or trailing whitespace"))
		}
	}
	return errs
}

// onlyAddedTolerations lets a pod gain tolerations, and change how long it tolerates.
func onlyAddedTolerations(p *field.Path, now, was []corev1.Toleration) field.ErrorList {
	for i := range was {
		kept := false
		for j := range now {
			t := was[i]
			t.TolerationSeconds = now[j].TolerationSeconds
			kept = kept || t == now[j]
		}
		if !kept {
			return field.ErrorList{field.Forbidden(p, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return podtemplate.ValidateTolerations(p, now)
}

func onlyDeletedGates(p *field.Path, now, was []corev1.PodSchedulingGate) field.ErrorList {
	known := map[string]bool{}
	for _, g := range was {
		known[g.Name] = true
	}
	var errs field.ErrorList
	for i, g := range now {
		if !known[g.Name] {
			errs = append(errs, field.Forbidden(p.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return errs
}

// validateFixedSpec refuses a change of any field but those checked before. Of a gated pod the node selector and the
// node affinity may still become narrower.
func validateFixedSpec(p *field.Path, now, was *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	s := now.DeepCopy()
	for i := range s.Containers {
		s.Containers[i].Image = was.Containers[i].Image
	}
	for i := range s.InitContainers {
		s.InitContainers[i].Image = was.InitContainers[i].Image
	}
	s.ActiveDeadlineSeconds = was.ActiveDeadlineSeconds
	s.SchedulingGates, s.Tolerations = was.SchedulingGates, was.Tolerations
	if len(was.SchedulingGates) > 0 {
		errs = append(errs, onlyAddedSelectors(p.Child("nodeSelector"), s.NodeSelector, was.NodeSelector)...)
		s.NodeSelector = was.NodeSelector
		errs = append(errs, narrowedAffinity(p.Child("affinity", "nodeAffinity"), s, was)...)
	}
	if !equality.Semantic.DeepEqual(s, was) {
		errs = append(errs, field.Forbidden(p, fmt.Sprintf("pod updates may not change fields other than %s\n%v", updatablePodFields, cmp.Diff(*was, *s))))
	}
	return errs
}

func onlyAddedSelectors(p *field.Path, now, was map[string]string) field.ErrorList {
	for k, v := range was {
		if n, ok := now[k]; !ok || n != v {
			return field.ErrorList{field.Invalid(p, now, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")}
		}
	}
	return nil
}

// narrowedAffinity checks how the node affinity changed, then puts the old one into s.
func narrowedAffinity(p *field.Path, s, was *corev1.PodSpec) field.ErrorList {
	var before, after *corev1.NodeAffinity
	if was.Affinity != nil {
		before = was.Affinity.NodeAffinity
	}
	if s.Affinity != nil {
		after = s.Affinity.NodeAffinity
	}
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	switch {
	case s.Affinity == nil:
		s.Affinity = &corev1.Affinity{NodeAffinity: before}
	case was.Affinity == nil && s.Affinity.PodAffinity == nil && s.Affinity.PodAntiAffinity == nil:
		s.Affinity = nil
	default:
		s.Affinity.NodeAffinity = before
	}
	if before == nil || before.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	p = p.Child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
	old := before.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	var terms []corev1.NodeSelectorTerm
	if after != nil && after.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		terms = after.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	}
	if len(old) > 0 && len(old) != len(terms) {
		return field.ErrorList{field.Invalid(p, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")}
	}
	var errs field.ErrorList
	for i := range old {
		if !extendsTerm(&terms[i], &old[i]) {
			errs = append(errs, field.Invalid(p.Index(i), terms[i], "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

// extendsTerm reports whether a term only has further requirements. An empty term matches nothing, so it must stay.
func extendsTerm(now, was *corev1.NodeSelectorTerm) bool {
	if len(was.MatchExpressions) == 0 && len(was.MatchFields) == 0 {
		return len(now.MatchExpressions) == 0 && len(now.MatchFields) == 0
	}
	return hasPrefix(now.MatchExpressions, was.MatchExpressions) && hasPrefix(now.MatchFields, was.MatchFields)
}

func hasPrefix(now, was []corev1.NodeSelectorRequirement) bool {
	return len(now) >= len(was) && (len(was) == 0 || equality.Semantic.DeepEqual(now[:len(was)], was))
}

func validatePodStatus(p, old *corev1.Pod) field.ErrorList {
	errs := podtemplate.ValidateAnnotationUpdate(p, old)
	// Upstream reports conditions under metadata.
	for i := range p.Status.Conditions {
		switch t := p.Status.Conditions[i].Type; t {
		case corev1.PodScheduled, corev1.PodReady, corev1.PodInitialized:
		default:
			if msgs := rules.QualifiedName(string(t)); msgs != nil {
				errs = append(errs, rules.Invalid(field.NewPath("metadata", "conditions").Index(i), string(t), msgs, "Type")...)
			}
		}
	}
	sp := field.NewPath("status")
	if n := p.Status.NominatedNodeName; n != "" && n != old.Status.NominatedNodeName {
		errs = append(errs, rules.Invalid(sp, n, rules.DNSSubdomain(n), "nominatedNodeName")...)
	}
	if p.Status.QOSClass != old.Status.QOSClass {
		errs = append(errs, field.Invalid(sp.Child("qosClass"), p.Status.QOSClass, rules.FieldFixed))
	}
	errs = append(errs, stayTerminated(sp.Child("containerStatuses"), p.Status.ContainerStatuses, old.Status.ContainerStatuses, &old.Spec)...)
	errs = append(errs, stayTerminated(sp.Child("initContainerStatuses"), p.Status.InitContainerStatuses, old.Status.InitContainerStatuses, &old.Spec)...)
	// Ephemeral containers never restart.
	errs = append(errs, stayTerminated(sp.Child("ephemeralContainerStatuses"), p.Status.EphemeralContainerStatuses, old.Status.EphemeralContainerStatuses,
		&corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever})...)
	errs = append(errs, validatePodIPs(sp.Child("podIPs"), p)...)
	errs = append(errs, validateHostIPs(sp.Child("hostIPs"), p)...)
	for _, list := range []struct {
		name     string
		statuses []corev1.ContainerStatus
	}{
		{"containerStatuses", p.Status.ContainerStatuses}, {"initContainerStatuses", p.Status.InitContainerStatuses},
		{"ephemeralContainerStatuses", p.Status.EphemeralContainerStatuses},
	} {
		errs = append(errs, validateStatusUsers(sp.Child(list.name), list.statuses, p.Spec.OS)...)
	}
	errs = append(errs, validateClaimStatuses(sp.Child("resourceClaimStatuses"), p.Status.ResourceClaimStatuses)...)
	errs = append(errs, validateResourceHealth(sp.Child("containerStatuses"), p.Status.ContainerStatuses, p.Spec.Containers)...)
	errs = append(errs, validateResourceHealth(sp.Child("initContainerStatuses"), p.Status.InitContainerStatuses, p.Spec.InitContainers)...)
	for i := range p.Status.EphemeralContainerStatuses {
		if len(p.Status.EphemeralContainerStatuses[i].AllocatedResourcesStatus) > 0 {
			errs = append(errs, field.Forbidden(sp.Child("ephemeralContainerStatuses").Index(i).Child("allocatedResourcesStatus"), "must not be specified in container status"))
		}
	}
	return errs
}

// validateClaimStatuses refuses them all, as no pod here has claims.
func validateClaimStatuses(p *field.Path, statuses []corev1.PodResourceClaimStatus) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, s := range statuses {
		name := p.Index(i).Child("name")
		errs = append(errs, field.Invalid(name, s.Name, "must match the name of an entry in `spec.resourceClaims`"))
		if seen[s.Name] {
			errs = append(errs, field.Duplicate(name, s.Name))
		}
		seen[s.Name] = true
		if c := s.ResourceClaimName; c != nil {
			errs = append(errs, rules.Invalid(name, *c, rules.DNSSubdomain(*c))...)
		}
	}
	return errs
}

// stayTerminated refuses that a container which is not to be restarted leaves its terminated state.
func stayTerminated(p *field.Path, now, was []corev1.ContainerStatus, s *corev1.PodSpec) field.ErrorList {
	if s.RestartPolicy == corev1.RestartPolicyAlways {
		return nil
	}
	var errs field.ErrorList
	for i := range was {
		t := was[i].State.Terminated
		if t == nil || t.ExitCode != 0 && s.RestartPolicy == corev1.RestartPolicyOnFailure || isSidecar(s, was[i].Name) {
			continue
		}
		for j := range now {
			if now[j].Name == was[i].Name && now[j].State.Terminated == nil {
				errs = append(errs, field.Forbidden(p.Index(i).Child("state"), "may not be transitioned to non-terminated state"))
			}
		}
	}
	return errs
}

func isSidecar(s *corev1.PodSpec, name string) bool {
	for i := range s.InitContainers {
		if c := &s.InitContainers[i]; c.Name == name {
			return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		}
	}
	return false
}

func validatePodIPs(p *field.Path, pod *corev1.Pod) field.ErrorList {
	ips := make([]string, len(pod.Status.PodIPs))
	for i, ip := range pod.Status.PodIPs {
		ips[i] = ip.IP
	}
	errs := validateStatusIPs(p, ips)
	errs = append(errs, oneOfEachFamily(p, ips, pod.Status.PodIPs)...)
	for i := range ips {
		if repeated(ips, i) {
			errs = append(errs, field.Duplicate(p.Index(i), pod.Status.PodIPs[i]))
		}
	}
	return errs
}

func validateHostIPs(p *field.Path, pod *corev1.Pod) field.ErrorList {
	if len(pod.Status.HostIPs) == 0 {
		return nil
	}
	ips := make([]string, len(pod.Status.HostIPs))
	for i, ip := range pod.Status.HostIPs {
		ips[i] = ip.IP
	}
	var errs field.ErrorList
	if pod.Status.HostIP != ips[0] {
		errs = append(errs, field.Invalid(p.Index(0).Child("ip"), ips[0], "must be equal to `hostIP`"))
	}
	errs = append(errs, validateStatusIPs(p, ips)...)
	for i := range ips {
		if repeated(ips, i) {
			errs = append(errs, field.Duplicate(p.Index(i), pod.Status.HostIPs[i]))
		}
	}
	errs = append(errs, oneOfEachFamily(p, ips, pod.Status.HostIPs)...)
	return errs
}

func validateStatusIPs(p *field.Path, ips []string) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range ips {
		errs = append(errs, rules.IP(p.Index(i), ip)...)
	}
	return errs
}

// oneOfEachFamily refuses several addresses, shown as they stand in the object, that are not two of different families.
func oneOfEachFamily(p *field.Path, ips []string, shown any) field.ErrorList {
	if len(ips) < 2 {
		return nil
	}
	var errs field.ErrorList
	dual, err := netutils.IsDualStackIPStrings(ips)
	if err != nil {
		errs = append(errs, field.InternalError(p, fmt.Errorf("failed to check for dual stack with error:%w", err)))
	}
	if !dual || len(ips) > 2 {
		errs = append(errs, field.Invalid(p, shown, "may specify no more than one IP for each IP family"))
	}
	return errs
}

func repeated(ips []string, i int) bool {
	for _, ip := range ips[:i] {
		if ip == ips[i] {
			return true
		}
	}
	return false
}

func validateStatusUsers(p *field.Path, statuses []corev1.ContainerStatus, os *corev1.PodOS) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		if statuses[i].User == nil || statuses[i].User.Linux == nil {
			continue
		}
		u, up := statuses[i].User.Linux, p.Index(i).Child("linux")
		if os != nil && os.Name == corev1.Windows {
			errs = append(errs, field.Forbidden(up, "cannot be set for a windows pod"))
			continue
		}
		errs = append(errs, rules.ID(up, u.UID, "uid")...)
		errs = append(errs, rules.ID(up, u.GID, "gid")...)
		for j, g := range u.SupplementalGroups {
			errs = append(errs, rules.ID(up.Child("supplementalGroups").Index(j), g)...)
		}
	}
	return errs
}
