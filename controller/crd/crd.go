// Package crd ends CustomResourceDefinitions that are being deleted: it deletes the objects they define, which may have
// finalizers of their own, and takes the definition's finalizer off when none is left. New objects are refused meanwhile
// by the kind itself. And when a definition goes, or gives up a name, it has those looked at again that wanted the name:
// which names a definition gets is decided in the write that stores it, so it is enough to write it once more.
package crd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

// again is when objects whose finalizers have to run are looked for anew.
const again = 200 * time.Millisecond

type reconciler struct {
	client client.Client
}

// New returns the controller.
func New(c client.Client) *controller.Controller {
	r := &reconciler{client: controller.Fresh(c)}
	return controller.New("customresourcedefinition", r).For(api.CustomResourceDefinitions)
}

// definition is what the controller reads of a CustomResourceDefinition.
type definition struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Group string                                        `json:"group"`
		Names apiextensionsv1.CustomResourceDefinitionNames `json:"names"`
	} `json:"spec"`
	Status struct {
		Conditions []apiextensionsv1.CustomResourceDefinitionCondition `json:"conditions"`
	} `json:"status"`
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	if err := r.reconsider(ctx, v, req.Key.Name); err != nil {
		return controller.Result{}, err
	}
	rec := v.Get(api.CustomResourceDefinitions, req.Key)
	if rec == nil || !rec.Is(api.Deleting) {
		return controller.Result{}, nil
	}
	crd, err := client.Decode[definition](rec)
	if err != nil {
		return controller.Result{}, err
	}
	if !slices.Contains(crd.Metadata.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer) {
		return controller.Result{}, nil
	}
	if c := terminating(crd); c != nil {
		return controller.Result{}, r.write(ctx, crd, "status", c) // the change brings the controller here again
	}
	left, err := r.empty(ctx, v, api.Resource{Group: crd.Spec.Group, Name: crd.Spec.Names.Plural})
	if err != nil {
		return controller.Result{}, err
	}
	if left {
		return controller.Result{RequeueAfter: again}, nil
	}
	rest := slices.DeleteFunc(crd.Metadata.Finalizers, func(f string) bool { return f == apiextensionsv1.CustomResourceCleanupFinalizer })
	// Through status, as upstream does it: a spec that is no longer valid must not keep its definition for ever.
	return controller.Result{}, r.write(ctx, crd, "status", map[string]any{"metadata": map[string]any{"finalizers": rest}})
}

// terminating is the patch that says that the deletion of objects has begun; nil when the status says so already.
func terminating(d *definition) map[string]any {
	crd := apiextensionsv1.CustomResourceDefinition{}
	crd.Status.Conditions = d.Status.Conditions
	c := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue,
		Reason: "InstanceDeletionInProgress", Message: "CustomResource deletion is in progress",
	}
	if apihelpers.IsCRDConditionEquivalent(&c, apihelpers.FindCRDCondition(&crd, c.Type)) {
		return nil
	}
	apihelpers.SetCRDCondition(&crd, c)
	return map[string]any{"status": map[string]any{"conditions": crd.Status.Conditions}}
}

// reconsider writes the other definitions of a group that wait for a name.
func (r *reconciler) reconsider(ctx context.Context, v client.View, name string) error {
	_, group, _ := strings.Cut(name, ".")
	var errs []error
	for rec := range v.ByIndex(api.CustomResourceDefinitions, api.Index{Name: api.IndexNamesConflict, Value: group}) {
		if rec.Name() == name {
			continue
		}
		_, err := r.client.Commit(ctx, client.Change{
			Verb: api.Patch, Resource: api.CustomResourceDefinitions, Subresource: "status", Key: rec.Key(), Patch: []byte("{}"), PatchType: types.MergePatchType,
		})
		if err != nil && !api.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("having the names of %s accepted: %w", rec.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// empty deletes every object of a resource that is not being deleted already, and reports whether there were any.
func (r *reconciler) empty(ctx context.Context, v client.View, res api.Resource) (left bool, err error) {
	var errs []error
	for o := range v.All(res, "") {
		left = true
		if o.Is(api.Deleting) {
			continue
		}
		_, err := r.client.Commit(ctx, client.Change{Verb: api.Delete, Resource: res, Key: o.Key()})
		if err != nil && !api.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("deleting %s %s: %w", res, o.Key(), err))
		}
	}
	return left, errors.Join(errs...)
}

// write patches the version of a definition that was looked at.
func (r *reconciler) write(ctx context.Context, crd *definition, subresource string, patch map[string]any) error {
	meta, ok := patch["metadata"].(map[string]any)
	if !ok {
		meta = map[string]any{}
		patch["metadata"] = meta
	}
	meta["resourceVersion"] = crd.Metadata.ResourceVersion
	p, err := client.MergePatch(patch)
	if err != nil {
		return err
	}
	_, err = r.client.Commit(ctx, client.Change{
		Verb: api.Patch, Resource: api.CustomResourceDefinitions, Subresource: subresource, Key: api.Key{Name: crd.Metadata.Name}, Patch: p.Body, PatchType: p.Type,
	})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("updating custom resource definition %s: %w", crd.Metadata.Name, err)
	}
	return nil // a newer version brings the controller here again
}
