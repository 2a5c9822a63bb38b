package node

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// world is one pod on a host that does whatever Step asks for. It writes down every action.
type world struct {
	t    *testing.T
	want *corev1.Pod
	have PodState
	now  time.Time
	wake time.Time
	out  strings.Builder
	// failing containers do not start: by name, the reason.
	failing map[string]string
	done    bool
}

func newWorld(t *testing.T, edit func(*corev1.Pod)) *world {
	grace := int64(30)
	w := &world{t: t, now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), failing: map[string]string{}}
	w.want = &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "c", Image: "i:1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if edit != nil {
		edit(w.want)
	}
	w.have = PodState{UID: "u", Namespace: "ns", Name: "p", Host: Host{IPs: []string{"192.0.2.1"}}}
	return w
}

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(&w.out, "%s %s\n", w.now.Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// settle steps until there is nothing to do now.
func (w *world) settle() {
	w.t.Helper()
	for range 50 {
		w.wake = time.Time{}
		acted := false
		for _, a := range Step(w.want, w.have, w.now) {
			w.say("  %s", a)
			if a.Op == Wake {
				w.wake = a.At
				continue
			}
			acted = true
			w.apply(a)
		}
		if !acted || w.done {
			return
		}
	}
	w.t.Fatalf("no end of actions:\n%s", w.out.String())
}

func (w *world) apply(a Action) {
	h := &w.have
	switch a.Op {
	case SetUpVolumes:
		h.Volumes, h.Left = true, false
	case RunSandbox:
		if h.Sandbox != nil {
			h.Stale = append(h.Stale, h.Sandbox.ID)
		}
		h.Sandbox = &Sandbox{ID: fmt.Sprint("s", a.Attempt), Ready: true, Attempt: a.Attempt, Created: w.now, IPs: []string{"10.0.0.1"}}
	case StopSandbox:
		h.Sandbox.Ready = false
	case RemoveSandbox:
		h.Stale = slices.DeleteFunc(h.Stale, func(id string) bool { return id == a.ID })
		if h.Sandbox != nil && h.Sandbox.ID == a.ID {
			h.Sandbox = nil
		}
	case Start:
		c := h.Container(a.Container)
		if c.Newest() != nil {
			c.Backoff = c.Backoff.next(w.now)
		}
		if why := w.failing[a.Container]; why != "" {
			c.Failure = &Failure{Reason: why, Message: "no", At: w.now, Retry: w.now.Add(10 * time.Second)}
			if why == "ErrImagePull" {
				c.Failure.Later = &Failure{Reason: "ImagePullBackOff", Message: "Back-off pulling image", At: w.now.Add(settle)}
			}
			return
		}
		c.Failure = nil
		in := Instance{ID: fmt.Sprint(a.Container, a.Attempt), Image: "i:1", Phase: Running, Attempt: a.Attempt, Created: w.now, Started: w.now,
			Hash: Hash(containerSpec(w.want, a.Container))}
		c.Instances = append([]Instance{in}, c.Instances...)
		c.Probed = Probed{ID: in.ID}
	case Kill:
		w.end(a.Container, 137)
	case Remove:
		for i := range h.Containers {
			h.Containers[i].Instances = slices.DeleteFunc(h.Containers[i].Instances, func(in Instance) bool { return in.ID == a.ID })
		}
	case RemoveVolumes:
		h.Volumes = false
	case Tell:
		if a.Reason == backOff {
			h.Container(a.Container).Told = w.now
		}
	case Report:
		w.want.Status = *a.Status
	case Finish:
		w.want = nil
	case Forget:
		w.done = true
	}
}

// end is a container's end.
func (w *world) end(name string, code int32) {
	in := w.have.Container(name).Newest()
	in.Phase, in.Finished, in.ExitCode, in.Reason = Exited, w.now, code, "Completed"
	if code != 0 {
		in.Reason = "Error"
	}
}

func (w *world) exit(name string, code int32) {
	w.say("container %s exits with %d", name, code)
	w.end(name, code)
	w.settle()
}

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.say("%v later", d)
	w.settle()
}

// awaken lets the time pass that the last Wake asked for.
func (w *world) awaken() {
	w.t.Helper()
	if w.wake.IsZero() {
		w.t.Fatalf("nothing is waited for:\n%s", w.out.String())
	}
	w.pass(w.wake.Sub(w.now))
}

func (w *world) remove(grace int64) {
	w.say("pod is deleted with grace %d", grace)
	at := metav1.NewTime(w.now)
	w.want.DeletionTimestamp, w.want.DeletionGracePeriodSeconds = &at, &grace
	w.settle()
}

func init1(p *corev1.Pod) {
	p.Spec.InitContainers = []corev1.Container{{Name: "i1", Image: "i:1"}, {Name: "i2", Image: "i:1"}}
}

