package node

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// leaseSeconds is after how long without renewal others may take the node for lost.
const leaseSeconds = 40

// leaseState is the node's lease as it was last written.
type leaseState struct {
	held *coordinationv1.Lease
	uid  string // of the object
	// late says that it was renewed so long after the time before that the API may have taken the node for lost and its
	// status for unknown: the status is to be written again.
	late bool
}

// renew writes the node's lease with the present time. Only one goroutine calls it.
func (a *Agent) renew(ctx context.Context) error {
	now := metav1.NewMicroTime(time.Now())
	if held := a.lease.held; held != nil {
		// By the wall clock, as the other stops while a machine sleeps.
		if now.Round(0).Sub(held.Spec.RenewTime.Round(0)) > 2*leasePeriod {
			a.lease.late = true
		}
		next := *held
		next.Spec.RenewTime = &now
		rec, err := client.Leases.Update(ctx, a.cfg.Client, &next)
		switch {
		case err == nil && rec.UID() == a.lease.uid:
			a.hold(&next, rec)
			return nil
		case err == nil || api.IsNotFound(err):
			// The lease had gone, as a rule with the node's object, which is then made anew first. Updating a lease makes it
			// where there is none: one that belongs to the old object will be collected again.
			if err := a.reportStatus(ctx, true); err != nil {
				return err
			}
		case !api.IsConflict(err):
			return fmt.Errorf("renewing the lease of node %s: %w", a.cfg.Name, err)
		}
		a.lease.held = nil
	}
	key := api.Key{Namespace: corev1.NamespaceNodeLease, Name: a.cfg.Name}
	l, err := client.Leases.Get(ctx, a.cfg.Client, key)
	if api.IsNotFound(err) {
		l = a.newLease(now)
		rec, err := client.Leases.Create(ctx, a.cfg.Client, l)
		if err != nil {
			return fmt.Errorf("creating the lease of node %s: %w", a.cfg.Name, err)
		}
		a.hold(l, rec)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the lease of node %s: %w", a.cfg.Name, err)
	}
	fresh := a.newLease(now)
	l.Spec, l.OwnerReferences = fresh.Spec, fresh.OwnerReferences
	rec, err := client.Leases.Update(ctx, a.cfg.Client, l)
	if err != nil {
		return fmt.Errorf("taking the lease of node %s: %w", a.cfg.Name, err)
	}
	a.hold(l, rec)
	return nil
}

// hold remembers a lease as written. What was given to the API must not change, so it is copied as far as renew and
// the API write to it.
func (a *Agent) hold(l *coordinationv1.Lease, rec *api.Record) {
	next := *l
	next.UID = ""
	next.ResourceVersion = rec.Revision().String()
	a.lease.held, a.lease.uid = &next, rec.UID()
}

func (a *Agent) newLease(now metav1.MicroTime) *coordinationv1.Lease {
	holder, seconds := a.cfg.Name, int32(leaseSeconds)
	l := &coordinationv1.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Name: a.cfg.Name, Namespace: corev1.NamespaceNodeLease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node != nil {
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: a.node.Name, UID: a.node.UID}}
	}
	return l
}
