package core

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// storedPod is a pod as it would be after its creation.
func storedPod(tb testing.TB, spec string) *corev1.Pod {
	tb.Helper()
	p := decodePod(tb, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"n","uid":"u"},"spec":`+spec+`}`)
	p.Spec.ServiceAccountName = "default"
	defaultPod(p)
	preparePod(context.Background(), &resource.Write{Request: &api.Request{}}, p, nil)
	return p
}

func lines(errs field.ErrorList) []string {
	out := []string{}
	for _, e := range errs {
		line, _, _ := strings.Cut(e.Error(), "\n")
		out = append(out, line)
	}
	return out
}

func TestBindPod(t *testing.T) {
	for _, c := range []struct {
		name    string
		spec    string
		change  func(p *corev1.Pod)
		binding corev1.Binding
		want    string
		code    int32
	}{
		{name: "ok", binding: corev1.Binding{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": "b"}, Labels: map[string]string{"zone": "z"}}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}},
		{name: "other name", binding: corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Target: corev1.ObjectReference{Name: "n1"}},
			want: "name in URL does not match name in Binding object", code: 400},
		{name: "no node", want: "target.name: Required value", code: 400},
		{name: "no kind of node", binding: corev1.Binding{Target: corev1.ObjectReference{Kind: "Pod", Name: "n1"}},
			want: `target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"`, code: 400},
		{name: "assigned", spec: `{"containers":[{"name":"c","image":"i"}],"nodeName":"n0"}`, binding: corev1.Binding{Target: corev1.ObjectReference{Name: "n1"}},
			want: `Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n0"`, code: 409},
		{name: "gated", spec: `{"containers":[{"name":"c","image":"i"}],"schedulingGates":[{"name":"g"}]}`, binding: corev1.Binding{Target: corev1.ObjectReference{Name: "n1"}},
			want: `Operation cannot be fulfilled on pods/binding "p": pod p has non-empty .spec.schedulingGates`, code: 409},
		{name: "going", change: func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, binding: corev1.Binding{Target: corev1.ObjectReference{Name: "n1"}},
			want: `Operation cannot be fulfilled on pods/binding "p": pod p is being deleted, cannot be assigned to a host`, code: 409},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := c.spec
			if spec == "" {
				spec = `{"containers":[{"name":"c","image":"i"}]}`
			}
			p := storedPod(t, spec)
			if c.change != nil {
				c.change(p)
			}
			c.binding.Name = cmp.Or(c.binding.Name, "p")
			w := &resource.Write{New: &resource.Object{Meta: &p.ObjectMeta, Value: p}}
			err := podBinding.Check(&api.Request{Key: api.Key{Name: "p"}}, &c.binding)
			if err == nil {
				err = podBinding.Apply(t.Context(), w, &c.binding)
			}
			if c.want != "" {
				if err == nil || err.Error() != c.want || api.AsError(err).Status.Code != c.code {
					t.Fatalf("got %v, want %d %s", err, c.code, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Spec.NodeName != "n1" || p.Annotations["a"] != "b" || p.Labels["zone"] != "z" || !podConditionTrue(p, corev1.PodScheduled) {
				t.Errorf("not bound: %+v", p)
			}
		})
	}
}

func TestSetPodConditionKeepsTransition(t *testing.T) {
	when := metav1.Unix(1, 0)
	s := &corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: when}}}
	setPodCondition(s, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, Reason: "r"})
	if c := s.Conditions[0]; len(s.Conditions) != 1 || !c.LastTransitionTime.Equal(&when) || c.Reason != "r" {
		t.Errorf("an equal status changed the time: %+v", s.Conditions)
	}
	setPodCondition(s, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse})
	if s.Conditions[0].LastTransitionTime.Equal(&when) {
		t.Error("another status kept the time")
	}
}

