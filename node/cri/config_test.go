package cri

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

func ptr[T any](v T) *T { return &v }

func quantities(cpu, memory string) corev1.ResourceList {
	l := corev1.ResourceList{}
	if cpu != "" {
		l[corev1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		l[corev1.ResourceMemory] = resource.MustParse(memory)
	}
	return l
}

func launch(edit func(p *corev1.Pod, c *corev1.Container)) *node.Launch {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i:1"}}}}
	if edit != nil {
		edit(p, &p.Spec.Containers[0])
	}
	return &node.Launch{Pod: p, Spec: &p.Spec.Containers[0], Sandbox: &node.Sandbox{}, Image: &node.Image{ID: "sha"}, Memory: 1 << 30}
}

func TestResources(t *testing.T) {
	for _, tt := range []struct {
		name             string
		requests, limits corev1.ResourceList
		shares, quota    int64
		memory, oom      int64
		parent           string
	}{
		{"best effort", nil, nil, 2, 0, 0, 1000, "/kubepods/besteffort/podu"},
		{"burstable", quantities("250m", "512Mi"), nil, 256, 0, 0, 500, "/kubepods/burstable/podu"},
		{"guaranteed", quantities("1", "64Mi"), quantities("1", "64Mi"), 1024, 100_000, 64 << 20, -997, "/kubepods/podu"},
		{"limits stand for requests", nil, quantities("500m", ""), 512, 50_000, 0, 999, "/kubepods/burstable/podu"},
		{"the least", quantities("1m", ""), quantities("1m", ""), 2, 1000, 0, 999, "/kubepods/burstable/podu"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := launch(func(_ *corev1.Pod, c *corev1.Container) {
				c.Resources = corev1.ResourceRequirements{Requests: tt.requests, Limits: tt.limits}
			})
			r := (&Runtime{lowest: -1000}).resources(l)
			if r.CpuShares != tt.shares || r.CpuQuota != tt.quota || r.MemoryLimitInBytes != tt.memory || r.OomScoreAdj != tt.oom {
				t.Errorf("shares %d, quota %d, memory %d, oom %d; want %d, %d, %d, %d", r.CpuShares, r.CpuQuota, r.MemoryLimitInBytes, r.OomScoreAdj, tt.shares, tt.quota, tt.memory, tt.oom)
			}
			if got := cgroupParent(l.Pod); got != tt.parent {
				t.Errorf("cgroup %s, want %s", got, tt.parent)
			}
		})
	}
	l := launch(func(_ *corev1.Pod, c *corev1.Container) {
		c.Resources = corev1.ResourceRequirements{Requests: quantities("1", "1Mi"), Limits: quantities("1", "1Mi")}
	})
	if got := (&Runtime{lowest: 7}).resources(l).OomScoreAdj; got != 7 {
		t.Errorf("score %d is below what the kernel allows, 7", got)
	}
}

func TestSecurity(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edit  func(p *corev1.Pod, c *corev1.Container)
		image node.Image
		check func(s *runtimeapi.LinuxContainerSecurityContext) bool
		err   string
	}{
		{"none", nil, node.Image{}, func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.RunAsUser == nil && !s.Privileged && !s.NoNewPrivs && len(s.MaskedPaths) > 0 && s.Seccomp.ProfileType == runtimeapi.SecurityProfile_Unconfined
		}, ""},
		{"the container's over the pod's", func(p *corev1.Pod, c *corev1.Container) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr(int64(1)), RunAsGroup: ptr(int64(2)), FSGroup: ptr(int64(3)), SupplementalGroups: []int64{4}}
			c.SecurityContext = &corev1.SecurityContext{RunAsUser: ptr(int64(5))}
		}, node.Image{}, func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.RunAsUser.Value == 5 && s.RunAsGroup.Value == 2 && len(s.SupplementalGroups) == 2
		}, ""},
		{"a group alone goes with the image's user", func(_ *corev1.Pod, c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{RunAsGroup: ptr(int64(9))}
		}, node.Image{UID: ptr(int64(8))}, func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.RunAsUser.Value == 8 && s.RunAsGroup.Value == 9
		}, ""},
		{"root where it is forbidden", func(_ *corev1.Pod, c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: ptr(true)}
		}, node.Image{}, nil, `container has runAsNonRoot and image will run as root (pod: "p_ns(u)", container: c)`},
		{"a name where a number is needed", func(_ *corev1.Pod, c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: ptr(true)}
		}, node.Image{User: "web"}, nil, `container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root (pod: "p_ns(u)", container: c)`},
		{"privileged is never confined", func(p *corev1.Pod, c *corev1.Container) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
			c.SecurityContext = &corev1.SecurityContext{Privileged: ptr(true)}
		}, node.Image{}, func(s *runtimeapi.LinuxContainerSecurityContext) bool {
			return s.Privileged && s.Seccomp.ProfileType == runtimeapi.SecurityProfile_Unconfined
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := launch(tt.edit)
			l.Image = &tt.image
			s, err := (&Runtime{}).security(l)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || !tt.check(s) {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestControlGroups(t *testing.T) {
	root := t.TempDir()
	l := launch(func(_ *corev1.Pod, c *corev1.Container) {
		c.Resources = corev1.ResourceRequirements{Requests: quantities("500m", "1Mi"), Limits: quantities("1", "2Mi")}
	})
	if err := (hierarchy{root, false}).limit(l.Pod); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"cpu/kubepods/burstable/podu/cpu.shares": "512", "cpu/kubepods/burstable/podu/cpu.cfs_quota_us": "100000",
		"memory/kubepods/burstable/podu/memory.limit_in_bytes": "2097152",
	} {
		if b, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(b) != want {
			t.Errorf("%s: %s, %v; want %s", file, b, err, want)
		}
	}
	root = t.TempDir()
	if err := (hierarchy{root, true}).limit(l.Pod); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cpu.weight": "20", "cpu.max": "100000 100000", "memory.max": "2097152"} {
		if b, err := os.ReadFile(filepath.Join(root, "kubepods/burstable/podu", file)); err != nil || string(b) != want {
			t.Errorf("%s: %s, %v; want %s", file, b, err, want)
		}
	}
}

