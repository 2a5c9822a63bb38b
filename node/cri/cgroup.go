package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"
)

// cgroups is where the kernel shows its control groups.
const cgroups = "/sys/fs/cgroup"

// hierarchy is the kernel's control groups below a directory: one tree for each controller, or, in version 2, one for all.
// All pods are below /kubepods: those of the burstable and the best-effort class below a group of the class.
type hierarchy struct {
	root    string
	unified bool
}

func host() hierarchy { return hierarchy{cgroups, unifiedCgroups()} }

// shares are the CPU shares of so many thousandths of a core.
func shares(milli int64) int64 { return min(max(milli*cpuShares/1000, minShares), maxShares) }

// divide shares the CPU out among the classes of pods as upstream does: all pods together get the machine's, the best-effort
// what others leave, and the burstable what they ask for together. That is read from their groups, as those of other nodes
// on this machine are among them.
func (h hierarchy) divide() error {
	if err := errors.Join(h.share("/kubepods", int64(runtime.NumCPU())*1000), h.share("/kubepods/besteffort", 0)); err != nil {
		return err
	}
	dir, file, least, most := filepath.Join(h.root, "cpu/kubepods/burstable"), "cpu.shares", int64(minShares), int64(maxShares)
	if h.unified {
		if err := h.delegate("/kubepods/burstable"); err != nil {
			return err
		}
		dir, file, least, most = filepath.Join(h.root, "kubepods/burstable"), "cpu.weight", 1, maxWeight
	}
	pods, err := filepath.Glob(filepath.Join(dir, "pod*", file))
	if err != nil {
		return fmt.Errorf("looking for the control groups of burstable pods: %w", err)
	}
	sum := int64(0)
	for _, p := range pods {
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // it has just been removed
		}
		if err != nil {
			return fmt.Errorf("reading a pod's share of the CPU: %w", err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return fmt.Errorf("reading a pod's share of the CPU from %s: %w", p, err)
		}
		sum += n
	}
	return setGroup(dir, file, min(max(sum, least), most))
}

// share makes a group and gives it its part of the CPU, in thousandths of a core.
func (h hierarchy) share(path string, milli int64) error {
	if !h.unified {
		return setGroup(filepath.Join(h.root, "cpu", path), "cpu.shares", shares(milli))
	}
	if err := h.delegate(path); err != nil {
		return err
	}
	return setGroup(filepath.Join(h.root, path), "cpu.weight", 1+(shares(milli)-minShares)*(maxWeight-1)/(maxShares-minShares))
}

// delegate makes a group of version 2, where each level has to hand its controllers down.
func (h hierarchy) delegate(path string) error {
	at := h.root
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if err := setText(at, "cgroup.subtree_control", "+cpu +memory +pids"); err != nil {
			return err
		}
		at = filepath.Join(at, part)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return fmt.Errorf("making control group: %w", err)
		}
	}
	return nil
}

// limit makes the pod's control group before its containers are put into it, with the pod's share of CPU and, where
// every container has a limit, the limits of all together.
func (h hierarchy) limit(pod *corev1.Pod) error {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	limits := resource.PodLimits(pod, resource.PodResourcesOptions{})
	path := cgroupParent(pod)
	if err := h.share(path, requests.Cpu().MilliValue()); err != nil {
		return err
	}
	if limited(pod, corev1.ResourceCPU) {
		quota := max(limits.Cpu().MilliValue()*cpuPeriod/1000, minQuota)
		dir, file, text := filepath.Join(h.root, "cpu", path), "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)
		if h.unified {
			dir, file, text = filepath.Join(h.root, path), "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod)
		}
		if err := setText(dir, file, text); err != nil {
			return err
		}
	}
	if limited(pod, corev1.ResourceMemory) {
		dir, file := filepath.Join(h.root, "memory", path), "memory.limit_in_bytes"
		if h.unified {
			dir, file = filepath.Join(h.root, path), "memory.max"
		}
		return setGroup(dir, file, limits.Memory().Value())
	}
	return nil
}

