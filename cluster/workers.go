package cluster

import (
	"context"
	"fmt"

	"pintle.dev/auth"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/all"
	"pintle.dev/controller/crd"
	"pintle.dev/scheduler"
	"pintle.dev/scheduler/plugin"
)

// startControllers starts the controllers and the scheduler, each with an identity of its own.
func (s *System) startControllers(_, run context.Context) error {
	// What ends custom resource definitions is part of the API server, as upstream has it.
	server := s.Client("kube-apiserver", auth.UserServer, auth.GroupMasters)
	s.work(run, "custom resource definitions", controller.NewSet(server, crd.New(server)).Run)
	if s.config.NoControllers {
		return nil
	}
	manager := s.Client("kube-controller-manager", auth.UserControllerManager)
	set := controller.NewSet(manager, all.Controllers(all.Config{
		Client:  func(string) client.Client { return manager },
		Catalog: s.catalog,
		RootCA:  func() []byte { return s.authority.PEM },
	})...)
	if err := s.server.Register(set); err != nil {
		return err
	}
	s.work(run, "controllers", set.Run)
	sched := scheduler.New(s.Client("kube-scheduler", auth.UserScheduler), plugin.All())
	s.work(run, "scheduler", sched.Run)
	return nil
}

// catalog lists the resources served, for the controllers that deal with objects of every kind.
func (s *System) catalog() ([]controller.Kind, <-chan struct{}) {
	snapshot := s.registry.Snapshot()
	var kinds []controller.Kind
	for _, d := range snapshot.All() {
		v := d.Storage()
		kinds = append(kinds, controller.Kind{Resource: d.Resource, Version: v.Name, Kind: d.Kind, Namespaced: d.Namespaced})
	}
	return kinds, snapshot.Changed()
}

// work runs a worker until the system ends. A worker that ends before that ends the system.
func (s *System) work(run context.Context, name string, f func(context.Context) error) {
	s.running.Go(func() {
		if err := f(run); run.Err() == nil {
			s.fail(fmt.Errorf("%s: ended: %w", name, err))
		}
	})
}
