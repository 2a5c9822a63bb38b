package machine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"pintle.dev/node"
)

type resourceList = corev1.ResourceList

// maxPods is how many pods a node takes, maxImages how many images its status lists, and maxNames how many names of each;
// upstream's defaults.
const (
	maxPods   = 110
	maxImages = 50
	maxNames  = 5
)

// Thresholds of pressure; upstream's defaults of hard eviction.
const (
	leastMemory = 100 << 20 // bytes available
	leastDisk   = 0.10      // share of the file system
	leastInodes = 0.05
)

// describe fills the node's status with what the machine is and how it is.
func (m *Machine) describe(ctx context.Context, n *corev1.Node) {
	s := &n.Status
	memory := meminfo()
	var disk unix.Statfs_t
	diskErr := unix.Statfs(m.cfg.Dir, &disk)
	s.Capacity = resourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(memory["MemTotal"], resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(maxPods, resource.DecimalSI),
	}
	if diskErr == nil {
		s.Capacity[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(disk.Blocks)*disk.Bsize, resource.BinarySI)
	}
	for size, bytes := range hugepages() {
		s.Capacity[corev1.ResourceName(corev1.ResourceHugePagesPrefix+size)] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
	s.Allocatable = s.Capacity.DeepCopy()
	if mem := s.Allocatable.Memory(); mem.Value() > leastMemory {
		mem.Sub(*resource.NewQuantity(leastMemory, resource.BinarySI))
		s.Allocatable[corev1.ResourceMemory] = *mem
	}
	if d, ok := s.Allocatable[corev1.ResourceEphemeralStorage]; ok {
		s.Allocatable[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(float64(d.Value())*(1-leastDisk)), resource.BinarySI)
	}
	s.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: m.ip}, {Type: corev1.NodeHostName, Address: m.cfg.Name}}
	s.DaemonEndpoints.KubeletEndpoint.Port = m.cfg.Port
	m.info(s)
	s.Conditions = node.Healthy()
	if memory["MemAvailable"] < leastMemory {
		replace(s, node.Condition(corev1.NodeMemoryPressure, corev1.ConditionTrue, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"))
	}
	if diskErr == nil && (float64(disk.Bavail) < leastDisk*float64(disk.Blocks) || disk.Files > 0 && float64(disk.Ffree) < leastInodes*float64(disk.Files)) {
		replace(s, node.Condition(corev1.NodeDiskPressure, corev1.ConditionTrue, "KubeletHasDiskPressure", "kubelet has disk pressure"))
	}
	m.ready(ctx, s)
}

func replace(s *corev1.NodeStatus, c corev1.NodeCondition) {
	i := slices.IndexFunc(s.Conditions, func(o corev1.NodeCondition) bool { return o.Type == c.Type })
	s.Conditions[i] = c
}

// ready asks the container runtime how it is, and for its images.
func (m *Machine) ready(ctx context.Context, s *corev1.NodeStatus) {
	not := func(format string, args ...any) {
		replace(s, node.Condition(corev1.NodeReady, corev1.ConditionFalse, "KubeletNotReady", fmt.Sprintf(format, args...)))
	}
	h, err := m.runtime.Health(ctx)
	if err != nil {
		not("container runtime is down")
		return
	}
	s.NodeInfo.ContainerRuntimeVersion = h.Name + "://" + h.Version
	switch {
	case h.Runtime != "":
		not("%s", h.Runtime)
	case h.Network != "":
		not("%s", h.Network)
	}
	images, err := m.runtime.Node().Images.List(ctx)
	if err != nil {
		return // the next report has them
	}
	slices.SortFunc(images, func(a, b node.Image) int {
		if a.Size != b.Size {
			return int(min(max(b.Size-a.Size, -1), 1))
		}
		return strings.Compare(a.ID, b.ID)
	})
	s.Images = nil
	for _, im := range images[:min(len(images), maxImages)] {
		s.Images = append(s.Images, corev1.ContainerImage{Names: im.Names[:min(len(im.Names), maxNames)], SizeBytes: im.Size})
	}
}

func (m *Machine) info(s *corev1.NodeStatus) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		s.NodeInfo.KernelVersion = unix.ByteSliceToString(u.Release[:])
	}
	s.NodeInfo.MachineID = line("/etc/machine-id")
	s.NodeInfo.SystemUUID = line("/sys/class/dmi/id/product_uuid")
	if s.NodeInfo.SystemUUID == "" {
		s.NodeInfo.SystemUUID = s.NodeInfo.MachineID
	}
	s.NodeInfo.BootID = line("/proc/sys/kernel/random/boot_id")
	s.NodeInfo.OSImage = osName()
}

// line is a file's first line; "" when it cannot be read.
func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	s, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(s)
}

func osName() string {
	b, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return "Linux"
}

// meminfo is /proc/meminfo in bytes.
func meminfo() map[string]int64 {
	out := map[string]int64{}
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return out
	}
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			out[strings.TrimSuffix(f[0], ":")] = n << 10
		}
	}
	return out
}

// hugepages is what the machine has reserved by page size ("2Mi"), in bytes.
func hugepages() map[string]int64 {
	out := map[string]int64{}
	es, err := os.ReadDir("/sys/kernel/mm/hugepages")
	if err != nil {
		return out
	}
	for _, e := range es {
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(line("/sys/kernel/mm/hugepages/"+e.Name()+"/nr_hugepages"), 10, 64)
		if err != nil {
			continue
		}
		out[resource.NewQuantity(kb<<10, resource.BinarySI).String()] = n * kb << 10
	}
	return out
}
