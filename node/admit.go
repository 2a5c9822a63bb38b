package node

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"

	"pintle.dev/api"
)

// usage is what pods ask of a node: cpu in thousandths, other resources in their units, and a count of pods.
type usage map[corev1.ResourceName]int64

func asks(pod *corev1.Pod) usage {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	u := make(usage, len(requests)+1)
	for name, q := range requests {
		if name == corev1.ResourceCPU {
			u[name] = q.MilliValue()
		} else {
			u[name] = q.Value()
		}
	}
	u[corev1.ResourcePods] = 1
	return u
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
	if a.used == nil {
		a.used = usage{}
	}
	fresh := pod.Status.StartTime == nil && pod.DeletionTimestamp == nil && e.state.Sandbox == nil
	if fresh && a.node != nil {
		if f := refuse(pod, u, a.node, a.used); f != nil {
			return f
		}
	}
	e.asked = u
	for name, n := range u {
		a.used[name] += n
	}
	return nil
}

// release gives back what an ended pod was counted for.
func (a *Agent) release(e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, n := range e.asked {
		a.used[name] -= n
	}
	if e.asked != nil {
		e.asked = usage{}
	}
}

// refuse says why a node cannot take a pod, in the words of the kubelet; nil when it can.
func refuse(pod *corev1.Pod, u usage, n *corev1.Node, used usage) *Failure {
	for _, name := range append([]corev1.ResourceName{corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}, extended(u)...) {
		asked, ok := u[name]
		q, has := n.Status.Allocatable[name]
		if !ok || asked == 0 || !has && isDefault(name) {
			continue
		}
		capacity := q.Value()
		if name == corev1.ResourceCPU {
			capacity = q.MilliValue()
		}
		if asked > capacity-used[name] {
			return &Failure{Reason: "OutOf" + string(name), Message: fmt.Sprintf(
				"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, asked, used[name], capacity)}
		}
	}
	if f := forbidden(pod); f != nil {
		return f
	}
	if os := pod.Spec.OS; os != nil && string(os.Name) != n.Labels[corev1.LabelOSStable] {
		return &Failure{Reason: "PodOSNotSupported", Message: "Failed to admit pod as the OS field doesn't match node OS"}
	}
	if len(pod.Spec.NodeSelector) > 0 || pod.Spec.Affinity != nil {
		if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(n); err != nil || !ok {
			return &Failure{Reason: "NodeAffinity", Message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"}
		}
	}
	if t, no := corev1helpers.FindMatchingUntoleratedTaint(klog.Background(), n.Spec.Taints, pod.Spec.Tolerations,
		func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }, true); no {
		return &Failure{Reason: "TaintToleration", Message: fmt.Sprintf("Predicate TaintToleration failed: node(s) had untolerated taint(s) {%s: %s}", t.Key, t.Value)}
	}
	return nil
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

func isDefault(name corev1.ResourceName) bool { return !strings.Contains(string(name), "/") }

// extended lists the resources of u that devices provide.
func extended(u usage) []corev1.ResourceName {
	var names []corev1.ResourceName
	for name := range maps.Keys(u) {
		if !isDefault(name) {
			names = append(names, name)
		}
	}
	return names
}
