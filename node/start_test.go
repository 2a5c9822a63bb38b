package node

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/client"
	"pintle.dev/node/nodetest"
)

// registry is a host's images whose registry does not answer; there is one image once it is imported.
type registry struct {
	Images
	imported bool
	pulls    int
}

func (r *registry) Image(_ context.Context, name string) (*Image, error) {
	if !r.imported {
		return nil, nil
	}
	return &Image{ID: "sha256:1", Names: []string{name}}, nil
}

func (r *registry) Pull(context.Context, string, []Credential) (*Image, error) {
	r.pulls++
	return nil, errors.New("no such host")
}

// started is a runtime that counts the containers it is asked to start.
type started struct {
	Containers
	n     int
	stops []time.Duration // the grace periods given
}

func (s *started) Create(context.Context, *Launch) (string, error) { return "c", nil }
func (s *started) Start(context.Context, string) error             { s.n++; return nil }

func (s *started) Stop(_ context.Context, _ string, grace time.Duration) error {
	s.stops = append(s.stops, grace)
	return nil
}

// An image that is imported while its pulls are backed off is used soon, not when the next pull is due.
func TestImportedImageEndsPullBackoff(t *testing.T) {
	for _, c := range []struct {
		policy corev1.PullPolicy
		soon   bool
	}{{corev1.PullIfNotPresent, true}, {corev1.PullAlways, false}} {
		t.Run(string(c.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				images, containers := &registry{}, &started{}
				agent, err := New(Config{Name: "n", Client: nodetest.New(), Runtime: Runtime{Sandboxes: struct{ Sandboxes }{}, Containers: containers, Images: images}})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := agent.events.Close(context.Background()); err != nil {
						t.Error(err)
					}
				}()
				e := agent.newEntry(PodState{})
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"},
					Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app:1", ImagePullPolicy: c.policy}}}}
				start := func() *Failure {
					e.startContainer(t.Context(), pod, &Action{Op: Start, Container: "c"})
					return e.state.Container("c").Failure
				}
				// Until the delay between pulls is long.
				for images.pulls < 5 {
					f := start()
					if f == nil || f.current(time.Now().Add(settle)).Reason != "ImagePullBackOff" {
						t.Fatalf("failure %+v, want ImagePullBackOff", f)
					}
					time.Sleep(time.Until(f.Retry))
				}
				pulled := time.Now()
				images.imported = true
				f := e.state.Container("c").Failure
				for containers.n == 0 && time.Since(pulled) < 3*presenceCheck {
					if f = start(); f != nil {
						time.Sleep(time.Until(f.Retry))
					}
				}
				if soon := containers.n == 1; soon != c.soon {
					t.Errorf("started %d times %s after the import, failure %+v", containers.n, time.Since(pulled), f)
				}
			})
		})
	}
}

// TestImageEvents has containers that wait for their images: what is wrong is told once in full, and once as the reason.
func TestImageEvents(t *testing.T) {
	for image, want := range map[string][]string{
		"app:1":   {"ErrImageNeverPull: Container image \"app:1\" is not present with pull policy of Never", "Failed: Error: ErrImageNeverPull"},
		"Upper:1": {"Failed: Error: InvalidImageName", "InspectFailed: Failed to apply default image tag \"Upper:1\": couldn't parse image name \"Upper:1\": invalid reference format: repository name (library/Upper) must be lowercase"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := nodetest.New()
			agent, err := New(Config{Name: "n", Client: c, Runtime: Runtime{Sandboxes: struct{ Sandboxes }{}, Containers: &started{}, Images: &registry{}}})
			if err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image, ImagePullPolicy: corev1.PullNever}}}}
			agent.newEntry(PodState{}).startContainer(t.Context(), pod, &Action{Op: Start, Container: "c"})
			if err := agent.events.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			evs, err := client.Events.List(t.Context(), c, client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range evs {
				got = append(got, e.Reason+": "+e.Message)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("events %q, want %q", got, want)
			}
		})
	}
}

// TestLeastGrace stops containers of a pod that gives them no time: they get a moment after SIGTERM all the same.
func TestLeastGrace(t *testing.T) {
	containers := &started{}
	agent, err := New(Config{Name: "n", Client: nodetest.New(), Runtime: Runtime{Sandboxes: struct{ Sandboxes }{}, Containers: containers, Images: &registry{}}})
	if err != nil {
		t.Fatal(err)
	}
	e := agent.newEntry(PodState{})
	for _, grace := range []time.Duration{0, time.Second, 7 * time.Second} {
		e.kill(t.Context(), nil, []Action{{Op: Kill, Container: "c", ID: "1", Grace: grace}})
	}
	if want := []time.Duration{minimumGrace, minimumGrace, 7 * time.Second}; !slices.Equal(containers.stops, want) {
		t.Errorf("grace periods %v, want %v", containers.stops, want)
	}
}

// broken is a runtime whose containers end when they are started.
type broken struct{ Containers }

func (broken) Create(context.Context, *Launch) (string, error) { return "c", nil }
func (broken) Start(context.Context, string) error             { return errors.New("no such file") }

// TestFailedStarts starts a container that cannot run: the second time soon, then after the restart back-off, which shows
// once it is waited for.
func TestFailedStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent, err := New(Config{Name: "n", Client: nodetest.New(), Runtime: Runtime{Sandboxes: struct{ Sandboxes }{}, Containers: broken{}, Images: &registry{imported: true}}})
		if err != nil {
			t.Fatal(err)
		}
		e := agent.newEntry(PodState{})
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default", UID: "u"},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "app:1"}}}}
		c := e.state.Container("c")
		for i, want := range []struct {
			again time.Duration
			later string
		}{
			{startAgain, ""},
			{firstBackoff, "back-off 10s restarting failed container=c pod=p_default(u)"},
			{2 * firstBackoff, "back-off 20s restarting failed container=c pod=p_default(u)"},
		} {
			e.startContainer(t.Context(), pod, &Action{Op: Start, Container: "c", Attempt: uint32(i)})
			c.Instances = []Instance{{ID: "c", Phase: Exited, ExitCode: 128, Created: time.Now(), Finished: time.Now()}}
			f := c.Failure
			if f == nil || f.Reason != "RunContainerError" {
				t.Fatalf("start %d: %+v", i, f)
			}
			again := f.Retry
			if u := c.Backoff.until(time.Now()); u.After(again) {
				again = u
			}
			later := ""
			if f.Later != nil {
				later = f.Later.Message
			}
			if time.Until(again) != want.again || later != want.later {
				t.Errorf("start %d: again after %v, then %q; want %v, %q", i, time.Until(again), later, want.again, want.later)
			}
			time.Sleep(time.Until(again))
		}
		if err := agent.events.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
