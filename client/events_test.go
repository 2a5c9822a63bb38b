package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller/controllertest"
)

func about(name string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "ns", Name: name, UID: "u-" + "x"}
}

func events(t *testing.T, c client.Client) (out []string) {
	t.Helper()
	evs, err := client.Events.List(t.Context(), c, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range evs {
		out = append(out, fmt.Sprintf("%s %s %s x%d: %s", e.Type, e.InvolvedObject.Name, e.Reason, e.Count, e.Message))
	}
	return out
}

func TestRecorder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		record func(r *client.Recorder)
		want   []string
	}{
		{"different events", func(r *client.Recorder) {
			r.Normal(about("a"), "Pulled", "image %q", "i")
			r.Warning(about("a"), "Failed", "100% broken")
		}, []string{`Normal a Pulled x1: image "i"`, `Warning a Failed x1: 100% broken`}},
		{"a repeated event counts", func(r *client.Recorder) {
			for range 5 {
				r.Normal(about("a"), "Pulled", "m")
				time.Sleep(time.Second)
			}
		}, []string{"Normal a Pulled x5: m"}},
		{"similar events become one", func(r *client.Recorder) {
			for i := range 14 {
				r.Normal(about("a"), "Pulled", "m%02d", i)
				time.Sleep(time.Second)
			}
		}, []string{
			"Normal a Pulled x1: m00", "Normal a Pulled x1: m01", "Normal a Pulled x1: m02", "Normal a Pulled x1: m03",
			"Normal a Pulled x1: m04", "Normal a Pulled x1: m05", "Normal a Pulled x1: m06", "Normal a Pulled x1: m07",
			"Normal a Pulled x1: m08", "Normal a Pulled x5: (combined from similar events): m13",
		}},
		{"similar events far apart stay apart", func(r *client.Recorder) {
			for i := range 11 {
				r.Normal(about("a"), "Pulled", "m%d", i/2)
				time.Sleep(11 * time.Minute)
			}
		}, []string{
			"Normal a Pulled x2: m0", "Normal a Pulled x2: m1", "Normal a Pulled x2: m2", "Normal a Pulled x2: m3",
			"Normal a Pulled x2: m4", "Normal a Pulled x1: m5",
		}},
		{"spam is held back, per object", func(r *client.Recorder) {
			for range 100 {
				r.Normal(about("a"), "Pulled", "m")
			}
			r.Normal(about("b"), "Pulled", "m")
			time.Sleep(10 * time.Minute)
			r.Normal(about("a"), "Pulled", "m")
		}, []string{"Normal a Pulled x101: m", "Normal b Pulled x1: m"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := controllertest.New()
				r := client.NewRecorder(c, "kubelet", "node")
				tt.record(r)
				if err := r.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				got := events(t, c)
				if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
			})
		})
	}
}

func TestRecorderRetriesAndExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		var down atomic.Bool
		down.Store(true)
		c.Before(func(client.Change) error {
			if down.Load() {
				return errors.New("connection refused")
			}
			return nil
		})
		r := client.NewRecorder(c, "kubelet", "node")
		for i := range 20_000 {
			r.Normal(about(fmt.Sprintf("p%d", i)), "Pulled", "m")
		}
		if n := r.Dropped(); n != 20_000-16_384 {
			t.Errorf("%d dropped, want %d", n, 20_000-16_384)
		}
		time.Sleep(15 * time.Second)
		down.Store(false)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if n := len(events(t, c)); n != 16_384 {
			t.Fatalf("%d events once the API is back, want 16384", n)
		}
		// An event that has expired on the server is written anew, with its count. It must be a late one: of those above
		// only the last few thousand written are remembered, in whatever order their writers ran.
		r.Normal(about("late"), "Pulled", "m")
		time.Sleep(time.Second)
		synctest.Wait()
		evs, err := client.Events.List(t.Context(), c, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var last *corev1.Event
		for _, e := range evs {
			if e.InvolvedObject.Name == "late" {
				last = e
			}
		}
		if _, err := client.Events.Delete(t.Context(), c, client.KeyOf(last), nil); err != nil {
			t.Fatal(err)
		}
		r.Normal(last.InvolvedObject, "Pulled", "m")
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := client.Events.Get(t.Context(), c, client.KeyOf(last))
		if err != nil || again.Count != 2 || again.ReportingInstance != "node" || again.Source.Component != "kubelet" {
			t.Errorf("got %+v, err %v; want the same name with count 2", again, err)
		}
	})
}

func TestRecorderCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		c.Before(func(client.Change) error { return errors.New("connection refused") })
		r := client.NewRecorder(c, "kubelet", "node")
		r.Normal(about("a"), "Pulled", "m")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Close(ctx); err == nil {
			t.Error("Close returned without an error though an event was not written")
		}
	})
}

func TestTypedWrites(t *testing.T) {
	c := controllertest.New()
	ctx := t.Context()
	p := &corev1.Pod{}
	p.Namespace, p.Name = "ns", "p"
	p.Labels = map[string]string{"app": "x"}
	rec, err := client.Pods.Create(ctx, c, p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Pods.Get(ctx, c, rec.Key())
	if err != nil || got.ResourceVersion != rec.Revision().String() || got.Labels["app"] != "x" {
		t.Fatalf("got %+v, err %v", got, err)
	}
	stale := got.DeepCopy()
	got.Status.Phase = corev1.PodRunning
	got.Labels["app"] = "y"
	if rec, err = client.Pods.UpdateStatus(ctx, c, got); err != nil {
		t.Fatal(err)
	}
	got, err = client.Pods.Decode(rec)
	if err != nil || got.Status.Phase != corev1.PodRunning || got.Labels["app"] != "x" {
		t.Fatalf("status update gave %+v, err %v", got, err)
	}
	if _, err := client.Pods.Update(ctx, c, stale); !api.IsConflict(err) {
		t.Errorf("update of a stale version: %v, want a conflict", err)
	}
	if _, err := client.Pods.Delete(ctx, c, rec.Key(), client.IfUID("other")); !api.IsConflict(err) {
		t.Errorf("delete of another UID: %v, want a conflict", err)
	}
	if _, err := client.Pods.Delete(ctx, c, rec.Key(), client.IfUID(got.UID)); err != nil {
		t.Error(err)
	}
	if _, err := client.Pods.Get(ctx, c, rec.Key()); !api.IsNotFound(err) {
		t.Errorf("get after delete: %v, want a 404", err)
	}
}

func TestRecorderGivesUpWhatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		c.Before(func(ch client.Change) error {
			e := ch.Object.(*corev1.Event)
			switch e.Reason {
			case "Forbidden":
				return api.Forbidden(api.Events, "", errors.New("no"))
			case "Lost":
				if time.Since(e.FirstTimestamp.Time) == 0 {
					return api.AsError(errors.New("connection lost"))
				}
			}
			return nil
		})
		r := client.NewRecorder(c, "kubelet", "node")
		start := time.Now()
		for _, reason := range []string{"Forbidden", "Fine", "Lost"} {
			r.Normal(about("a"), reason, "m")
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := events(t, c)
		if len(got) != 2 || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v, want Fine and Lost after one retry", got, time.Since(start))
		}
	})
}
