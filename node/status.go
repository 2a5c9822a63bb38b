package node

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Status is what the API is to say of a pod, after upstream's rules for phase, conditions and container states. It
// starts from the status the API has: what others own in it (conditions of other types, nominatedNodeName) stays.
// It shares memory with the pod, which nobody changes.
func Status(pod *corev1.Pod, have PodState, now time.Time) *corev1.PodStatus {
	old := &pod.Status
	s := new(corev1.PodStatus)
	*s = *old
	s.ObservedGeneration = pod.Generation
	if s.StartTime == nil {
		t := second(now)
		s.StartTime = &t
	}
	if s.QOSClass == "" {
		s.QOSClass = QOS(pod)
	}
	if terminal(old.Phase) && (have.Rejected != nil || !have.any()) {
		return s // what ended stays as it was reported
	}
	if have.Rejected != nil {
		s.Phase, s.Reason, s.Message = corev1.PodFailed, have.Rejected.Reason, "Pod was rejected: "+have.Rejected.Message
		return s
	}
	b := reporter{pod: pod, have: &have, now: now}
	s.InitContainerStatuses = b.containers(pod.Spec.InitContainers, old.InitContainerStatuses, true)
	s.ContainerStatuses = b.containers(pod.Spec.Containers, old.ContainerStatuses, false)
	addresses(pod, &have, s)
	if !terminal(old.Phase) {
		s.Phase = phase(pod, s, pod.DeletionTimestamp != nil && !have.running())
		// A pod has failed when nothing of it runs any more: others take its place and its share of the node then.
		if f := doom(pod, &have, now); f != nil && !have.running() {
			s.Phase, s.Reason, s.Message = corev1.PodFailed, f.Reason, f.Message
		}
	}
	s.Conditions = conditions(pod, &have, s, now)
	if have.Evicted != nil && condition(s.Conditions, corev1.DisruptionTarget) == nil {
		s.Conditions = append(s.Conditions, disrupted(pod, have.Evicted))
	}
	return s
}

func second(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// deadline is when activeDeadlineSeconds ends the pod; zero when it has none or has not started.
func deadline(pod *corev1.Pod) time.Time {
	if pod.Spec.ActiveDeadlineSeconds == nil || pod.Status.StartTime == nil {
		return time.Time{}
	}
	return pod.Status.StartTime.Add(time.Duration(*pod.Spec.ActiveDeadlineSeconds) * time.Second)
}

// late reports whether activeDeadlineSeconds are over.
func late(pod *corev1.Pod, now time.Time) bool {
	at := deadline(pod)
	return !at.IsZero() && !now.Before(at)
}

// tardy is the event about a pod whose time is over.
var tardy = Action{Op: Tell, Type: corev1.EventTypeNormal, Reason: "DeadlineExceeded",
	Message: "Pod was active on the node longer than the specified deadline"}

// doom is why a pod has to end that nobody has deleted; nil for none.
func doom(pod *corev1.Pod, have *PodState, now time.Time) *Failure {
	if late(pod, now) {
		return &Failure{Reason: tardy.Reason, Message: tardy.Message}
	}
	return have.Evicted
}

func addresses(pod *corev1.Pod, have *PodState, s *corev1.PodStatus) {
	if len(have.Host.IPs) > 0 {
		s.HostIP = have.Host.IPs[0]
		s.HostIPs = make([]corev1.HostIP, len(have.Host.IPs))
		for i, ip := range have.Host.IPs {
			s.HostIPs[i].IP = ip
		}
	}
	var ips []string
	switch {
	case have.Sandbox == nil || !have.Sandbox.Ready:
	case pod.Spec.HostNetwork:
		ips = have.Host.IPs
	default:
		ips = have.Sandbox.IPs
	}
	if len(ips) == 0 {
		return // what the API has stays: an ended pod shows the address it had
	}
	s.PodIP = ips[0]
	s.PodIPs = make([]corev1.PodIP, len(ips))
	for i, ip := range ips {
		s.PodIPs[i].IP = ip
	}
}

// reporter makes the container statuses of one pod.
type reporter struct {
	pod  *corev1.Pod
	have *PodState
	now  time.Time
}

func (b *reporter) containers(specs []corev1.Container, old []corev1.ContainerStatus, init bool) []corev1.ContainerStatus {
	if len(specs) == 0 {
		return nil
	}
	ss := make([]corev1.ContainerStatus, len(specs))
	for i := range specs {
		ss[i] = b.container(&specs[i], statusOf(old, specs[i].Name), init)
	}
	if init {
		return ss
	}
	slices.SortStableFunc(ss, func(a, c corev1.ContainerStatus) int { return strings.Compare(a.Name, c.Name) })
	return ss
}

func (b *reporter) container(spec *corev1.Container, old *corev1.ContainerStatus, init bool) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, Started: new(bool)}
	mounts(spec, &s)
	c := b.have.container(spec.Name)
	if c == nil || c.Newest() == nil {
		b.absent(&s, c, old, init)
		return s
	}
	in := c.Newest()
	s.Image, s.ImageID, s.ContainerID, s.RestartCount = in.Image, in.ImageID, in.ID, int32(in.Attempt)
	if len(c.Instances) > 1 {
		s.LastTerminationState = ended(&c.Instances[1])
	} else if old != nil && old.ContainerID == in.ID {
		s.LastTerminationState = old.LastTerminationState
	} else if old != nil && old.State.Terminated != nil {
		s.LastTerminationState = old.State
	}
	switch in.Phase {
	case Running:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: second(in.Started)}
		b.probed(&s, spec, c, old)
		s.Ready = s.Ready && !init // an init container is ready when it has succeeded
		if len(spec.Resources.Requests)+len(spec.Resources.Limits) > 0 {
			s.AllocatedResources, s.Resources = spec.Resources.Requests, &spec.Resources
		}
	case Created:
		s.State.Waiting = b.waiting()
	default:
		s.State = ended(in)
		s.Ready = init && in.Phase == Exited && in.ExitCode == 0
	}
	if b.comesBack(in, init) {
		b.backsOff(&s, c, in, old)
	}
	return s
}

