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
func runtimeClass() Plugin {
	return judge(func(_ context.Context, w *resource.Write) error {
		if w.Definition.Resource != api.Pods || w.Subresource != "" || !w.Creating() || w.New == nil {
			return nil
		}
		switch pod := w.New.Value.(*corev1.Pod); {
		case pod.Spec.RuntimeClassName != nil:
			return forbidden(w, fmt.Errorf("pod rejected: RuntimeClass %q not found", *pod.Spec.RuntimeClassName))
		case len(pod.Spec.Overhead) > 0:
			return forbidden(w, errors.New("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"))
		}
		return nil
	})
}