// The burstable class has what its pods ask for together, the best-effort class the least, and all pods the machine's.
func TestSharesOfClasses(t *testing.T) {
	burstable := func(uid, cpu string) *corev1.Pod {
		l := launch(func(p *corev1.Pod, c *corev1.Container) {
			p.UID, c.Resources.Requests = types.UID(uid), quantities(cpu, "")
		})
		return l.Pod
	}
	for _, tt := range []struct {
		unified                bool
		burstable, best, all   string
		least, one, two, whole int64
	}{
		{false, "cpu/kubepods/burstable/cpu.shares", "cpu/kubepods/besteffort/cpu.shares", "cpu/kubepods/cpu.shares",
			2, 512, 1536, int64(runtime.NumCPU()) * 1024},
		{true, "kubepods/burstable/cpu.weight", "kubepods/besteffort/cpu.weight", "kubepods/cpu.weight",
			1, 20, 59, 1 + (int64(runtime.NumCPU())*1024-2)*9999/262142},
	} {
		h := hierarchy{t.TempDir(), tt.unified}
		expect := func(when, file string, want int64) {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(h.root, file))
			if err != nil || string(b) != fmt.Sprint(want) {
				t.Errorf("%s %s: %s, %v; want %d", when, file, b, err, want)
			}
		}
		step := func(what string, do func() error, want int64) {
			t.Helper()
			if err := errors.Join(do(), h.divide()); err != nil {
				t.Fatal(err)
			}
			expect(what, tt.burstable, want)
		}
		step("at the start", func() error { return nil }, tt.least)
		step("with a pod", func() error { return h.limit(burstable("a", "500m")) }, tt.one)
		step("with two", func() error { return h.limit(burstable("b", "1")) }, tt.two)
		step("with one of them gone", func() error { return os.RemoveAll(filepath.Join(h.root, filepath.Dir(tt.burstable), "podb")) }, tt.one)
		expect("always", tt.best, tt.least)
		expect("always", tt.all, tt.whole)
	}
}

