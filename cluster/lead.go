package cluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

// How the leases of controllers and scheduler are held: with the cadence of a node's lease, as each renewal is a synced
// write and nobody waits for a lease that is released, which an orderly end does.
const (
	leadFor   = 60 * time.Second
	leadGrace = 40 * time.Second
	leadRenew = 10 * time.Second
)

// lead runs work whenever this server holds the lease of the name in kube-system, until the system ends: work is called
// anew for each term of leadership.
func (s *System) lead(run context.Context, name string, c client.Client, work func(context.Context) error) {
	s.work(run, name, func(run context.Context) error {
		identity, err := s.identity(run)
		if err != nil {
			return err
		}
		return controller.Election{Client: c, Lease: api.Key{Namespace: metav1.NamespaceSystem, Name: name}, Identity: identity,
			Duration: leadFor, Deadline: leadGrace, Period: leadRenew}.Terms(run, work)
	})
}

// identity is who this server is to leader elections: the same for every process of one store. As only one process can
// have that open, a lease that names it was left by a process that has ended, and is taken without waiting.
func (s *System) identity(ctx context.Context) (string, error) {
	v, err := s.snapshot(ctx)
	if err != nil {
		return "", err
	}
	ns := v.Get(api.Namespaces, api.Key{Name: metav1.NamespaceSystem})
	if ns == nil {
		return "", fmt.Errorf("there is no namespace %s", metav1.NamespaceSystem)
	}
	return "pintle_" + ns.UID(), nil
}
