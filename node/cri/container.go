package cri

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

// Create implements node.Containers.
func (r *Runtime) Create(ctx context.Context, l *node.Launch) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	prefix, err := r.prefix(ctx)
	if err != nil {
		return "", err
	}
	cfg, err := r.containerConfig(l)
	if err != nil {
		return "", err
	}
	sandbox := r.sandboxConfig(l.Pod, l.Sandbox.Attempt)
	if err := os.MkdirAll(filepath.Join(sandbox.LogDirectory, l.Spec.Name), 0o755); err != nil {
		return "", fmt.Errorf("making the container's log directory: %w", err)
	}
	a, err := r.rt.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: l.Sandbox.ID, Config: cfg, SandboxConfig: sandbox})
	if err != nil {
		return "", plain(err)
	}
	return prefix + a.ContainerId, nil
}

func (r *Runtime) containerConfig(l *node.Launch) (*runtimeapi.ContainerConfig, error) {
	security, err := r.security(l)
	if err != nil {
		return nil, &node.ConfigError{Err: err}
	}
	cfg := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: l.Spec.Name, Attempt: l.Attempt},
		Image:    &runtimeapi.ImageSpec{Image: l.Image.ID, UserSpecifiedImage: l.Spec.Image},
		Command:  node.Expand(l.Spec.Command, l.Env), Args: node.Expand(l.Spec.Args, l.Env), WorkingDir: l.Spec.WorkingDir,
		LogPath: filepath.Join(l.Spec.Name, strconv.FormatUint(uint64(l.Attempt), 10)+".log"),
		Stdin:   l.Spec.Stdin, StdinOnce: l.Spec.StdinOnce, Tty: l.Spec.TTY,
		Labels: map[string]string{labelPodName: l.Pod.Name, labelPodNamespace: l.Pod.Namespace,
			labelPodUID: string(l.Pod.UID), labelContainer: l.Spec.Name},
		Annotations: map[string]string{annotationHash: node.Hash(l.Spec), annotationRestarts: strconv.FormatUint(uint64(l.Attempt), 10)},
		Linux:       &runtimeapi.LinuxContainerConfig{Resources: r.resources(l), SecurityContext: security},
	}
	if s := l.Pod.Spec.TerminationGracePeriodSeconds; s != nil {
		cfg.Annotations[annotationGrace] = strconv.FormatInt(*s, 10)
	}
	for _, v := range l.Env {
		cfg.Envs = append(cfg.Envs, &runtimeapi.KeyValue{Key: v.Name, Value: []byte(v.Value)})
	}
	for _, m := range l.Mounts {
		cfg.Mounts = append(cfg.Mounts, &runtimeapi.Mount{ContainerPath: m.Container, HostPath: m.Host, Readonly: m.ReadOnly,
			SelinuxRelabel: m.Relabel, Propagation: propagation(m.Propagation)})
	}
	if security.Privileged {
		cfg.Devices = nil // a privileged container sees all devices of the host
	}
	return cfg, nil
}

func propagation(m corev1.MountPropagationMode) runtimeapi.MountPropagation {
	switch m {
	case corev1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case corev1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}

// The kernel's CPU controller: a period of 100 ms, 1024 shares a core, and the bounds of what it takes.
const (
	cpuPeriod = 100_000 // microseconds
	cpuShares = 1024
	minShares = 2
	maxShares = 262_144
	maxWeight = 10_000 // of version 2, where the least is 1
	minQuota  = 1000   // microseconds
)

// resources are a container's cgroup limits.
func (r *Runtime) resources(l *node.Launch) *runtimeapi.LinuxContainerResources {
	req, lim := l.Spec.Resources.Requests, l.Spec.Resources.Limits
	res := &runtimeapi.LinuxContainerResources{
		CpuShares: minShares, CpuPeriod: cpuPeriod, OomScoreAdj: max(node.OOMScore(l.Pod, l.Spec, l.Memory), r.lowest),
		MemoryLimitInBytes: lim.Memory().Value(),
	}
	milli := req.Cpu().MilliValue()
	if _, asked := req[corev1.ResourceCPU]; !asked {
		milli = lim.Cpu().MilliValue()
	}
	if milli > 0 {
		res.CpuShares = shares(milli)
	}
	if m := lim.Cpu().MilliValue(); m > 0 {
		res.CpuQuota = max(m*cpuPeriod/1000, minQuota)
	}
	if unifiedCgroups() {
		res.Unified = map[string]string{"memory.oom.group": "1"}
	}
	for name, q := range lim {
		if size, ok := hugepageSize(name); ok {
			res.HugepageLimits = append(res.HugepageLimits, &runtimeapi.HugepageLimit{PageSize: size, Limit: uint64(q.Value())})
		}
	}
	return res
}
