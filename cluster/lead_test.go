package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
)

// holderOf waits until a lease of kube-system says what is wanted of its holder.
func holderOf(t *testing.T, c client.Client, name string, want func(holder string) bool) string {
	t.Helper()
	holder := "none yet"
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		l, err := client.Leases.Get(t.Context(), c, api.Key{Namespace: metav1.NamespaceSystem, Name: name})
		if err != nil && !api.IsNotFound(err) {
			t.Fatal(err)
		}
		if err == nil {
			if holder = *l.Spec.HolderIdentity; want(holder) {
				return holder
			}
		}
	}
	t.Fatalf("lease %s: holder %q", name, holder)
	return ""
}

// TestLeadership follows the leases of controllers and scheduler: held when the system runs, released when it ends, and
// taken without waiting when the process before was killed.
func TestLeadership(t *testing.T) {
	dir := t.TempDir()
	start := func() (*System, client.Client) {
		s, err := Start(t.Context(), Config{Data: dir, NoNode: true})
		if err != nil {
			t.Fatal(err)
		}
		return s, s.Client("test", auth.UserAdmin, auth.GroupMasters)
	}
	leases := []string{controllerManager, schedulerName}
	held := func(h string) bool { return h != "" }

	s, c := start()
	first := map[string]string{}
	for _, name := range leases {
		first[name] = holderOf(t, c, name, held)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// An API server alone shows what the end has left; it then leaves the leases as a killed process does.
	s, err := Start(t.Context(), Config{Data: dir, NoNode: true, NoControllers: true})
	if err != nil {
		t.Fatal(err)
	}
	c = s.Client("test", auth.UserAdmin, auth.GroupMasters)
	for _, name := range leases {
		key := api.Key{Namespace: metav1.NamespaceSystem, Name: name}
		l, err := client.Leases.Get(t.Context(), c, key)
		if err != nil || *l.Spec.HolderIdentity != "" {
			t.Fatalf("lease %s after an orderly end: holder %v, err %v", name, l.Spec.HolderIdentity, err)
		}
		// To wait for its end would take longer than this test waits for anything.
		holder, seconds, now := first[name], int32(2*patience/time.Second), metav1.NowMicro()
		l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &holder, &seconds, &now
		if _, err := client.Leases.Update(t.Context(), c, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s, c = start()
	defer s.Close()
	for _, name := range leases {
		if got := holderOf(t, c, name, held); got != first[name] {
			t.Errorf("lease %s is held by %q, was by %q", name, got, first[name])
		}
	}
	// The controllers work, without waiting for the end of a lease that was left behind.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}}
	if _, err := client.Namespaces.Create(t.Context(), c, ns); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, err := c.Get(t.Context(), api.ServiceAccounts, api.Key{Namespace: "new", Name: "default"})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the controllers do not work: %v", err)
		}
	}
}
