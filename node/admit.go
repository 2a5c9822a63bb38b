package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"pintle.dev/api"
)

// usage is what pods ask of a node: cpu in thousandths, other resources in their units, a count of pods, and how many of
// them take each port of the host.
type usage struct {
	resources map[corev1.ResourceName]int64
	ports     map[hostPort]int
}

// hostPort is a port of the host that a container takes for itself. IP is "" for all addresses.
type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

// overlaps reports whether two ports cannot be taken both.
func (p hostPort) overlaps(q hostPort) bool {
	return p.protocol == q.protocol && p.port == q.port && (p.ip == q.ip || p.ip == "" || q.ip == "")
}

func asks(pod *corev1.Pod) usage {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	u := usage{resources: make(map[corev1.ResourceName]int64, len(requests)+1)}
	for name, q := range requests {
		if name == corev1.ResourceCPU {
			u.resources[name] = q.MilliValue()
		} else {
			u.resources[name] = q.Value()
		}
	}
	u.resources[corev1.ResourcePods] = 1
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			h := hostPort{ip: p.HostIP, protocol: p.Protocol, port: p.HostPort}
			if h.ip == "0.0.0.0" {
				h.ip = ""
			}
			if h.protocol == "" {
				h.protocol = corev1.ProtocolTCP
			}
			if u.ports == nil {
				u.ports = map[hostPort]int{}
			}
			u.ports[h] = 1
		}
	}
	return u
}

// add counts what another asks for; with sign -1 it is given back.
func (u *usage) add(o usage, sign int) {
	if u.resources == nil {
		u.resources = map[corev1.ResourceName]int64{}
	}
	for name, n := range o.resources {
		u.resources[name] += int64(sign) * n
	}
	for p, n := range o.ports {
		if u.ports == nil {
			u.ports = map[hostPort]int{}
		}
		if u.ports[p] += sign * n; u.ports[p] == 0 {
			delete(u.ports, p)
		}
	}
}

// free reports whether none of the ports that another asks for is taken.
func (u *usage) free(o usage) bool {
	for p := range o.ports {
		for taken := range u.ports {
			if p.overlaps(taken) {
				return false
			}
		}
	}
	return true
}

// admit decides once, when a pod is first seen and nothing of it runs, whether the node takes it. A pod that has a
// start time was taken before. The error is that of reading the node: the pod is neither taken nor refused.
func (e *entry) admit(ctx context.Context, pod *corev1.Pod) error {
	if e.asked != nil || e.state.Rejected != nil || terminal(pod.Status.Phase) {
		return nil
	}
	f := e.take(pod)
	if f != nil {
		// Who bound the pod may have gone by labels and taints that are newer than those known here.
		if _, err := e.agent.fetch(ctx); err != nil && !api.IsNotFound(err) {
			return err
		}
		f = e.take(pod)
	}
	if f != nil {
		f.At = time.Now()
		e.state.Rejected = f
		e.agent.tell(pod, "", corev1.EventTypeWarning, f.Reason, f.Message)
	}
	return nil
}

// take counts a pod in, unless the node as it is known cannot take it: then it says why.
func (e *entry) take(pod *corev1.Pod) *Failure {
	u := asks(pod)
	a := e.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh := pod.Status.StartTime == nil && pod.DeletionTimestamp == nil && e.state.Sandbox == nil
	if fresh && a.node != nil {
		if f := refuse(pod, u, a.node, &a.used); f != nil {
			return f
		}
		if a.cfg.NoAppArmor && confined(pod) {
			return &Failure{Reason: "AppArmor", Message: "Cannot enforce AppArmor: AppArmor is not enabled on the host"}
		}
	}
	e.asked = &u
	a.used.add(u, 1)
	return nil
}

// release gives back what an ended pod was counted for.
func (a *Agent) release(e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.asked != nil {
		a.used.add(*e.asked, -1)
		e.asked = &usage{}
	}
}

// refuse says why a node cannot take a pod, in the words and the order of the kubelet; nil when it can.
func refuse(pod *corev1.Pod, u usage, n *corev1.Node, used *usage) *Failure {
	if f := strained(pod, n); f != nil {
		return f
	}
	if f := forbidden(pod); f != nil {
		return f
	}
	if os, ok := pod.Labels[corev1.LabelOSStable]; ok && os != n.Labels[corev1.LabelOSStable] {
		return &Failure{Reason: "PodOSSelectorNodeLabelDoesNotMatch", Message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"}
	}
	if os := pod.Spec.OS; os != nil && string(os.Name) != n.Labels[corev1.LabelOSStable] {
		return &Failure{Reason: "PodOSNotSupported", Message: "Failed to admit pod as the OS field doesn't match node OS"}
	}
	if f := exceeded(u, n, used); f != nil {
		return f
	}
	predicate := func(name, why string) *Failure {
		return &Failure{Reason: name, Message: "Predicate " + name + " failed: " + why}
	}
	if len(pod.Spec.NodeSelector) > 0 || pod.Spec.Affinity != nil {
		if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(n); err != nil || !ok {
			return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
		}
	}
	if !used.free(u) {
		return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
	}
	if _, no := corev1helpers.FindMatchingUntoleratedTaint(klog.Background(), n.Spec.Taints, pod.Spec.Tolerations,
		func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }, true); no {
		return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
	}
	return nil
}

