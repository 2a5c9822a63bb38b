package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
)

// refusal is an error that keeps a container from starting, with the reason it waits for.
type refusal struct {
	reason string
	err    error
	brief  bool // the event names the reason only: another has said more
	told   bool // an event has said so already
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// startAgain is the pause after a start that failed when there is no restart back-off yet.
const startAgain = time.Second

// startContainer makes and starts one container: image, configuration, creation, start, postStart hook.
func (e *entry) startContainer(ctx context.Context, pod *corev1.Pod, a *Action) {
	spec := containerSpec(pod, a.Container)
	c := e.state.Container(a.Container)
	now := time.Now()
	if c.Newest() != nil {
		c.Backoff = c.Backoff.next(now)
	}
	err := e.launch(ctx, pod, spec, a.Attempt)
	if err == nil {
		c.Failure, c.Pulls = nil, Backoff{}
		return
	}
	if ctx.Err() != nil {
		return
	}
	now = time.Now()
	if errors.Is(err, errPullWaits) {
		c.Failure.Retry = c.recheck(spec, now)
		return
	}
	f := &Failure{Reason: "RunContainerError", Message: err.Error(), At: now, Retry: pause(c.Failure, now)}
	var r *refusal
	if errors.As(err, &r) {
		f.Reason = r.reason
	}
	if f.Reason == "ErrImagePull" {
		c.Pulls = c.Pulls.next(now)
		f.Retry = c.recheck(spec, now)
		f.Later = &Failure{Reason: pullBackOff, At: now.Add(settle),
			Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", spec.Image, f.Message)}
	}
	if f.Reason == "RunContainerError" || f.Reason == "PostStartHookError" {
		// The container is there and has ended: the restart back-off rules when the next may run, which is soon after the first.
		f.Retry = now.Add(startAgain)
		if c.Backoff.until(now).After(now) {
			f.Later = &Failure{Reason: crashLoop, Message: c.Backoff.message(a.Container, pod), At: now.Add(settle)}
		}
	}
	c.Failure = f
	switch {
	case r != nil && r.told:
	case r != nil && r.brief:
		e.agent.tell(pod, a.Container, corev1.EventTypeWarning, "Failed", "Error: "+r.reason)
	default:
		e.agent.tell(pod, a.Container, corev1.EventTypeWarning, "Failed", "Error: "+f.Message)
	}
}

func (e *entry) launch(ctx context.Context, pod *corev1.Pod, spec *corev1.Container, attempt uint32) error {
	image, err := e.image(ctx, pod, spec)
	if err != nil {
		return err
	}
	l := &Launch{Pod: pod, Spec: spec, Sandbox: e.state.Sandbox, Attempt: attempt, Image: image, Memory: e.agent.memory()}
	if f := e.agent.cfg.Files; f != nil {
		if err := e.configure(ctx, l); err != nil {
			return &refusal{reason: "CreateContainerConfigError", err: err}
		}
	}
	rt := e.agent.cfg.Runtime.Containers
	id, err := rt.Create(ctx, l)
	if bad := (*ConfigError)(nil); errors.As(err, &bad) {
		return &refusal{reason: "CreateContainerConfigError", err: bad.Err}
	}
	if err != nil {
		return &refusal{reason: "CreateContainerError", err: err}
	}
	e.agent.tell(pod, spec.Name, corev1.EventTypeNormal, "Created", "Container created")
	if err := rt.Start(ctx, id); err != nil {
		return &refusal{reason: "RunContainerError", err: err}
	}
	e.agent.tell(pod, spec.Name, corev1.EventTypeNormal, "Started", "Container started")
	return e.postStart(ctx, pod, spec, id)
}

// image sees to it that the host has a container's image, as its pull policy says.
func (e *entry) image(ctx context.Context, pod *corev1.Pod, spec *corev1.Container) (*Image, error) {
	name, err := imageName(spec.Image)
	if err != nil {
		e.agent.tell(pod, spec.Name, corev1.EventTypeWarning, "InspectFailed", err.Error())
		return nil, &refusal{reason: "InvalidImageName", err: err, brief: true}
	}
	images := e.agent.cfg.Runtime.Images
	image, err := images.Image(ctx, name)
	if err != nil {
		msg := fmt.Sprintf("Failed to inspect image %q: %v", name, err)
		e.agent.tell(pod, spec.Name, corev1.EventTypeWarning, "InspectFailed", msg)
		return nil, &refusal{reason: "ImageInspectError", err: errors.New(msg), brief: true}
	}
	switch pull, missing := pulls(spec, image != nil); {
	case missing:
		msg := fmt.Sprintf("Container image %q is not present with pull policy of Never", spec.Image)
		e.agent.tell(pod, spec.Name, corev1.EventTypeWarning, "ErrImageNeverPull", msg)
		return nil, &refusal{reason: "ErrImageNeverPull", err: errors.New(msg), brief: true}
	case !pull:
		e.agent.tell(pod, spec.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", spec.Image))
		return image, nil
	}
	if c := e.state.container(spec.Name); c != nil && c.Failure != nil && c.Pulls.until(c.Pulls.Used).After(time.Now()) {
		return nil, errPullWaits
	}
	return e.pull(ctx, pod, spec, name)
}

// errPullWaits says that an image is still not there, and that it is too early to pull it again.
var errPullWaits = errors.New("the image pull is backed off")

// recheck is when to look at a container's image again while its pulls are backed off: when the next pull is due, and
// earlier where an image that has come by other means will do.
func (c *Container) recheck(spec *corev1.Container, now time.Time) time.Time {
	due := c.Pulls.until(c.Pulls.Used)
	if early := now.Add(presenceCheck); spec.ImagePullPolicy != corev1.PullAlways && early.Before(due) {
		return early
	}
	return due
}

// pulls decides by pull policy whether an image is to be fetched, and whether it is missing for good.
func pulls(spec *corev1.Container, present bool) (pull, missing bool) {
	switch spec.ImagePullPolicy {
	case corev1.PullAlways:
		return true, false
	case corev1.PullNever:
		return false, !present
	}
	return !present, false
}

func (e *entry) pull(ctx context.Context, pod *corev1.Pod, spec *corev1.Container, name string) (*Image, error) {
	e.agent.tell(pod, spec.Name, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", spec.Image))
	credentials, err := e.agent.credentials(ctx, pod, name)
	if err != nil {
		slog.Warn("image pull secrets cannot be read; pulling without them", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
	began := time.Now()
	image, err := e.agent.cfg.Runtime.Images.Pull(ctx, name, credentials)
	if err != nil {
		if ctx.Err() == nil {
			e.agent.tell(pod, spec.Name, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", spec.Image, err))
		}
		return nil, &refusal{reason: "ErrImagePull", err: err, brief: true}
	}
	took := time.Since(began).Truncate(time.Millisecond)
	e.agent.tell(pod, spec.Name, corev1.EventTypeNormal, "Pulled",
		fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.", spec.Image, took, took, image.Size))
	return image, nil
}

// imageName is the image as runtimes want it, with the default tag.
func imageName(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("Failed to apply default image tag %q: couldn't parse image name %q: %w", image, image, err) //nolint:staticcheck // upstream's words
	}
	if reference.IsNameOnly(named) {
		return image + ":latest", nil
	}
	return image, nil
}
