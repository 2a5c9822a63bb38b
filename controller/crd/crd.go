// Package crd ends CustomResourceDefinitions that are being deleted: it deletes the objects they define, which may have
// finalizers of their own, and takes the definition's finalizer off when none is left. New objects are refused meanwhile
// by admission.
package crd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
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
	left, err := r.empty(ctx, v, api.Resource{Group: crd.Spec.Group, Name: crd.Spec.Names.Plural})
	if err != nil {
		return controller.Result{}, err
	}
	if left {
		return controller.Result{RequeueAfter: again}, nil
	}
	return controller.Result{}, r.release(ctx, req.Key, crd)
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

// release takes the finalizer off the version of the definition that was looked at.
func (r *reconciler) release(ctx context.Context, key api.Key, crd *definition) error {
	type metadata struct {
		ResourceVersion string   `json:"resourceVersion"`
		Finalizers      []string `json:"finalizers"`
	}
	rest := slices.DeleteFunc(crd.Metadata.Finalizers, func(f string) bool { return f == apiextensionsv1.CustomResourceCleanupFinalizer })
	p, err := client.MergePatch(struct {
		Metadata metadata `json:"metadata"`
	}{metadata{crd.Metadata.ResourceVersion, rest}})
	if err != nil {
		return err
	}
	_, err = r.client.Commit(ctx, client.Change{Verb: api.Patch, Resource: api.CustomResourceDefinitions, Key: key, Patch: p.Body, PatchType: p.Type})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("taking the finalizer off %s: %w", key, err)
	}
	return nil // a newer version brings the controller here again
}