// mounts lists the volume mounts as the status has them since recursive read-only mounts.
func mounts(spec *corev1.Container, s *corev1.ContainerStatus) {
	if len(spec.VolumeMounts) == 0 {
		return
	}
	s.VolumeMounts = make([]corev1.VolumeMountStatus, len(spec.VolumeMounts))
	for i, m := range spec.VolumeMounts {
		s.VolumeMounts[i] = corev1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := corev1.RecursiveReadOnlyDisabled
			s.VolumeMounts[i].RecursiveReadOnly = &mode
		}
	}
}

// absent is the status of a container the runtime holds nothing of.
func (b *reporter) absent(s *corev1.ContainerStatus, c *Container, old *corev1.ContainerStatus, init bool) {
	s.State.Waiting = b.waiting()
	if old != nil {
		s.RestartCount = old.RestartCount
		s.LastTerminationState = old.LastTerminationState
		switch {
		case old.State.Terminated != nil && !restartsLost(b.pod, old), init && old.State.Terminated != nil:
			s.State, s.Ready = old.State, old.Ready
			s.Image, s.ImageID, s.ContainerID = old.Image, old.ImageID, old.ContainerID
			return
		case old.State.Terminated != nil:
			s.LastTerminationState = old.State
		case old.State.Running != nil:
			gone := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				Reason: "ContainerStatusUnknown", ExitCode: 137, ContainerID: old.ContainerID,
				Message: "The container could not be located when the pod was deleted.  The container used to be Running",
			}}
			s.LastTerminationState = gone
			if !restartsLost(b.pod, old) || b.pod.DeletionTimestamp != nil {
				gone.Terminated.Message = "The container could not be located when the pod was terminated"
				s.State, s.LastTerminationState = gone, old.LastTerminationState
				return
			}
		}
	}
	if c != nil && c.Failure != nil {
		f := c.Failure.current(b.now)
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: f.Reason, Message: f.Message}
	}
}

// waiting is the state of a container that has not been started and met no failure. In a pod with init containers it says
// so to the end, also when they are done.
func (b *reporter) waiting() *corev1.ContainerStateWaiting {
	if len(b.pod.Spec.InitContainers) > 0 {
		return &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
	}
	return &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
}

