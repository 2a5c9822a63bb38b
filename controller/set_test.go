package controller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

func replicaSet(name string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
}

// recorder counts reconciles per key and runs a script.
type recorder struct {
	mu    sync.Mutex
	calls map[string]int
	do    func(ctx context.Context, key api.Key, call int) (controller.Result, error)
}

func (r *recorder) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	r.mu.Lock()
	if r.calls == nil {
		r.calls = map[string]int{}
	}
	r.calls[req.Name]++
	n := r.calls[req.Name]
	r.mu.Unlock()
	if r.do == nil {
		return controller.Result{}, nil
	}
	return r.do(ctx, req.Key, n)
}

func (r *recorder) take() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := ""
	for _, k := range slices.Sorted(maps.Keys(r.calls)) {
		s += fmt.Sprintf("%s:%d ", k, r.calls[k])
	}
	r.calls = nil
	return s
}

func start(t *testing.T, c client.Client, cs ...*controller.Controller) *controller.Set {
	ctx, cancel := context.WithCancel(t.Context())
	set := controller.NewSet(c, cs...)
	done := make(chan error)
	go func() { done <- set.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return set
}

func TestTriggers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := controllertest.New()
		a := c.Create(replicaSet("a"))
		r := &recorder{}
		start(t, c, controller.New("test", r).For(api.ReplicaSets).Owns(api.Pods).
			Watches(api.Nodes, func(e api.Event) []controller.Request {
				return []controller.Request{{Key: e.Record().Key()}}
			}, controller.Deleted))
		check := func(what, want string) {
			t.Helper()
			if got := r.take(); got != want {
				t.Errorf("%s: reconciled %q, want %q", what, got, want)
			}
		}
		check("start", "a:1 ")
		owned := pod("p")
		owned.OwnerReferences = []metav1.OwnerReference{{UID: "uid-1"}}
		if a.UID() != "uid-1" {
			t.Fatalf("UID is %s", a.UID())
		}
		if _, err := client.Pods.Create(ctx, c, owned); err != nil {
			t.Fatal(err)
		}
		check("owned pod created", "a:1 ")
		if _, err := client.Pods.Create(ctx, c, pod("q")); err != nil {
			t.Fatal(err)
		}
		check("other pod created", "")
		if _, err := client.Pods.Patch(ctx, c, api.Key{Namespace: "ns", Name: "p"}, client.Patch{Type: "application/merge-patch+json", Body: []byte(`{"metadata":{"ownerReferences":null}}`)}); err != nil {
			t.Fatal(err)
		}
		check("owned pod released", "a:1 ")
		c.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
		check("node created, against the predicate", "")
		if _, err := client.Nodes.Delete(ctx, c, api.Key{Name: "n"}, nil); err != nil {
			t.Fatal(err)
		}
		check("node deleted", "n:1 ")
		c.Forget()
		if got := r.take(); !strings.HasPrefix(got, "a:") { // once or more: each stream lists again
			t.Errorf("history lost: reconciled %q, want a", got)
		}
		if _, err := client.ReplicaSets.Delete(ctx, c, a.Key(), nil); err != nil {
			t.Fatal(err)
		}
		check("deleted", "a:1 ")
	})
}

func TestFailuresAreRetriedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New(replicaSet("bad"), replicaSet("good"), replicaSet("panics"), replicaSet("later"))
		begin := time.Now()
		var again time.Duration
		r := &recorder{do: func(_ context.Context, k api.Key, n int) (controller.Result, error) {
			switch {
			case k.Name == "bad" && n < 4:
				return controller.Result{}, errors.New("no")
			case k.Name == "panics" && n < 3:
				panic("oh")
			case k.Name == "later" && n == 1:
				return controller.Result{RequeueAfter: time.Minute}, nil
			case k.Name == "later":
				again = time.Since(begin)
			}
			return controller.Result{}, nil
		}}
		set := start(t, c, controller.New("test", r).For(api.ReplicaSets).Workers(2))
		time.Sleep(2 * time.Minute)
		if got, want := r.take(), "bad:4 good:1 later:2 panics:3 "; got != want {
			t.Errorf("reconciled %q, want %q", got, want)
		}
		if again != time.Minute {
			t.Errorf("RequeueAfter of a minute came after %v", again)
		}
		reg := prometheus.NewPedanticRegistry()
		if err := reg.Register(set); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.Metric {
				name := f.GetName()
				for _, l := range m.Label {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue()
			}
		}
		for name, want := range map[string]float64{
			"controller_runtime_reconcile_panics_total test":        2,
			"controller_runtime_reconcile_total test error":         5,
			"controller_runtime_reconcile_total test success":       4,
			"controller_runtime_reconcile_total test requeue_after": 1,
			"workqueue_retries_total test":                          5,
		} {
			if got[name] != want {
				t.Errorf("%s = %v, want %v", name, got[name], want)
			}
		}
	})
}

