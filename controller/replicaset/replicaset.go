// Package replicaset keeps the number of a ReplicaSet's pods at spec.replicas: it creates pods in batches that grow as
// they succeed, deletes those that are missed least, adopts and releases pods by label, and counts them into the
// status.
//
// Pods are never decoded as a whole: a projection of the few fields that count is decoded once per version of a pod.
package replicaset

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	// burst is how many pods one reconcile creates or deletes at most.
	burst = 500
	// firstBatch is how many pods are created before it is known whether the API takes them.
	firstBatch = 1
	// writers is how many pods are created or deleted at a time.
	writers = 64
	// interval is the least time between two reconciles of a ReplicaSet: while hundreds of pods come up, each answers
	// for many of them.
	interval = 20 * time.Millisecond
	// restPerPod is how much longer that is for each pod that has to be looked at, up to longestRest.
	restPerPod  = 100 * time.Microsecond
	longestRest = time.Second
)

type reconciler struct {
	client   client.Client
	events   *client.Recorder
	pods     *controller.Projection[pod]
	adoption *controller.Adoption
}

// New returns the controller. Its events are written to rec.
func New(c client.Client, rec *client.Recorder) *controller.Controller {
	r := &reconciler{
		client: controller.Fresh(c), events: rec, pods: controller.NewProjection[pod](),
		adoption: controller.NewAdoption(api.ReplicaSets, api.Pods),
	}
	forget := func(e api.Event) []controller.Request {
		r.pods.Forget(e.Old.UID())
		return nil
	}
	return r.adoption.Watch(controller.New("replicaset", r).
		For(api.ReplicaSets).Owns(api.Pods).Watches(api.ReplicaSets, forget, controller.Deleted).
		Workers(5).Coalesce(interval))
}

// counted are a ReplicaSet's pods that make up its replicas.
type counted struct {
	active      []ranked
	terminating int32
}

// Reconcile implements controller.Reconciler.
func (r *reconciler) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := r.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	rec := v.Get(api.ReplicaSets, req.Key)
	if rec == nil {
		return controller.Result{}, nil
	}
	rs, err := client.ReplicaSets.Decode(rec)
	if err != nil {
		return controller.Result{}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return controller.Result{}, fmt.Errorf("reading the selector of ReplicaSet %s: %w", req.Key, err)
	}
	pods, err := r.claim(ctx, v, rs, selector)
	if err != nil {
		return controller.Result{}, err
	}
	var failure error
	if rs.DeletionTimestamp == nil {
		failure = r.scale(ctx, v, rs, pods.active)
	}
	now := time.Now()
	if want := status(rs, pods, failure, now); !equal(&rs.Status, want) {
		if err := r.writeStatus(ctx, rs, want); err != nil {
			return controller.Result{}, errors.Join(failure, err)
		}
	}
	if failure != nil {
		return controller.Result{}, failure
	}
	return controller.Result{
		RequeueAfter: untilAvailable(pods.active, rs.Spec.MinReadySeconds, now),
		Rest:         min(interval+time.Duration(len(pods.active))*restPerPod, longestRest),
	}, nil
}

func (r *reconciler) writeStatus(ctx context.Context, rs *appsv1.ReplicaSet, want *appsv1.ReplicaSetStatus) error {
	next := *rs
	next.Status = *want
	_, err := client.ReplicaSets.UpdateStatus(ctx, r.client, &next)
	if api.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("updating the status of ReplicaSet %s: %w", client.KeyOf(rs), err)
	}
	return nil
}