// probed sets started and ready of a running container.
func (b *reporter) probed(s *corev1.ContainerStatus, spec *corev1.Container, c *Container, old *corev1.ContainerStatus) {
	var r Probed
	if c.Probed.ID == s.ContainerID {
		r = c.Probed
	}
	adopted := b.have.Adopted && old != nil && old.ContainerID == s.ContainerID
	started := spec.StartupProbe == nil || r.Startup == Success
	if r.Startup == Unprobed && adopted && old.Started != nil {
		started = started || *old.Started
	}
	s.Started = &started
	ready := spec.ReadinessProbe == nil || r.Readiness == Success
	if r.Readiness == Unprobed && adopted {
		ready = ready || old.Ready
	}
	s.Ready = started && ready && c.Failure == nil
}

// comesBack reports whether a container that does not run will be started again.
func (b *reporter) comesBack(in *Instance, init bool) bool {
	switch {
	case in.Phase == Running || b.pod.DeletionTimestamp != nil || terminal(b.pod.Status.Phase):
		return false
	case init:
		return (in.Phase != Exited || in.ExitCode != 0) && b.pod.Spec.RestartPolicy != corev1.RestartPolicyNever
	}
	return restarts(b.pod, in)
}

// What containers wait for whose restart, or whose image's pull, is backed off.
const (
	crashLoop   = "CrashLoopBackOff"
	pullBackOff = "ImagePullBackOff"
)

// backsOff turns the state of a container that will be started again into what it waits for, if it waits.
func (b *reporter) backsOff(s *corev1.ContainerStatus, c *Container, in *Instance, old *corev1.ContainerStatus) {
	var wait corev1.ContainerStateWaiting
	switch {
	case c.Failure != nil:
		f := c.Failure.current(b.now)
		wait.Reason, wait.Message = f.Reason, f.Message
	case c.Backoff.until(in.Finished).After(b.now):
		wait.Reason = crashLoop
		wait.Message = c.Backoff.message(s.Name, b.pod)
	case old != nil && old.State.Waiting != nil && old.State.Waiting.Reason == crashLoop && old.RestartCount == s.RestartCount:
		wait = *old.State.Waiting // its time is over: it is about to run
	default:
		return
	}
	if s.State.Terminated != nil {
		s.LastTerminationState = s.State
	}
	s.State = corev1.ContainerState{Waiting: &wait}
}

// message is what a container of a pod says while its restart is backed off.
func (b Backoff) message(container string, pod *corev1.Pod) string {
	return fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", b.Delay, container, FullName(pod))
}

// FullName is how messages of the kubelet name a pod.
func FullName(pod *corev1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}

func ended(in *Instance) corev1.ContainerState {
	if live(in.Phase) && in.Phase != Unknown {
		return corev1.ContainerState{}
	}
	t := &corev1.ContainerStateTerminated{
		ExitCode: in.ExitCode, Signal: in.Signal, Reason: in.Reason, Message: in.Message, ContainerID: in.ID,
		StartedAt: second(in.Started), FinishedAt: second(in.Finished),
	}
	if in.Phase == Unknown {
		t.Reason, t.ExitCode = "ContainerStatusUnknown", 137
		t.Message = "The container could not be located when the pod was terminated"
	}
	if in.Started.IsZero() { // it could not be started: upstream shows the zero of the runtime's clock
		t.StartedAt = metav1.Unix(0, 0)
	}
	if in.Finished.IsZero() {
		t.FinishedAt = metav1.Time{}
	}
	return corev1.ContainerState{Terminated: t}
}

// phase is the pod's phase by upstream's counts. With over set nothing of the pod will run again.
func phase(pod *corev1.Pod, s *corev1.PodStatus, over bool) corev1.PodPhase {
	pendingInit := 0
	for i := range s.InitContainerStatuses {
		st := &s.InitContainerStatuses[i]
		switch {
		case st.State.Terminated != nil && st.State.Terminated.ExitCode == 0:
		case st.State.Terminated != nil && pod.Spec.RestartPolicy == corev1.RestartPolicyNever:
			return corev1.PodFailed
		case st.State.Terminated != nil && over:
			return corev1.PodFailed
		default:
			pendingInit++
		}
	}
	var waiting, running, stopped, succeeded int
	for i := range s.ContainerStatuses {
		st := &s.ContainerStatuses[i]
		switch {
		case st.State.Running != nil:
			running++
		case st.State.Terminated != nil:
			stopped++
			if st.State.Terminated.ExitCode == 0 {
				succeeded++
			}
		case st.LastTerminationState.Terminated != nil:
			stopped++
		default:
			waiting++
		}
	}
	switch {
	case pendingInit > 0 && running+stopped == 0:
		return corev1.PodPending
	case waiting > 0:
		if stopped > 0 || running > 0 {
			return corev1.PodRunning
		}
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case over && stopped == succeeded:
		return corev1.PodSucceeded
	case over:
		return corev1.PodFailed
	case pod.Spec.RestartPolicy == corev1.RestartPolicyAlways || pod.Spec.RestartPolicy == "":
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	case pod.Spec.RestartPolicy == corev1.RestartPolicyNever:
		return corev1.PodFailed
	}
	return corev1.PodRunning
}

