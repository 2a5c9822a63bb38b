package expiry

import (
	"context"
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

func TestEventsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		event := func(name string, age time.Duration) {
			c.Create(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: metav1.NewTime(time.Now().Add(-3 * time.Hour))},
				LastTimestamp: metav1.NewTime(time.Now().Add(-age))})
		}
		left := func() string {
			synctest.Wait()
			l, err := c.List(t.Context(), api.Events, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, rec := range l.Records {
				names = append(names, rec.Name())
			}
			return strings.Join(names, " ")
		}
		check := func(what, want string) {
			t.Helper()
			if got := left(); got != want {
				t.Errorf("%s: left %q, want %q", what, got, want)
			}
		}
		event("a-stale", 2*time.Hour)
		event("b-half", 30*time.Minute)
		event("c-recent", time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- controller.Run(ctx, c, []*controller.Controller{New(c, TTL)}) }()
		check("at start", "b-half c-recent")
		time.Sleep(10*time.Minute + time.Second)
		event("d-new", 2*time.Hour) // what it states does not count while the controller runs
		event("e-renewed", 0)
		check("after 10 minutes", "b-half c-recent d-new e-renewed")
		time.Sleep(21 * time.Minute)
		check("after 31 minutes", "c-recent d-new e-renewed")
		if _, err := client.Events.Patch(ctx, c, api.Key{Namespace: "ns", Name: "e-renewed"}, client.Patch{Type: types.MergePatchType, Body: []byte(`{"count":2}`)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		check("after 61 minutes", "d-new e-renewed")
		time.Sleep(11 * time.Minute)
		check("after 72 minutes", "e-renewed")
		time.Sleep(21 * time.Minute)
		check("after 93 minutes", "")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
