// Package crd ends CustomResourceDefinitions that are being deleted: it deletes the objects they define, which may have
// finalizers of their own, and takes the definition's finalizer off when none is left. New objects are refused meanwhile
// by the kind itself. Objects of a group that is built in are not what a definition in it defines: they stay. And
// when a definition goes, or gives up a name, it has those looked at again that wanted the name: which names a definition
// gets is decided in the write that stores it, so it is enough to write it once more.
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
	client  client.Client
	builtin func(api.Resource) bool
	// looked is, by group, the newest view whose definitions that wait for a name were looked at. It needs no lock, as the
	// controller has one worker, and is never out of date, as it runs once in a process.
	looked map[string]api.Revision
}

// New returns the controller. builtin reports whether a resource is of a group that is built in, which must not cost what
// there is of others.
func New(c client.Client, builtin func(api.Resource) bool) *controller.Controller {
	r := &reconciler{controller.Fresh(c), builtin, map[string]api.Revision{}}
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
	rec := v.Get(api.CustomResourceDefinitions, req.Key)
	if err := r.reconsider(ctx, v, req.Key.Name, rec); err != nil {
		return controller.Result{}, err
	}
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
	end := r.spared(crd)
	if end == nil {
		if status := crd.with(deleting); status != nil {
			return controller.Result{}, r.write(ctx, crd, map[string]any{"status": status}) // the change brings the controller here again
		}
		left, err := r.empty(ctx, v, crd.resource())
		if err != nil {
			return controller.Result{}, err
		}
		if left {
			return controller.Result{RequeueAfter: again}, nil
		}
		end = &completed
	}
	rest := slices.DeleteFunc(crd.Metadata.Finalizers, func(f string) bool { return f == apiextensionsv1.CustomResourceCleanupFinalizer })
	patch := map[string]any{"metadata": map[string]any{"finalizers": rest}}
	if status := crd.with(*end); status != nil {
		patch["status"] = status
	}
	return controller.Result{}, r.write(ctx, crd, patch)
}

type condition = apiextensionsv1.CustomResourceDefinitionCondition

// What the condition Terminating says of the objects, in upstream's words.
var (
	deleting = condition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionTrue,
		Reason: "InstanceDeletionInProgress", Message: "CustomResource deletion is in progress",
	}
	completed = condition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionFalse,
		Reason: "InstanceDeletionCompleted", Message: "removed all instances",
	}
	neverEstablished = condition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionFalse,
		Reason: "NeverEstablished", Message: "resource was never established",
	}
	overlapping = condition{
		Type: apiextensionsv1.Terminating, Status: apiextensionsv1.ConditionFalse,
		Reason: "OverlappingBuiltInResource", Message: "instances overlap with built-in resources in storage",
	}
)

func (d *definition) resource() api.Resource {
	return api.Resource{Group: d.Spec.Group, Name: d.Spec.Names.Plural}
}

// spared says why a definition has no objects that go with it; nil when it may have some.
func (r *reconciler) spared(d *definition) *condition {
	if r.builtin(d.resource()) {
		return &overlapping
	}
	established := func(c condition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	}
	if !slices.ContainsFunc(d.Status.Conditions, established) {
		return &neverEstablished
	}
	return nil
}

// with is the patch of the status that makes c one of the conditions; nil when it is one already.
func (d *definition) with(c condition) map[string]any {
	crd := apiextensionsv1.CustomResourceDefinition{}
	crd.Status.Conditions = slices.Clone(d.Status.Conditions)
	if apihelpers.IsCRDConditionEquivalent(&c, apihelpers.FindCRDCondition(&crd, c.Type)) {
		return nil
	}
	apihelpers.SetCRDCondition(&crd, c)
	return map[string]any{"conditions": crd.Status.Conditions}
}

// reconsider writes the definitions of a group that wait for a name: which changes nothing while it is taken. The one
// that brought the controller here, nil when it is gone, may be among them, as the name may have become free while it was
// stored, or before the controller was there to see it. A change that the last look at the group saw needs none of its
// own: at the start that would be one for each definition of the group.
func (r *reconciler) reconsider(ctx context.Context, v client.View, name string, rec *api.Record) error {
	_, group, _ := strings.Cut(name, ".")
	if rec != nil && rec.Revision() <= r.looked[group] {
		return nil
	}
	var errs []error
	waits := false
	for rec := range v.ByIndex(api.CustomResourceDefinitions, api.Index{Name: api.IndexNamesConflict, Value: group}) {
		waits = true
		_, err := r.client.Commit(ctx, client.Change{
			Verb: api.Patch, Resource: api.CustomResourceDefinitions, Subresource: "status", Key: rec.Key(), Patch: []byte("{}"), PatchType: types.MergePatchType,
		})
		if err != nil && !api.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("having the names of %s accepted: %w", rec.Name(), err))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if waits {
		r.looked[group] = v.Revision()
	} else {
		delete(r.looked, group)
	}
	return nil
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

// write patches the version of a definition that was looked at: through status, as upstream does it, as a spec that is no
// longer valid must not keep its definition for ever.
func (r *reconciler) write(ctx context.Context, crd *definition, patch map[string]any) error {
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
		Verb: api.Patch, Resource: api.CustomResourceDefinitions, Subresource: "status", Key: api.Key{Name: crd.Metadata.Name}, Patch: p.Body, PatchType: p.Type,
	})
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) {
		return fmt.Errorf("updating custom resource definition %s: %w", crd.Metadata.Name, err)
	}
	return nil // a newer version brings the controller here again
}
