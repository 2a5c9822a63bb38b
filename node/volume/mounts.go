package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/node"
)

// Mounts implements node.Files.
func (m *Manager) Mounts(_ context.Context, l *node.Launch) ([]node.Mount, []int64, error) {
	var out []node.Mount
	ownHosts, ownTermination := false, false
	for i := range l.Spec.VolumeMounts {
		vm := &l.Spec.VolumeMounts[i]
		mt, err := m.mount(l, vm, i)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, mt)
		ownHosts = ownHosts || vm.MountPath == "/etc/hosts"
		ownTermination = ownTermination || vm.MountPath == l.Spec.TerminationMessagePath
	}
	if !ownHosts {
		p, err := m.writeHosts(l)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, node.Mount{Host: p, Container: "/etc/hosts"})
	}
	if path := l.Spec.TerminationMessagePath; path != "" && !ownTermination {
		p := m.termination(l.Pod.UID, l.Spec.Name, l.Attempt)
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			return nil, nil, fmt.Errorf("making the container's directory: %w", err)
		}
		if err := m.dropTerminations(l); err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(p, nil, 0o666); err != nil {
			return nil, nil, fmt.Errorf("making the termination message file: %w", err)
		}
		if err := os.Chmod(p, 0o666); err != nil {
			return nil, nil, fmt.Errorf("opening the termination message file: %w", err)
		}
		out = append(out, node.Mount{Host: p, Container: path})
	}
	return out, nil, nil
}

// dropTerminations removes the termination messages of attempts whose containers have been removed: of a container that
// is restarted for weeks they would add up to more files than the file system has room for.
func (m *Manager) dropTerminations(l *node.Launch) error {
	dir := filepath.Dir(m.termination(l.Pod.UID, l.Spec.Name, 0))
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the container's directory: %w", err)
	}
	for _, f := range files {
		attempt, err := strconv.ParseUint(f.Name(), 10, 32)
		if err != nil || uint32(attempt)+keptTerminations >= l.Attempt {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return fmt.Errorf("removing an old termination message: %w", err)
		}
	}
	return nil
}

// keptTerminations is how many attempts before the one being made may still have a container; node.Step keeps the two
// newest.
const keptTerminations = 2

func (m *Manager) mount(l *node.Launch, vm *corev1.VolumeMount, i int) (node.Mount, error) {
	mt := node.Mount{Container: vm.MountPath, ReadOnly: vm.ReadOnly}
	if !filepath.IsAbs(mt.Container) {
		mt.Container = "/" + mt.Container
	}
	if rro := vm.RecursiveReadOnly; vm.ReadOnly && rro != nil && *rro == corev1.RecursiveReadOnlyEnabled {
		return mt, fmt.Errorf("failed to resolve recursive read-only mode: volume %q requested recursive read-only mode, but it is not supported by the runtime", vm.Name)
	}
	if vm.MountPropagation != nil {
		mt.Propagation = *vm.MountPropagation
	}
	var v *corev1.Volume
	for j := range l.Pod.Spec.Volumes {
		if l.Pod.Spec.Volumes[j].Name == vm.Name {
			v = &l.Pod.Spec.Volumes[j]
		}
	}
	switch {
	case v == nil:
		return mt, fmt.Errorf("cannot find volume %q to mount into container %q", vm.Name, l.Spec.Name)
	case v.HostPath != nil:
		mt.Host = v.HostPath.Path
	default:
		mt.Host = m.volume(l.Pod, vm.Name)
	}
	// What the agent writes is not for containers to change.
	mt.ReadOnly = mt.ReadOnly || v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
	sub, err := below(vm, l.Env)
	if err != nil {
		return mt, err
	}
	if sub != "" {
		host, err := m.subPath(l, vm, mt.Host, sub, i)
		if err != nil {
			// Nothing of the host's files shows in what the pod's owner is told.
			slog.Warn("subPath is not to be had", "pod", l.Pod.Namespace+"/"+l.Pod.Name, "container", l.Spec.Name, "volume", vm.Name, "err", err)
			return mt, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q", vm.Name, l.Spec.Name)
		}
		mt.Host = host
		return mt, nil
	}
	if _, err := os.Stat(mt.Host); errors.Is(err, fs.ErrNotExist) && v.HostPath != nil {
		if err := os.MkdirAll(mt.Host, 0o755); err != nil { // as container runtimes do for a path of no type
			return mt, fmt.Errorf("making hostPath %s: %w", mt.Host, err)
		}
	}
	return mt, nil
}