func TestPodGracePeriod(t *testing.T) {
	const node = `{"containers":[{"name":"c","image":"i"}],"nodeName":"n"`
	five, minus := int64(5), int64(-5)
	for _, c := range []struct {
		name, spec string
		phase      corev1.PodPhase
		requested  *int64
		want       int64
	}{
		{"unscheduled", `{"containers":[{"name":"c","image":"i"}]}`, corev1.PodPending, &five, 0},
		{"default", node + `}`, corev1.PodRunning, nil, 30},
		{"own", node + `,"terminationGracePeriodSeconds":7}`, corev1.PodRunning, nil, 7},
		{"asked for", node + `}`, corev1.PodRunning, &five, 5},
		{"finished", node + `}`, corev1.PodSucceeded, &five, 0},
		{"failed", node + `}`, corev1.PodFailed, nil, 0},
		{"negative", node + `}`, corev1.PodRunning, &minus, 1},
	} {
		p := storedPod(t, c.spec)
		p.Status.Phase = c.phase
		if got := podGracePeriod(&resource.Object{Meta: &p.ObjectMeta, Value: p}, c.requested); got != c.want {
			t.Errorf("%s: %d seconds, want %d", c.name, got, c.want)
		}
	}
}

func TestPreparePod(t *testing.T) {
	ctx := context.Background()
	p := storedPod(t, `{"containers":[{"name":"c","image":"i"}],"terminationGracePeriodSeconds":-1,"schedulingGates":[{"name":"g"}],
		"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"z","labelSelector":{},"matchLabelKeys":["k"],"mismatchLabelKeys":["m"]}]}}}`)
	if *p.Spec.TerminationGracePeriodSeconds != 1 || p.Status.Phase != corev1.PodPending || p.Status.QOSClass != corev1.PodQOSBestEffort ||
		len(p.Status.Conditions) != 1 || p.Status.Conditions[0].Reason != corev1.PodReasonSchedulingGated {
		t.Errorf("created as %+v", p)
	}
	p.Labels = map[string]string{"k": "1", "m": "2"}
	addMatchLabelKeys(p)
	requirements := p.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector.MatchExpressions
	if len(requirements) != 2 || requirements[0].Operator != metav1.LabelSelectorOpIn || requirements[0].Values[0] != "1" ||
		requirements[1].Operator != metav1.LabelSelectorOpNotIn || requirements[1].Values[0] != "2" {
		t.Errorf("label keys became %v", requirements)
	}

	old := storedPod(t, `{"containers":[{"name":"c","image":"i"}]}`)
	update := old.DeepCopy()
	update.Status.Phase, update.Spec.Hostname = corev1.PodRunning, "h"
	preparePod(ctx, &resource.Write{}, update, old)
	if update.Status.Phase != corev1.PodPending || update.Spec.Hostname != "h" {
		t.Errorf("an update of the pod wrote its status: %+v", update)
	}
	status := old.DeepCopy()
	status.Status = corev1.PodStatus{Phase: corev1.PodRunning}
	status.Spec.Hostname, status.OwnerReferences = "h", []metav1.OwnerReference{{Name: "o"}}
	preparePod(ctx, &resource.Write{Subresource: "status"}, status, old)
	if status.Status.Phase != corev1.PodRunning || status.Status.QOSClass != old.Status.QOSClass || status.Spec.Hostname != "" || status.OwnerReferences != nil {
		t.Errorf("an update of the status wrote the pod: %+v", status)
	}
}