// What is left of a pod goes with all that is below it, in every tree of the kernel, and what an agent long gone has left,
// too; what has just been made, and what is in use, stays.
func TestRemoveControlGroups(t *testing.T) {
	h := hierarchy{t.TempDir(), false}
	group := func(path string, age time.Duration) string {
		t.Helper()
		dir := filepath.Join(h.root, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	there := func(dir string) bool {
		t.Helper()
		_, err := os.Stat(dir)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, path := range []string{"cpu/kubepods/podx/container/below", "memory/kubepods/burstable/podx"} {
		group(path, 0)
	}
	if err := h.remove("x"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"cpu/kubepods/podx", "memory/kubepods/burstable/podx"} {
		if there(filepath.Join(h.root, path)) {
			t.Errorf("%s is still there", path)
		}
	}
	old, young, used := group("cpu/kubepods/podold", time.Hour), group("cpu/kubepods/podyoung", time.Minute), group("cpu/kubepods/podused", 0)
	// A file stands for what runs in a group: neither lets the directory be removed.
	if err := os.WriteFile(filepath.Join(used, "process"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	group("cpu/kubepods/podused", time.Hour)
	if err := h.sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	if there(old) || !there(young) || !there(used) {
		t.Errorf("after the sweep: old there %t, young %t, used %t; want only the old one gone", there(old), there(young), there(used))
	}
	if err := h.remove("used"); err == nil {
		t.Error("a group in use is removed without an error")
	}
	// What is left running of a pod that has ended is killed.
	straggler := exec.Command("sleep", "30")
	if err := straggler.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(used, "cgroup.procs"), fmt.Appendf(nil, "0\n%d\n", straggler.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.remove("used"); err == nil {
		t.Error("a group in use is removed without an error")
	}
	if err := straggler.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("what ran in the group ended with %v, want killed", err)
	}
}

// A name that the kernel does not take is refused in words before anything is made for the pod.
func TestLongFQDN(t *testing.T) {
	l := launch(func(p *corev1.Pod, _ *corev1.Container) {
		p.Name, p.Spec.Subdomain, p.Spec.SetHostnameAsFQDN = strings.Repeat("x", 60), "sub", ptr(true)
	})
	err := (&Runtime{}).RunSandbox(t.Context(), l.Pod, 0)
	want := "failed to construct FQDN from pod hostname and cluster domain, FQDN " + strings.Repeat("x", 60) +
		".sub.ns.svc.cluster.local is too long (64 characters is the max, 85 characters requested)"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A pod can end where the agent may not write control groups: it has none then.
func TestRemoveGroupsOfNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file") // nothing can be made below one
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, unified := range []bool{false, true} {
		r := &Runtime{groups: hierarchy{file, unified}}
		if err := r.divide(); err == nil {
			t.Error("control groups are made below a file")
		}
		if err := r.RemoveGroups("x"); err != nil {
			t.Errorf("removing the groups of a pod that has none, unified %t: %v", unified, err)
		}
	}
}

func TestSandboxConfig(t *testing.T) {
	l := launch(func(p *corev1.Pod, c *corev1.Container) {
		p.Name = strings.Repeat("long-", 20) + "x"
		c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 8080, Protocol: corev1.ProtocolTCP}, {ContainerPort: 90}}
		p.Spec.ShareProcessNamespace = ptr(true)
		p.Spec.DNSPolicy = corev1.DNSNone
		p.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.53"}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("2")}}}
	})
	cfg := (&Runtime{cfg: Config{LogRoot: "/log"}}).sandboxConfig(l.Pod, 3)
	if len(cfg.Hostname) > 63 || strings.HasSuffix(cfg.Hostname, "-") {
		t.Errorf("hostname %q", cfg.Hostname)
	}
	// The sandbox of a pod on the host's network has no UTS namespace whose name could be set.
	shared := launch(func(p *corev1.Pod, _ *corev1.Container) { p.Spec.HostNetwork = true })
	if h := (&Runtime{}).sandboxConfig(shared.Pod, 0).Hostname; h != "" {
		t.Errorf("hostname %q on the host's network, want none", h)
	}
	if len(cfg.PortMappings) != 1 || cfg.PortMappings[0].HostPort != 8080 {
		t.Errorf("ports %v", cfg.PortMappings)
	}
	if d := cfg.DnsConfig; len(d.Servers) != 1 || d.Options[0] != "ndots:2" {
		t.Errorf("dns %v", d)
	}
	// What a pod adds to the cluster's configuration comes once, and its options replace those of the same name.
	l.Pod.Spec.DNSPolicy = corev1.DNSClusterFirst
	l.Pod.Spec.DNSConfig.Nameservers = append(l.Pod.Spec.DNSConfig.Nameservers, "10.96.0.10")
	l.Pod.Spec.DNSConfig.Searches = []string{"cluster.local", "example.com"}
	d := (&Runtime{cfg: Config{DNS: []string{"10.96.0.10"}}}).dns(l.Pod)
	if got, want := strings.Join(append(append(d.Servers, d.Searches...), d.Options...), " "),
		"10.96.0.10 192.0.2.53 ns.svc.cluster.local svc.cluster.local cluster.local example.com ndots:2"; got != want {
		t.Errorf("dns %q, want %q", got, want)
	}
	if cfg.Linux.SecurityContext.NamespaceOptions.Pid != runtimeapi.NamespaceMode_POD || cfg.Metadata.Attempt != 3 {
		t.Errorf("config %v", cfg)
	}
}
