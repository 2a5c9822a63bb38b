package backends

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller/controllertest"
)

func labelled(name, app string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": app}}}
}

func selecting(name, app string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	if app != "" {
		s.Spec.Selector = map[string]string{"app": app}
	}
	return s
}

// TestIndex finds the Services that an event of a pod concerns: by its labels before and after.
func TestIndex(t *testing.T) {
	x, a := New(NewPods()), controllertest.New()
	for _, s := range []*corev1.Service{selecting("x1", "x"), selecting("x2", "x"), selecting("y", "y"), selecting("all-by-hand", "")} {
		x.service(api.Event{New: a.Create(s)})
	}
	other := selecting("x1", "x")
	other.Namespace = "other"
	x.service(api.Event{New: a.Create(other)})
	concerned := func(e api.Event) (names []string) {
		for _, r := range x.pod(e) {
			names = append(names, r.Namespace+"/"+r.Name)
		}
		slices.Sort(names)
		return names
	}
	px, py, pz := a.Create(labelled("px", "x")), a.Create(labelled("py", "y")), a.Create(labelled("pz", "z"))
	for _, c := range []struct {
		what string
		e    api.Event
		want []string
	}{
		{"made", api.Event{New: px}, []string{"ns/x1", "ns/x2"}},
		{"labels changed", api.Event{Old: px, New: py}, []string{"ns/x1", "ns/x2", "ns/y"}},
		{"deleted", api.Event{Old: py}, []string{"ns/y"}},
		{"of no Service", api.Event{New: pz}, nil},
	} {
		if got := concerned(c.e); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	rec, err := a.Get(t.Context(), api.Services, api.Key{Namespace: "ns", Name: "x1"})
	if err != nil {
		t.Fatal(err)
	}
	x.service(api.Event{Old: rec})
	if got := concerned(api.Event{New: px}); !slices.Equal(got, []string{"ns/x2"}) {
		t.Errorf("without x1: %q", got)
	}

	v, err := a.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := x.Pods(v, selecting("x2", "x"))
	if err != nil || len(pods) != 1 || pods[0].Metadata.Name != "px" {
		t.Errorf("pods %v, %v", pods, err)
	}
}

func TestTrigger(t *testing.T) {
	x, a := New(NewPods()), controllertest.New()
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	svc := selecting("s", "x")
	svc.CreationTimestamp = metav1.NewTime(at(100))
	rec := a.Create(svc)
	svc, err := client.Services.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	ready := func(name string, since int64) *Pod {
		p := &Pod{}
		p.Metadata.Name = name
		p.Status.Conditions = []Condition{{Type: corev1.PodReady, LastTransitionTime: metav1.NewTime(at(since))}}
		return p
	}
	if got := x.Trigger(svc, nil); !got.IsZero() {
		t.Errorf("of a Service that is not known: %s", got)
	}
	x.service(api.Event{New: rec})
	for _, c := range []struct {
		what string
		pods []*Pod
		want time.Time
	}{
		{"first seen", []*Pod{ready("a", 50)}, at(100)},
		{"nothing new", []*Pod{ready("a", 50)}, time.Time{}},
		{"two changes", []*Pod{ready("a", 120), ready("b", 110)}, at(110)},
		{"one gone", []*Pod{ready("a", 120)}, time.Time{}},
		{"one back", []*Pod{ready("a", 120), ready("b", 110)}, at(110)},
	} {
		if got := x.Trigger(svc, c.pods); !got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}
