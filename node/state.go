package node

import (
	"hash/fnv"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PodState is all that is known of one pod beside its API object: what the runtime holds and what the agent remembers.
type PodState struct {
	UID        types.UID
	Namespace  string
	Name       string
	Grace      time.Duration // to give containers of a pod that has left the API
	Sandbox    *Sandbox      // the newest; nil when there is none
	Stale      []string      // IDs of older sandboxes
	Containers []Container   // one for each container of the pod, init containers first, then what else runs
	Volumes    bool          // set up on this host
	Left       bool          // the volumes are of an agent before, and to be set up again before they are used
	Setup      *Failure      // why volumes or sandbox could not be set up, the last time
	Rejected   *Failure      // the node refused the pod: it never runs
	Evicted    *Failure      // the pod has to leave the node: it is ended
	Finished   bool          // deleted from the API, where finalizers may keep it
	Adopted    bool          // the runtime held it when the agent started
	Host       Host
}

// Host is what of the node shows in the status of its pods.
type Host struct {
	IPs []string // the first is primary
}

// Sandbox is the environment a pod's containers share: its network and process namespaces.
type Sandbox struct {
	ID      string
	Ready   bool
	Attempt uint32
	Created time.Time
	IPs     []string // empty for pods on the host's network
}

// Container is one container of a pod: its instances, newest first, and the memory of its starts and probes.
type Container struct {
	Name      string
	Instances []Instance
	Backoff   Backoff  // of restarts
	Pulls     Backoff  // of image pulls
	Failure   *Failure // why the last attempt to start it failed; nil once it has started
	Probed    Probed
	Told      time.Time // when an event last said that it is held back
}

// Newest is the newest instance, or nil.
func (c *Container) Newest() *Instance {
	if len(c.Instances) == 0 {
		return nil
	}
	return &c.Instances[0]
}

// Phase is the state of a container in the runtime.
type Phase uint8

// The phases of an instance, after CRI.
const (
	Created Phase = iota
	Running
	Exited
	Unknown
)

// Instance is one container of the runtime. A container of a pod has one for each time it was started, until the old
// ones are removed.
type Instance struct {
	ID       string // as the API shows it: "containerd://..."
	Image    string
	ImageID  string
	Phase    Phase
	Attempt  uint32 // the restart count
	Hash     string // of the spec it was made from
	Created  time.Time
	Started  time.Time
	Finished time.Time
	ExitCode int32
	Signal   int32
	Reason   string
	Message  string
}

// Failed reports whether the instance has ended without success.
func (i *Instance) Failed() bool { return i.Phase == Exited && i.ExitCode != 0 || i.Phase == Unknown }

// Outcome is the standing result of a probe.
type Outcome uint8

// The outcomes of a probe. Unprobed is what a container has before its first result.
const (
	Unprobed Outcome = iota
	Success
	Failing
)

// Probed holds the probe results of the instance named ID.
type Probed struct {
	ID        string
	Startup   Outcome
	Readiness Outcome
	Liveness  Outcome
}

// Failure is what keeps something from happening, in the words of the API, and when to try again.
type Failure struct {
	Reason  string // CreateContainerConfigError, ErrImagePull, ...
	Message string
	At      time.Time
	Retry   time.Time // zero: never
	// Later replaces Reason and Message from Settle on: ErrImagePull becomes ImagePullBackOff.
	Later *Failure
}

// settle is how long a failed pull is reported as ErrImagePull before it becomes ImagePullBackOff.
const settle = 3 * time.Second

// current is the failure as it shows now.
func (f *Failure) current(now time.Time) *Failure {
	if f.Later != nil && !now.Before(f.Later.At) {
		return f.Later
	}
	return f
}

// The restart back-off of containers and image pulls: it doubles from the first to the longest delay, and starts again
// when it has not been used for twice the longest.
const (
	firstBackoff   = 10 * time.Second
	longestBackoff = 5 * time.Minute
)

// presenceCheck is how often the host is asked for an image whose pulls are backed off; it may have been imported.
const presenceCheck = 10 * time.Second

// Backoff is a doubling delay. The zero value delays nothing.
type Backoff struct {
	Delay time.Duration
	Used  time.Time
}

// next is the back-off after one more use at t.
func (b Backoff) next(t time.Time) Backoff {
	if b.Delay == 0 || t.Sub(b.Used) > 2*longestBackoff {
		return Backoff{firstBackoff, t}
	}
	return Backoff{min(2*b.Delay, longestBackoff), t}
}

// until is when something that ended at t may begin again.
func (b Backoff) until(t time.Time) time.Time {
	if b.Delay == 0 || t.Sub(b.Used) > 2*longestBackoff {
		return t
	}
	return t.Add(b.Delay)
}

// container finds a container by name, or nil.
func (s *PodState) container(name string) *Container {
	for i := range s.Containers {
		if s.Containers[i].Name == name {
			return &s.Containers[i]
		}
	}
	return nil
}

// Container finds a container by name and adds it when there is none.
func (s *PodState) Container(name string) *Container {
	if c := s.container(name); c != nil {
		return c
	}
	s.Containers = append(s.Containers, Container{Name: name})
	return &s.Containers[len(s.Containers)-1]
}

// any reports whether the runtime holds an instance of any container.
func (s *PodState) any() bool {
	for i := range s.Containers {
		if len(s.Containers[i].Instances) > 0 {
			return true
		}
	}
	return false
}

// running reports whether any container may be running.
func (s *PodState) running() bool {
	for i := range s.Containers {
		for j := range s.Containers[i].Instances {
			if live(s.Containers[i].Instances[j].Phase) {
				return true
			}
		}
	}
	return false
}

func live(p Phase) bool { return p == Running || p == Unknown }

// Hash identifies what an instance was made from. Only the image of a running pod's container may change, so it covers
// name and image, as upstream's does.
func Hash(c *corev1.Container) string {
	h := fnv.New32a()
	h.Write([]byte(c.Name))
	h.Write([]byte{0})
	h.Write([]byte(c.Image))
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}
