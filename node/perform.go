package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// The pause after volumes, a sandbox or a container could not be set up: it doubles from the first to the longest.
const (
	setupRetry   = 2 * time.Second
	longestPause = 30 * time.Second
)

// perform takes the actions of one step, in order; Kills that follow each other at once. It asks for another step when
// anything was done.
func (e *entry) perform(ctx context.Context, pod *corev1.Pod, actions []Action) (w *written) {
	if e.agent.cfg.Instant {
		actions = outcomes(actions)
	}
	acted := false
	for i := 0; i < len(actions); i++ {
		a := &actions[i]
		switch a.Op {
		case Wake:
			e.later(a.At)
			continue
		case Kill:
			j := i
			for j < len(actions) && actions[j].Op == Kill {
				j++
			}
			e.kill(ctx, pod, actions[i:j])
			acted, i = true, j-1
			continue
		case Report:
			next, err := e.report(ctx, pod, a.Status)
			if err != nil {
				e.trouble(ctx, "status", err)
				return nil
			}
			if next != nil {
				w, pod, e.read = next, next.pod, nil
			}
		default:
			if err := e.act(ctx, pod, a); err != nil {
				e.trouble(ctx, a.Op.String(), err)
				return w
			}
		}
		acted = true
		if ctx.Err() != nil {
			break
		}
	}
	if acted {
		e.mu.Lock()
		e.again = true
		e.mu.Unlock()
	}
	return w
}

// outcomes drops the report, and the events that go with it, of a state that other actions of the same step will end.
// They are a step's first actions.
func outcomes(actions []Action) []Action {
	acts := func(a Action) bool { return a.Op < Tell }
	if slices.ContainsFunc(actions, acts) {
		reported := slices.IndexFunc(actions, func(a Action) bool { return a.Op == Report })
		return actions[reported+1:]
	}
	return actions
}

// trouble logs what failed for a reason the pod's owner cannot see, and asks for another step soon.
func (e *entry) trouble(ctx context.Context, what string, err error) {
	if ctx.Err() != nil && e.agent.ctx.Err() == nil {
		e.mu.Lock()
		e.again = true
		e.mu.Unlock()
		return
	}
	if e.agent.ctx.Err() == nil {
		slog.Warn("pod action failed; it is tried again", "pod", e.state.Namespace+"/"+e.state.Name, "action", what, "err", err)
	}
	e.later(time.Now().Add(apiRetry))
}

// act performs an action other than Kill, Report and Wake.
func (e *entry) act(ctx context.Context, pod *corev1.Pod, a *Action) error {
	rt := e.agent.cfg.Runtime
	switch a.Op {
	case SetUpVolumes:
		e.setUp(ctx, pod)
	case RunSandbox:
		e.runSandbox(ctx, pod, a.Attempt)
	case StopSandbox:
		return rt.Sandboxes.StopSandbox(ctx, a.ID)
	case RemoveSandbox:
		return rt.Sandboxes.RemoveSandbox(ctx, a.ID)
	case Start:
		e.startContainer(ctx, pod, a)
	case Remove:
		return rt.Containers.Remove(ctx, a.ID)
	case RemoveVolumes, RemoveFiles:
		return e.removeFiles(ctx, a.Op == RemoveFiles)
	case Tell:
		e.agent.tell(pod, a.Container, a.Type, a.Reason, a.Message)
		if a.Reason == backOff {
			e.state.Container(a.Container).Told = time.Now()
		}
	case Finish:
		return e.finish(ctx, pod)
	case Forget:
		e.forget()
	default:
		panic("node: no way to perform " + a.Op.String())
	}
	return nil
}

func (e *entry) removeFiles(ctx context.Context, all bool) error {
	if f := e.agent.cfg.Files; f != nil {
		if err := f.Remove(ctx, e.state.UID, all); err != nil {
			return err
		}
	}
	e.state.Volumes = false
	return nil
}

// pause doubles the time since the last failure of the same kind, up to longestPause.
func pause(last *Failure, now time.Time) time.Time {
	d := setupRetry
	if last != nil {
		d = min(2*last.Retry.Sub(last.At), longestPause)
	}
	return now.Add(d)
}

func (e *entry) setUp(ctx context.Context, pod *corev1.Pod) {
	if err := e.agent.cfg.Files.SetUp(ctx, pod); err != nil {
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		e.state.Setup = &Failure{Reason: "FailedMount", Message: err.Error(), At: now, Retry: pause(e.state.Setup, now)}
		for _, m := range messages(err) {
			e.agent.tell(pod, "", corev1.EventTypeWarning, "FailedMount", m)
		}
		return
	}
	e.state.Volumes, e.state.Left, e.state.Setup = true, false, nil
}

