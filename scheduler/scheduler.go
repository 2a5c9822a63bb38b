package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/object"
)

// Name is the schedulerName of the pods this scheduler is for: corev1.DefaultSchedulerName.
const Name = corev1.DefaultSchedulerName

// binders is how many bindings are in flight at most.
const binders = 16

// Scheduler follows the cluster and binds pods. Make one with New.
type Scheduler struct {
	client  client.Client
	plugins []Plugin
	events  *client.Recorder
	state   *clusterState
	queue   *queue
}

// New returns a scheduler that decides with the given plugins, in order.
func New(c client.Client, ps []Plugin) *Scheduler {
	return &Scheduler{client: c, plugins: ps, events: client.NewRecorder(c, Name, ""), state: newClusterState(rand.IntN), queue: newQueue()}
}

// Run schedules until ctx ends, and returns after bindings in flight have ended.
func (s *Scheduler) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		s.events.Close(closing)
	}()
	nodes, pods := make(chan struct{}), make(chan struct{})
	wg.Go(func() { s.follow(ctx, api.Nodes, s.nodeWatcher(nodes)) })
	wg.Go(func() { s.follow(ctx, api.Pods, s.podWatcher(pods)) })
	for _, listed := range []chan struct{}{nodes, pods} {
		select {
		case <-listed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	bindings := make(chan func())
	defer close(bindings)
	for range binders {
		wg.Go(func() {
			for bind := range bindings {
				bind()
			}
		})
	}
	for {
		t, err := s.queue.next(ctx)
		if err != nil {
			return err
		}
		if bind := s.attempt(ctx, t); bind != nil {
			bindings <- bind
		}
	}
}

func (s *Scheduler) follow(ctx context.Context, r api.Resource, w controller.Watcher) {
	if err := controller.Follow(ctx, s.client, r, w); err != nil && ctx.Err() == nil {
		slog.Error("scheduler: following a resource ended", "resource", r, "err", err)
	}
}

func (s *Scheduler) nodeWatcher(listed chan struct{}) controller.Watcher {
	once := sync.OnceFunc(func() { close(listed) })
	return controller.Watcher{
		Listed: func(v client.View) {
			if err := s.state.replaceNodes(v.All(api.Nodes, "")); err != nil {
				slog.Error("scheduler: reading nodes", "err", err)
			}
			s.queue.activate()
			once()
		},
		Event: func(e api.Event) {
			if err := s.state.applyNode(e); err != nil {
				slog.Error("scheduler: reading a node", "node", e.Record().Name(), "err", err)
			}
			// Most updates of a node are heartbeats, which help no pod.
			if e.Old == nil || e.New != nil && schedulingChanged(e.Old, e.New) {
				s.queue.activate()
			}
		},
	}
}

// schedulingChanged reports whether a node differs in what decides about pods.
func schedulingChanged(a, b *api.Record) bool {
	type relevant struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Spec   corev1.NodeSpec `json:"spec"`
		Status struct {
			Allocatable corev1.ResourceList `json:"allocatable"`
		} `json:"status"`
	}
	x, errX := client.Decode[relevant](a)
	y, errY := client.Decode[relevant](b)
	return errX != nil || errY != nil || !equality.Semantic.DeepEqual(x, y)
}

func (s *Scheduler) podWatcher(listed chan struct{}) controller.Watcher {
	once := sync.OnceFunc(func() { close(listed) })
	return controller.Watcher{
		Listed: func(v client.View) {
			if err := s.state.replacePods(v.All(api.Pods, "")); err != nil {
				slog.Error("scheduler: reading pods", "err", err)
			}
			waiting := map[string]bool{}
			for r := range v.ByIndex(api.Pods, api.Index{Name: indexNode, Value: ""}) {
				waiting[r.UID()] = true
				s.enqueue(r)
			}
			s.queue.keep(waiting)
			s.queue.activate()
			once()
		},
		Event: func(e api.Event) {
			freed, err := s.state.applyPod(e)
			if err != nil {
				slog.Error("scheduler: reading a pod", "pod", e.Record().Key(), "err", err)
			}
			switch r := e.Record(); {
			case e.New == nil || r.IndexValue(indexNode) != "":
				s.queue.remove(r.UID())
			default:
				s.enqueue(r)
			}
			if freed {
				s.queue.activate()
			}
		},
	}
}

// gate is what decides whether a pod is for this scheduler at all, and when.
type gate struct {
	mine, closed bool
	priority     int32
}

