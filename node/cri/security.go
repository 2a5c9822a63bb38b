package cri

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

// What of /proc and /sys a container does not see, or may only read, unless its procMount is Unmasked.
var (
	maskedPaths = []string{"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// security is a container's security context: its own over the pod's.
func (r *Runtime) security(l *node.Launch) (*runtimeapi.LinuxContainerSecurityContext, error) {
	sc, psc := l.Spec.SecurityContext, l.Pod.Spec.SecurityContext
	if sc == nil {
		sc = &corev1.SecurityContext{}
	}
	if psc == nil {
		psc = &corev1.PodSecurityContext{}
	}
	s := &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions: namespaces(l.Pod), Privileged: set(sc.Privileged), ReadonlyRootfs: set(sc.ReadOnlyRootFilesystem),
		NoNewPrivs:         sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		SupplementalGroups: groups(psc, l.Groups),
	}
	if sc.ProcMount == nil || *sc.ProcMount == corev1.DefaultProcMount {
		s.MaskedPaths, s.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	if err := identity(s, l, sc, psc); err != nil {
		return nil, err
	}
	if c := sc.Capabilities; c != nil {
		s.Capabilities = &runtimeapi.Capability{}
		for _, name := range c.Add {
			s.Capabilities.AddCapabilities = append(s.Capabilities.AddCapabilities, string(name))
		}
		for _, name := range c.Drop {
			s.Capabilities.DropCapabilities = append(s.Capabilities.DropCapabilities, string(name))
		}
	}
	if o := first(sc.SELinuxOptions, psc.SELinuxOptions); o != nil {
		s.SelinuxOptions = selinux(o)
	}
	s.Seccomp = &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
	if p := first(sc.SeccompProfile, psc.SeccompProfile); p != nil && !s.Privileged {
		s.Seccomp = r.seccomp(p)
	}
	if p := first(sc.AppArmorProfile, psc.AppArmorProfile); p != nil {
		s.Apparmor = apparmor(p)
	}
	return s, nil
}

func set(b *bool) bool { return b != nil && *b }

// first is a container's setting, or the pod's where it has none.
func first[T any](own, pods *T) *T {
	if own != nil {
		return own
	}
	return pods
}

// identity sets whom the container runs as, and refuses root where runAsNonRoot forbids it.
func identity(s *runtimeapi.LinuxContainerSecurityContext, l *node.Launch, sc *corev1.SecurityContext, psc *corev1.PodSecurityContext) error {
	user, group := first(sc.RunAsUser, psc.RunAsUser), first(sc.RunAsGroup, psc.RunAsGroup)
	if set(first(sc.RunAsNonRoot, psc.RunAsNonRoot)) {
		of := fmt.Sprintf("(pod: %q, container: %s)", node.FullName(l.Pod), l.Spec.Name)
		switch {
		case user != nil && *user == 0:
			return errors.New("container's runAsUser breaks non-root policy " + of)
		case user != nil:
		case l.Image.User != "" && l.Image.UID == nil:
			return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", l.Image.User, of)
		case l.Image.UID == nil || *l.Image.UID == 0:
			return errors.New("container has runAsNonRoot and image will run as root " + of)
		}
	}
	if user == nil && group != nil { // CRI takes no group without a user
		user = l.Image.UID
		if user == nil && l.Image.User != "" {
			s.RunAsUsername = l.Image.User
		} else if user == nil {
			user = new(int64)
		}
	}
	if user != nil {
		s.RunAsUser = &runtimeapi.Int64Value{Value: *user}
	}
	if group != nil {
		s.RunAsGroup = &runtimeapi.Int64Value{Value: *group}
	}
	return nil
}

// groups are the supplemental groups of a pod's containers: its own, its fsGroup's, and those its volumes ask for.
func groups(psc *corev1.PodSecurityContext, more []int64) []int64 {
	gs := slices.Clone(psc.SupplementalGroups)
	if psc.FSGroup != nil {
		gs = append(gs, *psc.FSGroup)
	}
	return append(gs, more...)
}

func selinux(o *corev1.SELinuxOptions) *runtimeapi.SELinuxOption {
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func (r *Runtime) seccomp(p *corev1.SeccompProfile) *runtimeapi.SecurityProfile {
	switch p.Type {
	case corev1.SeccompProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	case corev1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile != nil {
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(r.cfg.Seccomp, *p.LocalhostProfile)}
		}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
}

func apparmor(p *corev1.AppArmorProfile) *runtimeapi.SecurityProfile {
	switch p.Type {
	case corev1.AppArmorProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}
	case corev1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile != nil {
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: *p.LocalhostProfile}
		}
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}
}

// unifiedCgroups reports whether the host has cgroups version 2 only.
var unifiedCgroups = sync.OnceValue(func() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
})

// hugepageSize is the page size that a hugepages-* resource names, as the kernel writes it: "2MB".
func hugepageSize(name corev1.ResourceName) (string, bool) {
	s, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix)
	if !ok {
		return "", false
	}
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return "", false
	}
	n, unit := q.Value(), 0
	for n >= 1024 && n%1024 == 0 && unit < 3 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprintf("%d%s", n, []string{"B", "KB", "MB", "GB"}[unit]), true
}
