package cluster

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/resource"
)

// customResources keeps the registry at the CustomResourceDefinitions that are stored.
type customResources struct {
	mu      sync.Mutex
	applied map[string]api.Revision // by name of the definition: what the registry knows
}

// startCustom registers the custom resources that are stored.
func (s *System) startCustom(ctx context.Context) error {
	v, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	s.custom.applied = map[string]api.Revision{}
	var ds []*resource.Definition
	for rec := range v.All(api.CustomResourceDefinitions, "") {
		d, err := established(rec)
		if err != nil {
			// One that cannot be read must not keep the rest of the cluster down.
			s.log.Error("a custom resource definition cannot be served", "name", rec.Name(), "err", err)
			continue
		}
		s.custom.applied[rec.Name()] = rec.Revision()
		if d != nil {
			ds = append(ds, d)
		}
	}
	s.registry.Put(ds...)
	return nil
}

// established returns what a CustomResourceDefinition defines, or nil when it has not been established.
func established(rec *api.Record) (*resource.Definition, error) {
	crd, err := client.Decode[apiextensionsv1.CustomResourceDefinition](rec)
	if err != nil {
		return nil, err
	}
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		return nil, nil
	}
	return resource.FromCRD(crd)
}

// committed brings into force what was just written, before its writer is answered: a CustomResourceDefinition is
// served when its create returns.
func (s *System) committed(ctx context.Context, d *resource.Definition, rec *api.Record, deleted bool) error {
	if d.Resource != api.CustomResourceDefinitions {
		return nil
	}
	s.custom.mu.Lock()
	defer s.custom.mu.Unlock()
	// Two writers may come here in another order than they committed in.
	if s.custom.applied[rec.Name()] > rec.Revision() || !deleted && s.custom.applied[rec.Name()] == rec.Revision() {
		return nil
	}
	crd, err := client.Decode[apiextensionsv1.CustomResourceDefinition](rec)
	if err != nil {
		return fmt.Errorf("reading custom resource definition %s: %w", rec.Name(), err)
	}
	res := api.Resource{Group: crd.Spec.Group, Name: crd.Spec.Names.Plural}
	if deleted {
		delete(s.custom.applied, rec.Name())
		if s.registry.Remove(res) {
			if _, err := s.store.Drop(ctx, res); err != nil {
				return fmt.Errorf("forgetting the objects of %s: %w", res, err)
			}
		}
		return nil
	}
	s.custom.applied[rec.Name()] = rec.Revision()
	def, err := established(rec)
	if err != nil {
		return fmt.Errorf("serving custom resource definition %s: %w", rec.Name(), err)
	}
	if def != nil {
		s.registry.Put(def)
	}
	return nil
}
