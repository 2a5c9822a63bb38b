package volume

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/client"
	"pintle.dev/node"
	"pintle.dev/node/nodetest"
)

func ptr[T any](v T) *T { return &v }

// tree is a directory's files by path, links followed, without what starts with "..".
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(rel string)
	walk = func(rel string) {
		es, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			p := filepath.Join(rel, e.Name())
			if strings.HasPrefix(e.Name(), "..") {
				continue
			}
			st, err := os.Stat(filepath.Join(dir, p))
			if err != nil {
				t.Fatal(err)
			}
			if st.IsDir() {
				walk(p)
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, p))
			if err != nil {
				t.Fatal(err)
			}
			out[p] = st.Mode().Perm().String() + " " + string(b)
		}
	}
	walk("")
	return out
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for p, w := range want {
		if got[p] != w {
			t.Errorf("%s: %q, want %q", p, got[p], w)
		}
	}
}

func TestProjectIsAtomic(t *testing.T) {
	dir := t.TempDir()
	put := func(files map[string]file) {
		t.Helper()
		if err := project(dir, files, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(map[string]file{"a": {data: []byte("1"), mode: 0o644}, "sub/b": {data: []byte("2"), mode: 0o400}})
	same(t, tree(t, dir), map[string]string{"a": "-rw-r--r-- 1", "sub/b": "-r-------- 2"})
	first, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	put(map[string]file{"a": {data: []byte("1"), mode: 0o644}, "sub/b": {data: []byte("2"), mode: 0o400}})
	if again, err := os.Readlink(filepath.Join(dir, dataLink)); err != nil || again != first {
		t.Errorf("the same content was written again: %s, %v", again, err)
	}
	put(map[string]file{"a": {data: []byte("3"), mode: 0o644}, "c": {data: nil, mode: 0o644}})
	same(t, tree(t, dir), map[string]string{"a": "-rw-r--r-- 3", "c": "-rw-r--r-- "})
	if _, err := os.Stat(filepath.Join(dir, first)); !os.IsNotExist(err) {
		t.Errorf("the former state is still there: %v", err)
	}
	for _, bad := range []string{"../x", "/x", "..x", "a/../../x"} {
		if err := project(dir, map[string]file{bad: {}}, nil); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}

// manager is a Manager that mounts nothing, over an API with one ConfigMap and one Secret.
func manager(t *testing.T) (*Manager, *nodetest.Client) {
	t.Helper()
	c := nodetest.New()
	if _, err := client.ConfigMaps.Create(t.Context(), c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "ns"},
		Data: map[string]string{"k": "v", "l": "w"}, BinaryData: map[string][]byte{"b": {0, 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Secrets.Create(t.Context(), c, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns"},
		Data: map[string][]byte{"p": []byte("secret")}}); err != nil {
		t.Fatal(err)
	}
	c.Token = func(client.Change) (any, error) {
		return &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: "tok", ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}}, nil
	}
	m, err := New(Config{Root: t.TempDir(), Client: c, Allocatable: func() corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.root = false
	return m, c
}

func withVolume(v corev1.VolumeSource) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u1", Labels: map[string]string{"b": "2", "a": "1"}},
		Spec: corev1.PodSpec{ServiceAccountName: "default", Volumes: []corev1.Volume{{Name: "v", VolumeSource: v}},
			Containers: []corev1.Container{{Name: "c", TerminationMessagePath: "/dev/termination-log", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}},
				Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}}}}},
	}
}

