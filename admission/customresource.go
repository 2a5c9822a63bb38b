package admission

import (
	"context"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// customResourceLifecycle refuses new objects of a CustomResourceDefinition that is being deleted, and guards against
// its deletion until the object is committed.
func customResourceLifecycle(s Snapshot) Plugin {
	return admit(func(ctx context.Context, w *resource.Write) error {
		if !w.Definition.Custom || !w.Creating() || w.New == nil {
			return nil
		}
		v, err := s(ctx)
		if err != nil {
			return err
		}
		crd := v.Get(api.CustomResourceDefinitions, api.Key{Name: w.Definition.Resource.String()})
		switch {
		case crd == nil:
			return api.NewError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		case crd.Is(api.Deleting):
			return api.NewError(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "create not allowed while custom resource definition is terminating")
		}
		w.Guards = append(w.Guards, store.Guard(api.CustomResourceDefinitions, crd.Key(), crd.Revision()))
		return nil
	})
}
