package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/all"
	"pintle.dev/controller/crd"
	"pintle.dev/resource"
	"pintle.dev/scheduler"
	"pintle.dev/scheduler/plugin"
)

// startControllers starts the controllers and the scheduler, each with an identity of its own.
func (s *System) startControllers(_, run context.Context) error {
	// What ends custom resource definitions is part of the API server, as upstream has it.
	server := s.Client("kube-apiserver", auth.UserServer, auth.GroupMasters)
	s.work(run, "custom resource definitions", controller.NewSet(server, crd.New(server, s.builtin)).Run)
	if s.config.NoControllers {
		return nil
	}
	// One set is made at once for the first term of leadership, so that its figures are there from the start.
	manager := s.Client(controllerManager, auth.UserControllerManager)
	var figures controllerFigures
	first := s.newControllers(manager)
	figures.Store(first)
	if err := s.server.Register(&figures); err != nil {
		return err
	}
	s.lead(run, controllerManager, manager, func(term context.Context) error {
		set := first
		if set == nil {
			set = s.newControllers(manager)
			figures.Store(set)
		}
		first = nil
		return set.Run(term)
	})
	sched := s.Client(schedulerName, auth.UserScheduler)
	s.lead(run, schedulerName, sched, func(term context.Context) error { return scheduler.New(sched, plugin.All()).Run(term) })
	return nil
}

// The components' names, which are those of their leases and of the owners of the fields they write.
const (
	controllerManager = "kube-controller-manager"
	schedulerName     = "kube-scheduler"
)

// newControllers makes the controllers, each with an identity of its own; their streams of events are the manager's.
func (s *System) newControllers(manager client.Client) *controller.Set {
	return controller.NewSet(manager, all.Controllers(all.Config{
		Client: func(name string) client.Client {
			return s.Client(controllerManager, auth.ControllerUser(name), auth.ControllerGroups...)
		},
		Catalog: s.catalog,
		RootCA:  func() []byte { return s.authority.PEM() },
		Taken:   s.foreignRanges,
	})...)
}

// controllerFigures are the metrics of the controllers that run now.
type controllerFigures struct{ atomic.Pointer[controller.Set] }

func (f *controllerFigures) Describe(ch chan<- *prometheus.Desc) { f.Load().Describe(ch) }
func (f *controllerFigures) Collect(ch chan<- prometheus.Metric) { f.Load().Collect(ch) }

// catalog lists the resources whose objects are kept, for the controllers that deal with objects of every kind.
func (s *System) catalog() ([]controller.Kind, <-chan struct{}) {
	snapshot := s.registry.Snapshot()
	var kinds []controller.Kind
	for _, d := range snapshot.All() {
		if d.Transient {
			continue
		}
		v := d.Storage()
		kinds = append(kinds, controller.Kind{
			Resource: d.Resource, Version: v.Name, Kind: d.Kind, Namespaced: d.Namespaced, Groups: otherGroups(d),
		})
	}
	return kinds, snapshot.Changed()
}

// builtin reports whether a resource's group is built in, so that no definition has objects there.
func (s *System) builtin(r api.Resource) bool { return s.registry.BuiltIn(r.Group) }

// otherGroups are the API groups that versions of d belong to, but for its own.
func otherGroups(d *resource.Definition) (groups []string) {
	for i := range d.Versions {
		if g := d.Versions[i].Group; g != d.Resource.Group && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// work runs a worker until the system ends. A worker that ends before that ends the system.
func (s *System) work(run context.Context, name string, f func(context.Context) error) {
	s.running.Go(func() {
		if err := f(run); run.Err() == nil {
			s.fail(fmt.Errorf("%s: ended: %w", name, err))
		}
	})
}
