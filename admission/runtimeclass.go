package admission

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// runtimeClass refuses pods whose RuntimeClass does not exist, and overhead that no RuntimeClass gives them. RuntimeClasses
// are not served yet, so that there is none.
type runtimeClass struct{}

// Completes implements Plugin.
func (runtimeClass) Completes(*resource.Write) bool { return false }

// Admit implements Plugin.
func (runtimeClass) Admit(_ context.Context, w *resource.Write) error {
	pod := newPod(w)
	if pod == nil || pod.Spec.RuntimeClassName == nil {
		return nil
	}
	name := *pod.Spec.RuntimeClassName
	if err := askable(name); err != nil {
		return api.BadRequest("%v", err)
	}
	return forbidden(w, fmt.Errorf("pod rejected: RuntimeClass %q not found", name))
}

// Validate implements Plugin. It is later than Admit that overhead is looked at: when the pod is known to be valid.
func (runtimeClass) Validate(_ context.Context, w *resource.Write) error {
	if pod := newPod(w); pod != nil && pod.Spec.Overhead != nil {
		return forbidden(w, errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
	}
	return nil
}

// newPod is the pod that w creates, nil if it creates none.
func newPod(w *resource.Write) *corev1.Pod {
	if w.Definition.Resource != api.Pods || w.Subresource != "" || !w.Creating() || w.New == nil {
		return nil
	}
	return w.New.Value.(*corev1.Pod)
}
