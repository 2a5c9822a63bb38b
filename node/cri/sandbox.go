package cri

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

// LogDir is where a pod's containers write their logs, below root: one directory for each container.
func LogDir(root string, pod *corev1.Pod) string {
	return LogDirOf(root, pod.Namespace, pod.Name, string(pod.UID))
}

// LogDirOf is LogDir of a pod known by name.
func LogDirOf(root, namespace, name, uid string) string {
	return filepath.Join(root, namespace+"_"+name+"_"+uid)
}

// maxNodename is the longest name that Linux lets a host give itself.
const maxNodename = 64

// RunSandbox implements node.Sandboxes.
func (r *Runtime) RunSandbox(ctx context.Context, pod *corev1.Pod, attempt uint32) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cfg := r.sandboxConfig(pod, attempt)
	if n := len(cfg.Hostname); n > maxNodename { // of a name alone, the rest has been cut
		return fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)",
			cfg.Hostname, maxNodename, n)
	}
	if err := os.MkdirAll(cfg.LogDirectory, 0o755); err != nil {
		return fmt.Errorf("making the pod's log directory: %w", err)
	}
	if err := errors.Join(r.groups.limit(pod), r.divide()); err != nil {
		// The containers' own limits hold all the same.
		slog.Warn("the pod's control group is not set up", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
	req := &runtimeapi.RunPodSandboxRequest{Config: cfg}
	if pod.Spec.RuntimeClassName != nil {
		req.RuntimeHandler = *pod.Spec.RuntimeClassName
	}
	_, err := r.rt.RunPodSandbox(ctx, req)
	return err // as it is: the pod's event shows it
}

func (r *Runtime) sandboxConfig(pod *corev1.Pod, attempt uint32) *runtimeapi.PodSandboxConfig {
	cfg := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt},
		Hostname: hostname(pod), LogDirectory: LogDir(r.cfg.LogRoot, pod), DnsConfig: r.dns(pod),
		Labels:      map[string]string{labelPodName: pod.Name, labelPodNamespace: pod.Namespace, labelPodUID: string(pod.UID)},
		Annotations: map[string]string{},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: cgroupParent(pod),
			Sysctls:      map[string]string{},
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				NamespaceOptions: namespaces(pod), Privileged: privileged(pod),
				Seccomp: &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined},
			},
		},
	}
	for k, v := range pod.Labels {
		if _, own := cfg.Labels[k]; !own {
			cfg.Labels[k] = v
		}
	}
	for k, v := range pod.Annotations {
		cfg.Annotations[k] = v
	}
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			cfg.PortMappings = append(cfg.PortMappings, ports(pod, &cs[i])...)
		}
	}
	sc := pod.Spec.SecurityContext
	if sc == nil {
		return cfg
	}
	for _, s := range sc.Sysctls {
		cfg.Linux.Sysctls[s.Name] = s.Value
	}
	lsc := cfg.Linux.SecurityContext
	if sc.RunAsUser != nil {
		lsc.RunAsUser = &runtimeapi.Int64Value{Value: *sc.RunAsUser}
		if sc.RunAsGroup != nil {
			lsc.RunAsGroup = &runtimeapi.Int64Value{Value: *sc.RunAsGroup}
		}
	}
	lsc.SupplementalGroups = groups(sc, nil)
	if sc.SELinuxOptions != nil {
		lsc.SelinuxOptions = selinux(sc.SELinuxOptions)
	}
	if sc.SeccompProfile != nil {
		lsc.Seccomp = r.seccomp(sc.SeccompProfile)
	}
	return cfg
}

// hostname is what the pod's host is called; "" on the host's network, where there is no name of its own to set: the
// sandbox shares the host's UTS namespace.
func hostname(pod *corev1.Pod) string {
	if pod.Spec.HostNetwork {
		return ""
	}
	name, domain := node.Hostname(pod)
	if fqdn := pod.Spec.SetHostnameAsFQDN; fqdn != nil && *fqdn && domain != "" {
		name += "." + domain
	}
	return name
}

func ports(pod *corev1.Pod, c *corev1.Container) []*runtimeapi.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var ps []*runtimeapi.PortMapping
	for _, p := range c.Ports {
		if p.HostPort == 0 {
			continue
		}
		proto := runtimeapi.Protocol_TCP
		switch p.Protocol {
		case corev1.ProtocolUDP:
			proto = runtimeapi.Protocol_UDP
		case corev1.ProtocolSCTP:
			proto = runtimeapi.Protocol_SCTP
		}
		ps = append(ps, &runtimeapi.PortMapping{Protocol: proto, ContainerPort: p.ContainerPort, HostPort: p.HostPort, HostIp: p.HostIP})
	}
	return ps
}

// cgroupParent is the pod's cgroup below the host's root, after upstream's layout.
func cgroupParent(pod *corev1.Pod) string {
	switch node.QOS(pod) {
	case corev1.PodQOSGuaranteed:
		return "/kubepods/pod" + string(pod.UID)
	case corev1.PodQOSBurstable:
		return "/kubepods/burstable/pod" + string(pod.UID)
	}
	return "/kubepods/besteffort/pod" + string(pod.UID)
}

func namespaces(pod *corev1.Pod) *runtimeapi.NamespaceOption {
	n := &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_POD, Pid: runtimeapi.NamespaceMode_CONTAINER, Ipc: runtimeapi.NamespaceMode_POD}
	if pod.Spec.HostNetwork {
		n.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		n.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch share := pod.Spec.ShareProcessNamespace; {
	case pod.Spec.HostPID:
		n.Pid = runtimeapi.NamespaceMode_NODE
	case share != nil && *share:
		n.Pid = runtimeapi.NamespaceMode_POD
	}
	return n
}

// privileged reports whether any container of the pod is privileged: its sandbox then is, too.
func privileged(pod *corev1.Pod) bool {
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			if sc := cs[i].SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
				return true
			}
		}
	}
	return false
}
