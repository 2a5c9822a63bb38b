package node

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// How often a node says that it is there, after upstream's defaults.
const (
	leasePeriod    = 10 * time.Second // the lease is renewed
	statusPeriod   = 10 * time.Second // the status is looked at, and written when it has changed
	reportPeriod   = 5 * time.Minute  // the status is written although nothing has changed
	registerWithin = 30 * time.Second
)

// register creates the node, or takes over the one there is.
func (a *Agent) register(ctx context.Context) error {
	n := &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: a.cfg.Name, Labels: a.labels(), Annotations: map[string]string{}},
	}
	n.Annotations["volumes.kubernetes.io/controller-managed-attach-detach"] = "true"
	if a.cfg.PodCIDR != "" {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = a.cfg.PodCIDR, []string{a.cfg.PodCIDR}
	}
	a.describe(ctx, n, nil)
	deadline := time.Now().Add(registerWithin)
	for {
		err := a.enroll(ctx, n)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *Agent) enroll(ctx context.Context, n *corev1.Node) error {
	rec, err := client.Nodes.Create(ctx, a.cfg.Client, n.DeepCopy())
	if api.IsAlreadyExists(err) {
		return a.takeOver(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("creating the node object: %w", err)
	}
	return a.keep(rec)
}

// takeOver brings the labels and annotations that the agent sets on a node object up to date where there is one already; its
// taints are others' business.
func (a *Agent) takeOver(ctx context.Context, n *corev1.Node) error {
	old, err := client.Nodes.Get(ctx, a.cfg.Client, api.Key{Name: n.Name})
	if err != nil {
		return fmt.Errorf("reading the node object: %w", err)
	}
	next := old.DeepCopy()
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	maps.Copy(next.Labels, n.Labels)
	maps.Copy(next.Annotations, n.Annotations)
	if next.Spec.PodCIDR == "" {
		next.Spec.PodCIDR, next.Spec.PodCIDRs = n.Spec.PodCIDR, n.Spec.PodCIDRs
	}
	if !equality.Semantic.DeepEqual(old, next) {
		if _, err := client.Nodes.Update(ctx, a.cfg.Client, next); err != nil {
			return fmt.Errorf("updating the node object: %w", err)
		}
	}
	if _, err = a.fetch(ctx); err != nil {
		return err
	}
	return a.reportStatus(ctx, true)
}

// fetch reads the node as the API has it now.
func (a *Agent) fetch(ctx context.Context) (*corev1.Node, error) {
	n, err := client.Nodes.Get(ctx, a.cfg.Client, api.Key{Name: a.cfg.Name})
	if err != nil {
		return nil, fmt.Errorf("reading node %s: %w", a.cfg.Name, err)
	}
	a.know(n)
	return n, nil
}

func (a *Agent) labels() map[string]string {
	l := map[string]string{
		corev1.LabelHostname: a.cfg.Name, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
		"beta.kubernetes.io/os": runtime.GOOS, "beta.kubernetes.io/arch": runtime.GOARCH,
	}
	maps.Copy(l, a.cfg.Labels)
	return l
}

func (a *Agent) keep(rec *api.Record) error {
	n, err := client.Nodes.Decode(rec)
	if err != nil {
		return err
	}
	old := a.know(n)
	a.mu.Lock()
	a.reported = time.Now()
	a.mu.Unlock()
	a.announce(old, n)
	return nil
}

// know takes the node as the API has it and returns what it was before. Another UID is that of an object made anew. Reads
// overlap, so that one may end after another that has seen more: it is left.
func (a *Agent) know(n *corev1.Node) (old *corev1.Node) {
	a.mu.Lock()
	if old = a.node; old != nil && old.UID == n.UID && revision(old) > revision(n) {
		a.mu.Unlock()
		return old
	}
	a.node = n
	a.mu.Unlock()
	switch {
	case old == nil:
	case old.UID != n.UID:
		if a.cfg.Remade != nil {
			a.cfg.Remade()
		}
	case old.Spec.Unschedulable != n.Spec.Unschedulable && !a.cfg.Quiet:
		a.announceSchedulable(n)
	}
	return old
}

// revision is that of a node as it was read; 0 where it says none.
func revision(n *corev1.Node) api.Revision {
	r, err := api.ParseRevision(n.ResourceVersion)
	if err != nil {
		return 0
	}
	return r
}

// describe fills the status, keeping transition times of conditions that stay as they were.
func (a *Agent) describe(ctx context.Context, n *corev1.Node, old *corev1.Node) {
	if a.cfg.Describe != nil {
		a.cfg.Describe(ctx, n)
	}
	n.Status.NodeInfo.KubeletVersion = api.KubernetesVersion
	n.Status.NodeInfo.OperatingSystem, n.Status.NodeInfo.Architecture = runtime.GOOS, runtime.GOARCH
	now := second(time.Now())
	for i := range n.Status.Conditions {
		c := &n.Status.Conditions[i]
		c.LastHeartbeatTime, c.LastTransitionTime = now, now
		if old == nil {
			continue
		}
		for _, o := range old.Status.Conditions {
			if o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
	}
}

// Condition is a node condition as Describe sets them.
func Condition(t corev1.NodeConditionType, ok corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
	return corev1.NodeCondition{Type: t, Status: ok, Reason: reason, Message: message}
}

// Healthy are the conditions of a node with nothing to complain about, in upstream's order and words.
func Healthy() []corev1.NodeCondition {
	return []corev1.NodeCondition{
		Condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		Condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		Condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		Condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
	}
}

// heartbeats renews the lease and reports the status until ctx ends.
func (a *Agent) heartbeats(ctx context.Context) {
	first := time.Duration(rand.Int64N(int64(time.Second)))
	tick := time.NewTimer(first)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := a.Beat(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("node heartbeat failed", "node", a.cfg.Name, "err", err)
			tick.Reset(time.Second)
			continue
		}
		tick.Reset(leasePeriod)
	}
}

// Beat renews the node's lease and, where it is due, writes its status. It is to be called every 10 s.
func (a *Agent) Beat(ctx context.Context) error {
	if err := a.renew(ctx); err != nil {
		return err
	}
	if err := a.reportStatus(ctx, a.lease.late); err != nil {
		return err
	}
	a.lease.late = false
	return nil
}

// reportStatus writes the node's status when it differs from the API's or has not been written for long.
func (a *Agent) reportStatus(ctx context.Context, always bool) error {
	a.mu.Lock()
	known, due := a.node != nil, time.Since(a.reported) >= reportPeriod
	a.mu.Unlock()
	if !known || a.cfg.Instant && !due && !always {
		return nil
	}
	for range 3 {
		old, err := a.fetch(ctx)
		if api.IsNotFound(err) {
			return a.register(ctx)
		}
		if err != nil {
			return err
		}
		next := a.successor(ctx, old)
		if !always && !due && sameNode(old, next) {
			return nil
		}
		rec, err := client.Nodes.UpdateStatus(ctx, a.cfg.Client, next)
		switch {
		case err == nil:
			return a.keep(rec)
		case api.IsNotFound(err):
			return a.register(ctx)
		case !api.IsConflict(err):
			return fmt.Errorf("writing the status of node %s: %w", a.cfg.Name, err)
		}
	}
	return nil // it is written with the next heartbeat
}

// successor is the node with the status it has by now. Conditions of others stay.
func (a *Agent) successor(ctx context.Context, old *corev1.Node) *corev1.Node {
	next := old.DeepCopy()
	next.Status.Conditions = nil
	a.describe(ctx, next, old)
	for _, c := range old.Status.Conditions {
		if conditionOf(next.Status.Conditions, c.Type) == nil {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	return next
}

func conditionOf(cs []corev1.NodeCondition, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range cs {
		if cs[i].Type == t {
			return &cs[i]
		}
	}
	return nil
}

// sameNode compares statuses without heartbeat times.
func sameNode(old, next *corev1.Node) bool {
	n := next.Status.DeepCopy()
	for i := range n.Conditions {
		if o := conditionOf(old.Status.Conditions, n.Conditions[i].Type); o != nil {
			n.Conditions[i].LastHeartbeatTime = o.LastHeartbeatTime
		}
	}
	return equality.Semantic.DeepEqual(&old.Status, n)
}

// host is what the node shows in the status of its pods.
func (a *Agent) host() Host {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node == nil {
		return Host{}
	}
	var h Host
	for _, ad := range a.node.Status.Addresses {
		if ad.Type == corev1.NodeInternalIP {
			h.IPs = append(h.IPs, ad.Address)
		}
	}
	return h
}

// memory is the node's capacity in bytes.
func (a *Agent) memory() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.node == nil {
		return 0
	}
	return a.node.Status.Capacity.Memory().Value()
}
