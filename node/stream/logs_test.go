package stream

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/node"
)

const sample = `2026-01-01T10:00:00.000000001Z stdout F one
2026-01-01T10:00:01Z stderr F two
2026-01-01T10:00:02Z stdout P three, 
2026-01-01T10:00:03Z stdout F continued
2026-01-01T10:00:04Z stdout F 
2026-01-01T10:00:05Z stdout F last
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCopy(t *testing.T) {
	at := time.Date(2026, 1, 1, 10, 0, 4, 0, time.UTC)
	for _, tt := range []struct {
		name string
		o    Options
		log  string
		want string
	}{
		{"all", Options{Tail: -1, Limit: -1}, sample, "one\ntwo\nthree, continued\n\nlast\n"},
		{"tail", Options{Tail: 2, Limit: -1}, sample, "\nlast\n"},
		{"tail of more than there is", Options{Tail: 99, Limit: -1}, sample, "one\ntwo\nthree, continued\n\nlast\n"},
		{"tail of nothing", Options{Tail: 0, Limit: -1}, sample, ""},
		{"since", Options{Tail: -1, Limit: -1, Since: at}, sample, "\nlast\n"},
		{"limit", Options{Tail: -1, Limit: 6}, sample, "one\ntw"},
		{"limit of nothing", Options{Tail: -1, Limit: 0}, sample, ""},
		{"stderr", Options{Tail: -1, Limit: -1, Stream: "stderr"}, sample, "two\n"},
		{"timestamps", Options{Tail: 1, Limit: -1, Timestamps: true}, sample, "2026-01-01T10:00:05.000000000Z last\n"},
		{"timestamps of lines in parts", Options{Tail: 4, Limit: -1, Timestamps: true}, sample,
			"2026-01-01T10:00:02.000000000Z three, continued\n2026-01-01T10:00:04.000000000Z \n2026-01-01T10:00:05.000000000Z last\n"},
		{"no CRI format", Options{Tail: -1, Limit: -1}, "free text\n", "free text\n"},
		{"half a line", Options{Tail: -1, Limit: -1}, sample + "2026-01-01T10:00:06Z stdout F half", "one\ntwo\nthree, continued\n\nlast\n"},
		{"empty", Options{Tail: -1, Limit: -1}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Copy(t.Context(), &b, write(t, tt.log), tt.o, func() bool { return true }); err != nil {
				t.Fatal(err)
			}
			if b.String() != tt.want {
				t.Errorf("got %q, want %q", b.String(), tt.want)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		var b bytes.Buffer
		if err := Copy(t.Context(), &b, filepath.Join(t.TempDir(), "none"), Options{Tail: -1, Limit: -1}, nil); err != nil || b.Len() > 0 {
			t.Errorf("%q, %v", b.String(), err)
		}
	})
}

// safe is a buffer for two goroutines.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestFollowThroughRotation(t *testing.T) {
	path := write(t, "2026-01-01T10:00:00Z stdout F one\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out safe
	done := make(chan error, 1)
	var ended bool
	var mu sync.Mutex
	go func() {
		done <- Copy(ctx, &out, path, Options{Follow: true, Tail: -1, Limit: -1}, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return ended
		})
	}()
	until := func(want string) {
		t.Helper()
		for out.String() != want {
			if ctx.Err() != nil {
				t.Fatalf("have %q, want %q", out.String(), want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	until("one\n")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("2026-01-01T10:00:01Z stdout F two\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	until("one\ntwo\n")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("2026-01-01T10:00:02Z stdout F three\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	until("one\ntwo\nthree\n")
	mu.Lock()
	ended = true
	mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o, err := parse(url.Values{"follow": {"true"}, "tailLines": {"5"}, "limitBytes": {"7"}, "sinceSeconds": {"60"}, "timestamps": {"1"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Options{Follow: true, Tail: 5, Limit: 7, Timestamps: true, Since: now.Add(-time.Minute)}); o != want {
		t.Errorf("got %+v, want %+v", o, want)
	}
	for _, q := range []string{"tailLines=-1", "tailLines=x", "limitBytes=1.5", "sinceTime=yesterday", "stream=Stdin"} {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(v, now); api.AsError(err).Status.Code != 400 || !strings.Contains(err.Error(), strings.SplitN(q, "=", 2)[0]) {
			t.Errorf("%s: %v, want a 400 that names it", q, err)
		}
	}
}

// A flag of a query is true unless it says that it is not, as upstream reads them.
func TestParseFlags(t *testing.T) {
	for query, want := range map[string]bool{
		"": false, "follow=false": false, "follow=FALSE": false, "follow=0": false, "follow": true, "follow=": true, "follow=1": true, "follow=maybe": true,
	} {
		v, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := parse(v, time.Time{}); err != nil || o.Follow != want {
			t.Errorf("%q: follow %t, %v; want %t", query, o.Follow, err, want)
		}
	}
}

// TestWaits words why a container has no log.
func TestWaits(t *testing.T) {
	waiting := func(reason string) *corev1.ContainerState {
		return &corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	for _, c := range []struct {
		state *corev1.ContainerState // nil for no status at all
		want  string
	}{
		{nil, "not available"},
		{&corev1.ContainerState{}, "waiting to start - no logs yet"},
		{waiting("ErrImagePull"), "waiting to start: image can't be pulled"},
		{waiting("ImagePullBackOff"), "waiting to start: trying and failing to pull image"},
		{waiting("PodInitializing"), "waiting to start: PodInitializing"},
	} {
		pod := &corev1.Pod{}
		if c.state != nil {
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: *c.state}}
		}
		if got := (&target{pod: pod, name: "c"}).waits(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.state, got, c.want)
		}
	}
}

// TestLogged chooses the instance whose log is meant: the status says which was the last to end.
func TestLogged(t *testing.T) {
	ended := func(id string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: id}}
	}
	two := func(newest node.Phase) []node.Instance {
		return []node.Instance{{ID: "b", Phase: newest}, {ID: "a", Phase: node.Exited}}
	}
	for _, c := range []struct {
		name           string
		have           []node.Instance
		last           corev1.ContainerState
		want, previous string
	}{
		{"none", nil, corev1.ContainerState{}, "", ""},
		{"first is being made", []node.Instance{{ID: "a", Phase: node.Created}}, corev1.ContainerState{}, "a", ""},
		{"first runs", []node.Instance{{ID: "a", Phase: node.Running}}, corev1.ContainerState{}, "a", ""},
		{"first waits to be restarted", []node.Instance{{ID: "a", Phase: node.Exited}}, ended("a"), "a", "a"},
		{"second is being made", two(node.Created), ended("a"), "a", "a"},
		{"second runs", two(node.Running), ended("a"), "b", "a"},
		{"second has just ended", two(node.Exited), ended("a"), "b", "a"},
		{"second waits to be restarted", two(node.Exited), ended("b"), "b", "b"},
		{"the last was removed", []node.Instance{{ID: "b", Phase: node.Running}}, ended("a"), "b", ""},
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", LastTerminationState: c.last}}}}
		to := &target{pod: pod, name: "c", have: &node.PodState{Containers: []node.Container{{Name: "c", Instances: c.have}}}}
		id := func(in *node.Instance) string {
			if in == nil {
				return ""
			}
			return in.ID
		}
		if got := id(to.logged(false)); got != c.want {
			t.Errorf("%s: log of %q, want %q", c.name, got, c.want)
		}
		if got := id(to.logged(true)); got != c.previous {
			t.Errorf("%s: previous log of %q, want %q", c.name, got, c.previous)
		}
	}
}
