package node

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// clusterDomain is the domain that the names of the cluster's services and pods end with.
const clusterDomain = "cluster.local"

// maxHostname is the longest hostname Linux takes.
const maxHostname = 63

// Hostname is what a pod that has a network of its own calls its host, and the domain that its subdomain puts it into, ""
// for none. The name is the pod's where its spec has none, cut to what Linux takes.
func Hostname(pod *corev1.Pod) (name, domain string) {
	spec := &pod.Spec
	name = pod.Name
	if spec.Hostname != "" {
		name = spec.Hostname
	}
	if spec.Subdomain != "" {
		domain = spec.Subdomain + "." + pod.Namespace + ".svc." + clusterDomain
	}
	if len(name) > maxHostname {
		name = strings.TrimRight(name[:maxHostname], "-.")
	}
	return name, domain
}
