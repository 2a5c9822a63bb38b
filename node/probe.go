package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Prober runs the handlers of probes and hooks.
type Prober interface {
	// Probe runs a probe's handler once. err means that it could not be run, which counts as a failure of liveness
	// but says so differently.
	Probe(ctx context.Context, t Target, h *corev1.ProbeHandler) (ok bool, output string, err error)
	// Hook runs a lifecycle hook to its end.
	Hook(ctx context.Context, t Target, h *corev1.LifecycleHandler) error
}

// Target is the container a probe or hook is aimed at.
type Target struct {
	Pod     *corev1.Pod
	Spec    *corev1.Container
	ID      string
	IP      string        // of the pod
	Timeout time.Duration // of one try
}

// probing is the probes of one running instance.
type probing struct {
	id     string
	ending bool // of a pod that is being deleted: only readiness is looked at
	cancel context.CancelFunc
}

// reprobe starts the probes of containers that have begun to run, and ends those of others.
func (e *entry) reprobe(pod *corev1.Pod) {
	if pod == nil || terminal(pod.Status.Phase) {
		e.stopProbes()
		return
	}
	for i := range pod.Spec.Containers {
		spec := &pod.Spec.Containers[i]
		c := e.state.container(spec.Name)
		if c == nil {
			continue
		}
		in := c.Newest()
		p := e.probes[spec.Name]
		runs := in != nil && in.Phase == Running
		if p != nil && (!runs || p.id != in.ID || p.ending != (pod.DeletionTimestamp != nil)) {
			p.cancel()
			delete(e.probes, spec.Name)
			p = nil
		}
		if !runs || p != nil || c.Probed.ID == in.ID && e.agent.cfg.Probe == nil {
			continue
		}
		if c.Probed.ID != in.ID {
			c.Probed = Probed{ID: in.ID}
		}
		if e.agent.cfg.Probe == nil {
			c.Probed = Probed{in.ID, Success, Success, Success}
			continue
		}
		e.probe(pod, spec, in, c.Probed.Startup)
	}
}

func (e *entry) stopProbes() {
	for name, p := range e.probes {
		p.cancel()
		delete(e.probes, name)
	}
}

// probe runs the probes of one instance until it ends: the startup probe first, then the others side by side. While the
// pod is being deleted nobody restarts a container, and only the readiness of one that has started up counts.
func (e *entry) probe(pod *corev1.Pod, spec *corev1.Container, in *Instance, begun Outcome) {
	if spec.LivenessProbe == nil && spec.ReadinessProbe == nil && spec.StartupProbe == nil {
		return
	}
	ctx, cancel := context.WithCancel(e.agent.ctx)
	if e.probes == nil {
		e.probes = map[string]*probing{}
	}
	ending := pod.DeletionTimestamp != nil
	e.probes[spec.Name] = &probing{in.ID, ending, cancel}
	startup, liveness := spec.StartupProbe, spec.LivenessProbe
	if ending {
		if startup != nil && begun != Success {
			return
		}
		startup, liveness = nil, nil
	}
	t := Target{Pod: pod, Spec: spec, ID: in.ID}
	if s := e.state.Sandbox; s != nil && len(s.IPs) > 0 {
		t.IP = s.IPs[0]
	}
	if pod.Spec.HostNetwork && len(e.state.Host.IPs) > 0 {
		t.IP = e.state.Host.IPs[0]
	}
	started := in.Started
	set := func(f func(*Probed)) {
		e.poke(func(s *PodState) {
			if c := s.container(spec.Name); c != nil && c.Probed.ID == t.ID {
				f(&c.Probed)
			}
		})
	}
	e.agent.work.Go(func() {
		if p := startup; p != nil {
			ok := e.rounds(ctx, t, p, "Startup", started, func(o Outcome) bool {
				set(func(r *Probed) { r.Startup = o })
				return true
			})
			if !ok {
				return
			}
		}
		if p := liveness; p != nil {
			e.agent.work.Go(func() {
				e.rounds(ctx, t, p, "Liveness", started, func(o Outcome) bool {
					set(func(r *Probed) { r.Liveness = o })
					return o == Failing
				})
			})
		}
		if p := spec.ReadinessProbe; p != nil {
			e.rounds(ctx, t, p, "Readiness", started, func(o Outcome) bool {
				set(func(r *Probed) { r.Readiness = o })
				return false
			})
		}
	})
}

