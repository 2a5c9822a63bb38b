package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// cgroups is where the kernel shows its control groups.
const cgroups = "/sys/fs/cgroup"

// limitPod makes the pod's control group before its containers are put into it, with the pod's share of CPU and, where
// every container has a limit, the limits of all together.
func limitPod(root string, unified bool, pod *corev1.Pod) error {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	limits := resource.PodLimits(pod, resource.PodResourcesOptions{})
	shares := max(requests.Cpu().MilliValue()*cpuShares/1000, minShares)
	quota, memory := int64(-1), int64(-1)
	if limited(pod, corev1.ResourceCPU) {
		quota = max(limits.Cpu().MilliValue()*cpuPeriod/1000, minQuota)
	}
	if limited(pod, corev1.ResourceMemory) {
		memory = limits.Memory().Value()
	}
	path := cgroupParent(pod)
	if unified {
		return limitUnified(root, path, shares, quota, memory)
	}
	// A best-effort pod gets what others leave.
	if strings.HasPrefix(path, "/kubepods/besteffort/") {
		if err := setGroup(filepath.Join(root, "cpu/kubepods/besteffort"), "cpu.shares", minShares); err != nil {
			return err
		}
	}
	cpu := filepath.Join(root, "cpu", path)
	if err := setGroup(cpu, "cpu.shares", shares); err != nil {
		return err
	}
	if quota > 0 {
		if err := setGroup(cpu, "cpu.cfs_quota_us", quota); err != nil {
			return err
		}
	}
	if memory > 0 {
		return setGroup(filepath.Join(root, "memory", path), "memory.limit_in_bytes", memory)
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

// limitUnified is limitPod in cgroups version 2, where each level has to hand its controllers down.
func limitUnified(root, path string, shares, quota, memory int64) error {
	at := root
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if err := setText(at, "cgroup.subtree_control", "+cpu +memory +pids"); err != nil {
			return err
		}
		at = filepath.Join(at, part)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return fmt.Errorf("making control group: %w", err)
		}
	}
	// From 2..262144 shares to a weight of 1..10000.
	if err := setGroup(at, "cpu.weight", 1+(shares-2)*9999/262142); err != nil {
		return err
	}
	if quota > 0 {
		if err := setText(at, "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod)); err != nil {
			return err
		}
	}
	if memory > 0 {
		return setGroup(at, "memory.max", memory)
	}
	return nil
}

// removeGroups removes a pod's control groups from all hierarchies, unless something still runs in them.
func removeGroups(root string, unified bool, uid string) error {
	if uid == "" {
		return nil
	}
	pattern := filepath.Join(root, "*")
	if unified {
		pattern = root
	}
	var dirs []string
	for _, class := range []string{"", "burstable", "besteffort"} {
		ds, err := filepath.Glob(filepath.Join(pattern, "kubepods", class, "pod"+uid))
		if err != nil {
			return fmt.Errorf("looking for the pod's control groups: %w", err)
		}
		dirs = append(dirs, ds...)
	}
	for _, d := range dirs {
		es, err := os.ReadDir(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for the pod's control groups: %w", err)
		}
		groups := []string{}
		for _, e := range es {
			if e.IsDir() {
				groups = append(groups, filepath.Join(d, e.Name()))
			}
		}
		for _, g := range append(groups, d) {
			if err := os.Remove(g); err != nil && !errors.Is(err, fs.ErrNotExist) && !busy(err) {
				return fmt.Errorf("removing a control group: %w", err)
			}
		}
	}
	return nil
}
