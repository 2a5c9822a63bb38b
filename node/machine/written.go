package machine

import (
	"context"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/node"
	"pintle.dev/node/cri"
	"pintle.dev/node/volume"
)

// written measures what a pod has on the host's disk: its volumes, what its containers have changed of their images, and
// their logs, which are below logs.
func (m *Machine) written(ctx context.Context, pod *corev1.Pod, logs string) (node.Written, error) {
	w := node.Written{}
	var err error
	if w.Volumes, err = m.files.Written(pod); err != nil {
		return w, err
	}
	if w.Containers, err = m.runtime.Written(ctx, pod.UID); err != nil {
		return w, err
	}
	dir := cri.LogDir(logs, pod)
	for i := range pod.Spec.Containers {
		name := pod.Spec.Containers[i].Name
		n, err := volume.DiskUsage(filepath.Join(dir, name))
		if err != nil {
			return w, err
		}
		w.Containers[name] += n
	}
	return w, nil
}