// messages are the texts of the errors that errors.Join put together.
func messages(err error) []string {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var ms []string
		for _, err := range many.Unwrap() {
			ms = append(ms, err.Error())
		}
		return ms
	}
	return []string{err.Error()}
}

func (e *entry) runSandbox(ctx context.Context, pod *corev1.Pod, attempt uint32) {
	if err := e.agent.cfg.Runtime.Sandboxes.RunSandbox(ctx, pod, attempt); err != nil {
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		e.state.Setup = &Failure{Reason: "FailedCreatePodSandBox", Message: err.Error(), At: now, Retry: pause(e.state.Setup, now)}
		e.agent.tell(pod, "", corev1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error())
		return
	}
	e.state.Setup = nil
}

// report writes the status. It returns nil, and no error, when the pod has meanwhile left the API or has changed: the
// stream will say so.
func (e *entry) report(ctx context.Context, pod *corev1.Pod, s *corev1.PodStatus) (*written, error) {
	next := *pod
	next.Status = *s
	// Writing is not interrupted by a change of the pod, only by the agent's end.
	rec, err := client.Pods.UpdateStatusOf(context.WithoutCancel(ctx), e.agent.cfg.Client, e.read, pod, &next)
	switch {
	case api.IsNotFound(err):
		e.leave()
		return nil, nil
	case api.IsConflict(err):
		return nil, e.reread(ctx)
	case err != nil:
		return nil, fmt.Errorf("writing the status of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if terminal(s.Phase) {
		e.agent.release(e)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rec != nil && rec.Revision() < e.rec.Revision() {
		return nil, nil
	}
	e.rec = rec
	after := next
	after.ResourceVersion = rec.Revision().String()
	return &written{&after, rec.Revision()}, nil
}

// leave notes that the pod is no longer in the API.
func (e *entry) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone, e.again = true, true
}

// reread fetches the pod after a conflict.
func (e *entry) reread(ctx context.Context) error {
	rec, err := e.agent.cfg.Client.Get(ctx, api.Pods, api.Key{Namespace: e.state.Namespace, Name: e.state.Name})
	if api.IsNotFound(err) || err == nil && rec.UID() != string(e.state.UID) {
		e.leave()
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading pod %s/%s again: %w", e.state.Namespace, e.state.Name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rec == nil || rec.Revision() > e.rec.Revision() {
		e.rec = rec
	}
	e.again = true
	return nil
}

// finish removes the pod from the API: what it ran has ended.
func (e *entry) finish(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	_, err := client.Pods.Delete(ctx, e.agent.cfg.Client, client.KeyOf(pod), &metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	switch {
	case api.IsNotFound(err) || api.IsConflict(err):
		e.leave() // the pod, or the pod with this UID, is gone
		return nil
	case err != nil:
		return fmt.Errorf("deleting pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	// The stream tells when it is gone: others may still have to let go, and what it tells before is not of a new pod.
	e.state.Finished = true
	return nil
}

// forget drops the entry.
func (e *entry) forget() {
	e.stopProbes()
	e.agent.release(e)
	e.agent.mu.Lock()
	delete(e.agent.pods, e.state.UID)
	e.agent.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgot = true
	if e.timer != nil {
		e.timer.Stop()
	}
}

// kill ends containers, all at the same time: preStop hook within the grace period, then SIGTERM, then SIGKILL.
func (e *entry) kill(ctx context.Context, pod *corev1.Pod, kills []Action) {
	e.mu.Lock()
	e.grace = kills[0].Grace
	e.mu.Unlock()
	var all sync.WaitGroup
	for i := range kills {
		k := &kills[i]
		if pod != nil {
			e.agent.tell(pod, k.Container, corev1.EventTypeNormal, "Killing", k.Message)
		}
		all.Go(func() {
			grace := k.Grace
			if spec := containerSpec(pod, k.Container); spec != nil && grace > 0 {
				grace = e.preStop(ctx, pod, spec, k)
			}
			if err := e.agent.cfg.Runtime.Containers.Stop(ctx, k.ID, max(grace, minimumGrace)); err != nil && ctx.Err() == nil {
				slog.Warn("container not stopped; it is tried again", "pod", e.state.Namespace+"/"+e.state.Name, "container", k.Container, "err", err)
				if pod != nil {
					e.agent.tell(pod, k.Container, corev1.EventTypeWarning, "FailedKillPod", "error killing pod: failed to \"KillContainer\" for \""+
						k.Container+"\" with KillContainerError: \""+err.Error()+"\"")
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	all.Wait()
}

// containerSpec finds a container or init container of a pod.
func containerSpec(pod *corev1.Pod, name string) *corev1.Container {
	if pod == nil {
		return nil
	}
	for _, cs := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range cs {
			if cs[i].Name == name {
				return &cs[i]
			}
		}
	}
	return nil
}
