package core

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/podtemplate"
	"pintle.dev/resource/builtin/rules"
)

// Pods defines core/v1 Pod. The server wires log, exec, attach, portforward and eviction; ephemeral containers and
// resizing are not served.
func Pods() *resource.Definition {
	return resource.Typed[corev1.Pod]{
		Definition: resource.Definition{
			Resource: api.Pods, Kind: "Pod", Singular: "pod", ShortNames: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.ChangedMetadata, resource.WholeMetadata},
			ReturnDeleted: true,
			Versions:      []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: podColumns}},
			Subresources: map[string]resource.Subresource{
				"status":      {Verbs: []api.Verb{api.Get, api.Patch, api.Update}},
				"binding":     podBinding,
				"eviction":    {Verbs: []api.Verb{api.Create}, Group: "policy", Version: "v1", Kind: "Eviction"},
				"log":         {Verbs: []api.Verb{api.Get}},
				"exec":        {Verbs: []api.Verb{api.Create, api.Get}, Version: "v1", Kind: "PodExecOptions"},
				"attach":      {Verbs: []api.Verb{api.Create, api.Get}, Version: "v1", Kind: "PodAttachOptions"},
				"portforward": {Verbs: []api.Verb{api.Create, api.Get}, Version: "v1", Kind: "PodPortForwardOptions"},
			},
			Index: podIndex,
			Hooks: resource.Hooks{GracePeriod: podGracePeriod},
		},
		Prepare:  preparePod,
		Default:  defaultPod,
		Validate: validatePod,
		Warn:     warnPod,
		Terminate: func(_ context.Context, w *resource.Write, p *corev1.Pod) {
			if w.Request.Subresource == "eviction" && !w.DryRun {
				setPodCondition(&p.Status, corev1.PodCondition{
					Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
				})
			}
		},
		Cells: podCells, RowConditions: podRowConditions, CellFields: podCellFields,
	}.Define()
}

// podIndex holds upstream's field selectors for pods. A field that is empty has no entry, but for spec.nodeName: the
// pods on no node are asked for. The others are marks: an index entry costs each of the many writes of a pod as much as
// looking at a hundred pods costs the rare list that selects by it.
var podIndex = []resource.IndexField{
	{Name: "spec.nodeName", Values: func(o *resource.Object) []string { return []string{o.Value.(*corev1.Pod).Spec.NodeName} }},
	podField("spec.restartPolicy", func(p *corev1.Pod) []string { return present(string(p.Spec.RestartPolicy)) }),
	podField("spec.schedulerName", func(p *corev1.Pod) []string { return present(p.Spec.SchedulerName) }),
	podField("spec.serviceAccountName", func(p *corev1.Pod) []string { return present(p.Spec.ServiceAccountName) }),
	podField("spec.hostNetwork", func(p *corev1.Pod) []string { return []string{strconv.FormatBool(p.Spec.HostNetwork)} }),
	podField("status.phase", func(p *corev1.Pod) []string { return present(string(p.Status.Phase)) }),
	podField("status.podIP", func(p *corev1.Pod) []string { return present(p.Status.PodIP) }),
	podField("status.podIPs", func(p *corev1.Pod) []string {
		var ips []string
		for _, ip := range p.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
		return ips
	}),
	podField("status.nominatedNodeName", func(p *corev1.Pod) []string { return present(p.Status.NominatedNodeName) }),
}

func podField(name string, values func(p *corev1.Pod) []string) resource.IndexField {
	return resource.IndexField{Name: name, Marked: true, Values: func(o *resource.Object) []string { return values(o.Value.(*corev1.Pod)) }}
}

func present(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func defaultPod(p *corev1.Pod) {
	podtemplate.DefaultPod(p)
	syncIPs(&p.Status)
	for _, list := range [...][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range list {
			podtemplate.RoundUp(list[i].AllocatedResources)
			if r := list[i].Resources; r != nil {
				podtemplate.RoundUp(r.Limits)
				podtemplate.RoundUp(r.Requests)
			}
		}
	}
}

// syncIPs keeps status.podIP the first of status.podIPs: of the two forms of one fact the plural wins unless it is
// absent or the singular disagrees.
func syncIPs(s *corev1.PodStatus) {
	switch {
	case s.PodIP != "" && (len(s.PodIPs) == 0 || s.PodIPs[0].IP != s.PodIP):
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	case s.PodIP == "" && len(s.PodIPs) > 0:
		s.PodIP = s.PodIPs[0].IP
	}
}

// preparePod follows upstream's strategies for pods, their status and, for the other subresources, changes nothing:
// what those may touch is decided where they are applied.
func preparePod(_ context.Context, w *resource.Write, p, old *corev1.Pod) {
	switch {
	case p == nil:
	case old == nil:
		// The class depends on defaulted requests.
		podtemplate.DefaultPod(p)
		podtemplate.DropUnserved(&p.Spec)
		w.Warnings = append(w.Warnings, podtemplate.SyncAppArmor(p)...)
		p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: podtemplate.QOSClass(&p.Spec)}
		addMatchLabelKeys(p)
		if len(p.Spec.SchedulingGates) > 0 {
			p.Status.Conditions = []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now(),
				Reason: corev1.PodReasonSchedulingGated, Message: "Scheduling is blocked due to non-empty scheduling gates",
			}}
		}
	case w.Subresource == "":
		podtemplate.DropUnserved(&p.Spec)
		p.Status = old.Status
	case w.Subresource == "status":
		p.Spec = old.Spec
		p.DeletionTimestamp = old.DeletionTimestamp
		p.OwnerReferences = old.OwnerReferences
		if p.Status.QOSClass == "" {
			p.Status.QOSClass = old.Status.QOSClass
		}
	}
}

