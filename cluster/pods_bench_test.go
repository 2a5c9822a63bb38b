package cluster

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/client"
)

// BenchmarkPods is a Deployment of 2,000 pods on 100 hollow nodes, from its creation until all are ready and their
// Events written. Figures are per pod; wall time says little on a busy machine, processor time and allocations more.
func BenchmarkPods(b *testing.B) {
	const pods = 2000
	s, err := Start(b.Context(), Config{Data: b.TempDir(), NoNode: true, HollowNodes: 100})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	ctx := b.Context()
	admin := s.Client("bench", auth.UserAdmin, auth.GroupMasters)
	until := func(what string, done func() bool) {
		b.Helper()
		for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatalf("%s: not within a minute", what)
			}
		}
	}
	var cpu time.Duration
	var bytes, mallocs uint64
	for b.Loop() {
		b.StopTimer()
		ns := newNamespace(ctx, b, admin, until)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		begun := processorTime(b)
		b.StartTimer()
		if _, err := client.Deployments.Create(ctx, admin, benchDeployment(ns, pods)); err != nil {
			b.Fatal(err)
		}
		until("ready", func() bool {
			d, err := client.Deployments.Get(ctx, admin, api.Key{Namespace: ns, Name: "bench"})
			return err == nil && d.Status.ReadyReplicas == pods
		})
		b.StopTimer()
		until("events", func() bool {
			l, err := admin.List(ctx, api.Events, client.Options{Namespace: ns})
			return err == nil && len(l.Records) >= 4*pods
		})
		cpu += processorTime(b) - begun
		runtime.ReadMemStats(&after)
		bytes += after.TotalAlloc - before.TotalAlloc
		mallocs += after.Mallocs - before.Mallocs
		b.StartTimer()
	}
	n := float64(b.N * pods)
	b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-us/pod")
	b.ReportMetric(float64(bytes)/n, "B/pod")
	b.ReportMetric(float64(mallocs)/n, "allocs/pod")
}

func newNamespace(ctx context.Context, b *testing.B, admin client.Client, until func(string, func() bool)) string {
	rec, err := client.Namespaces.Create(ctx, admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-"}})
	if err != nil {
		b.Fatal(err)
	}
	until("the service account", func() bool {
		_, err := client.ServiceAccounts.Get(ctx, admin, api.Key{Namespace: rec.Name(), Name: "default"})
		return err == nil
	})
	return rec.Name()
}

func benchDeployment(ns string, pods int32) *appsv1.Deployment {
	labels := map[string]string{"app": "bench"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "bench"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &pods, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: "example/bench:1", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
					}},
				}}},
			},
		},
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
