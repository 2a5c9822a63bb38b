package node

import (
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// keepDead is how many ended instances of a container stay beside the newest, for "kubectl logs --previous".
const keepDead = 1

// Step decides what to do now to bring the pod from what there is to what is wanted. A nil want stands for a pod that
// has left the API. The actions are to be taken in order, Kills that follow each other at once; then Step is asked
// again with the new state, until it returns nothing but Wake.
func Step(want *corev1.Pod, have PodState, now time.Time) []Action {
	p := plan{want: want, have: &have, now: now}
	if want == nil {
		p.vanish()
		return p.actions
	}
	status := Status(want, have, now)
	p.status = status
	p.report()
	switch {
	case want.DeletionTimestamp != nil:
		if p.end(deletionGrace(want)) && len(p.actions) == 0 && !have.Finished {
			p.do(Action{Op: Finish})
		}
	case terminal(status.Phase) || doom(want, &have, now) != nil:
		p.condemn()
	default:
		p.at(deadline(want))
		p.run()
		if len(p.actions) == 0 {
			p.remind()
		}
	}
	p.wake()
	return p.actions
}

// plan collects the actions of one Step.
type plan struct {
	want    *corev1.Pod
	have    *PodState
	status  *corev1.PodStatus
	now     time.Time
	actions []Action
	again   time.Time // the earliest time at which time alone changes the plan
}

func (p *plan) do(a Action) { p.actions = append(p.actions, a) }

// at asks for another Step at t.
func (p *plan) at(t time.Time) {
	if t.After(p.now) && (p.again.IsZero() || t.Before(p.again)) {
		p.again = t
	}
}

func (p *plan) wake() {
	if !p.again.IsZero() {
		p.do(Action{Op: Wake, At: p.again})
	}
}

// report writes the status when it differs from the API's, and tells what has just become true.
func (p *plan) report() {
	if sameStatus(&p.want.Status, p.status) {
		return
	}
	for _, e := range transitions(p.want, p.status) {
		p.do(e)
	}
	p.do(Action{Op: Report, Status: p.status})
}

// sameStatus compares as the API does: quantities by value, times by instant. Most statuses that are the same are also
// deeply equal, which is seen at a tenth of the cost.
func sameStatus(a, b *corev1.PodStatus) bool {
	return reflect.DeepEqual(a, b) || equality.Semantic.DeepEqual(a, b)
}

// vanish ends and removes everything of a pod that is not in the API.
func (p *plan) vanish() {
	grace := p.have.Grace
	if grace == 0 {
		grace = corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	if !p.end(grace) {
		return
	}
	for i := range p.have.Containers {
		for _, in := range p.have.Containers[i].Instances {
			p.do(Action{Op: Remove, ID: in.ID})
		}
	}
	for _, id := range p.have.Stale {
		p.do(Action{Op: RemoveSandbox, ID: id})
	}
	if p.have.Sandbox != nil {
		p.do(Action{Op: RemoveSandbox, ID: p.have.Sandbox.ID})
	}
	p.do(Action{Op: RemoveFiles})
	p.do(Action{Op: Forget})
}

// end stops the pod's containers, then its sandbox, then removes its volumes, one stage a Step. It reports whether all
// of it has happened.
func (p *plan) end(grace time.Duration) bool {
	switch {
	case p.have.running():
		p.killAll(grace)
	case p.have.Sandbox != nil && p.have.Sandbox.Ready:
		p.do(Action{Op: StopSandbox, ID: p.have.Sandbox.ID})
	case p.have.Volumes:
		p.do(Action{Op: RemoveVolumes})
	default:
		return true
	}
	return false
}

// condemn ends a pod that nobody has deleted, because its time is over, it has to leave, or nothing of it will run again.
func (p *plan) condemn() {
	if p.have.running() && late(p.want, p.now) {
		p.do(tardy) // before its containers are told to end; with nothing that runs, its report says so
	}
	grace := specGrace(p.want)
	if p.have.Evicted != nil {
		grace = min(grace, evictionGrace)
	}
	if p.end(grace) {
		p.clean()
	}
}

func (p *plan) killAll(grace time.Duration) {
	for i := range p.have.Containers {
		c := &p.have.Containers[i]
		for _, in := range c.Instances {
			if live(in.Phase) {
				p.do(Action{Op: Kill, Container: c.Name, ID: in.ID, Grace: grace, Message: "Stopping container " + c.Name})
			}
		}
	}
}

// run brings up volumes, sandbox, init containers and containers, in this order.
func (p *plan) run() {
	if !p.have.Volumes || p.have.Left {
		if !p.waits(p.have.Setup) {
			p.do(Action{Op: SetUpVolumes})
		}
		return
	}
	if s := p.have.Sandbox; s == nil || !s.Ready {
		p.sandbox()
		return
	}
	p.clean()
	if !p.init() {
		return
	}
	for i := range p.want.Spec.Containers {
		p.container(&p.want.Spec.Containers[i])
	}
}

// resync is how often it is told again that a container is held back: as often as upstream's kubelet looks at it.
const resync = time.Minute

// remind tells again of containers that have been held back for long.
func (p *plan) remind() {
	for i := range p.have.Containers {
		c := &p.have.Containers[i]
		if c.Told.IsZero() {
			continue
		}
		s := ofEither(p.status, c.Name)
		if s == nil {
			continue
		}
		events, again := heldBack(p.want, s), c.Told.Add(resync)
		if len(events) == 0 {
			continue
		}
		if again.After(p.now) {
			p.at(again)
			continue
		}
		for _, e := range events {
			p.do(e)
		}
	}
}

// waits reports whether a failure forbids trying now.
func (p *plan) waits(f *Failure) bool {
	if f == nil {
		return false
	}
	if f.Later != nil {
		p.at(f.Later.At)
	}
	if f.Retry.IsZero() {
		return true
	}
	p.at(f.Retry)
	return f.Retry.After(p.now)
}

// sandbox makes a sandbox for a pod that has none that is ready.
func (p *plan) sandbox() {
	s := p.have.Sandbox
	if s == nil {
		if !p.waits(p.have.Setup) {
			p.do(Action{Op: RunSandbox})
		}
		return
	}
	if p.have.running() {
		p.killAll(specGrace(p.want))
		return
	}
	if !p.anyRestarts() {
		return
	}
	if p.waits(p.have.Setup) {
		return
	}
	p.do(Action{Op: Tell, Type: corev1.EventTypeNormal, Reason: "SandboxChanged",
		Message: "Pod sandbox changed, it will be killed and re-created."})
	p.do(Action{Op: StopSandbox, ID: s.ID})
	p.do(Action{Op: RunSandbox, Attempt: s.Attempt + 1})
}

// anyRestarts reports whether a container is still to run in a new sandbox.
func (p *plan) anyRestarts() bool {
	for i := range p.want.Spec.Containers {
		c := p.have.container(p.want.Spec.Containers[i].Name)
		if c == nil || c.Newest() == nil || restarts(p.want, c.Newest()) {
			return true
		}
	}
	return false
}

// clean removes older sandboxes and all but the newest of the ended instances.
func (p *plan) clean() {
	for _, id := range p.have.Stale {
		p.do(Action{Op: RemoveSandbox, ID: id})
	}
	for i := range p.have.Containers {
		in := p.have.Containers[i].Instances
		for j := 1 + keepDead; j < len(in); j++ {
			if !live(in[j].Phase) {
				p.do(Action{Op: Remove, ID: in[j].ID})
			}
		}
	}
}

// current is the newest instance of a container if it belongs to the present sandbox.
func (p *plan) current(c *Container) *Instance {
	if c == nil {
		return nil
	}
	in := c.Newest()
	if in == nil || in.Created.Before(p.have.Sandbox.Created) {
		return nil
	}
	return in
}

// init starts the next init container and reports whether all have succeeded.
func (p *plan) init() bool {
	if p.begun() {
		return true
	}
	for i := range p.want.Spec.InitContainers {
		spec := &p.want.Spec.InitContainers[i]
		in := p.current(p.have.container(spec.Name))
		switch {
		case in == nil:
			p.start(spec)
		case in.Phase == Running:
		case in.Phase == Unknown:
			p.kill(spec, in, specGrace(p.want), "Init container "+spec.Name+" is in unknown state, try killing it before restart")
		case in.Phase == Exited && in.ExitCode == 0:
			continue
		case p.want.Spec.RestartPolicy != corev1.RestartPolicyNever:
			p.start(spec)
		}
		return false
	}
	return true
}

// begun reports whether a container of the pod has been made in the present sandbox: the init containers were done.
func (p *plan) begun() bool {
	for i := range p.want.Spec.Containers {
		if p.current(p.have.container(p.want.Spec.Containers[i].Name)) != nil {
			return true
		}
	}
	return false
}

// container starts, restarts or kills one of the pod's containers.
func (p *plan) container(spec *corev1.Container) {
	c := p.have.container(spec.Name)
	if c == nil || c.Newest() == nil {
		if s := statusOf(p.want.Status.ContainerStatuses, spec.Name); s == nil || !lost(s) || restartsLost(p.want, s) {
			p.start(spec)
		}
		return
	}
	in := c.Newest()
	if in.Phase != Running {
		switch {
		case in.Phase == Unknown:
			p.kill(spec, in, specGrace(p.want), "Container "+spec.Name+" is in unknown state, try killing it before restart")
		case restarts(p.want, in):
			p.start(spec)
		}
		return
	}
	after := ""
	if p.want.Spec.RestartPolicy != corev1.RestartPolicyNever {
		after = ", will be restarted"
	}
	switch {
	case in.Hash != "" && in.Hash != Hash(spec):
		p.kill(spec, in, specGrace(p.want), "Container "+spec.Name+" definition changed, will be restarted")
	case c.Probed.ID != in.ID:
	case c.Probed.Liveness == Failing:
		p.kill(spec, in, probeGrace(p.want, spec.LivenessProbe), "Container "+spec.Name+" failed liveness probe"+after)
	case c.Probed.Startup == Failing:
		p.kill(spec, in, probeGrace(p.want, spec.StartupProbe), "Container "+spec.Name+" failed startup probe"+after)
	}
}

func (p *plan) kill(spec *corev1.Container, in *Instance, grace time.Duration, why string) {
	p.do(Action{Op: Kill, Container: spec.Name, ID: in.ID, Grace: grace, Message: why})
}

// start starts a container unless a failure or the restart back-off forbids it now.
func (p *plan) start(spec *corev1.Container) {
	attempt := uint32(0)
	if c := p.have.container(spec.Name); c != nil {
		if p.waits(c.Failure) {
			return
		}
		if in := c.Newest(); in != nil {
			attempt = in.Attempt + 1
			ended := in.Finished
			if ended.IsZero() { // it has never run
				ended = in.Created
			}
			if until := c.Backoff.until(ended); until.After(p.now) {
				p.at(until)
				return
			}
		}
	}
	if attempt == 0 {
		attempt = lostAttempt(p.want, spec.Name)
	}
	p.do(Action{Op: Start, Container: spec.Name, Attempt: attempt})
}

// restarts reports whether an ended instance is to be followed by another.
func restarts(pod *corev1.Pod, in *Instance) bool {
	if in.Phase == Running || in.Phase == Created {
		return true
	}
	switch pod.Spec.RestartPolicy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return in.Failed()
	}
	return true
}

// lost reports whether the API says of a container, of which the runtime holds nothing, that it has been started.
func lost(s *corev1.ContainerStatus) bool {
	return s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
}

func restartsLost(pod *corev1.Pod, s *corev1.ContainerStatus) bool {
	switch pod.Spec.RestartPolicy {
	case corev1.RestartPolicyAlways:
		return true
	case corev1.RestartPolicyOnFailure:
		return s.State.Terminated == nil || s.State.Terminated.ExitCode != 0
	}
	return s.State.Terminated == nil && s.State.Running == nil
}

// lostAttempt is the restart count of a container that the API knows and the runtime does not.
func lostAttempt(pod *corev1.Pod, name string) uint32 {
	for _, ss := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		if s := statusOf(ss, name); s != nil && lost(s) {
			return uint32(s.RestartCount) + 1
		}
	}
	return 0
}

func statusOf(ss []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range ss {
		if ss[i].Name == name {
			return &ss[i]
		}
	}
	return nil
}

func terminal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

func specGrace(pod *corev1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// probeGrace is what a container gets that fails a probe.
func probeGrace(pod *corev1.Pod, probe *corev1.Probe) time.Duration {
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		return time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	return specGrace(pod)
}

func deletionGrace(pod *corev1.Pod) time.Duration {
	if s := pod.DeletionGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return specGrace(pod)
}
