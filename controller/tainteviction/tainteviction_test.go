package tainteviction

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

func tolerates(key string, seconds int64) corev1.Toleration {
	t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
	if seconds >= 0 {
		t.TolerationSeconds = &seconds
	}
	return t
}

func TestDue(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	taint := func(key string, after time.Duration) corev1.Taint {
		at := metav1.NewTime(base.Add(after))
		return corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute, TimeAdded: &at}
	}
	for _, tt := range []struct {
		name        string
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		want        time.Duration // since base; -1: stays
	}{
		{"no taint", nil, nil, -1},
		{"not tolerated", []corev1.Taint{taint("a", time.Minute)}, nil, 0},
		{"tolerated for good", []corev1.Taint{taint("a", 0)}, []corev1.Toleration{tolerates("a", -1)}, -1},
		{"tolerated for a while", []corev1.Taint{taint("a", time.Minute)}, []corev1.Toleration{tolerates("a", 300)}, 6 * time.Minute},
		{"one of two not tolerated", []corev1.Taint{taint("a", 0), taint("b", 0)}, []corev1.Toleration{tolerates("a", -1)}, 0},
		{"the shortest counts", []corev1.Taint{taint("a", 0), taint("b", 0), taint("c", 0)}, []corev1.Toleration{tolerates("a", 30), tolerates("b", 10), tolerates("c", -1)}, 10 * time.Second},
		{"not at all", []corev1.Taint{taint("a", 0)}, []corev1.Toleration{tolerates("a", 0)}, 0},
		{"a pod younger than the taint", []corev1.Taint{taint("a", -time.Hour)}, []corev1.Toleration{tolerates("a", 300)}, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := time.Duration(-1)
			if at, ok := Due(tt.taints, tt.tolerations, base); ok {
				got = at.Sub(base)
			}
			if got != tt.want {
				t.Errorf("due after %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		rec := client.NewRecorder(c, "taint-eviction-controller", "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, rec)}) }()
		for _, n := range []string{"n", "other"} {
			c.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}})
		}
		pod := func(name, node string, ts ...corev1.Toleration) {
			grace := int64(0)
			c.Create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.PodSpec{NodeName: node, Tolerations: ts, TerminationGracePeriodSeconds: &grace}})
		}
		pod("a-plain", "n")
		pod("b-tolerates", "n", tolerates("k", -1))
		pod("c-for-a-minute", "n", tolerates("k", 60))
		pod("d-elsewhere", "other")
		check := func(what, want string) {
			t.Helper()
			synctest.Wait()
			l, err := c.List(ctx, api.Pods, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, rec := range l.Records {
				names = append(names, rec.Name())
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: left %q, want %q", what, got, want)
			}
		}
		taint := func(taints string) {
			t.Helper()
			if _, err := client.Nodes.Patch(ctx, c, api.Key{Name: "n"}, client.Patch{Type: types.MergePatchType, Body: []byte(`{"spec":{"taints":` + taints + `}}`)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		check("no taint", "a-plain b-tolerates c-for-a-minute d-elsewhere")
		taint(`[{"key":"k","effect":"NoSchedule"}]`)
		check("only NoSchedule", "a-plain b-tolerates c-for-a-minute d-elsewhere")
		taint(`[{"key":"k","effect":"NoExecute"}]`)
		check("NoExecute", "b-tolerates c-for-a-minute d-elsewhere")
		time.Sleep(30 * time.Second)
		taint(`null`)
		time.Sleep(2 * time.Minute)
		check("taint gone in time", "b-tolerates c-for-a-minute d-elsewhere")
		taint(`[{"key":"k","effect":"NoExecute","timeAdded":"` + time.Now().UTC().Format(time.RFC3339) + `"}]`)
		pod("e-late", "n")
		time.Sleep(time.Second)
		check("a pod that arrives late", "b-tolerates c-for-a-minute d-elsewhere")
		time.Sleep(time.Minute)
		check("after its time", "b-tolerates d-elsewhere")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var got []string
		evs, err := client.Events.List(t.Context(), c, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			got = append(got, e.Reason+" "+e.Message)
		}
		slices.Sort(got)
		want := []string{
			"TaintManagerEviction Cancelling deletion of Pod ns/c-for-a-minute",
			"TaintManagerEviction Marking for deletion Pod ns/a-plain",
			"TaintManagerEviction Marking for deletion Pod ns/c-for-a-minute",
			"TaintManagerEviction Marking for deletion Pod ns/e-late",
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, ch := range c.Commits() {
			if ch.Subresource == "status" && !strings.Contains(string(ch.Patch), `"reason":"DeletionByTaintManager"`) {
				t.Errorf("status patch %s", ch.Patch)
			}
		}
	})
}
