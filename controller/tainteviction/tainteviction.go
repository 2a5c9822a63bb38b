// Package tainteviction deletes pods from nodes with taints of effect NoExecute that they do not tolerate: at once, or
// after the shortest tolerationSeconds of those that match.
package tainteviction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const byNode = "spec.nodeName"

type reconciler struct {
	client client.Client
	events *client.Recorder

	mu      sync.Mutex
	tainted map[string]map[types.UID]time.Time // nodes with NoExecute taints, and when which of their pods is due
}

// New returns the controller, which works node by node. Its events are written to rec.
func New(c client.Client, rec *client.Recorder) *controller.Controller {
	r := &reconciler{client: controller.Fresh(c), events: rec, tainted: map[string]map[types.UID]time.Time{}}
	return controller.New("taint-eviction", r).For(api.Nodes).Watches(api.Pods, r.pod).Workers(8).Coalesce(100 * time.Millisecond)
}

// pod wakes a tainted node when a pod arrives on it or changes there.
func (r *reconciler) pod(e api.Event) []controller.Request {
	rec := e.New
	if rec == nil {
		return nil
	}
	node := rec.IndexValue(byNode)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.tainted[node]; !ok {
		return nil
	}
	return []controller.Request{{Key: api.Key{Name: node}}}
}

type node struct {
	Spec struct {
		Taints []corev1.Taint `json:"taints"`
	} `json:"spec"`
}

type pod struct {
	Metadata struct {
		Name              string      `json:"name"`
		Namespace         string      `json:"namespace"`
		UID               types.UID   `json:"uid"`
		CreationTimestamp metav1.Time `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Tolerations []corev1.Toleration `json:"tolerations"`
	} `json:"spec"`
	Status struct {
		Phase      corev1.PodPhase       `json:"phase"`
		Conditions []corev1.PodCondition `json:"conditions"`
	} `json:"status"`
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	var taints []corev1.Taint
	if rec := v.Get(api.Nodes, req.Key); rec != nil {
		n, err := client.Decode[node](rec)
		if err != nil {
			return controller.Result{}, err
		}
		taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Effect != corev1.TaintEffectNoExecute })
	}
	was, now := r.mark(req.Name, len(taints) > 0), time.Now()
	if len(taints) == 0 && was == nil {
		return controller.Result{}, nil
	}
	due := map[types.UID]time.Time{}
	var next time.Time
	var failures []error
	for rec := range v.ByIndex(api.Pods, api.Index{Name: byNode, Value: req.Name}) {
		if rec.Is(api.Deleting) {
			continue
		}
		p, err := client.Decode[pod](rec)
		if err != nil {
			return controller.Result{}, err
		}
		at, ok := Due(taints, p.Spec.Tolerations, p.Metadata.CreationTimestamp.Time)
		switch {
		case !ok:
			if _, scheduled := was[p.Metadata.UID]; scheduled {
				r.events.Normal(about(p), "TaintManagerEviction", "Cancelling deletion of Pod %s", klog.KRef(p.Metadata.Namespace, p.Metadata.Name))
			}
		case at.After(now):
			due[p.Metadata.UID] = at
			if next.IsZero() || at.Before(next) {
				next = at
			}
		default:
			if err := r.evict(ctx, rec.Key(), p, now); err != nil {
				failures = append(failures, err)
			}
		}
	}
	r.mu.Lock()
	if _, ok := r.tainted[req.Name]; ok {
		r.tainted[req.Name] = due
	}
	r.mu.Unlock()
	if err := errors.Join(failures...); err != nil || next.IsZero() {
		return controller.Result{}, err
	}
	return controller.Result{RequeueAfter: next.Sub(now)}, nil
}

// mark notes whether a node has taints, before its pods are looked at, so that none arrives unseen. It returns when
// which pods were due before; nil for a node that was not tainted.
func (r *reconciler) mark(node string, tainted bool) map[types.UID]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.tainted[node]
	switch {
	case !tainted:
		delete(r.tainted, node)
	case was == nil:
		r.tainted[node] = map[types.UID]time.Time{}
	}
	return was
}

// Due is when a pod must leave a node with the given taints of effect NoExecute; ok is false when it may stay for good.
// Its time runs from when the last of the taints was added or the pod was made, whichever is later.
func Due(taints []corev1.Taint, tolerations []corev1.Toleration, created time.Time) (at time.Time, ok bool) {
	if len(taints) == 0 {
		return time.Time{}, false
	}
	start := created
	shortest := int64(-1)
	for _, t := range taints {
		if t.TimeAdded != nil && t.TimeAdded.After(start) {
			start = t.TimeAdded.Time
		}
		i := slices.IndexFunc(tolerations, func(o corev1.Toleration) bool { return o.ToleratesTaint(klog.Background(), &t, true) })
		if i < 0 {
			return created, true
		}
		if s := tolerations[i].TolerationSeconds; s != nil {
			if n := max(0, *s); shortest < 0 || n < shortest {
				shortest = n
			}
		}
	}
	if shortest < 0 {
		return time.Time{}, false
	}
	return start.Add(time.Duration(shortest) * time.Second), true
}

func about(p *pod) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Metadata.Namespace, Name: p.Metadata.Name, UID: p.Metadata.UID}
}

// evict says on the pod why it goes, and deletes it.
func (r *reconciler) evict(ctx context.Context, k api.Key, p *pod, now time.Time) error {
	r.events.Normal(about(p), "TaintManagerEviction", "Marking for deletion Pod %s", klog.KRef(k.Namespace, k.Name))
	conditions := slices.DeleteFunc(slices.Clone(p.Status.Conditions), func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
	conditions = append(conditions, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager",
		Message: "Taint manager: deleting due to NoExecute taint", LastTransitionTime: metav1.NewTime(now),
	})
	patch, err := client.MergePatch(map[string]any{
		"metadata": map[string]any{"uid": p.Metadata.UID}, "status": map[string]any{"conditions": conditions},
	})
	if err != nil {
		return err
	}
	patch.Subresource = "status"
	if _, err := client.Pods.Patch(ctx, r.client, k, patch); err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("marking pod %s for eviction: %w", k, err)
	}
	if _, err := client.Pods.Delete(ctx, r.client, k, client.IfUID(p.Metadata.UID)); err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("evicting pod %s: %w", k, err)
	}
	return nil
}
