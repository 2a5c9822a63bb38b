// Package cri is the node agent's runtime over the Container Runtime Interface (CRI v1, gRPC): containerd or any other
// that speaks it. It turns pods into CRI's sandbox and container configurations and CRI's answers into node.PodState;
// it decides nothing.
//
// Everything the agent must know of a container after a restart is in the container itself: labels name the pod and
// the container, annotations carry the hash of its spec and the pod's grace period. Answers that cannot change any
// more (the start of a running container, the end of an ended one, a sandbox's addresses) are asked for once.
package cri
