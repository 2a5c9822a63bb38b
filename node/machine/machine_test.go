package machine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node/containerd"
	"pintle.dev/node/nodetest"
	"pintle.dev/node/oci"
)

const appImage = "pintle.test/app:1"

// patience is how long a test waits for what the machine does in its own time. It is far above what that takes, because
// machines that run tests are busy; nothing waits for it unless something is broken.
const patience = 2 * time.Minute

// bench is one real machine under test, with an API in memory.
type bench struct {
	*testing.T
	api    *nodetest.Client
	m      *Machine
	cfg    Config
	cancel context.CancelFunc
	done   chan error
}

// config is that of a machine with a containerd of its own. It skips the test where none can run, saying why.
func config(t *testing.T) Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("running containers needs root")
	}
	for _, p := range []string{"containerd", "runc", "ctr"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("running containers needs the program %s", p)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "node-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return Config{Name: "n1", Dir: dir, Socket: "none", PodRange: func(context.Context) (string, error) { return "10.251.7.0/24", nil }}
}

// start makes a machine with a containerd of its own and runs it.
func start(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, api: nodetest.New(), cfg: config(t)}
	b.cfg.Client = b.api
	var err error
	if b.m, err = New(t.Context(), b.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.m.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
	b.image()
	b.run()
	t.Cleanup(b.stop)
	return b
}

// image builds the test program and imports it.
func (b *bench) image() {
	b.Helper()
	dir := b.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "app"), "./testdata/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("building the test program: %v\n%s", err, out)
	}
	program, err := os.ReadFile(filepath.Join(dir, "app"))
	if err != nil {
		b.Fatal(err)
	}
	var archive bytes.Buffer
	if err := oci.Write(&archive, oci.Image{Name: appImage, Files: map[string][]byte{"/app": program, "/tmp/.keep": nil}, Entrypoint: []string{"/app"}}); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "app.tar")
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	socket, _ := b.m.Socket()
	names, err := containerd.Import(b.Context(), socket, path)
	if err != nil {
		b.Fatal(err)
	}
	if fmt.Sprint(names) != "["+appImage+"]" {
		b.Errorf("imported %v, want %s", names, appImage)
	}
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan error, 1)
	go func() { b.done <- b.m.Run(ctx) }()
}

func (b *bench) stop() {
	if b.cancel == nil {
		return
	}
	b.cancel()
	b.cancel = nil
	if err := <-b.done; err != nil {
		b.Errorf("Run: %v", err)
	}
}

