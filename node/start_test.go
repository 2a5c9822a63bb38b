package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	n int
}

func (s *started) Create(context.Context, *Launch) (string, error) { return "c", nil }
func (s *started) Start(context.Context, string) error             { s.n++; return nil }

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