// lagging answers View(0) with a snapshot taken at the start, as a server that is behind its store would.
type lagging struct {
	client.Client
	old client.View
}

func (l lagging) View(ctx context.Context, atLeast api.Revision) (client.View, error) {
	if atLeast > 0 && atLeast <= l.old.Revision() {
		return l.old, nil
	}
	return l.Client.View(ctx, atLeast)
}

// TestTerminatingNamespace is about an object whose namespace takes no new content: to try again would be in vain.
func TestTerminatingNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New(replicaSet("a"))
		terminating := api.Forbidden(api.Pods, "p", errors.New("unable to create new content in namespace ns because it is being terminated"))
		terminating.Status.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		r := &recorder{do: func(context.Context, api.Key, int) (controller.Result, error) {
			return controller.Result{}, fmt.Errorf("creating a pod: %w", terminating)
		}}
		start(t, c, controller.New("it", r).For(api.ReplicaSets))
		time.Sleep(time.Minute)
		if got := r.take(); got != "a:1 " {
			t.Errorf("reconciles: %s, want one", got)
		}
	})
}

func TestFreshSeesEventsAndOwnWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New(replicaSet("a"))
		old, err := c.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		fresh := controller.Fresh(lagging{c, old})
		k := api.Key{Namespace: "ns", Name: "late"}
		r := &recorder{do: func(ctx context.Context, key api.Key, _ int) (controller.Result, error) {
			v, err := fresh.View(ctx, 0)
			if err != nil {
				t.Error(err)
			}
			if v.Get(api.ReplicaSets, key) == nil {
				t.Errorf("%s is not in the view of its own event", key)
			}
			if key.Name != "late" {
				return controller.Result{}, nil
			}
			if _, err := client.Pods.Create(ctx, fresh, pod("p")); err != nil {
				t.Error(err)
			}
			if v, err = fresh.View(ctx, 0); err != nil || v.Get(api.Pods, api.Key{Namespace: "ns", Name: "p"}) == nil {
				t.Errorf("own create is not in the view (err %v)", err)
			}
			if _, err := client.Pods.Delete(ctx, fresh, api.Key{Namespace: "ns", Name: "p"}, nil); err != nil {
				t.Error(err)
			}
			if v, err = fresh.View(ctx, 0); err != nil || v.Get(api.Pods, api.Key{Namespace: "ns", Name: "p"}) != nil {
				t.Errorf("own deletion is not in the view (err %v)", err)
			}
			return controller.Result{}, nil
		}}
		start(t, c, controller.New("test", r).For(api.ReplicaSets))
		c.Create(replicaSet(k.Name))
		if got, want := r.take(), "a:1 late:1 "; got != want {
			t.Errorf("reconciled %q, want %q", got, want)
		}
	})
}

func TestAlsoIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := make(chan struct{}, 10)
		start(t, controllertest.New(), controller.New("test", nil).Also(func(ctx context.Context) error {
			runs <- struct{}{}
			if len(runs) < 3 {
				panic("again")
			}
			<-ctx.Done()
			return ctx.Err()
		}))
		time.Sleep(time.Minute)
		if len(runs) != 3 {
			t.Errorf("ran %d times, want 3", len(runs))
		}
	})
}

func TestProjection(t *testing.T) {
	c := controllertest.New()
	type small struct {
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	p := controller.NewProjection[small]()
	read := func() map[*small]bool {
		v, err := c.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		got := map[*small]bool{}
		if err := p.Each("g", v.All(api.Pods, ""), func(_ *api.Record, s *small) { got[s] = true }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	one, two := pod("one"), pod("two")
	one.Status.Phase, two.Status.Phase = corev1.PodRunning, corev1.PodPending
	c.Create(one)
	k := c.Create(two).Key()
	first := read()
	if len(first) != 2 || !maps.Equal(first, read()) {
		t.Errorf("unchanged records were decoded again")
	}
	two.Status.Phase = corev1.PodFailed
	if _, err := client.Pods.UpdateStatus(t.Context(), c, two); err != nil {
		t.Fatal(err)
	}
	same, changed := 0, 0
	for s := range read() {
		if first[s] {
			same++
		} else if changed++; s.Status.Phase != "Failed" {
			t.Errorf("phase is %s, want Failed", s.Status.Phase)
		}
	}
	if same != 1 || changed != 1 {
		t.Errorf("%d same, %d decoded again; want one each", same, changed)
	}
	if _, err := client.Pods.Delete(t.Context(), c, k, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(read()); n != 1 {
		t.Errorf("%d extracts after a deletion, want 1", n)
	}
}
