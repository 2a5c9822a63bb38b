package cri

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

// observation collects what the runtime lists, by pod.
type observation struct {
	r    *Runtime
	pods map[types.UID]*node.PodState
}

// pod is the state of the pod that labels name; nil for what is not Kubernetes'.
func (o *observation) pod(labels map[string]string) *node.PodState {
	uid := types.UID(labels[labelPodUID])
	if uid == "" {
		return nil
	}
	p := o.pods[uid]
	if p == nil {
		p = &node.PodState{UID: uid, Namespace: labels[labelPodNamespace], Name: labels[labelPodName]}
		o.pods[uid] = p
	}
	return p
}

func (o *observation) sandbox(ctx context.Context, s *runtimeapi.PodSandbox) error {
	p := o.pod(s.Labels)
	if p == nil {
		return nil
	}
	sb := &node.Sandbox{ID: s.Id, Ready: s.State == runtimeapi.PodSandboxState_SANDBOX_READY,
		Attempt: s.GetMetadata().GetAttempt(), Created: time.Unix(0, s.CreatedAt)}
	if p.Sandbox != nil && p.Sandbox.Created.After(sb.Created) {
		p.Stale = append(p.Stale, s.Id)
		return nil
	}
	if sb.Ready {
		ips, err := o.r.addresses(ctx, s.Id)
		if absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		sb.IPs = ips
	}
	if p.Sandbox != nil {
		p.Stale = append(p.Stale, p.Sandbox.ID)
	}
	p.Sandbox = sb
	return nil
}

// addresses are a ready sandbox's IPs.
func (r *Runtime) addresses(ctx context.Context, id string) ([]string, error) {
	r.mu.Lock()
	ips, ok := r.sandboxes[id]
	r.mu.Unlock()
	if ok {
		return ips, nil
	}
	s, err := r.rt.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
	if err != nil {
		return nil, err
	}
	if n := s.GetStatus().GetNetwork(); n != nil && n.Ip != "" {
		ips = append(ips, n.Ip)
		for _, a := range n.AdditionalIps {
			ips = append(ips, a.Ip)
		}
	}
	r.mu.Lock()
	r.sandboxes[id] = ips
	r.mu.Unlock()
	return ips, nil
}

func (o *observation) container(ctx context.Context, c *runtimeapi.Container) error {
	p := o.pod(c.Labels)
	if p == nil {
		return nil
	}
	in, err := o.r.instance(ctx, c)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for container %s: %w", c.Id, err)
	}
	if s, err := strconv.ParseInt(c.Annotations[annotationGrace], 10, 64); err == nil {
		p.Grace = time.Duration(s) * time.Second
	}
	cs := p.Container(c.Labels[labelContainer])
	cs.Instances = append(cs.Instances, in)
	return nil
}

var phases = map[runtimeapi.ContainerState]node.Phase{
	runtimeapi.ContainerState_CONTAINER_CREATED: node.Created,
	runtimeapi.ContainerState_CONTAINER_RUNNING: node.Running,
	runtimeapi.ContainerState_CONTAINER_EXITED:  node.Exited,
	runtimeapi.ContainerState_CONTAINER_UNKNOWN: node.Unknown,
}

func (r *Runtime) instance(ctx context.Context, c *runtimeapi.Container) (node.Instance, error) {
	r.mu.Lock()
	in, ok := r.containers[c.Id]
	r.mu.Unlock()
	if ok && in.Phase == phases[c.State] {
		return in, nil
	}
	prefix, err := r.prefix(ctx)
	if err != nil {
		return node.Instance{}, err
	}
	a, err := r.rt.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
	if err != nil {
		return node.Instance{}, err
	}
	s := a.GetStatus()
	in = node.Instance{
		ID: prefix + s.Id, Image: s.GetImage().GetImage(), ImageID: s.ImageRef, Phase: phases[s.State],
		Attempt: s.GetMetadata().GetAttempt(), Hash: s.Annotations[annotationHash], Created: time.Unix(0, s.CreatedAt),
		Started: moment(s.StartedAt), Finished: moment(s.FinishedAt), ExitCode: s.ExitCode, Reason: s.Reason, Message: s.Message,
	}
	if n, err := strconv.ParseUint(s.Annotations[annotationRestarts], 10, 32); err == nil {
		in.Attempt = uint32(n)
	}
	r.mu.Lock()
	r.containers[c.Id] = in
	r.mu.Unlock()
	return in, nil
}

// moment is a time CRI gives in nanoseconds since 1970, 0 for none.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// result is what was collected, instances newest first.
func (o *observation) result() []node.PodState {
	all := make([]node.PodState, 0, len(o.pods))
	for _, p := range o.pods {
		for i := range p.Containers {
			slices.SortFunc(p.Containers[i].Instances, func(a, b node.Instance) int { return b.Created.Compare(a.Created) })
		}
		all = append(all, *p)
	}
	return all
}
