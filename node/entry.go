package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// apiRetry is the pause before a write the API refused or did not answer is tried again.
const apiRetry = 2 * time.Second

// entry is one pod of the node. At most one goroutine works on it at a time, and none while there is nothing to do: an
// idle pod costs its record, which the store holds anyway, and its state.
type entry struct {
	agent *Agent

	mu     sync.Mutex
	rec    *api.Record // the newest seen; nil before the first and after the last
	gone   bool        // the pod has left the API
	inbox  []func(*PodState)
	busy   bool
	again  bool
	timer  *time.Timer
	cancel context.CancelFunc // of the work under way
	grace  time.Duration      // the pod is being killed with this grace; -1 when it is not

	// Of the working goroutine, or read under mu when none works.
	state  PodState
	read   *api.Record // that the pod of this step was decoded from; nil when it is what an own write made of it
	probes map[string]*probing
	asked  *usage // what the pod counts for on the node; nil before it is admitted
	forgot bool
}

func (a *Agent) newEntry(s PodState) *entry { return &entry{agent: a, state: s, grace: -1} }

// seen takes the pod's newest record; nil when it has left the API.
func (e *entry) seen(rec *api.Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case rec == nil:
		if e.gone {
			return
		}
		e.gone = true
	case e.rec != nil && rec.Revision() <= e.rec.Revision():
		return // the echo of an own write
	default:
		e.rec = rec
	}
	if e.busy && e.cancel != nil && (e.gone || rec.Is(api.Deleting)) {
		e.hurry()
	}
	e.wake()
}

// hurry interrupts work that a deletion makes pointless: pulls, starts, and kills that give more time than is left.
func (e *entry) hurry() {
	if e.grace >= 0 {
		if e.gone {
			return
		}
		pod, err := client.Pods.Decode(e.rec)
		if err != nil || deletionGrace(pod) >= e.grace {
			return
		}
	}
	e.cancel()
}

// poke changes the state before the next step and asks for one.
func (e *entry) poke(f func(*PodState)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inbox = append(e.inbox, f)
	if e.rec != nil || e.gone {
		e.wake()
	}
}

// wake sees to it that a goroutine steps. The caller holds mu.
func (e *entry) wake() {
	e.again = true
	if e.busy || e.forgot || e.agent.ctx.Err() != nil {
		return
	}
	e.busy = true
	e.agent.work.Add(1)
	go e.work()
}

// pod decodes the newest record; nil when the pod has left the API.
func (e *entry) pod() (*corev1.Pod, error) {
	e.mu.Lock()
	rec, gone := e.rec, e.gone
	e.mu.Unlock()
	if rec == nil || gone {
		return nil, nil
	}
	return client.Pods.Decode(rec)
}

func (e *entry) hasVolumes() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.busy && e.state.Volumes && e.state.Sandbox != nil && e.state.Sandbox.Ready
}

// work steps until there is nothing to do now.
func (e *entry) work() {
	defer e.agent.work.Done()
	var pod *corev1.Pod
	var at api.Revision // that pod was decoded from
	for {
		e.mu.Lock()
		if !e.again || e.forgot || e.agent.ctx.Err() != nil {
			e.busy, e.cancel = false, nil
			e.mu.Unlock()
			return
		}
		e.again = false
		inbox, rec, gone := e.inbox, e.rec, e.gone
		e.inbox = nil
		ctx, cancel := context.WithCancel(e.agent.ctx)
		e.cancel, e.grace = cancel, -1
		e.mu.Unlock()
		for _, f := range inbox {
			f(&e.state)
		}
		switch {
		case gone:
			pod = nil
		case rec.Revision() != at:
			var err error
			if pod, err = client.Pods.Taken(e.agent.cfg.Client, rec); err != nil {
				slog.Error("pod cannot be read; it is left as it is", "pod", rec.Key(), "err", err)
				cancel()
				continue
			}
			at, e.read = rec.Revision(), rec
		}
		next := e.step(ctx, pod)
		cancel()
		if next != nil {
			pod, at, e.read = next.pod, next.revision, nil
		}
	}
}

// written is a pod after its status was written, so that the next step need not decode it.
type written struct {
	pod      *corev1.Pod
	revision api.Revision
}

// step takes one Step and performs it.
func (e *entry) step(ctx context.Context, pod *corev1.Pod) *written {
	if err := e.observe(ctx, pod); err != nil {
		if ctx.Err() == nil {
			e.later(time.Now().Add(apiRetry))
		}
		return nil
	}
	if pod != nil {
		e.state.Namespace, e.state.Name, e.state.Grace = pod.Namespace, pod.Name, specGrace(pod)
		e.state.Host = e.agent.host()
		if err := e.admit(ctx, pod); err != nil {
			e.trouble(ctx, "admission", err)
			return nil
		}
	}
	e.reprobe(pod)
	return e.perform(ctx, pod, Step(pod, e.state, time.Now()))
}

// later asks for a step at t.
func (e *entry) later(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := max(time.Until(t), time.Millisecond)
	if e.timer == nil {
		e.timer = time.AfterFunc(d, func() { e.poke(func(*PodState) {}) })
		return
	}
	e.timer.Reset(d)
}

// observe brings the runtime's part of the state up to date.
func (e *entry) observe(ctx context.Context, pod *corev1.Pod) error {
	held, err := e.agent.cfg.Runtime.Sandboxes.Observe(ctx, e.state.UID)
	if err != nil {
		return fmt.Errorf("observing pod %s/%s: %w", e.state.Namespace, e.state.Name, err)
	}
	s := &e.state
	if len(held) == 0 {
		s.Sandbox, s.Stale = nil, nil
		for i := range s.Containers {
			s.Containers[i].Instances = nil
		}
		return nil
	}
	h := &held[0]
	s.Sandbox, s.Stale = h.Sandbox, h.Stale
	for i := range s.Containers {
		s.Containers[i].Instances = nil
	}
	for i := range h.Containers {
		c := s.Container(h.Containers[i].Name)
		c.Instances = h.Containers[i].Instances
		e.messages(containerSpec(pod, c.Name), c)
	}
	return nil
}

// messages adds what ended containers left in their termination message files.
func (e *entry) messages(spec *corev1.Container, c *Container) {
	if e.agent.cfg.Files == nil {
		return
	}
	for i := range c.Instances {
		if in := &c.Instances[i]; in.Phase == Exited && in.Message == "" {
			in.Message = e.agent.cfg.Files.Message(&e.state, spec, in)
		}
	}
}

// fingerprint changes whenever something does that the agent must react to.
func (s *PodState) fingerprint() string {
	var b strings.Builder
	if s.Sandbox != nil {
		fmt.Fprint(&b, s.Sandbox.ID, s.Sandbox.Ready)
	}
	parts := make([]string, 0, len(s.Containers))
	for i := range s.Containers {
		for _, in := range s.Containers[i].Instances {
			parts = append(parts, fmt.Sprint(in.ID, in.Phase))
		}
	}
	slices.Sort(parts)
	b.WriteString(strings.Join(parts, " "))
	return b.String()
}
