// Package nodelifecycle watches over nodes: it declares those unknown whose heartbeats stop, turns their conditions
// into taints that keep pods away, and, at a limited rate per zone, into taints that drive pods out (which package
// tainteviction then does).
//
// A heartbeat is a renewal of the node's Lease in kube-node-lease, or a change of its Ready condition's heartbeat time.
// Both are noticed by revision: what has not been written is not read. Times are the controller's own clock.
package nodelifecycle

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	period       = 5 * time.Second
	grace        = 40 * time.Second // a node without a heartbeat for so long is unknown
	startupGrace = time.Minute      // the same for a node that never had one
)

type lifecycle struct {
	client client.Client
	events *client.Recorder

	mu    sync.Mutex
	nodes map[string]*health
	zones map[string]*zone
}

// health is what is remembered of a node.
type health struct {
	uid        string
	zone       string
	node       api.Revision // of the Node when it was last read
	lease      api.Revision // of its Lease
	heartbeat  metav1.Time  // of the Ready condition
	posted     bool         // has a Ready condition
	probed     time.Time    // when the last heartbeat was noticed
	ready      corev1.ConditionStatus
	tainted    bool // has the NoExecute taint its condition calls for
	markedPods bool
}

// New returns the controller. Its events are written to rec.
func New(c client.Client, rec *client.Recorder) *controller.Controller {
	l := &lifecycle{client: controller.Fresh(c), events: rec, nodes: map[string]*health{}, zones: map[string]*zone{}}
	return controller.New("node-lifecycle", l).For(api.Nodes).Workers(8).Also(l.monitor)
}

// Reconcile implements controller.Reconciler: it keeps one node's taints in line with its conditions.
func (l *lifecycle) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := l.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	rec := v.Get(api.Nodes, req.Key)
	if rec == nil {
		l.forget(req.Name)
		return controller.Result{}, nil
	}
	n, err := client.Nodes.Decode(rec)
	if err != nil {
		return controller.Result{}, err
	}
	h := l.observe(n, rec.Revision(), time.Now())
	want := schedulingTaints(n, metav1.Now())
	if h.ready == corev1.ConditionTrue || h.tainted {
		// A node that has recovered lets its pods be at once; the taint of one that only changed from not ready to
		// unreachable, or back, is exchanged.
		want = executionTaints(want, h.ready, metav1.Now())
	}
	if err := l.taint(ctx, n, want); err != nil {
		return controller.Result{}, err
	}
	return controller.Result{}, nil
}

func (l *lifecycle) taint(ctx context.Context, n *corev1.Node, want []corev1.Taint) error {
	if sameTaints(n.Spec.Taints, want) {
		return nil
	}
	p, err := client.MergePatch(map[string]any{
		"metadata": map[string]any{"uid": n.UID, "resourceVersion": n.ResourceVersion},
		"spec":     map[string]any{"taints": want},
	})
	if err != nil {
		return err
	}
	if _, err = client.Nodes.Patch(ctx, l.client, client.KeyOf(n), p); err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("tainting node %s: %w", n.Name, err)
	}
	return nil
}

func (l *lifecycle) about(name, uid string) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: name, UID: types.UID(uid)}
}

func (l *lifecycle) forget(name string) {
	l.mu.Lock()
	h := l.nodes[name]
	delete(l.nodes, name)
	l.mu.Unlock()
	if h != nil {
		l.events.Normal(l.about(name, h.uid), "RemovingNode", "Node %s event: Removing Node %s from Controller", name, name)
	}
}

// observe takes in a node's state and returns a copy of what is remembered of it now.
func (l *lifecycle) observe(n *corev1.Node, rev api.Revision, now time.Time) health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.nodes[n.Name]
	if h == nil || h.uid != string(n.UID) {
		if h == nil {
			l.events.Normal(l.about(n.Name, string(n.UID)), "RegisteredNode", "Node %s event: Registered Node %s in Controller", n.Name, n.Name)
		}
		h = &health{uid: string(n.UID), probed: now}
		l.nodes[n.Name] = h
	}
	if rev <= h.node {
		return *h
	}
	h.node, h.zone = rev, zoneOf(n)
	h.ready = corev1.ConditionUnknown
	if c := condition(n, corev1.NodeReady); c != nil {
		if !h.posted || !c.LastHeartbeatTime.Equal(&h.heartbeat) {
			h.posted, h.heartbeat, h.probed = true, c.LastHeartbeatTime, now
		}
		h.ready = c.Status
	}
	h.tainted = hasExecutionTaint(n)
	if h.ready == corev1.ConditionTrue {
		h.markedPods = false
	}
	return *h
}

