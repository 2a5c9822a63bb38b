package node

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
)

// Find returns a pod of this node and what the runtime holds of it now; a 404 when the node has no such pod.
func (a *Agent) Find(ctx context.Context, k api.Key) (*corev1.Pod, *PodState, error) {
	for _, e := range a.entries() {
		e.mu.Lock()
		same := e.rec != nil && !e.gone && e.rec.Key() == k
		e.mu.Unlock()
		if !same {
			continue
		}
		pod, err := e.pod()
		if err != nil {
			return nil, nil, err
		}
		if pod == nil {
			break
		}
		held, err := a.cfg.Runtime.Sandboxes.Observe(ctx, pod.UID)
		if err != nil {
			return nil, nil, fmt.Errorf("observing pod %s: %w", k, err)
		}
		if len(held) == 0 {
			return pod, &PodState{UID: pod.UID, Namespace: pod.Namespace, Name: pod.Name}, nil
		}
		return pod, &held[0], nil
	}
	return nil, nil, api.NotFound(api.Pods, k.Name)
}
