package storageversionmigrator

import (
	"context"
	"fmt"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// definitionManager owns the fields of a CustomResourceDefinition that are written here: upstream's name.
const definitionManager = "migration-runner-controller"

type condition = apiextensionsv1.CustomResourceDefinitionCondition

// definition is what is read of a CustomResourceDefinition.
type definition struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Versions []struct {
			Name    string `json:"name"`
			Storage bool   `json:"storage"`
		} `json:"versions"`
	} `json:"spec"`
	Status struct {
		Conditions []condition `json:"conditions"`
	} `json:"status"`
}

// beginDefinition says in the status of the resource's CustomResourceDefinition, if it has one, that its objects are
// being migrated, to what the definition says now.
func (r *migrator) beginDefinition(ctx context.Context, m *migration) error {
	return r.updateDefinition(ctx, resourceOf(m).String(), func(*definition, map[string]any) *condition {
		return &condition{
			Status: apiextensionsv1.ConditionTrue, Reason: reasonRunning, Message: fmt.Sprintf("Migration %s is running", m.Name),
		}
	})
}

// finishDefinition says how the migration ended. After one that succeeded no other version is stored than the one that
// has been since it began; had the definition changed meanwhile, nobody could tell. (Upstream takes the other versions
// away after a failure, too, with objects that are stored in them.)
func (r *migrator) finishDefinition(ctx context.Context, m *migration, success bool) error {
	return r.updateDefinition(ctx, resourceOf(m).String(), func(crd *definition, status map[string]any) *condition {
		c := &condition{
			Status: apiextensionsv1.ConditionFalse, Reason: "MigrationFailed", Message: "The migration has failed",
		}
		if !success {
			return c
		}
		c.Reason = "MigrationSucceeded"
		if at := crd.condition(); at == nil || at.ObservedGeneration != crd.Metadata.Generation {
			c.Message = "The migration has succeeded but the stored versions have not been updated due to a generation mismatch"
			return c
		}
		c.Message = "The migration has succeeded and the stored versions have been updated"
		for _, v := range crd.Spec.Versions {
			if v.Storage {
				status["storedVersions"] = []string{v.Name}
			}
		}
		return c
	})
}

// abandonDefinition says of a definition that is said to be migrated, while there is no such migration, that it is not:
// the migration was deleted. (Upstream leaves it saying so until the next one.)
func (r *migrator) abandonDefinition(ctx context.Context, name string) error {
	return r.updateDefinition(ctx, name, func(crd *definition, _ map[string]any) *condition {
		if at := crd.condition(); at == nil || at.Status != apiextensionsv1.ConditionTrue {
			return nil
		}
		return &condition{
			Status: apiextensionsv1.ConditionFalse, Reason: "MigrationFailed", Message: "The migration was deleted before it ended",
		}
	})
}

func (d *definition) condition() *condition {
	for i := range d.Status.Conditions {
		if c := &d.Status.Conditions[i]; c.Type == apiextensionsv1.StorageMigrating {
			return c
		}
	}
	return nil
}

// updateDefinition sets the condition StorageMigrating of a definition, if there is one of that name, to what change makes
// it, which may change more of the status; nil leaves all as it is. It is decided anew as long as others change the definition.
func (r *migrator) updateDefinition(ctx context.Context, name string, change func(crd *definition, status map[string]any) *condition) error {
	key := api.Key{Name: name}
	for {
		v, err := r.client.View(ctx, 0)
		if err != nil {
			return err
		}
		rec := v.Get(api.CustomResourceDefinitions, key)
		if rec == nil {
			return nil
		}
		crd, err := client.Decode[definition](rec)
		if err != nil {
			return err
		}
		status := map[string]any{}
		next := change(crd, status)
		if next == nil {
			return nil
		}
		next.Type, next.ObservedGeneration = apiextensionsv1.StorageMigrating, crd.Metadata.Generation
		all := apiextensionsv1.CustomResourceDefinition{}
		all.Status.Conditions = crd.Status.Conditions
		apihelpers.SetCRDCondition(&all, *next)
		apihelpers.FindCRDCondition(&all, next.Type).ObservedGeneration = next.ObservedGeneration // which the line above leaves
		status["conditions"] = all.Status.Conditions
		p, err := client.MergePatch(map[string]any{"metadata": map[string]any{"resourceVersion": rec.Revision().String()}, "status": status})
		if err != nil {
			return err
		}
		_, err = r.client.Commit(ctx, client.Change{
			Verb: api.Patch, Resource: api.CustomResourceDefinitions, Subresource: "status", Key: key,
			Patch: p.Body, PatchType: p.Type, Manager: definitionManager,
		})
		if err == nil || api.IsNotFound(err) {
			return nil
		}
		if !api.IsConflict(err) {
			return fmt.Errorf("updating the status of custom resource definition %s: %w", key.Name, err)
		}
	}
}