// podGracePeriod is how long, in seconds, a pod may take to stop: what was asked for, else what its spec says; none
// when it runs nowhere or has finished, and one second for a negative period.
func podGracePeriod(o *resource.Object, requested *int64) int64 {
	p := o.Value.(*corev1.Pod)
	var period int64
	switch {
	case p.Spec.NodeName == "" || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded:
	case requested != nil:
		period = *requested
	case p.Spec.TerminationGracePeriodSeconds != nil:
		period = *p.Spec.TerminationGracePeriodSeconds
	}
	if period < 0 {
		period = 1
	}
	return period
}

// warnPod warns of new pods only: what updates one is seldom a person.
func warnPod(_ context.Context, _ *resource.Write, p, old *corev1.Pod) []string {
	if p == nil || old != nil {
		return nil
	}
	warnings := podtemplate.WarnPod(p)
	if msgs := rules.DNSLabel(p.Name); len(msgs) > 0 {
		warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
	}
	return warnings
}

var podBinding = resource.Subresource{
	Verbs: []api.Verb{api.Create}, Version: "v1", Kind: "Binding",
	Body:  func() any { return &corev1.Binding{} },
	Check: func(r *api.Request, body any) error { return checkBinding(r.Key.Name, body.(*corev1.Binding)) },
	Apply: func(_ context.Context, w *resource.Write, body any) error { return bindPod(w, body.(*corev1.Binding)) },
	// A binding names the pod that it is for.
	Preconditions: func(body any) (uid types.UID, revision string) {
		b := body.(*corev1.Binding)
		return b.UID, b.ResourceVersion
	},
}

// checkBinding checks what a binding says without a look at the pod. That there is such a node is nobody's rule.
func checkBinding(pod string, b *corev1.Binding) error {
	if b.Name != pod {
		return api.BadRequest("name in URL does not match name in Binding object")
	}
	target := field.NewPath("target")
	var errs field.ErrorList
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(target.Child("kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(target.Child("name"), ""))
	}
	if len(errs) > 0 {
		// Upstream reports these as internal errors (500).
		return api.BadRequest("%v", errs.ToAggregate())
	}
	return nil
}

// bindPod assigns a pod to a node, once, and takes over the binding's annotations and labels.
func bindPod(w *resource.Write, b *corev1.Binding) error {
	p := w.New.Value.(*corev1.Pod)
	conflict := func(format string, args ...any) error {
		return api.Conflict(api.Resource{Name: "pods/binding"}, p.Name, fmt.Errorf(format, args...))
	}
	switch {
	case p.DeletionTimestamp != nil:
		return conflict("pod %s is being deleted, cannot be assigned to a host", p.Name)
	case p.Spec.NodeName != "":
		return conflict("pod %v is already assigned to node %q", p.Name, p.Spec.NodeName)
	case len(p.Spec.SchedulingGates) > 0:
		return conflict("pod %v has non-empty .spec.schedulingGates", p.Name)
	}
	p.Spec.NodeName = b.Target.Name
	p.Status.NominatedNodeName = ""
	for k, v := range b.Annotations {
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, k, v)
	}
	for k, v := range b.Labels {
		metav1.SetMetaDataLabel(&p.ObjectMeta, k, v)
	}
	setPodCondition(&p.Status, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	return nil
}

// setPodCondition replaces the condition of c's type, keeping the time of its last transition when the status is the
// same.
func setPodCondition(s *corev1.PodStatus, c corev1.PodCondition) {
	c.LastTransitionTime = metav1.Now().Rfc3339Copy()
	for i := range s.Conditions {
		if s.Conditions[i].Type != c.Type {
			continue
		}
		if s.Conditions[i].Status == c.Status {
			c.LastTransitionTime = s.Conditions[i].LastTransitionTime
		}
		s.Conditions[i] = c
		return
	}
	s.Conditions = append(s.Conditions, c)
}

// addMatchLabelKeys turns the label keys of pod (anti-)affinity terms into requirements on the values this pod has,
// as upstream does at creation.
func addMatchLabelKeys(p *corev1.Pod) {
	a := p.Spec.Affinity
	if a == nil {
		return
	}
	terms := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			addLabelKeys(&required[i], p.Labels)
		}
		for i := range preferred {
			addLabelKeys(&preferred[i].PodAffinityTerm, p.Labels)
		}
	}
	if a.PodAffinity != nil {
		terms(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if a.PodAntiAffinity != nil {
		terms(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

func addLabelKeys(t *corev1.PodAffinityTerm, labels map[string]string) {
	if t.LabelSelector == nil {
		return
	}
	add := func(keys []string, op metav1.LabelSelectorOperator) {
		for _, k := range keys {
			if v, ok := labels[k]; ok {
				t.LabelSelector.MatchExpressions = append(t.LabelSelector.MatchExpressions,
					metav1.LabelSelectorRequirement{Key: k, Operator: op, Values: []string{v}})
			}
		}
	}
	add(t.MatchLabelKeys, metav1.LabelSelectorOpIn)
	add(t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
}