// critical is the least priority of pods that the system itself needs.
const critical = 2_000_000_000

// strained says that a node is short of something, which keeps out all but critical pods, or, where it is memory alone, all
// that ask for none and do not tolerate it.
func strained(pod *corev1.Pod, n *corev1.Node) *Failure {
	var short []corev1.NodeConditionType
	for _, c := range n.Status.Conditions {
		if c.Status == corev1.ConditionTrue && c.Type != corev1.NodeReady && nodeReasons[c.Type][1] != "" {
			short = append(short, c.Type)
		}
	}
	if len(short) == 0 || pod.Spec.Priority != nil && *pod.Spec.Priority >= critical {
		return nil
	}
	if slices.Equal(short, []corev1.NodeConditionType{corev1.NodeMemoryPressure}) {
		taint := corev1.Taint{Key: corev1.TaintNodeMemoryPressure, Effect: corev1.TaintEffectNoSchedule}
		if QOS(pod) != corev1.PodQOSBestEffort || corev1helpers.TolerationsTolerateTaint(klog.Background(), pod.Spec.Tolerations, &taint, true) {
			return nil
		}
	}
	return &Failure{Reason: evicted, Message: fmt.Sprintf("The node had condition: %v. ", short)}
}

// confined reports whether a pod asks for AppArmor to confine any container of it.
func confined(pod *corev1.Pod) bool {
	asks := func(p *corev1.AppArmorProfile) bool {
		return p != nil && p.Type != corev1.AppArmorProfileTypeUnconfined
	}
	if sc := pod.Spec.SecurityContext; sc != nil && asks(sc.AppArmorProfile) {
		return true
	}
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			if sc := cs[i].SecurityContext; sc != nil && asks(sc.AppArmorProfile) {
				return true
			}
		}
	}
	return false
}

// exceeded says which resource a node has too little of. Resources that devices provide and the node does not know are
// others' business: of the kubelet's rules this one lets pods pass that ask for them.
func exceeded(u usage, n *corev1.Node, used *usage) *Failure {
	names := []corev1.ResourceName{corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	for _, name := range append(names, others(u, names)...) {
		asked, ok := u.resources[name]
		q, has := n.Status.Allocatable[name]
		if !ok || asked == 0 || !has && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			continue
		}
		capacity := q.Value()
		if name == corev1.ResourceCPU {
			capacity = q.MilliValue()
		}
		if asked > capacity-used.resources[name] {
			return &Failure{Reason: "OutOf" + string(name), Message: fmt.Sprintf(
				"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, asked, used.resources[name], capacity)}
		}
	}
	return nil
}

// others lists the resources of u that are not among these, by name.
func others(u usage, these []corev1.ResourceName) []corev1.ResourceName {
	names := slices.Sorted(maps.Keys(u.resources))
	return slices.DeleteFunc(names, func(name corev1.ResourceName) bool { return slices.Contains(these, name) })
}

// safeSysctls are those that pods may set: they have a namespace of their own and hurt nobody else. Upstream's list, by the
// namespace they belong to.
var safeSysctls = map[string]string{
	"kernel.shm_rmid_forced": "ipc", "net.ipv4.ip_local_port_range": "net", "net.ipv4.tcp_syncookies": "net",
	"net.ipv4.ping_group_range": "net", "net.ipv4.ip_unprivileged_port_start": "net", "net.ipv4.ip_local_reserved_ports": "net",
	"net.ipv4.tcp_keepalive_time": "net", "net.ipv4.tcp_fin_timeout": "net", "net.ipv4.tcp_keepalive_intvl": "net",
	"net.ipv4.tcp_keepalive_probes": "net", "net.ipv4.tcp_rmem": "net", "net.ipv4.tcp_wmem": "net",
}

// forbidden says which sysctl of a pod the node does not let it set.
func forbidden(pod *corev1.Pod) *Failure {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		why := ""
		switch space, safe := safeSysctls[strings.ReplaceAll(s.Name, "/", ".")]; {
		case !safe:
			why = "not allowlisted"
		case space == "ipc" && pod.Spec.HostIPC:
			why = "not allowed with host ipc enabled"
		case space == "net" && pod.Spec.HostNetwork:
			why = "not allowed with host net enabled"
		default:
			continue
		}
		return &Failure{Reason: "SysctlForbidden", Message: fmt.Sprintf("forbidden sysctl: %q %s", s.Name, why)}
	}
	return nil
}
