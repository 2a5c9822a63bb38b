package cluster

import (
	"context"
	"strings"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// startCustom registers the custom resources that are stored. One that cannot be served must not keep the rest of the
// cluster down.
func (s *System) startCustom(ctx context.Context) error {
	s.custom = resource.NewCustomResources(s.registry, s.store)
	_, err := s.custom.Load(ctx, func(err error) { s.log.Error("a custom resource definition cannot be served", "err", err) })
	return err
}

// committed brings into force what was just written, before its writer is answered: a CustomResourceDefinition is
// served when its create returns. Of one that is gone nothing is kept.
func (s *System) committed(ctx context.Context, d *resource.Definition, rec *api.Record, deleted bool) error {
	if d.Resource != api.CustomResourceDefinitions {
		return nil
	}
	if err := s.custom.Sync(ctx, rec.Name()); err != nil {
		return err
	}
	plural, group, _ := strings.Cut(rec.Name(), ".")
	if r := (api.Resource{Group: group, Name: plural}); deleted && s.registry.ByResource(r) == nil {
		s.server.Forget(r)
	}
	return nil
}
