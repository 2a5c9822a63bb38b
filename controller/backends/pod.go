package backends

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pod is the part of a Pod that matters to a Service.
type Pod struct {
	Metadata struct {
		Namespace         string       `json:"namespace"`
		Name              string       `json:"name"`
		UID               types.UID    `json:"uid"`
		DeletionTimestamp *metav1.Time `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		NodeName       string      `json:"nodeName"`
		Hostname       string      `json:"hostname"`
		Subdomain      string      `json:"subdomain"`
		Containers     []Container `json:"containers"`
		InitContainers []Container `json:"initContainers"`
	} `json:"spec"`
	Status struct {
		Phase      corev1.PodPhase `json:"phase"`
		PodIP      string          `json:"podIP"`
		PodIPs     []corev1.PodIP  `json:"podIPs"`
		Conditions []Condition     `json:"conditions"`
	} `json:"status"`
}

// Container is the part of a container that matters to a Service.
type Container struct {
	RestartPolicy *corev1.ContainerRestartPolicy `json:"restartPolicy"`
	Ports         []corev1.ContainerPort         `json:"ports"`
}

// Condition is the part of a pod's condition that matters to a Service.
type Condition struct {
	Type               corev1.PodConditionType `json:"type"`
	Status             corev1.ConditionStatus  `json:"status"`
	LastTransitionTime metav1.Time             `json:"lastTransitionTime"`
}

// Readiness reports whether the pod is ready, and since when it is or is not.
func (p *Pod) Readiness() (ready bool, since time.Time) {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// Addressable reports whether the pod may be an endpoint: it has an address and has not ended.
func (p *Pod) Addressable() bool {
	ended := p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded
	return !ended && (p.Status.PodIP != "" || len(p.Status.PodIPs) > 0)
}

// Terminating reports whether the pod is being deleted.
func (p *Pod) Terminating() bool { return p.Metadata.DeletionTimestamp != nil }

// Hostname is the name under which the pod is known in the Service's domain; "" for none.
func (p *Pod) Hostname(svc *corev1.Service) string {
	if p.Spec.Subdomain != svc.Name || p.Metadata.Namespace != svc.Namespace {
		return ""
	}
	return p.Spec.Hostname
}

// Reference is how endpoints refer to the pod.
func (p *Pod) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "Pod", Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, UID: p.Metadata.UID}
}

// Port resolves a Service's target port in the pod; ok is false when it names no port of the pod. Sidecars are containers
// too, other init containers are not.
func (p *Pod) Port(sp *corev1.ServicePort) (n int32, ok bool) {
	if sp.TargetPort.Type == intstr.Int {
		return sp.TargetPort.IntVal, true
	}
	find := func(c *Container) bool {
		for _, cp := range c.Ports {
			if cp.Name == sp.TargetPort.StrVal && cp.Protocol == sp.Protocol {
				n = cp.ContainerPort
				return true
			}
		}
		return false
	}
	for i := range p.Spec.Containers {
		if find(&p.Spec.Containers[i]) {
			return n, true
		}
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways && find(c) {
			return n, true
		}
	}
	return 0, false
}
