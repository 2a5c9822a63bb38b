package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/client"
	"pintle.dev/node"
)

// Config is what a Manager is made from.
type Config struct {
	Root   string // the agent's directory
	Client client.Client
	// Allocatable is what the node has to give, for downward API files about limits that are not set.
	Allocatable func() corev1.ResourceList
	// LogDir is where a pod's containers log, for messages that fall back to the end of the log.
	LogDir func(s *node.PodState) string
	// Logs holds those directories, each named NAMESPACE_NAME_UID; "" where there are none.
	Logs string
}

// Manager keeps the pods' files. It implements node.Files.
type Manager struct {
	cfg  Config
	root bool // may mount and change owners

	hostsFile string // the host's

	mu     sync.Mutex
	tokens map[tokenKey]token
}

// New makes a Manager and its directory.
func New(cfg Config) (*Manager, error) {
	if err := os.MkdirAll(cfg.Root, 0o750); err != nil {
		return nil, fmt.Errorf("making the node's directory: %w", err)
	}
	// Mounts are found by their real path.
	root, err := filepath.EvalSymlinks(cfg.Root)
	if err == nil {
		root, err = filepath.Abs(root)
	}
	if err != nil {
		return nil, fmt.Errorf("finding the node's directory: %w", err)
	}
	cfg.Root = root
	return &Manager{cfg: cfg, root: os.Geteuid() == 0, hostsFile: "/etc/hosts", tokens: map[tokenKey]token{}}, nil
}

func (m *Manager) pods() string                 { return filepath.Join(m.cfg.Root, "pods") }
func (m *Manager) dir(uid types.UID) string     { return filepath.Join(m.pods(), string(uid)) }
func (m *Manager) hosts(uid types.UID) string   { return filepath.Join(m.dir(uid), "etc-hosts") }
func (m *Manager) volumes(uid types.UID) string { return filepath.Join(m.dir(uid), "volumes") }

func (m *Manager) volume(pod *corev1.Pod, name string) string {
	return filepath.Join(m.volumes(pod.UID), name)
}

func (m *Manager) termination(uid types.UID, container string, attempt uint32) string {
	return filepath.Join(m.dir(uid), "containers", container, fmt.Sprint(attempt))
}

// SetUp implements node.Files.
func (m *Manager) SetUp(ctx context.Context, pod *corev1.Pod) error {
	if err := os.MkdirAll(m.volumes(pod.UID), 0o750); err != nil {
		return fmt.Errorf("making the pod's directory: %w", err)
	}
	return m.each(pod, func(v *corev1.Volume) error { return m.setUp(ctx, pod, v) })
}

// Refresh implements node.Files.
func (m *Manager) Refresh(ctx context.Context, pod *corev1.Pod) error {
	return m.each(pod, func(v *corev1.Volume) error {
		if !projected(v) {
			return nil
		}
		return m.write(ctx, pod, v)
	})
}

// each does something for every volume that a container mounts and gathers the errors, worded as events.
func (m *Manager) each(pod *corev1.Pod, do func(v *corev1.Volume) error) error {
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if err := do(v); err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", v.Name, err)) //nolint:staticcheck // upstream's words
		}
	}
	return errors.Join(errs...)
}

func projected(v *corev1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
}

func (m *Manager) setUp(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) error {
	dir := m.volume(pod, v.Name)
	switch {
	case v.EmptyDir != nil:
		return m.emptyDir(pod, v.EmptyDir, dir)
	case v.HostPath != nil:
		return hostPath(v.HostPath)
	case projected(v):
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the volume's directory: %w", err)
		}
		mode := os.FileMode(0o777)
		if v.ConfigMap == nil { // what may be secret does not touch the disk
			mode |= os.ModeSticky // as every tmpfs has it
			if m.root {
				if err := mountTmpfs(dir, ""); err != nil {
					return err
				}
			}
		}
		if err := share(dir, mode, m.fsGroup(pod)); err != nil {
			return err
		}
		return m.write(ctx, pod, v)
	}
	return errors.New("volumes of this kind need a storage driver, which this node does not have")
}

// fsGroup is the group that the pod's volumes are given to; nil for none, and where groups cannot be changed.
func (m *Manager) fsGroup(pod *corev1.Pod) *int64 {
	if !m.root {
		return nil
	}
	return fsGroup(pod)
}

func fsGroup(pod *corev1.Pod) *int64 {
	if sc := pod.Spec.SecurityContext; sc != nil {
		return sc.FSGroup
	}
	return nil
}

func (m *Manager) emptyDir(pod *corev1.Pod, e *corev1.EmptyDirVolumeSource, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("making the volume's directory: %w", err)
	}
	switch e.Medium {
	case corev1.StorageMediumDefault:
	case corev1.StorageMediumMemory:
		options := ""
		if e.SizeLimit != nil && e.SizeLimit.Value() > 0 {
			options = fmt.Sprintf("size=%d", e.SizeLimit.Value())
		}
		if !m.root {
			return errors.New("a volume in memory can be mounted only by root")
		}
		if err := mountTmpfs(dir, options); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown storage medium %q", e.Medium)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("opening the volume to its users: %w", err)
	}
	gid := fsGroup(pod)
	if gid == nil {
		return nil
	}
	if err := os.Chown(dir, -1, int(*gid)); err != nil {
		return fmt.Errorf("giving the volume to group %d: %w", *gid, err)
	}
	if err := os.Chmod(dir, 0o777|os.ModeSetgid); err != nil {
		return fmt.Errorf("giving the volume to group %d: %w", *gid, err)
	}
	return nil
}

