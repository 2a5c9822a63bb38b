package node

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/node/nodetest"
)

// counting is a Prober for whom every probe fails but those of startup.
type counting struct {
	Prober
	mu sync.Mutex
	n  map[string]int // by command
}

func (c *counting) Probe(_ context.Context, _ Target, h *corev1.ProbeHandler) (bool, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[h.Exec.Command[0]]++
	return h.Exec.Command[0] == "startup", "", nil
}

func (c *counting) since() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[string]int{}
	return n
}

// TestProbesOfEndingPod deletes a pod: its readiness is looked at until its containers have ended, its liveness no longer.
func TestProbesOfEndingPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := &counting{n: map[string]int{}}
		agent, err := New(Config{Name: "n", Client: nodetest.New(), Probe: probes,
			Runtime: Runtime{Sandboxes: struct{ Sandboxes }{}, Containers: struct{ Containers }{}, Images: struct{ Images }{}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		agent.ctx = ctx
		probe := func(name string) *corev1.Probe {
			return &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 100, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{name}}}}
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c",
			StartupProbe: probe("startup"), LivenessProbe: probe("liveness"), ReadinessProbe: probe("readiness")}}}}
		e := agent.newEntry(PodState{})
		c := e.state.Container("c")
		c.Instances = []Instance{{ID: "1", Phase: Running, Started: time.Now()}}
		e.reprobe(pod)
		time.Sleep(5500 * time.Millisecond)
		if n := probes.since(); n["startup"] != 1 || n["liveness"] < 5 || n["readiness"] < 5 {
			t.Errorf("probes of a running pod: %v", n)
		}
		c.Probed.Startup = Success // as the entry's inbox has it
		pod = pod.DeepCopy()
		pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		e.reprobe(pod)
		time.Sleep(5500 * time.Millisecond)
		if n := probes.since(); n["startup"] != 0 || n["liveness"] != 0 || n["readiness"] < 5 {
			t.Errorf("probes of a pod that is being deleted: %v", n)
		}
		cancel()
		agent.Wait()
	})
}