func TestValidatePodUpdate(t *testing.T) {
	const fixed = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
	const terms = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
	gated := `{"containers":[{"name":"c","image":"i"}],"schedulingGates":[{"name":"g"}],"nodeSelector":{"a":"b"},"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Exists"}]}]}}}}`
	required := func(p *corev1.Pod) *corev1.NodeSelector {
		return p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	exists := func(k string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: k, Operator: corev1.NodeSelectorOpExists}
	}
	n := func(v int64) *int64 { return &v }
	for _, c := range []struct {
		name, spec string
		change     func(p *corev1.Pod)
		want       []string
	}{
		{name: "nothing", change: func(*corev1.Pod) {}},
		{name: "labels", change: func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }},
		{name: "image", change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "j" }},
		{name: "padded image", change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = " j" }, want: []string{
			`spec.containers[0].image: Invalid value: " j": must not have leading or trailing whitespace`,
			`spec.containers[0].image: Invalid value: " j": must not have leading or trailing whitespace`}},
		{name: "another container", change: func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, p.Spec.Containers[0])
			p.Spec.Containers[1].Name = "d"
		}, want: []string{"spec.containers: Forbidden: pod updates may not add or remove containers"}},
		{name: "command", change: func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"x"} }, want: []string{fixed}},
		{name: "first deadline", change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = n(5) }},
		{name: "deadline shrinks", spec: `{"containers":[{"name":"c","image":"i"}],"activeDeadlineSeconds":9}`, change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = n(5) }},
		{name: "deadline grows", spec: `{"containers":[{"name":"c","image":"i"}],"activeDeadlineSeconds":9}`, change: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = n(10) },
			want: []string{"spec.activeDeadlineSeconds: Invalid value: 10: must be less than or equal to previous value"}},
		{name: "toleration added", change: func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists})
		}},
		{name: "toleration removed", spec: `{"containers":[{"name":"c","image":"i"}],"tolerations":[{"key":"a","operator":"Exists"}]}`, change: func(p *corev1.Pod) { p.Spec.Tolerations = nil },
			want: []string{"spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"}},
		{name: "toleration seconds", spec: `{"containers":[{"name":"c","image":"i"}],"tolerations":[{"key":"a","operator":"Exists","effect":"NoExecute"}]}`, change: func(p *corev1.Pod) { p.Spec.Tolerations[0].TolerationSeconds = n(1) }},
		{name: "gate removed", spec: gated, change: func(p *corev1.Pod) { p.Spec.SchedulingGates = nil }},
		{name: "gate added", spec: gated, change: func(p *corev1.Pod) {
			p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: "h"})
		}, want: []string{"spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"}},
		{name: "selector added while gated", spec: gated, change: func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "b", "c": "d"} }},
		{name: "selector removed while gated", spec: gated, change: func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"c": "d"} },
			want: []string{`spec.nodeSelector: Invalid value: {"c":"d"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)`}},
		{name: "selector added", change: func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "b"} }, want: []string{fixed}},
		{name: "affinity narrowed while gated", spec: gated, change: func(p *corev1.Pod) {
			t := &required(p).NodeSelectorTerms[0]
			t.MatchExpressions = append(t.MatchExpressions, exists("b"))
		}},
		{name: "affinity changed while gated", spec: gated, change: func(p *corev1.Pod) { required(p).NodeSelectorTerms[0].MatchExpressions[0] = exists("b") },
			want: []string{terms + `[0]: Invalid value: {"matchExpressions":[{"key":"b","operator":"Exists"}]}: only additions are allowed (no mutations or deletions)`}},
		{name: "affinity term added while gated", spec: gated, change: func(p *corev1.Pod) {
			s := required(p)
			s.NodeSelectorTerms = append(s.NodeSelectorTerms, corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{exists("b")}})
		}, want: []string{terms + `: Invalid value: [{"matchExpressions":[{"key":"a","operator":"Exists"}]},{"matchExpressions":[{"key":"b","operator":"Exists"}]}]: no additions/deletions to non-empty NodeSelectorTerms list are allowed`}},
		{name: "first affinity while gated", spec: `{"containers":[{"name":"c","image":"i"}],"schedulingGates":[{"name":"g"}]}`, change: func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{exists("a")}}}}}}
		}},
		{name: "negative grace period", spec: `{"containers":[{"name":"c","image":"i"}],"terminationGracePeriodSeconds":-9}`, change: func(p *corev1.Pod) {
			p.Spec.TerminationGracePeriodSeconds = n(-1)
			defaultPod(p)
		}},
		{name: "mirror annotation", change: func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }, want: []string{
			`metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set`,
			"metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
			`metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := c.spec
			if spec == "" {
				spec = `{"containers":[{"name":"c","image":"i"}]}`
			}
			old := storedPod(t, spec)
			p := old.DeepCopy()
			c.change(p)
			if got := lines(validatePod(context.Background(), &resource.Write{}, p, old)); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

// TestPodWarnings: a new pod is warned of, one that changes is not.
func TestPodWarnings(t *testing.T) {
	p := storedPod(t, `{"containers":[{"name":"c","image":"i"}],"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule"}]}`)
	if got := warnPod(t.Context(), new(resource.Write), p, nil); len(got) != 1 {
		t.Errorf("a new pod: %q, want the warning of no selector", got)
	}
	if got := warnPod(t.Context(), new(resource.Write), p, p); got != nil {
		t.Errorf("a pod that changes: %q", got)
	}
}

func TestValidateClaimStatuses(t *testing.T) {
	bad := "A b"
	got := lines(validateClaimStatuses(field.NewPath("c"), []corev1.PodResourceClaimStatus{{Name: "x"}, {Name: "x", ResourceClaimName: &bad}}))
	if len(got) != 4 || !strings.HasPrefix(got[2], `c[1].name: Duplicate value: "x"`) || !strings.HasPrefix(got[3], `c[1].name: Invalid value: "A b"`) {
		t.Errorf("%q", got)
	}
}

func TestValidatePodStatus(t *testing.T) {
	done := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	failed := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	containers := func(s corev1.ContainerState) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: s}}}
	}
	inits := func(name string, s corev1.ContainerState) corev1.PodStatus {
		return corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: name, State: s}}}
	}
	health := func(container string, name corev1.ResourceName, devices ...corev1.ResourceHealth) corev1.PodStatus {
		return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: container, AllocatedResourcesStatus: []corev1.ResourceStatus{{Name: name, Resources: devices}}}}}
	}
	revived := []string{"status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"}
	for _, c := range []struct {
		name    string
		policy  corev1.RestartPolicy
		was, is corev1.PodStatus
		want    []string
	}{
		{"always", corev1.RestartPolicyAlways, containers(done), containers(running), nil},
		{"never", corev1.RestartPolicyNever, containers(failed), containers(running), revived},
		{"on failure, failed", corev1.RestartPolicyOnFailure, containers(failed), containers(running), nil},
		{"on failure, done", corev1.RestartPolicyOnFailure, containers(done), containers(running), revived},
		{"init container", corev1.RestartPolicyNever, inits("i", done), inits("i", running), []string{"status.initContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"}},
		{"sidecar", corev1.RestartPolicyNever, inits("s", done), inits("s", running), nil},
		{"condition", corev1.RestartPolicyAlways, corev1.PodStatus{}, corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: "-"}}}, []string{
			`metadata.conditions[0].Type: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`}},
		{"class", corev1.RestartPolicyAlways, corev1.PodStatus{QOSClass: corev1.PodQOSBestEffort}, corev1.PodStatus{QOSClass: corev1.PodQOSBurstable}, []string{`status.qosClass: Invalid value: "Burstable": field is immutable`}},
		{"ips", corev1.RestartPolicyAlways, corev1.PodStatus{}, corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "1.1.1.1"}, {IP: "1.1.1.1"}}, HostIP: "x", HostIPs: []corev1.HostIP{{IP: "1.1.1.1"}}}, []string{
			`status.podIPs: Invalid value: [{"ip":"1.1.1.1"},{"ip":"1.1.1.1"}]: may specify no more than one IP for each IP family`,
			`status.podIPs[1]: Duplicate value: {"ip":"1.1.1.1"}`,
			"status.hostIPs[0].ip: Invalid value: \"1.1.1.1\": must be equal to `hostIP`"}},
		{"claims", corev1.RestartPolicyAlways, corev1.PodStatus{}, corev1.PodStatus{ResourceClaimStatuses: []corev1.PodResourceClaimStatus{{Name: "x"}}}, []string{
			"status.resourceClaimStatuses[0].name: Invalid value: \"x\": must match the name of an entry in `spec.resourceClaims`"}},
		{"health of devices", corev1.RestartPolicyAlways, corev1.PodStatus{}, health("c", "x.y/gpu", corev1.ResourceHealth{ResourceID: "1", Health: "Healthy"}, corev1.ResourceHealth{ResourceID: "2", Health: "Unknown"}), nil},
		{"health of what is not requested", corev1.RestartPolicyAlways, corev1.PodStatus{}, health("c", "x.y/other"), []string{
			`status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: x.y/other: must match one of the container's resource requests`}},
		{"health of a claim", corev1.RestartPolicyAlways, corev1.PodStatus{}, health("c", "claim:x"), []string{
			`status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: claim:x: must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty`}},
		{"health of a container that is not there", corev1.RestartPolicyAlways, corev1.PodStatus{}, health("gone", "x.y/other"), nil},
		{"devices twice", corev1.RestartPolicyAlways, corev1.PodStatus{}, health("c", "x.y/gpu", corev1.ResourceHealth{ResourceID: "1", Health: "Healthy"}, corev1.ResourceHealth{ResourceID: "1", Health: "Bad", Message: new(string)}), []string{
			`status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].health: Unsupported value: "Bad": supported values: "Healthy", "Unhealthy", "Unknown"`,
			`status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID: Duplicate value: "1"`,
			`status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].message: Required value: must be non-empty if specified`}},
		{"dual stack", corev1.RestartPolicyAlways, corev1.PodStatus{}, corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "1.1.1.1"}, {IP: "::1"}}}, nil},
		{"nominated node", corev1.RestartPolicyAlways, corev1.PodStatus{}, corev1.PodStatus{NominatedNodeName: "-"}, []string{
			`status.nominatedNodeName: Invalid value: "-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := storedPod(t, `{"containers":[{"name":"c","image":"i","resources":{"requests":{"x.y/gpu":"1"},"limits":{"x.y/gpu":"1"}}}],"initContainers":[{"name":"i","image":"i"},{"name":"s","image":"i","restartPolicy":"Always"}]}`)
			old.Spec.RestartPolicy, old.Status = c.policy, c.was
			p := old.DeepCopy()
			p.Status = c.is
			if got := lines(validatePod(context.Background(), &resource.Write{Subresource: "status"}, p, old)); !slices.Equal(got, append([]string{}, c.want...)) {
				t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestPodIndex(t *testing.T) {
	p := storedPod(t, `{"containers":[{"name":"c","image":"i"}],"hostNetwork":true}`)
	p.Status.PodIPs = []corev1.PodIP{{IP: "1.1.1.1"}, {IP: "::1"}}
	defaultPod(p)
	want := map[string][]string{
		"spec.nodeName": {""}, "spec.restartPolicy": {"Always"}, "spec.schedulerName": {"default-scheduler"}, "spec.serviceAccountName": {"default"},
		"spec.hostNetwork": {"true"}, "status.phase": {"Pending"}, "status.podIP": {"1.1.1.1"}, "status.podIPs": {"1.1.1.1", "::1"}, "status.nominatedNodeName": nil,
	}
	o := &resource.Object{Meta: &p.ObjectMeta, Value: p}
	for _, x := range Pods().Index {
		if got, ok := want[x.Name]; !ok || !slices.Equal(x.Values(o), got) {
			t.Errorf("%s: %q, want %q", x.Name, x.Values(o), got)
		}
		delete(want, x.Name)
	}
	if len(want) > 0 {
		t.Errorf("no index for %v", want)
	}
}

// TestPodStatusColumn has the states that the recorded tables do not show.
func TestPodStatusColumn(t *testing.T) {
	for _, c := range []struct{ name, status, want string }{
		{"not ready", `{"phase":"Running","containerStatuses":[{"name":"a","state":{"terminated":{"reason":"Completed"}}},{"name":"b","ready":true,"state":{"running":{}}}]}`, "NotReady"},
		{"back-off", `{"phase":"Running","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}`, "CrashLoopBackOff"},
		{"gated", `{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"SchedulingGated"}]}`, "SchedulingGated"},
		{"signal", `{"phase":"Failed","containerStatuses":[{"name":"a","state":{"terminated":{"signal":9}}}]}`, "Signal:9"},
		{"waiting to initialize", `{"phase":"Pending","initContainerStatuses":[{"name":"i","state":{"waiting":{"reason":"PodInitializing"}}}]}`, "Init:0/0"},
		{"completed", `{"phase":"Succeeded","containerStatuses":[{"name":"a","state":{"terminated":{"reason":"Completed"}}}]}`, "Completed"},
	} {
		p := decodePod(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"a"},{"name":"b"}]},"status":`+c.status+`}`)
		if got := podCells(p)[2]; got != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		p.DeletionTimestamp = &metav1.Time{}
		want := "Terminating"
		if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
			want = c.want
		}
		if got := podCells(p)[2]; got != want {
			t.Errorf("%s, being deleted: %v, want %s", c.name, got, want)
		}
		over := podRowConditions(p)
		if (len(over) > 0) != (want == c.want) {
			t.Errorf("%s: row conditions %v", c.name, over)
		}
	}
}