// limited reports whether every container of a pod has a limit.
func limited(pod *corev1.Pod, name corev1.ResourceName) bool {
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			if q := cs[i].Resources.Limits[name]; q.IsZero() {
				return false
			}
		}
	}
	return true
}

// setGroup makes a control group and sets one of its values.
func setGroup(dir, file string, value int64) error {
	return setText(dir, file, strconv.FormatInt(value, 10))
}

func setText(dir, file, value string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making control group: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
		return fmt.Errorf("setting a control group's %s: %w", file, err)
	}
	return nil
}

// pods lists the groups of pods, "" standing for all pods, in each of the kernel's trees.
func (h hierarchy) pods(uid types.UID) ([]string, error) {
	trees := filepath.Join(h.root, "*")
	if h.unified {
		trees = h.root
	}
	if uid == "" {
		uid = "*"
	}
	var dirs []string
	for _, class := range []string{"", "burstable", "besteffort"} {
		ds, err := filepath.Glob(filepath.Join(trees, "kubepods", class, "pod"+string(uid)))
		if err != nil {
			return nil, fmt.Errorf("looking for the control groups of pods: %w", err)
		}
		dirs = append(dirs, ds...)
	}
	return dirs, nil
}

// remove removes a pod's control groups. It fails while something runs in them, which it kills: it is left of containers
// that have ended.
func (h hierarchy) remove(uid types.UID) error {
	dirs, err := h.pods(uid)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		err := removeGroup(dir)
		if busy(err) {
			err = errors.Join(err, killGroup(dir))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// killGroup kills what runs in a control group and in those below it.
func killGroup(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for what runs in a control group: %w", err)
		}
		if filepath.Base(path) != "cgroup.procs" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil // it has just been removed
		}
		for _, text := range strings.Fields(string(b)) {
			// 0 stands for a process that cannot be seen from here, and would be this one's group.
			pid, err := strconv.Atoi(text)
			if err != nil || pid <= 0 {
				continue
			}
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("killing process %d of a pod that has ended: %w", pid, err)
			}
		}
		return nil
	})
}

// abandoned is how old the group of a pod is at least that nobody will put anything into any more: it has not just been
// made for a sandbox that is to come.
const abandoned = 10 * time.Minute

// sweep removes the groups of pods in which nothing runs and that are as old as abandoned: nodes whose data was deleted have
// left them. Those of other nodes on this machine stay as long as anything runs in them.
func (h hierarchy) sweep(now time.Time) error {
	dirs, err := h.pods("")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		st, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at a control group: %w", err)
		}
		if now.Sub(st.ModTime()) < abandoned {
			continue
		}
		if err := removeGroup(dir); err != nil && !busy(err) {
			return err
		}
	}
	return nil
}

// removeGroup removes a control group with those below it. What is gone already is no error.
func removeGroup(dir string) error {
	es, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for the groups below a control group: %w", err)
	}
	for _, e := range es {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a control group: %w", err)
	}
	return nil
}

// PrepareGroups shares the CPU out among the classes of pods, and removes groups of pods that nobody looks after any more.
func (r *Runtime) PrepareGroups() error { return errors.Join(r.groups.sweep(time.Now()), r.divide()) }

// RemoveGroups removes what is left of a pod's control groups. It fails while something runs in them.
func (r *Runtime) RemoveGroups(uid types.UID) error {
	if uid == "" {
		return nil
	}
	if err := r.groups.remove(uid); err != nil {
		return err
	}
	if err := r.divide(); err != nil {
		// Pods end all the same where the kernel's groups are not the agent's to write, as in a container.
		slog.Warn("the CPU is not shared out among the classes of pods", "err", err)
	}
	return nil
}

// divide shares the CPU out anew. What is read last is written last.
func (r *Runtime) divide() error {
	r.dividing.Lock()
	defer r.dividing.Unlock()
	return r.groups.divide()
}
