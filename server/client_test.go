package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
)

// TestClients runs one session through both clients: what holds in process holds over the network.
func TestClients(t *testing.T) {
	user := &api.User{Name: "u", Groups: []string{"system:masters"}}
	for _, name := range []string{"local", "http"} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			var c client.Client = client.NewLocal(s.Handle, nil, user, "tester")
			if name == "http" {
				h := httptest.NewServer(s)
				defer h.Close()
				c = client.NewHTTP(h.URL, http.DefaultTransport, "tester")
			}
			session(t, c)
		})
	}
}

func session(t *testing.T, c client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	key := api.Key{Namespace: "default", Name: "c"}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "default", Labels: map[string]string{"a": "b"}}, Data: map[string]string{"k": "v"}}
	made, err := c.Commit(ctx, client.Change{Verb: api.Create, Resource: api.ConfigMaps, Key: key, Object: cm})
	if err != nil {
		t.Fatal(err)
	}
	if cm.UID != "" {
		t.Error("the caller's object was changed")
	}
	st, err := c.Follow(ctx, api.ConfigMaps, made.Revision(), client.Options{Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	patched, err := c.Commit(ctx, client.Change{
		Verb: api.Patch, Resource: api.ConfigMaps, Key: key, Patch: []byte(`{"data":{"k":"w"}}`), PatchType: types.MergePatchType,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(ctx, api.ConfigMaps, key)
	if err != nil || got.Revision() != patched.Revision() || got.UID() != made.UID() || got.Get("a") != "b" {
		t.Fatalf("get: %v %v", got, err)
	}
	l, err := c.List(ctx, api.ConfigMaps, client.Options{Namespace: "default", Labels: "a=b"})
	if err != nil || len(l.Records) != 1 || l.Records[0].Key() != key {
		t.Fatalf("list: %v %v", l, err)
	}
	if _, err := c.Commit(ctx, client.Change{Verb: api.Delete, Resource: api.ConfigMaps, Key: key, Delete: &metav1.DeleteOptions{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, api.ConfigMaps, key); !api.IsNotFound(err) {
		t.Errorf("get after delete: %v", err)
	}
	var events []api.Event
	for len(events) < 2 {
		es, err := st.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, es...)
	}
	if e := events[0]; e.New == nil || e.New.Revision() != patched.Revision() || e.Old == nil {
		t.Errorf("first event: %+v", e)
	}
	if e := events[1]; e.New != nil || e.Old == nil || e.Revision <= patched.Revision() || st.Revision() < e.Revision {
		t.Errorf("second event: %+v, stream at %d", e, st.Revision())
	}
}

// TestBase gives the server what a caller has decoded: it is taken over for the version in place, ignored for an older
// one, and never changed.
func TestBase(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	c := client.NewLocal(s.Handle, nil, &api.User{Name: "u", Groups: []string{"system:masters"}}, "tester")
	first, err := client.Pods.Create(ctx, c, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	decode := func(rec *api.Record) *corev1.Pod {
		t.Helper()
		p, err := client.Pods.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	report := func(rec *api.Record, old *corev1.Pod, phase corev1.PodPhase) *api.Record {
		t.Helper()
		before, next := old.DeepCopy(), old.DeepCopy()
		next.ResourceVersion, next.Status.Phase, next.Status.QOSClass = "", phase, ""
		rec, err := client.Pods.UpdateStatusOf(ctx, c, rec, old, next)
		if err != nil {
			t.Fatal(err)
		}
		if !equality.Semantic.DeepEqual(before, old) {
			t.Errorf("the server changed the caller's object to %v", old)
		}
		return rec
	}
	// A status update that names no QoS class takes what is stored, so that it shows where that was read from.
	marked := decode(first)
	marked.Status.QOSClass = "taken-over"
	second := report(first, marked, corev1.PodRunning)
	if got := decode(second); got.Status.QOSClass != "taken-over" || got.Status.Phase != corev1.PodRunning {
		t.Errorf("with the version in place: %q, %s", got.Status.QOSClass, got.Status.Phase)
	}
	marked = decode(first)
	marked.Status.QOSClass = "stale"
	if got := decode(report(first, marked, corev1.PodPending)); got.Status.QOSClass != "taken-over" || got.Status.Phase != corev1.PodPending {
		t.Errorf("with an older version: %q, %s", got.Status.QOSClass, got.Status.Phase)
	}
	bind := func(base *api.Base) error {
		_, err := c.Commit(ctx, client.Change{
			Verb: api.Create, Resource: api.Pods, Version: "v1", Subresource: "binding", Key: first.Key(),
			Object: &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: first.Key().Name}, Target: corev1.ObjectReference{Name: "n"}}, Base: base,
		})
		return err
	}
	if err := bind(nil); err != nil {
		t.Fatal(err)
	}
	if err := bind(&api.Base{Record: second, Object: marked}); !api.IsConflict(err) {
		t.Errorf("binding a bound pod, with an older version: %v", err)
	}
}

// TestHandover binds a pod: the one woken by it gets what the record decodes as, without decoding it, and once.
func TestHandover(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	bound := new(client.Handover)
	s.Bound = bound.Give
	c := client.NewLocal(s.Handle, nil, &api.User{Name: "u", Groups: []string{"system:masters"}}, "tester")
	c.Handover = bound
	key := api.Key{Namespace: "default", Name: "p"}
	one := resource.MustParse("1000m")
	if _, err := client.Pods.Create(ctx, c, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "i", Args: []string{}, Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: one}},
		}}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Commit(ctx, client.Change{
		Verb: api.Create, Resource: api.Pods, Version: "v1", Subresource: "binding", Key: key,
		Object: &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: key.Name, Labels: map[string]string{"a": "b"}}, Target: corev1.ObjectReference{Name: "n"}},
	}); err != nil {
		t.Fatal(err)
	}
	rec, err := c.Get(ctx, api.Pods, key)
	if err != nil {
		t.Fatal(err)
	}
	want, err := client.Pods.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := bound.Take(rec).(*corev1.Pod)
	if !ok {
		t.Fatal("the pod was not handed over")
	}
	if !equality.Semantic.DeepEqual(got, want) {
		t.Errorf("handed over:\n%v\nwant what is stored:\n%v", got, want)
	}
	if again := bound.Take(rec); again != nil {
		t.Errorf("handed over again: %v", again)
	}
	bound.Give(rec, got)
	if taken, err := client.Pods.Taken(c, rec); err != nil || taken != got {
		t.Errorf("took %v, %v", taken, err)
	}
	if taken, err := client.Pods.Taken(c, rec); err != nil || taken == got || !equality.Semantic.DeepEqual(taken, want) {
		t.Errorf("the second time, took %v, %v", taken, err)
	}
}