// transitions are the events that go with a change of status: back-offs that have just begun, and a deadline that has
// passed while nothing ran. The status the API has is the memory of what was told.
func transitions(pod *corev1.Pod, s *corev1.PodStatus) []Action {
	var as []Action
	if s.Reason == tardy.Reason && pod.Status.Reason != s.Reason && !showsRunning(&pod.Status) {
		as = append(as, tardy)
	}
	for _, ss := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range ss {
			if !heldBefore(&pod.Status, &ss[i]) {
				as = append(as, heldBack(pod, &ss[i])...)
			}
		}
	}
	return as
}

// heldBefore reports whether a status says of a container that it waits for the same reason as in s.
func heldBefore(old *corev1.PodStatus, s *corev1.ContainerStatus) bool {
	w, o := s.State.Waiting, ofEither(old, s.Name)
	return w != nil && o != nil && o.State.Waiting != nil && o.State.Waiting.Reason == w.Reason && o.RestartCount == s.RestartCount
}

// ofEither is the status of a container or init container, or nil.
func ofEither(s *corev1.PodStatus, name string) *corev1.ContainerStatus {
	if c := statusOf(s.ContainerStatuses, name); c != nil {
		return c
	}
	return statusOf(s.InitContainerStatuses, name)
}

// backOff is the reason of events about containers that are held back.
const backOff = "BackOff"

// heldBack are the events that say that a container's restart or its image's pull is backed off; none for another state.
func heldBack(pod *corev1.Pod, s *corev1.ContainerStatus) []Action {
	if s.State.Waiting == nil {
		return nil
	}
	tell := func(kind, reason, message string) Action {
		return Action{Op: Tell, Container: s.Name, Type: kind, Reason: reason, Message: message}
	}
	switch s.State.Waiting.Reason {
	case crashLoop:
		return []Action{tell(corev1.EventTypeWarning, backOff, "Back-off restarting failed container "+s.Name+" in pod "+FullName(pod))}
	case pullBackOff:
		image := s.Image
		if spec := containerSpec(pod, s.Name); spec != nil {
			image = spec.Image
		}
		return []Action{tell(corev1.EventTypeNormal, backOff, fmt.Sprintf("Back-off pulling image %q", image)),
			tell(corev1.EventTypeWarning, "Failed", "Error: "+pullBackOff)}
	}
	return nil
}

// showsRunning reports whether a status says of any container that it runs.
func showsRunning(s *corev1.PodStatus) bool {
	runs := func(c corev1.ContainerStatus) bool { return c.State.Running != nil }
	return slices.ContainsFunc(s.ContainerStatuses, runs) || slices.ContainsFunc(s.InitContainerStatuses, runs)
}

// QOS is the pod's quality of service class: Guaranteed when every container's cpu and memory limits are set and equal
// its requests, BestEffort when none has any, else Burstable.
func QOS(pod *corev1.Pod) corev1.PodQOSClass {
	any, all := false, true
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				req, lim := cs[i].Resources.Requests[name], cs[i].Resources.Limits[name]
				if !req.IsZero() || !lim.IsZero() {
					any = true
				}
				if lim.IsZero() || !req.IsZero() && req.Cmp(lim) != 0 {
					all = false
				}
			}
		}
	}
	switch {
	case !any:
		return corev1.PodQOSBestEffort
	case all:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// OOMScore is the oom_score_adj of a container: a guaranteed pod's is far below, a burstable one's falls with the
// share of the node's memory it asks for.
func OOMScore(pod *corev1.Pod, c *corev1.Container, nodeMemory int64) int64 {
	switch QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return -997
	case corev1.PodQOSBestEffort:
		return 1000
	}
	request := c.Resources.Requests.Memory().Value()
	score := int64(1000)
	if nodeMemory > 0 {
		score -= int64(math.Floor(1000 * float64(request) / float64(nodeMemory)))
	}
	return min(max(score, 3), 999)
}