func condition(n *corev1.Node, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// monitor looks after heartbeats and evictions.
func (l *lifecycle) monitor(ctx context.Context) error {
	for {
		select {
		case <-time.After(period):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := l.check(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Warn("checking the health of nodes failed, trying again", "in", period, "err", err)
		}
	}
}

// check declares nodes unknown that have not been heard of, and taints those whose turn it is to lose their pods.
func (l *lifecycle) check(ctx context.Context, now time.Time) error {
	v, err := l.client.View(ctx, 0)
	if err != nil {
		return err
	}
	for _, name := range l.silent(v, now) {
		if err := l.declareUnknown(ctx, v, name, now); err != nil {
			slog.Warn("declaring a node unknown failed, trying again", "node", name, "err", err)
		}
	}
	for _, name := range l.due(now) {
		rec := v.Get(api.Nodes, api.Key{Name: name})
		if rec == nil {
			continue
		}
		n, err := client.Nodes.Decode(rec)
		if err != nil {
			return err
		}
		if c := condition(n, corev1.NodeReady); c != nil && c.Status == corev1.ConditionTrue {
			continue
		} else if err := l.taint(ctx, n, executionTaints(n.Spec.Taints, readiness(c), metav1.NewTime(now))); err != nil {
			slog.Warn("driving the pods off a node failed, trying again", "node", name, "err", err)
		}
	}
	return nil
}

func readiness(c *corev1.NodeCondition) corev1.ConditionStatus {
	if c == nil {
		return corev1.ConditionUnknown
	}
	return c.Status
}

// silent notes the heartbeats in the Leases and returns the nodes that are without any for too long.
func (l *lifecycle) silent(v client.View, now time.Time) (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, h := range l.nodes {
		if lease := v.Get(api.Leases, api.Key{Namespace: corev1.NamespaceNodeLease, Name: name}); lease != nil && lease.Revision() != h.lease {
			h.lease, h.probed = lease.Revision(), now
		}
		allowed := grace
		if !h.posted {
			allowed = startupGrace
		}
		if now.Sub(h.probed) > allowed && (h.ready != corev1.ConditionUnknown || !h.posted || !h.markedPods) {
			names = append(names, name)
		}
	}
	return names
}

// The conditions a kubelet posts, which become unknown when it falls silent.
var posted = []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}

// declareUnknown sets a silent node's conditions to unknown and its pods to not ready.
func (l *lifecycle) declareUnknown(ctx context.Context, v client.View, name string, now time.Time) error {
	rec := v.Get(api.Nodes, api.Key{Name: name})
	if rec == nil {
		return nil
	}
	n, err := client.Nodes.Decode(rec)
	if err != nil {
		return err
	}
	was := readiness(condition(n, corev1.NodeReady))
	changed := false
	for _, t := range posted {
		switch c := condition(n, t); {
		case c == nil:
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
				LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: metav1.NewTime(now),
			})
			changed = true
		case c.Status != corev1.ConditionUnknown:
			c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
			c.LastTransitionTime = metav1.NewTime(now)
			changed = true
		}
	}
	if changed {
		if _, err := client.Nodes.UpdateStatus(ctx, l.client, n); err != nil {
			if api.IsNotFound(err) || api.IsConflict(err) { // a heartbeat, perhaps
				return nil
			}
			return err
		}
		if was == corev1.ConditionTrue {
			l.events.Normal(l.about(n.Name, string(n.UID)), "NodeNotReady", "Node %s status is now: NodeNotReady", n.Name)
		}
	}
	if err := l.markPods(ctx, v, name, now); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.nodes[name]; h != nil {
		h.markedPods = true
	}
	return nil
}

// markPods sets the pods of a silent node to not ready, so that no traffic is sent to them.
func (l *lifecycle) markPods(ctx context.Context, v client.View, node string, now time.Time) error {
	for rec := range v.ByIndex(api.Pods, api.Index{Name: "spec.nodeName", Value: node}) {
		p, err := client.Pods.Decode(rec)
		if err != nil {
			return err
		}
		changed := false
		for i := range p.Status.Conditions {
			if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				c.Status, c.LastTransitionTime = corev1.ConditionFalse, metav1.NewTime(now)
				changed = true
			}
		}
		if !changed {
			continue
		}
		if _, err := client.Pods.UpdateStatus(ctx, l.client, p); err != nil && !api.IsNotFound(err) {
			return fmt.Errorf("marking pod %s of silent node %s as not ready: %w", rec.Key(), node, err)
		}
		l.events.Warning(client.Reference(p), "NodeNotReady", "Node is not ready")
	}
	return nil
}
