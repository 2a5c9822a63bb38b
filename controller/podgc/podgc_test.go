package podgc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

func TestCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		deleting := metav1.Now()
		day := func(n int) metav1.Time { return metav1.NewTime(time.Date(1999, 1, n, 0, 0, 0, 0, time.UTC)) }
		pod := func(name, node string, change ...func(*corev1.Pod)) {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
			for _, f := range change {
				f(p)
			}
			c.Create(p)
		}
		terminating := func(p *corev1.Pod) {
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &deleting, ptr(int64(30))
		}
		ended := func(phase corev1.PodPhase, reason string, d int) func(*corev1.Pod) {
			return func(p *corev1.Pod) {
				p.Status.Phase, p.Status.Reason, p.CreationTimestamp = phase, reason, day(d)
			}
		}
		node := func(name string, ready corev1.ConditionStatus, taints ...corev1.Taint) {
			c.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Taints: taints},
				Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}})
		}
		node("n", corev1.ConditionTrue)
		node("lost", corev1.ConditionUnknown, corev1.Taint{Key: outOfService})
		node("ready-but-tainted", corev1.ConditionTrue, corev1.Taint{Key: outOfService})
		pod("runs", "n")
		pod("pending", "")
		pod("pending-terminating", "", terminating)
		pod("terminating", "n", terminating)
		pod("on-lost", "lost")
		pod("on-lost-terminating", "lost", terminating)
		pod("on-tainted-terminating", "ready-but-tainted", terminating)
		pod("of-gone", "gone")
		pod("of-late", "late")
		pod("ended-1", "n", ended(corev1.PodSucceeded, "", 1))
		pod("ended-2", "n", ended(corev1.PodFailed, "", 2))
		pod("ended-3", "n", ended(corev1.PodFailed, "Evicted", 3))
		pod("ended-4", "n", ended(corev1.PodSucceeded, "", 4))

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, 2)}) }()
		left := func() string {
			synctest.Wait()
			l, err := c.List(ctx, api.Pods, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, rec := range l.Records {
				names = append(names, rec.Name())
			}
			return strings.Join(names, " ")
		}
		const first = "ended-2 ended-4 of-gone of-late on-lost on-tainted-terminating pending runs terminating"
		if got := left(); got != first {
			t.Errorf("left\n%s\nwant\n%s", got, first)
		}
		time.Sleep(30 * time.Second)
		node("late", corev1.ConditionTrue)
		if got := left(); got != first {
			t.Errorf("during the quarantine left\n%s\nwant\n%s", got, first)
		}
		time.Sleep(30 * time.Second)
		if got, want := left(), strings.Replace(first, "of-gone ", "", 1); got != want {
			t.Errorf("after the quarantine left\n%s\nwant\n%s", got, want)
		}
		var marked []string
		for _, ch := range c.Commits() {
			if ch.Subresource == "status" {
				marked = append(marked, fmt.Sprintf("%s %s", ch.Key.Name, ch.Patch))
			}
		}
		if len(marked) != 2 || !strings.Contains(marked[1], `"phase":"Failed"`) || !strings.Contains(marked[1], "of-gone") || !strings.Contains(marked[1], `"message":"PodGC: node no longer exists"`) || !strings.Contains(marked[1], `"reason":"DeletionByPodGC"`) {
			t.Errorf("marked %v", marked)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func ptr[T any](v T) *T { return &v }