// gateOf picks the gate out of a pod's JSON, of which the most is passed over: every pod comes by here.
func gateOf(r *api.Record) (g gate, err error) {
	for name, spec := range object.Members(r.JSON()) {
		if string(name) != "spec" {
			continue
		}
		for name, text := range object.Members(spec) {
			switch string(name) {
			case "schedulerName":
				g.mine = string(text) == `"`+Name+`"`
			case "schedulingGates":
				g.closed = string(text) != "[]" && string(text) != "null"
			case "priority":
				if err := json.Unmarshal(text, &g.priority); err != nil {
					return g, fmt.Errorf("reading the priority of pod %s: %w", r.Key(), err)
				}
			}
		}
	}
	return g, nil
}

func (s *Scheduler) enqueue(r *api.Record) {
	g, err := gateOf(r)
	if err != nil {
		slog.Error("scheduler: reading a pod", "pod", r.Key(), "err", err)
		return
	}
	if !g.mine || g.closed || r.Is(api.Deleting) || s.state.knows(r.UID()) {
		s.queue.remove(r.UID())
		return
	}
	s.queue.add(r, g.priority)
}

// attempt decides about a pod. It returns what binds it, or nil when there is nothing to bind.
func (s *Scheduler) attempt(ctx context.Context, t trial) func() {
	obj, err := client.Pods.Decode(t.rec)
	if err != nil {
		slog.Error("scheduler: reading a pod", "pod", t.rec.Key(), "err", err)
		s.queue.park(t)
		return nil
	}
	p, err := NewPod(obj)
	if err != nil {
		s.unschedulable(ctx, obj, err.Error())
		s.queue.park(t)
		return nil
	}
	d, err := s.state.decide(p, s.plugins)
	switch {
	case errors.Is(err, ErrNoNodes):
		s.unschedulable(ctx, obj, err.Error())
		s.queue.park(t)
		return nil
	case err != nil:
		slog.Error("scheduler: deciding", "pod", t.rec.Key(), "err", err)
		s.queue.retry(t)
		return nil
	case d.Node == "":
		s.unschedulable(ctx, obj, d.Message())
		s.queue.park(t)
		return nil
	}
	return func() { s.bind(ctx, t, obj, d.Node) }
}

func (s *Scheduler) bind(ctx context.Context, t trial, pod *corev1.Pod, node string) {
	_, err := s.client.Commit(ctx, client.Change{
		Verb: api.Create, Resource: api.Pods, Version: "v1", Subresource: "binding", Key: client.KeyOf(pod),
		Object: &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node},
		},
		Base: &api.Base{Record: t.rec, Object: pod},
	})
	switch {
	case err == nil:
		s.queue.remove(string(pod.UID))
		s.events.Normal(reference(pod), "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, node)
	case api.IsNotFound(err):
		s.state.forget(string(pod.UID))
		s.queue.remove(string(pod.UID))
	default:
		s.state.forget(string(pod.UID))
		if ctx.Err() == nil {
			slog.Warn("scheduler: binding failed, trying again", "pod", t.rec.Key(), "node", node, "err", err)
			s.queue.retry(t)
		}
	}
}

func reference(p *corev1.Pod) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion}
}

// unschedulable tells the user: by an event, and by the PodScheduled condition when it does not say so already.
func (s *Scheduler) unschedulable(ctx context.Context, pod *corev1.Pod, message string) {
	s.events.Warning(reference(pod), "FailedScheduling", "%s", message)
	condition := corev1.PodCondition{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message,
		LastTransitionTime: metav1.Now(),
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == condition.Type {
			if c.Status == condition.Status && c.Reason == condition.Reason && c.Message == condition.Message {
				return
			}
			if c.Status == condition.Status {
				condition.LastTransitionTime = c.LastTransitionTime
			}
		}
	}
	type status struct {
		Conditions []corev1.PodCondition `json:"conditions"`
	}
	type metadata struct {
		UID types.UID `json:"uid"`
	}
	p, err := client.MergePatch(struct {
		Metadata metadata `json:"metadata"`
		Status   status   `json:"status"`
	}{metadata{pod.UID}, status{[]corev1.PodCondition{condition}}})
	if err == nil {
		p.Type, p.Subresource = types.StrategicMergePatchType, "status"
		_, err = client.Pods.Patch(ctx, s.client, client.KeyOf(pod), p)
	}
	if err != nil && !api.IsNotFound(err) && !api.IsConflict(err) && ctx.Err() == nil {
		slog.Warn("scheduler: writing the PodScheduled condition", "pod", client.KeyOf(pod), "err", err)
	}
}