// scenarios are lives of pods; each has its transcript in testdata.
var scenarios = map[string]func(t *testing.T) *world{
	"runs and is deleted": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.remove(30)
		return w
	},
	"init containers in order": func(t *testing.T) *world {
		w := newWorld(t, init1)
		w.settle()
		w.exit("i1", 0)
		w.exit("i2", 0)
		return w
	},
	"init container fails, policy Never": func(t *testing.T) *world {
		w := newWorld(t, func(p *corev1.Pod) { init1(p); p.Spec.RestartPolicy = corev1.RestartPolicyNever })
		w.settle()
		w.exit("i1", 1)
		return w
	},
	"init container fails and is tried again": func(t *testing.T) *world {
		w := newWorld(t, init1)
		w.settle()
		w.exit("i1", 1)
		w.exit("i1", 1)
		w.awaken()
		return w
	},
	"crash loop": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		for range 4 {
			w.pass(time.Second)
			w.exit("c", 1)
			if !w.wake.IsZero() {
				w.awaken()
			}
		}
		w.say("it runs for long: the back-off begins anew")
		w.pass(11 * time.Minute)
		w.exit("c", 1)
		w.exit("c", 1)
		return w
	},
	"held back for long": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.have.Container("c").Backoff = Backoff{Delay: 160 * time.Second, Used: w.now}
		w.exit("c", 1)
		w.awaken()
		w.awaken()
		w.awaken()
		return w
	},
	"OnFailure": func(t *testing.T) *world {
		w := newWorld(t, func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure })
		w.settle()
		w.exit("c", 1)
		w.exit("c", 0)
		return w
	},
	"Never, two containers": func(t *testing.T) *world {
		w := newWorld(t, func(p *corev1.Pod) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "d", Image: "i:1"})
		})
		w.settle()
		w.exit("c", 0)
		w.exit("d", 2)
		return w
	},
	"probes": func(t *testing.T) *world {
		w := newWorld(t, func(p *corev1.Pod) {
			c, grace := &p.Spec.Containers[0], int64(3)
			c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = &corev1.Probe{}, &corev1.Probe{}, &corev1.Probe{TerminationGracePeriodSeconds: &grace}
		})
		w.settle()
		r := &w.have.Containers[0].Probed
		w.say("startup succeeds")
		r.Startup = Success
		w.settle()
		w.say("readiness succeeds")
		r.Readiness = Success
		w.settle()
		w.say("readiness fails")
		r.Readiness = Failing
		w.settle()
		w.say("liveness fails")
		r.Liveness = Failing
		w.settle()
		return w
	},
	"image cannot be pulled": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.failing["c"] = "ErrImagePull"
		w.settle()
		w.awaken()
		w.awaken()
		delete(w.failing, "c")
		w.awaken()
		w.awaken()
		return w
	},
	"image changes": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.say("image becomes i:2")
		w.want.Spec.Containers[0].Image = "i:2"
		w.settle()
		return w
	},
	"sandbox dies": func(t *testing.T) *world {
		w := newWorld(t, init1)
		w.settle()
		w.exit("i1", 0)
		w.exit("i2", 0)
		w.pass(time.Minute)
		w.say("the sandbox and its container die")
		w.have.Sandbox.Ready = false
		w.end("c", 137)
		w.settle()
		return w
	},
	"deadline": func(t *testing.T) *world {
		w := newWorld(t, func(p *corev1.Pod) { s := int64(60); p.Spec.ActiveDeadlineSeconds = &s })
		w.settle()
		w.awaken()
		return w
	},
	"leaves the API while the agent is away": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.say("the pod is gone")
		w.want, w.have.Grace = nil, 5*time.Second
		w.settle()
		return w
	},
	"sandbox and mounts lost while the agent is away": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.say("the machine starts again")
		w.have.Adopted, w.have.Left, w.have.Sandbox.Ready = true, true, false
		w.exit("c", 255)
		return w
	},
	"rejected": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.have.Rejected = &Failure{Reason: "OutOfcpu", Message: "Node didn't have enough resource: cpu"}
		w.settle()
		w.remove(0)
		return w
	},
	"evicted": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.say("it writes too much")
		w.have.Evicted = &Failure{Reason: evicted, Message: "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ", At: w.now}
		w.settle()
		return w
	},
	"finalizers keep the object": func(t *testing.T) *world {
		w := newWorld(t, nil)
		w.settle()
		w.have.Finished = true // what deleting it left
		w.remove(30)
		return w
	},
	"adopted": func(t *testing.T) *world {
		w := newWorld(t, func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{} })
		w.settle()
		w.have.Containers[0].Probed.Readiness = Success
		w.settle()
		w.say("the agent restarts: it stays ready until a probe says otherwise")
		w.have.Adopted, w.have.Containers[0].Probed = true, Probed{}
		w.settle()
		return w
	},
}

// TestEndedPodKeepsLittle has a pod that has succeeded in its second sandbox: the first goes, and so do all but two of
// the containers' instances.
func TestEndedPodKeepsLittle(t *testing.T) {
	w := newWorld(t, func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure })
	w.have.Sandbox, w.have.Stale = &Sandbox{ID: "s2", Attempt: 1, Created: w.now}, []string{"s1"}
	var all []Instance
	for i, code := range []int32{0, 1, 1, 1} { // newest first
		all = append(all, Instance{ID: fmt.Sprint("c", 3-i), Phase: Exited, ExitCode: code, Attempt: uint32(3 - i), Created: w.now})
	}
	w.have.Containers = []Container{{Name: "c", Instances: all}}
	var removed []string
	for _, a := range Step(w.want, w.have, w.now) {
		if a.Op == Remove || a.Op == RemoveSandbox {
			removed = append(removed, a.ID)
		}
	}
	if want := []string{"s1", "c1", "c0"}; !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
}

func TestTranscripts(t *testing.T) {
	for name, run := range scenarios {
		t.Run(name, func(t *testing.T) {
			w := run(t)
			// N2: a settled pod gives nothing but Wake, however often it is asked.
			if !w.done {
				for _, a := range Step(w.want, w.have, w.now) {
					if a.Op != Wake {
						t.Errorf("asked again, Step says %s", a)
					}
				}
			}
			path := filepath.Join("testdata", strings.NewReplacer(" ", "_", ",", "").Replace(name)+".txt")
			if *rewrite {
				if err := os.WriteFile(path, []byte(w.out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if w.out.String() != string(want) {
				t.Errorf("transcript differs (run with -rewrite to accept):\n--- have\n%s--- want\n%s", w.out.String(), want)
			}
		})
	}
}