func pod(name string, edit func(*corev1.Pod)) *corev1.Pod {
	grace := int64(5)
	critical := int32(2000001000) // a machine that is short of disk or memory takes such pods all the same
	p := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{NodeName: "n1", RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace,
			ServiceAccountName: "default", Priority: &critical,
			Containers: []corev1.Container{{Name: "c", Image: appImage, ImagePullPolicy: corev1.PullIfNotPresent,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if edit != nil {
		edit(p)
	}
	return p
}

func (b *bench) create(p *corev1.Pod) {
	b.Helper()
	if _, err := client.Pods.Create(b.Context(), b.api, p); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) get(name string) *corev1.Pod {
	p, err := client.Pods.Get(b.Context(), b.api, api.Key{Namespace: "default", Name: name})
	if api.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// wait waits until a pod is as wanted.
func (b *bench) wait(name, what string, ok func(p *corev1.Pod) bool) *corev1.Pod {
	b.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		p := b.get(name)
		if ok(p) {
			return p
		}
		if time.Now().After(end) {
			if p != nil {
				b.Logf("status: %+v", p.Status)
			}
			b.events()
			b.Fatalf("pod %s is not %s", name, what)
		}
	}
}

// groups are the control groups that pods have, by version 1 or 2 of them.
func (b *bench) groups(uids ...string) []string {
	b.Helper()
	var all []string
	for _, uid := range uids {
		for _, pattern := range []string{"*/kubepods/pod", "*/kubepods/*/pod", "kubepods/pod", "kubepods/*/pod"} {
			gs, err := filepath.Glob("/sys/fs/cgroup/" + pattern + uid)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, gs...)
		}
	}
	return all
}

func ready(p *corev1.Pod) bool {
	if p == nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (b *bench) events() []string {
	evs, err := client.Events.List(b.Context(), b.api, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, e := range evs {
		out = append(out, e.InvolvedObject.Name+" "+e.Reason+": "+e.Message)
		b.Log(out[len(out)-1])
	}
	return out
}

// logs waits until a container's log is as wanted: what is printed comes there a little later.
func (b *bench) logs(t *testing.T, path, want string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		w := httptest.NewRecorder()
		b.m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/containerLogs/default/"+path, nil))
		if w.Body.String() == want {
			return
		}
		if time.Now().After(end) {
			t.Errorf("logs: %q, want %q", w.Body, want)
			return
		}
	}
}

func (b *bench) delete(name string) {
	b.Helper()
	if _, err := client.Pods.Delete(b.Context(), b.api, api.Key{Namespace: "default", Name: name}, nil); err != nil {
		b.Fatal(err)
	}
}

// TestPods runs pods for real: one machine for all, as starting containerd takes its time.
func TestPods(t *testing.T) {
	b := start(t)
	b.create(pod("web", func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Env = []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}, {Name: "NAME", Value: "$(POD)!"}}
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceCPU: resource.MustParse("500m")}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "config", MountPath: "/config"}, {Name: "config", MountPath: "/one", SubPath: "a"}}
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: int32(patience / time.Second), ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}}}
		c.StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: int32(patience / time.Second), ProbeHandler: c.ReadinessProbe.ProbeHandler}
		c.LivenessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: int32(patience / time.Second), FailureThreshold: 2, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthy", Port: intstr.FromInt32(8080)}}}
		p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: appImage, ImagePullPolicy: corev1.PullIfNotPresent,
			Args: []string{"write", "/data/made", "by init"}, VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "a", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
			}}}},
		}
	}))
	b.create(pod("fails", func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Containers[0].Args = []string{"exit", "3"}
	}))
	b.create(pod("crashes", func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"exit", "1"} }))
	b.create(pod("absent", func(p *corev1.Pod) {
		p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "pintle.test/none:1", corev1.PullNever
	}))

	b.create(pod("sandboxless", func(p *corev1.Pod) {
		class := "none"
		p.Spec.RuntimeClassName = &class
	}))
	b.create(pod("unmounted", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "none"}}}}
	}))

	p := b.wait("web", "ready", ready)
	if p.Status.PodIP == "" || !strings.HasPrefix(p.Status.PodIP, "10.251.7.") {
		t.Errorf("pod IP %q", p.Status.PodIP)
	}
	t.Run("logs", func(t *testing.T) {
		b.logs(t, "web/c", "serving as web!\n")
	})
	t.Run("network", func(t *testing.T) {
		direct := &http.Client{Transport: &http.Transport{}} // whatever proxy the environment names
		res, err := direct.Get("http://" + p.Status.PodIP + ":8080/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "hello from web!\n" {
			t.Errorf("%q, %v", body, err)
		}
	})
	id := p.Status.ContainerStatuses[0].ContainerID
	in := func(args ...string) string {
		t.Helper()
		out, code, err := b.m.runtime.Exec(t.Context(), id, append([]string{"/app"}, args...), patience)
		if err != nil || code != 0 {
			t.Errorf("%q: code %d, %v: %s", args, code, err, out)
		}
		return out
	}
	t.Run("volumes", func(t *testing.T) {
		if got := in("cat", "/data/made", "/config/a", "/one"); got != `by initapp="web"app="web"` {
			t.Errorf("files: %q", got)
		}
		if out, code, err := b.m.runtime.Exec(t.Context(), id, []string{"/app", "write", "/config/new", "x"}, 5*time.Second); err != nil || code == 0 {
			t.Errorf("a container can write what follows the API: code %d, %v: %s", code, err, out)
		}
	})
	t.Run("terminated", func(t *testing.T) {
		p := b.wait("fails", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		s := p.Status.ContainerStatuses[0].State.Terminated
		if s == nil || s.ExitCode != 3 || s.Reason != "Error" || s.Message != "message of 3" {
			t.Errorf("terminated: %+v", s)
		}
		b.wait("fails", "without control groups", func(p *corev1.Pod) bool { return len(b.groups(string(p.UID))) == 0 })
	})
	t.Run("crash loop", func(t *testing.T) {
		p := b.wait("crashes", "backing off", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
		})
		if p.Status.ContainerStatuses[0].LastTerminationState.Terminated == nil || p.Status.ContainerStatuses[0].RestartCount < 1 {
			t.Errorf("status: %+v", p.Status.ContainerStatuses[0])
		}
		b.logs(t, "crashes/c?previous=true", "exiting 1\n")
	})
	t.Run("image never pulled", func(t *testing.T) {
		b.wait("absent", "waiting", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[0].State.Waiting.Reason == "ErrImageNeverPull"
		})
	})
	t.Run("streams", b.streams)
	t.Run("containerd is killed", func(t *testing.T) {
		pid, err := os.ReadFile(filepath.Join(b.cfg.Dir, "containerd", "containerd.pid"))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("kill", "-9", string(pid)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if _, err := b.m.runtime.Health(t.Context()); err == nil {
				break
			} else if time.Now().After(end) {
				t.Fatalf("containerd is not back: %v", err)
			}
		}
		if got := in("cat", "/one"); got != `app="web"` {
			t.Errorf("in the same container: %q", got)
		}
	})
	t.Run("adoption", func(t *testing.T) {
		b.stop()
		m, err := New(t.Context(), b.cfg)
		if err != nil {
			t.Fatal(err)
		}
		b.m = m
		b.delete("crashes") // while no agent runs
		// What an agent that was killed had not come to.
		for _, dir := range []string{"pods/orphan/volumes/v", "log/default_orphan_orphan/c"} {
			if err := os.MkdirAll(filepath.Join(b.cfg.Dir, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		b.run()
		b.wait("crashes", "gone", func(p *corev1.Pod) bool { return p == nil })
		p := b.get("web")
		if !ready(p) || p.Status.ContainerStatuses[0].ContainerID != id || p.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("after a restart of the agent: %+v", p.Status)
		}
	})
	t.Run("liveness", func(t *testing.T) {
		in("write", "/data/sick", "yes")
		b.wait("web", "restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount > 0 })
		if s := b.get("unmounted").Status; len(s.ContainerStatuses) != 1 || s.ContainerStatuses[0].State.Waiting == nil || s.PodIP != "" {
			t.Errorf("a pod whose volumes cannot be set up was started by the next agent: %+v", s)
		}
	})
	t.Run("deletion", func(t *testing.T) {
		names := []string{"web", "fails", "absent", "unmounted", "sandboxless"}
		var uids []string
		for _, name := range names {
			uids = append(uids, string(b.get(name).UID))
			b.delete(name)
		}
		for _, name := range names {
			b.wait(name, "gone", func(p *corev1.Pod) bool { return p == nil })
		}
		for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			held, err := b.m.runtime.Observe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			dirs, err := os.ReadDir(filepath.Join(b.cfg.Dir, "pods"))
			if err != nil {
				t.Fatal(err)
			}
			logs, err := os.ReadDir(filepath.Join(b.cfg.Dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			groups := b.groups(uids...)
			if len(held) == 0 && len(dirs) == 0 && len(logs) == 0 && len(groups) == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("left behind: %v in the runtime, directories %v, logs %v, control groups %v", held, dirs, logs, groups)
			}
		}
	})
	b.events()
}