// hostPath checks, or makes, what a hostPath volume names.
func hostPath(h *corev1.HostPathVolumeSource) error {
	kind := corev1.HostPathUnset
	if h.Type != nil {
		kind = *h.Type
	}
	st, err := os.Stat(h.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	wrong := func(what string) error { return fmt.Errorf("hostPath type check failed: %s is not %s", h.Path, what) }
	is := func(ok bool, what string) error {
		if missing || !ok {
			return wrong(what)
		}
		return nil
	}
	mode := os.FileMode(0)
	if !missing {
		mode = st.Mode()
	}
	switch kind {
	case corev1.HostPathUnset:
		return nil
	case corev1.HostPathDirectoryOrCreate:
		if missing {
			return os.MkdirAll(h.Path, 0o755)
		}
		return is(mode.IsDir(), "a directory")
	case corev1.HostPathDirectory:
		return is(mode.IsDir(), "a directory")
	case corev1.HostPathFileOrCreate:
		if missing {
			return os.WriteFile(h.Path, nil, 0o644)
		}
		return is(mode.IsRegular(), "a file")
	case corev1.HostPathFile:
		return is(mode.IsRegular(), "a file")
	case corev1.HostPathSocket:
		return is(mode&os.ModeSocket != 0, "a socket file")
	case corev1.HostPathCharDev:
		return is(mode&os.ModeCharDevice != 0, "a character device")
	case corev1.HostPathBlockDev:
		return is(mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0, "a block device")
	}
	return fmt.Errorf("%s is an invalid volume type", kind)
}

// maxMessage and maxFallback bound a termination message, in bytes, and fallbackLines the log it may fall back to.
const (
	maxMessage    = 4096
	maxFallback   = 2048
	fallbackLines = 80
)

// Message implements node.Files.
func (m *Manager) Message(s *node.PodState, spec *corev1.Container, in *node.Instance) string {
	name := ""
	for i := range s.Containers {
		for j := range s.Containers[i].Instances {
			if s.Containers[i].Instances[j].ID == in.ID {
				name = s.Containers[i].Name
			}
		}
	}
	b, err := tail(m.termination(s.UID, name, in.Attempt), maxMessage, false)
	if err == nil && len(b) > 0 {
		return string(b)
	}
	if spec == nil || spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || in.ExitCode == 0 || m.cfg.LogDir == nil {
		return ""
	}
	b, err = tail(filepath.Join(m.cfg.LogDir(s), name, fmt.Sprint(in.Attempt)+".log"), 4*maxFallback, true)
	if err != nil {
		return ""
	}
	return fallback(string(b))
}

// tail reads the beginning, or the end, of a file.
func tail(path string, n int64, end bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(n, st.Size()))
	at := int64(0)
	if end {
		at = st.Size() - int64(len(b))
	}
	if _, err := f.ReadAt(b, at); err != nil {
		return nil, err
	}
	return b, nil
}

// fallback is the text of the last lines of a CRI log.
func fallback(log string) string {
	lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	lines = lines[max(0, len(lines)-fallbackLines):]
	var b strings.Builder
	for _, l := range lines {
		parts := strings.SplitN(l, " ", 4) // time, stream, tag, text
		if len(parts) < 4 {
			continue
		}
		b.WriteString(parts[3])
		if !strings.HasPrefix(parts[2], "P") {
			b.WriteByte('\n')
		}
	}
	s := b.String()
	return s[max(0, len(s)-maxFallback):]
}

// Remove implements node.Files.
func (m *Manager) Remove(_ context.Context, uid types.UID, all bool) error {
	if uid == "" || strings.ContainsAny(string(uid), "/.") {
		return fmt.Errorf("removing the files of pod %q: not a UID", uid)
	}
	dir := m.dir(uid)
	if err := unmountBelow(dir); err != nil {
		return err
	}
	m.mu.Lock()
	for k := range m.tokens {
		if k.uid == uid {
			delete(m.tokens, k)
		}
	}
	m.mu.Unlock()
	if all {
		return m.removeAll(uid)
	}
	// The termination messages of ended containers stay with them.
	if err := errors.Join(os.RemoveAll(m.volumes(uid)), os.RemoveAll(filepath.Join(dir, "volume-subpaths"))); err != nil {
		return fmt.Errorf("removing the pod's volumes: %w", err)
	}
	return nil
}

// removeAll removes the pod's directory and its logs.
func (m *Manager) removeAll(uid types.UID) error {
	if err := os.RemoveAll(m.dir(uid)); err != nil {
		return fmt.Errorf("removing the pod's directory: %w", err)
	}
	logs, err := names(m.cfg.Logs)
	if err != nil {
		return err
	}
	for _, name := range logs {
		if strings.HasSuffix(name, "_"+string(uid)) {
			if err := os.RemoveAll(filepath.Join(m.cfg.Logs, name)); err != nil {
				return fmt.Errorf("removing the pod's logs: %w", err)
			}
		}
	}
	return nil
}

// Present implements node.Files.
func (m *Manager) Present() ([]types.UID, error) {
	pods, err := names(m.pods())
	if err != nil {
		return nil, err
	}
	logs, err := names(m.cfg.Logs)
	if err != nil {
		return nil, err
	}
	for _, name := range logs {
		// What is no pod's must not be taken for one: its directory would be that of all pods, or the one above.
		if uid := name[strings.LastIndexByte(name, '_')+1:]; strings.Trim(uid, ".") != "" {
			pods = append(pods, uid)
		}
	}
	slices.Sort(pods)
	var uids []types.UID
	for _, uid := range slices.Compact(pods) {
		uids = append(uids, types.UID(uid))
	}
	return uids, nil
}

// names lists a directory, which need not exist.
func names(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for what pods have left: %w", err)
	}
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.Name()
	}
	return out, nil
}
