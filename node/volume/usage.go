package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	corev1 "k8s.io/api/core/v1"
)

// Written is the size of a pod's emptyDir volumes that are not in memory, by name, in bytes on the disk.
func (m *Manager) Written(pod *corev1.Pod) (map[string]int64, error) {
	used := map[string]int64{}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.EmptyDir == nil || v.EmptyDir.Medium == corev1.StorageMediumMemory {
			continue
		}
		n, err := DiskUsage(m.volume(pod, v.Name))
		if err != nil {
			return nil, fmt.Errorf("measuring volume %s: %w", v.Name, err)
		}
		used[v.Name] = n
	}
	return used, nil
}

// blockSize is the unit in which file systems count a file's blocks, in bytes.
const blockSize = 512

// DiskUsage is what the files below a directory take on the disk, in bytes, a file of several names counted once. Files may
// come and go meanwhile; a directory that is not there takes nothing.
func DiskUsage(dir string) (int64, error) {
	total := int64(0)
	linked := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink > 1 && !d.IsDir() && linked[st.Ino] {
			return nil
		}
		linked[st.Ino] = true
		total += st.Blocks * blockSize
		return nil
	})
	return total, err
}