// rounds probes at the probe's period until ctx ends or change, which hears of each change of the outcome, says that
// it is over. It reports whether the last outcome was a success.
func (e *entry) rounds(ctx context.Context, t Target, p *corev1.Probe, kind string, started time.Time, change func(Outcome) bool) bool {
	t.Timeout = max(time.Duration(p.TimeoutSeconds)*time.Second, time.Second)
	period := max(time.Duration(p.PeriodSeconds)*time.Second, time.Second)
	wait := time.Until(started.Add(time.Duration(p.InitialDelaySeconds) * time.Second))
	m := tally{success: max(p.SuccessThreshold, 1), failure: max(p.FailureThreshold, 1)}
	for {
		if wait > 0 {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(wait):
			}
		}
		begun := time.Now()
		ok, output, err := e.agent.cfg.Probe.Probe(ctx, t, &p.ProbeHandler)
		if ctx.Err() != nil {
			return false
		}
		switch {
		case err != nil:
			e.agent.tell(t.Pod, t.Spec.Name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in unknown state: %v", kind, err))
		case !ok:
			e.agent.tell(t.Pod, t.Spec.Name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", kind, output))
		}
		if err == nil {
			if o, changed := m.add(ok); changed && change(o) {
				return o == Success
			}
		}
		wait = period - time.Since(begun)
	}
}

// tally applies a probe's thresholds.
type tally struct {
	success, failure int32
	last             bool
	run              int32
	outcome          Outcome
}

// add counts one result and returns the standing outcome and whether it has just changed.
func (m *tally) add(ok bool) (Outcome, bool) {
	if m.run == 0 || m.last != ok {
		m.last, m.run = ok, 0
	}
	m.run++
	next := m.outcome
	switch {
	case ok && m.run >= m.success:
		next = Success
	case !ok && m.run >= m.failure:
		next = Failing
	}
	changed := next != m.outcome
	m.outcome = next
	return next, changed
}

// postStart runs a container's postStart hook; a container whose hook fails is killed.
func (e *entry) postStart(ctx context.Context, pod *corev1.Pod, spec *corev1.Container, id string) error {
	if e.agent.cfg.Probe == nil || spec.Lifecycle == nil || spec.Lifecycle.PostStart == nil {
		return nil
	}
	if err := e.observe(ctx, pod); err != nil {
		return err
	}
	err := e.agent.cfg.Probe.Hook(ctx, e.target(pod, spec, id), spec.Lifecycle.PostStart)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	e.agent.tell(pod, spec.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
	e.agent.tell(pod, spec.Name, corev1.EventTypeNormal, "Killing", "FailedPostStartHook")
	if kerr := e.agent.cfg.Runtime.Containers.Stop(ctx, id, specGrace(pod)); kerr != nil {
		return fmt.Errorf("stopping container %s after its postStart hook failed (%w): %w", spec.Name, err, kerr)
	}
	return &refusal{reason: "PostStartHookError", err: err, told: true}
}

func (e *entry) target(pod *corev1.Pod, spec *corev1.Container, id string) Target {
	t := Target{Pod: pod, Spec: spec, ID: id}
	switch s := e.state.Sandbox; {
	case pod.Spec.HostNetwork && len(e.state.Host.IPs) > 0:
		t.IP = e.state.Host.IPs[0]
	case s != nil && len(s.IPs) > 0:
		t.IP = s.IPs[0]
	}
	return t
}

// minimumGrace is what a container gets after SIGTERM however short its grace period is, or what its preStop hook has left
// of it.
const minimumGrace = 2 * time.Second

// preStop runs a container's preStop hook within the grace period and returns what is left of it.
func (e *entry) preStop(ctx context.Context, pod *corev1.Pod, spec *corev1.Container, k *Action) time.Duration {
	if e.agent.cfg.Probe == nil || spec.Lifecycle == nil || spec.Lifecycle.PreStop == nil {
		return k.Grace
	}
	begun := time.Now()
	within, cancel := context.WithTimeout(ctx, k.Grace)
	defer cancel()
	if err := e.agent.cfg.Probe.Hook(within, e.target(pod, spec, k.ID), spec.Lifecycle.PreStop); err != nil && ctx.Err() == nil {
		e.agent.tell(pod, spec.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
	}
	return k.Grace - time.Since(begun)
}