// below is the path in its volume that a mount names, "" for all of the volume.
func below(vm *corev1.VolumeMount, env []node.Variable) (string, error) {
	sub := vm.SubPath
	if vm.SubPathExpr != "" {
		var missing []string
		if sub, missing = node.ExpandAll(vm.SubPathExpr, env); len(missing) > 0 {
			return "", fmt.Errorf("missing value for %s", strings.Join(missing, ", "))
		}
	}
	if filepath.IsAbs(sub) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
	}
	if slices.Contains(strings.Split(sub, "/"), "..") {
		return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
	}
	return sub, nil
}

// subPath makes a path below a volume mountable. It must not leave the volume, whatever links a container has put
// there: os.Root resolves it, and what was resolved is bound to a place of the agent's own.
func (m *Manager) subPath(l *node.Launch, vm *corev1.VolumeMount, volume, sub string, i int) (string, error) {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", err
	}
	defer root.Close()
	st, err := root.Stat(sub)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(sub, 0o755); err != nil {
			return "", err
		}
		if err := root.Chmod(sub, volumeMode(volume)); err != nil {
			return "", err
		}
		if gid := fsGroup(l.Pod); gid != nil && m.root {
			if err := root.Chown(sub, -1, int(*gid)); err != nil {
				return "", err
			}
		}
		st, err = root.Stat(sub)
	}
	if err != nil {
		return "", err
	}
	if !m.root {
		return filepath.EvalSymlinks(filepath.Join(volume, sub))
	}
	f, err := root.Open(sub)
	if err != nil {
		return "", err
	}
	defer f.Close()
	target := filepath.Join(m.dir(l.Pod.UID), "volume-subpaths", vm.Name, l.Spec.Name, fmt.Sprint(i))
	return target, bind(f, target, st.IsDir())
}

// volumeMode is the mode of a volume's directory, which new directories in it share.
func volumeMode(dir string) os.FileMode {
	st, err := os.Stat(dir)
	if err != nil {
		return 0o755
	}
	return st.Mode() & (os.ModePerm | os.ModeSetgid)
}

// writeHosts writes the pod's /etc/hosts.
func (m *Manager) writeHosts(l *node.Launch) (string, error) {
	var b strings.Builder
	if err := m.hostEntries(&b, l); err != nil {
		return "", err
	}
	if len(l.Pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
		for _, a := range l.Pod.Spec.HostAliases {
			fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
		}
	}
	p := m.hosts(l.Pod.UID)
	if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
		return "", fmt.Errorf("making the pod's directory: %w", err)
	}
	if err := os.WriteFile(p, []byte(b.String()), 0o644); err != nil {
		return "", fmt.Errorf("writing the pod's hosts file: %w", err)
	}
	return p, nil
}

// hostEntries writes what a pod's /etc/hosts has but for its aliases: the entries of the host whose network it shares, or
// those of its own.
func (m *Manager) hostEntries(b *strings.Builder, l *node.Launch) error {
	if l.Pod.Spec.HostNetwork {
		own, err := os.ReadFile(m.hostsFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reading the host's hosts file: %w", err)
		}
		b.WriteString("# Kubernetes-managed hosts file (host network).\n")
		b.Write(own)
		return nil
	}
	b.WriteString("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\nfe00::\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n")
	host, domain := node.Hostname(l.Pod)
	if l.Sandbox != nil {
		for _, ip := range l.Sandbox.IPs {
			if domain != "" {
				fmt.Fprintf(b, "%s\t%s.%s\t%s\n", ip, host, domain, host)
			} else {
				fmt.Fprintf(b, "%s\t%s\n", ip, host)
			}
		}
	}
	return nil
}