func TestSources(t *testing.T) {
	cm := func(o bool, items ...corev1.KeyToPath) corev1.VolumeSource {
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: items, Optional: &o}}
	}
	for _, tt := range []struct {
		name   string
		source corev1.VolumeSource
		want   map[string]string
		err    string
	}{
		{"config map", cm(false), map[string]string{"k": "-rw-r--r-- v", "l": "-rw-r--r-- w", "b": "-rw-r--r-- \x00\x01"}, ""},
		{"items", cm(false, corev1.KeyToPath{Key: "k", Path: "x/y", Mode: ptr(int32(0o600))}), map[string]string{"x/y": "-rw------- v"}, ""},
		{"missing item", cm(false, corev1.KeyToPath{Key: "none", Path: "x"}), nil, `MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: none`},
		{"optional item", cm(true, corev1.KeyToPath{Key: "none", Path: "x"}), map[string]string{}, ""},
		{"no config map", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}}}, nil,
			`MountVolume.SetUp failed for volume "v" : configmap "none" not found`},
		{"optional config map", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: ptr(true)}}, map[string]string{}, ""},
		{"secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: ptr(int32(0o400))}}, map[string]string{"p": "-r-------- secret"}, ""},
		{"downward API", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			{Path: "mem", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}},
			{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}},
		}}}, map[string]string{"labels": "-rw-r--r-- a=\"1\"\nb=\"2\"", "mem": "-rw-r--r-- 64", "cpu": "-rw-r--r-- 2"}, ""},
		{"projected", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}},
		}}}, map[string]string{"token": "-rw-r--r-- tok", "p": "-rw-r--r-- secret"}, ""},
		{"empty", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, map[string]string{}, ""},
		{"claim", corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "x"}}, nil,
			`MountVolume.SetUp failed for volume "v" : volumes of this kind need a storage driver, which this node does not have`},
		{"host path", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/none-such", Type: ptr(corev1.HostPathDirectory)}}, nil,
			`MountVolume.SetUp failed for volume "v" : hostPath type check failed: /none-such is not a directory`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := manager(t)
			pod := withVolume(tt.source)
			err := m.SetUp(t.Context(), pod)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			same(t, tree(t, m.volume(pod, "v")), tt.want)
		})
	}
}

