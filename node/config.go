package node

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

type serviceCache struct{}

// configure fills in a container's environment and mounts.
func (e *entry) configure(ctx context.Context, l *Launch) error { return nil }

// credentials are the logins for an image's registry from the pod's pull secrets.
func (a *Agent) credentials(ctx context.Context, pod *corev1.Pod, image string) ([]Credential, error) {
	return nil, nil
}
