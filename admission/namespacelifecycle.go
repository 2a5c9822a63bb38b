package admission

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// immortal namespaces are part of every cluster.
var immortal = map[string]bool{metav1.NamespaceDefault: true, metav1.NamespaceSystem: true, metav1.NamespacePublic: true}

// namespaceLifecycle refuses to create anything in a namespace that is absent or being deleted, and to delete the
// namespaces every cluster has. A guard keeps the namespace from vanishing between the check and the commit.
func namespaceLifecycle(s Snapshot) Plugin {
	return judge(func(ctx context.Context, w *resource.Write) error {
		key := w.Request.Key
		if w.Definition.Resource == api.Namespaces && w.New == nil && immortal[key.Name] {
			return forbidden(w, errors.New("this namespace may not be deleted"))
		}
		if !w.Definition.Namespaced || !w.Creating() || w.New == nil {
			return nil
		}
		v, err := s(ctx)
		if err != nil {
			return err
		}
		ns := v.Get(api.Namespaces, api.Key{Name: key.Namespace})
		if ns == nil {
			return api.NotFound(api.Namespaces, key.Namespace)
		}
		if ns.Is(api.Deleting) {
			e := forbidden(w, fmt.Errorf("unable to create new content in namespace %s because it is being terminated", key.Namespace))
			e.Status.Details.Causes = append(e.Status.Details.Causes, metav1.StatusCause{
				Type:    corev1.NamespaceTerminatingCause,
				Message: fmt.Sprintf("namespace %s is being terminated", key.Namespace),
				Field:   "metadata.namespace",
			})
			return e
		}
		w.Guards = append(w.Guards, store.Guard(api.Namespaces, ns.Key(), ns.Revision()))
		return nil
	})
}
