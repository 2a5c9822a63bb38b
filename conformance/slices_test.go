package conformance

import (
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// TestEndpointSlices follows the endpoints of a Service as service proxies do: by an informer of EndpointSlices, in
// protobuf.
func TestEndpointSlices(t *testing.T) {
	t.Parallel()
	config := rest.CopyConfig(shared.config)
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, ns := t.Context(), shared.namespace(t)
	factory := informers.NewSharedInformerFactoryWithOptions(c, 0, informers.WithNamespace(ns))
	lister := factory.Discovery().V1().EndpointSlices().Lister()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	of := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: "web"})
	// want waits until the Service has one slice whose ready endpoints are just the running pods.
	want := func(pods int) {
		t.Helper()
		eventually(t, func() error {
			list, err := lister.EndpointSlices(ns).List(of)
			if err != nil || len(list) != 1 {
				return fmt.Errorf("%d slices, %v", len(list), err)
			}
			if p := list[0].Ports; pods > 0 && (len(p) != 1 || *p[0].Port != 8080) {
				return fmt.Errorf("ports %v", p)
			}
			var have, running []string
			for _, e := range list[0].Endpoints {
				if *e.Conditions.Ready {
					have = append(have, e.TargetRef.Name+" "+e.Addresses[0]+" "+*e.NodeName)
				}
			}
			l, err := c.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, p := range l.Items {
				if p.DeletionTimestamp == nil {
					running = append(running, p.Name+" "+p.Status.PodIP+" "+p.Spec.NodeName)
				}
			}
			slices.Sort(have)
			slices.Sort(running)
			if len(have) != pods || !slices.Equal(have, running) {
				return fmt.Errorf("endpoints %q of pods %q", have, running)
			}
			return nil
		})
	}
	app := map[string]string{"app": "web"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](3), Selector: &metav1.LabelSelector{MatchLabels: app},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: app},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
			},
		},
	}
	if _, err := c.CoreV1().Services(ns).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: app, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want(0)
	if _, err := c.AppsV1().Deployments(ns).Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want(3)
	for _, replicas := range []int32{5, 1} {
		if _, err := c.AppsV1().Deployments(ns).Patch(ctx, "web", "application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		want(int(replicas))
	}
	if err := c.CoreV1().Services(ns).Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if list, err := lister.EndpointSlices(ns).List(of); err != nil || len(list) > 0 {
			return fmt.Errorf("%d slices of a Service that is gone, %v", len(list), err)
		}
		return nil
	})
}