// claim finds the ReplicaSet's pods, taking orphans that match and letting go of its own that do not.
func (r *reconciler) claim(ctx context.Context, v client.View, rs *appsv1.ReplicaSet, selector labels.Selector) (counted, error) {
	var pods counted
	var failures []error
	owner := controller.Owner{Client: r.client, Resource: api.ReplicaSets, APIVersion: "apps/v1", Kind: "ReplicaSet", Object: rs}
	labelsWanted := rs.Spec.Template.Labels
	count := func(rec *api.Record, p *pod) {
		switch {
		case p.active():
			pods.active = append(pods.active, ranked{pod: p, labelled: carries(rec, labelsWanted)})
		case p.terminating():
			pods.terminating++
		}
	}
	uid := string(rs.UID)
	err := r.pods.Each(uid, v.ByIndex(api.Pods, api.Index{Name: api.IndexOwner, Value: uid}), func(rec *api.Record, p *pod) {
		switch {
		case !p.controlledBy(rs.UID):
		case selector.Matches(rec):
			count(rec, p)
		case rs.DeletionTimestamp == nil:
			if err := owner.Release(ctx, api.Pods, rec); err != nil {
				failures = append(failures, fmt.Errorf("releasing pod %s: %w", rec.Key(), err))
			}
		}
	})
	if err != nil {
		return pods, err
	}
	if rs.DeletionTimestamp != nil {
		return pods, errors.Join(failures...)
	}
	allowed := false
	for rec := range r.adoption.Orphans(v, rs.Namespace, selector) {
		p, err := client.Decode[pod](rec)
		if err != nil {
			return pods, err
		}
		if p.controller() != "" || !p.active() {
			continue
		}
		if !allowed {
			if err := owner.MayAdopt(ctx); err != nil {
				return pods, fmt.Errorf("can't adopt Pod %s (%s): %w", rec.Key(), rec.UID(), err)
			}
			allowed = true
		}
		switch _, err := owner.Adopt(ctx, api.Pods, rec); {
		case err == nil:
			count(rec, p)
		case !api.IsNotFound(err):
			failures = append(failures, fmt.Errorf("adopting pod %s: %w", rec.Key(), err))
		}
	}
	return pods, errors.Join(failures...)
}

// carries reports whether the record has all of the labels.
func carries(rec *api.Record, want map[string]string) bool {
	for k, v := range want {
		if have, ok := rec.Lookup(k); !ok || have != v {
			return false
		}
	}
	return true
}

// scale creates or deletes pods until there are spec.replicas, at most burst of them.
func (r *reconciler) scale(ctx context.Context, v client.View, rs *appsv1.ReplicaSet, active []ranked) error {
	switch diff := len(active) - int(*rs.Spec.Replicas); {
	case diff < 0:
		return r.create(ctx, rs, min(-diff, burst))
	case diff > 0:
		if err := r.rank(v, rs, active); err != nil {
			return err
		}
		return r.delete(ctx, rs, victims(active, min(diff, burst), time.Now()))
	}
	return nil
}

// create creates n pods in batches of doubling size and stops at the first batch that has failures.
func (r *reconciler) create(ctx context.Context, rs *appsv1.ReplicaSet, n int) error {
	about := client.Reference(rs)
	for batch := firstBatch; n > 0; batch *= 2 {
		size := min(batch, n)
		err := concurrently(size, func(int) error {
			rec, err := client.Pods.Create(ctx, r.client, newPod(rs))
			switch {
			case err == nil:
				r.events.Normal(about, "SuccessfulCreate", "Created pod: %s", rec.Name())
			case api.HasCause(err, corev1.NamespaceTerminatingCause):
				// Nothing can be created any more, and soon the ReplicaSet goes, too.
				return errNamespaceTerminating
			default:
				r.events.Warning(about, "FailedCreate", "Error creating: %v", err)
			}
			return err
		})
		if errors.Is(err, errNamespaceTerminating) {
			return nil
		}
		if err != nil {
			return err
		}
		n -= size
	}
	return nil
}

var errNamespaceTerminating = errors.New("the namespace is being terminated")

// newPod is a pod after the template. What it shares with the ReplicaSet nobody changes.
func newPod(rs *appsv1.ReplicaSet) *corev1.Pod {
	t := &rs.Spec.Template
	prefix := rs.Name + "-"
	if len(validation.NameIsDNSSubdomain(prefix, true)) > 0 {
		prefix = rs.Name
	}
	owner := controller.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", Object: rs}
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: rs.Namespace, GenerateName: prefix, Labels: t.Labels, Annotations: t.Annotations,
			Finalizers: t.Finalizers, OwnerReferences: []metav1.OwnerReference{owner.Reference()},
		},
		Spec: t.Spec,
	}
}

func (r *reconciler) delete(ctx context.Context, rs *appsv1.ReplicaSet, pods []ranked) error {
	about := client.Reference(rs)
	return concurrently(len(pods), func(i int) error {
		m := &pods[i].Metadata
		_, err := client.Pods.Delete(ctx, r.client, api.Key{Namespace: rs.Namespace, Name: m.Name}, client.IfUID(m.UID))
		switch {
		case err == nil:
			r.events.Normal(about, "SuccessfulDelete", "Deleted pod: %s", m.Name)
		case api.IsNotFound(err) || api.IsConflict(err): // gone, perhaps with a namesake in its place
			return nil
		default:
			r.events.Warning(about, "FailedDelete", "Error deleting: %v", err)
		}
		return err
	})
}