func TestRefreshFollowsTheAPI(t *testing.T) {
	m, c := manager(t)
	pod := withVolume(corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}})
	if err := m.SetUp(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ConfigMaps.Update(t.Context(), c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "ns"}, Data: map[string]string{"new": "1"}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Refresh(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	same(t, tree(t, m.volume(pod, "v")), map[string]string{"new": "-rw-r--r-- 1"})
}

func TestMounts(t *testing.T) {
	m, _ := manager(t)
	pod := withVolume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"x", "y"}}}
	if err := m.SetUp(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	l := &node.Launch{Pod: pod, Spec: &pod.Spec.Containers[0], Sandbox: &node.Sandbox{IPs: []string{"10.0.0.7"}}, Attempt: 2}
	ms, _, err := m.Mounts(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for _, mt := range ms {
		at[mt.Container] = mt.Host
	}
	if len(at) != 3 || at["/v"] != m.volume(pod, "v") {
		t.Errorf("mounts: %v", at)
	}
	hosts, err := os.ReadFile(at["/etc/hosts"])
	if err != nil || !strings.Contains(string(hosts), "10.0.0.7\tp\n") || !strings.Contains(string(hosts), "192.0.2.9\tx\ty\n") {
		t.Errorf("hosts: %s, %v", hosts, err)
	}
	if err := os.WriteFile(at["/dev/termination-log"], []byte("why"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := node.Instance{ID: "x", Attempt: 2}
	s := &node.PodState{UID: "u1", Containers: []node.Container{{Name: "c", Instances: []node.Instance{in}}}}
	if got := m.Message(s, l.Spec, &in); got != "why" {
		t.Errorf("message %q", got)
	}
	m.cfg.Logs = t.TempDir()
	for _, name := range []string{"ns_p_u1", "ns_p_u2", "ns_p_", "ns_p_.."} {
		if err := os.MkdirAll(filepath.Join(m.cfg.Logs, name, "c"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if us, err := m.Present(); err != nil || !slices.Equal(us, []types.UID{"u1", "u2"}) {
		t.Errorf("present: %v, %v; want the pod, and another that has left logs", us, err)
	}
	if err := m.Remove(t.Context(), "u1", false); err != nil {
		t.Fatal(err)
	}
	if got := m.Message(s, l.Spec, &in); got != "why" {
		t.Errorf("message after the volumes went: %q", got)
	}
	if err := m.Remove(t.Context(), "u1", true); err != nil {
		t.Fatal(err)
	}
	if us, err := m.Present(); err != nil || !slices.Equal(us, []types.UID{"u2"}) {
		t.Errorf("left: %v, %v", us, err)
	}
}

// A pod on the host's network sees the host's entries, and its aliases.
func TestHostsOfHostNetwork(t *testing.T) {
	m, _ := manager(t)
	m.hostsFile = filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(m.hostsFile, []byte("127.0.0.1 localhost\n192.0.2.1 machine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	pod := withVolume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	pod.Spec.HostNetwork = true
	pod.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.9", Hostnames: []string{"x", "y"}}}
	p, err := m.writeHosts(&node.Launch{Pod: pod, Spec: &pod.Spec.Containers[0], Sandbox: &node.Sandbox{}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(p)
	if want := "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n192.0.2.1 machine\n\n# Entries added by HostAliases.\n192.0.2.9\tx\ty\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	ms, _, err := m.Mounts(t.Context(), &node.Launch{Pod: pod, Spec: &pod.Spec.Containers[0], Sandbox: &node.Sandbox{}})
	if err != nil || !slices.ContainsFunc(ms, func(mt node.Mount) bool { return mt.Container == "/etc/hosts" && mt.Host == p }) {
		t.Errorf("mounts %v, %v", ms, err)
	}
}

// Files and directories of a volume belong to the pod's fsGroup, and so does what is made in them.
func TestProjectForGroup(t *testing.T) {
	dir := t.TempDir()
	gid := int64(os.Getgid())
	if os.Geteuid() == 0 {
		gid = 4711
	}
	if err := share(dir, 0o777|os.ModeSticky, &gid); err != nil {
		t.Fatal(err)
	}
	if err := project(dir, map[string]file{"a": {mode: 0o600}, "x/y/b": {mode: 0o400}}, &gid); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{".": "dgtrwxrwxrwx", "..data/.": "dgrwxr-xr-x", "..data/x": "dgrwxr-xr-x", "..data/x/y": "dgrwxr-xr-x", "a": "-rw-r-----", "x/y/b": "-r--r-----"} {
		st, err := os.Stat(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		if group := int64(st.Sys().(*syscall.Stat_t).Gid); st.Mode().String() != want || group != gid {
			t.Errorf("%s: %s of group %d, want %s of %d", p, st.Mode(), group, want, gid)
		}
	}
}

// TestVolumeModes looks at the directories of volumes: those in memory are sticky, as every tmpfs is, and what a subPath
// makes on its way can be passed by everybody.
func TestVolumeModes(t *testing.T) {
	m, _ := manager(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "cm", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}},
		{Name: "down", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}},
		{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}}}
	if err := m.SetUp(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	vm := &corev1.VolumeMount{Name: "e", MountPath: "/e", SubPath: "a/b"}
	if _, err := m.subPath(&node.Launch{Pod: pod, Spec: &corev1.Container{Name: "c"}}, vm, m.volume(pod, "e"), "a/b", 0); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"cm": 0o777, "down": 0o777 | os.ModeSticky, "e": 0o777, "e/a": 0o755, "e/a/b": 0o777} {
		st, err := os.Stat(m.volume(pod, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Mode() &^ os.ModeDir; got != want {
			t.Errorf("%s: mode %v, want %v", name, got, want)
		}
	}
}

// TestDiskUsage counts a file of two names once, and what is not there not at all.
func TestDiskUsage(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	before, err := DiskUsage(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "sub", "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.Reader, 1<<20); err != nil { // some file systems keep nothing of zeros
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil { // some say what a file takes when it is on disk
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "sub", "f"), filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	after, err := DiskUsage(dir)
	if grown := after - before; err != nil || grown < 1<<20 || grown >= 2<<20 {
		t.Errorf("a mebibyte takes %d bytes, %v", grown, err)
	}
	if n, err := DiskUsage(filepath.Join(dir, "none")); n != 0 || err != nil {
		t.Errorf("a directory that is not there takes %d bytes, %v", n, err)
	}
}

// TestTerminationMessagesDoNotAddUp makes the mounts of many attempts: messages stay for those that may have a container.
func TestTerminationMessagesDoNotAddUp(t *testing.T) {
	m, _ := manager(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", TerminationMessagePath: "/dev/termination-log"}}}}
	for attempt := range uint32(12) {
		if _, _, err := m.Mounts(t.Context(), &node.Launch{Pod: pod, Spec: &pod.Spec.Containers[0], Attempt: attempt}); err != nil {
			t.Fatal(err)
		}
	}
	same(t, tree(t, filepath.Dir(m.termination("u", "c", 0))), map[string]string{"9": "-rw-rw-rw- ", "10": "-rw-rw-rw- ", "11": "-rw-rw-rw- "})
}

func TestSubPathStaysInTheVolume(t *testing.T) {
	m, _ := manager(t)
	pod := withVolume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	if err := m.SetUp(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	v := m.volume(pod, "v")
	if err := os.Symlink("/etc", filepath.Join(v, "out")); err != nil {
		t.Fatal(err)
	}
	env := []node.Variable{{Name: "NAME", Value: "here"}, {Name: "UP", Value: ".."}, {Name: "EMPTY"}}
	for _, tt := range []struct{ sub, expr, want string }{
		{sub: "made/here"},
		{expr: "made/$(NAME)"},
		{sub: "out/passwd", want: `failed to prepare subPath for volumeMount "v" of container "c"`},
		{sub: "../x", want: "unable to provision SubPath `../x`: must not contain '..'"},
		{expr: "a/$(UP)/b", want: "unable to provision SubPath `a/../b`: must not contain '..'"},
		{sub: "/etc", want: "error SubPath `/etc` must not be an absolute path"},
		{expr: "$(NONE)/$(NAME)/$(EMPTY)", want: "missing value for EMPTY, NONE"},
	} {
		vm := &corev1.VolumeMount{Name: "v", MountPath: "/v", SubPath: tt.sub, SubPathExpr: tt.expr}
		got := ""
		if _, err := m.mount(&node.Launch{Pod: pod, Spec: &pod.Spec.Containers[0], Env: env}, vm, 0); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("subPath %q: %q, want %q", tt.sub+tt.expr, got, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(v, "made/here")); err != nil {
		t.Error(err)
	}
}

// What follows the API is the agent's to write: containers see it read-only, whatever their mounts say.
func TestContentOfTheAPIIsReadOnly(t *testing.T) {
	m, _ := manager(t)
	for _, tt := range []struct {
		source corev1.VolumeSource
		want   bool
	}{
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}, true},
		{corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}, true},
		{corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}, true},
		{corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}, true},
		{corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, false},
		{corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: t.TempDir()}}, false},
	} {
		pod := withVolume(tt.source)
		mt, err := m.mount(&node.Launch{Pod: pod, Spec: &pod.Spec.Containers[0]}, &corev1.VolumeMount{Name: "v", MountPath: "/v"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if mt.ReadOnly != tt.want {
			t.Errorf("%+v: read-only %t, want %t", tt.source, mt.ReadOnly, tt.want)
		}
	}
}

func TestFallbackToLogs(t *testing.T) {
	m, _ := manager(t)
	logs := t.TempDir()
	m.cfg.LogDir = func(*node.PodState) string { return logs }
	if err := os.MkdirAll(filepath.Join(logs, "c"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "2026-01-01T10:00:00Z stdout F all went\n2026-01-01T10:00:00Z stderr P wr\n2026-01-01T10:00:00Z stderr F ong\n"
	if err := os.WriteFile(filepath.Join(logs, "c", "0.log"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	in := node.Instance{ID: "x", ExitCode: 1}
	s := &node.PodState{UID: "u1", Containers: []node.Container{{Name: "c", Instances: []node.Instance{in}}}}
	spec := &corev1.Container{Name: "c", TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError}
	if got := m.Message(s, spec, &in); got != "all went\nwrong\n" {
		t.Errorf("message %q", got)
	}
	in.ExitCode = 0
	if got := m.Message(s, spec, &in); got != "" {
		t.Errorf("message of a success: %q", got)
	}
}