// concurrently calls f for 0 to n-1, writers at a time so that the writes share the store's commits, and returns the first
// error. A few goroutines do it all: each would have to grow its stack for what a write needs.
func concurrently(n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	var (
		wg    sync.WaitGroup
		taken atomic.Int64
		once  sync.Once
		first error
	)
	for range min(n, writers) {
		wg.Go(func() {
			for i := int(taken.Add(1)) - 1; i < n; i = int(taken.Add(1)) - 1 {
				if err := f(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	wg.Wait()
	return first
}

// rank fills in how many replicas of the same controller run on each pod's node, so that a Deployment's old and new
// ReplicaSets give up pods where they are doubled up.
func (r *reconciler) rank(v client.View, rs *appsv1.ReplicaSet, active []ranked) error {
	onNode := map[string]int{}
	parent := metav1.GetControllerOf(rs)
	if parent == nil {
		for _, p := range active {
			onNode[p.Spec.NodeName]++
		}
	} else {
		for rec := range v.ByIndex(api.ReplicaSets, api.Index{Name: api.IndexOwner, Value: string(parent.UID)}) {
			uid := types.UID(rec.UID())
			group := string(uid) + "/related"
			err := r.pods.Each(group, v.ByIndex(api.Pods, api.Index{Name: api.IndexOwner, Value: string(uid)}), func(_ *api.Record, p *pod) {
				if p.controlledBy(uid) && p.active() {
					onNode[p.Spec.NodeName]++
				}
			})
			r.pods.Forget(group) // needed rarely
			if err != nil {
				return err
			}
		}
	}
	for i := range active {
		active[i].together = onNode[active[i].Spec.NodeName]
	}
	return nil
}

// status is what the ReplicaSet's status should be.
func status(rs *appsv1.ReplicaSet, pods counted, failure error, now time.Time) *appsv1.ReplicaSetStatus {
	s := rs.Status
	s.Replicas = int32(len(pods.active))
	s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas = 0, 0, 0
	s.TerminatingReplicas = &pods.terminating
	s.ObservedGeneration = rs.Generation
	minReady := time.Duration(rs.Spec.MinReadySeconds) * time.Second
	for _, p := range pods.active {
		if p.labelled {
			s.FullyLabeledReplicas++
		}
		since, ready := p.ready()
		if !ready {
			continue
		}
		s.ReadyReplicas++
		if minReady > 0 {
			if at := since.time(); at.IsZero() || at.Add(minReady).After(now) {
				continue
			}
		}
		s.AvailableReplicas++
	}
	var conditions []appsv1.ReplicaSetCondition
	failing := false
	for _, c := range s.Conditions {
		if c.Type != appsv1.ReplicaSetReplicaFailure {
			conditions = append(conditions, c)
		} else if failure != nil { // kept as it began
			failing = true
			conditions = append(conditions, c)
		}
	}
	if failure != nil && !failing {
		reason := "FailedDelete"
		if len(pods.active) < int(*rs.Spec.Replicas) {
			reason = "FailedCreate"
		}
		conditions = append(conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: reason, Message: failure.Error(),
			LastTransitionTime: metav1.NewTime(now),
		})
	}
	s.Conditions = conditions
	return &s
}

func equal(a, b *appsv1.ReplicaSetStatus) bool {
	if a.Replicas != b.Replicas || a.FullyLabeledReplicas != b.FullyLabeledReplicas || a.ReadyReplicas != b.ReadyReplicas ||
		a.AvailableReplicas != b.AvailableReplicas || a.ObservedGeneration != b.ObservedGeneration ||
		a.TerminatingReplicas == nil || *a.TerminatingReplicas != *b.TerminatingReplicas || len(a.Conditions) != len(b.Conditions) {
		return false
	}
	for i := range a.Conditions {
		if x, y := &a.Conditions[i], &b.Conditions[i]; x.Type != y.Type || x.Status != y.Status || x.Reason != y.Reason || x.Message != y.Message {
			return false
		}
	}
	return true
}

// untilAvailable is the time until the next ready pod has been ready for long enough; 0 when none is waiting.
func untilAvailable(pods []ranked, minReadySeconds int32, now time.Time) time.Duration {
	if minReadySeconds == 0 {
		return 0
	}
	next := time.Duration(0)
	for _, p := range pods {
		since, ready := p.ready()
		if !ready {
			continue
		}
		d := since.time().Add(time.Duration(minReadySeconds) * time.Second).Sub(now)
		if d > 0 && (next == 0 || d < next) {
			next = d
		}
	}
	return next
}

// cost is the pod-deletion-cost annotation; what is no number counts as 0.
func cost(s string) int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}
