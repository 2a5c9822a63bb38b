package conformance

import (
	"fmt"
	"testing"
	"time"

	appsv1beta1 "k8s.io/api/apps/v1beta1"
	coordinationv1beta1 "k8s.io/api/coordination/v1beta1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1beta1 "k8s.io/api/discovery/v1beta1"
	eventsv1beta1 "k8s.io/api/events/v1beta1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	extensionsv1beta1apply "k8s.io/client-go/applyconfigurations/extensions/v1beta1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestOlderVersions uses the typed clients of versions that upstream has removed, in each encoding.
func TestOlderVersions(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			config := rest.CopyConfig(shared.config)
			config.ContentType, config.AcceptContentTypes = encoding, encoding
			config.WarningHandler = rest.NoWarnings{}
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			ns := shared.namespace(t)
			t.Run("workloads", func(t *testing.T) { testOlderWorkloads(t, c, ns) })
			t.Run("others", func(t *testing.T) { testOlderOthers(t, c, ns) })
		})
	}
}

func olderTemplate(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "older"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
	}
}

func testOlderWorkloads(t *testing.T, c *kubernetes.Clientset, ns string) {
	ctx, older, apps := t.Context(), c.ExtensionsV1beta1().Deployments(ns), c.AppsV1beta1().Deployments(ns)
	created, err := older.Create(ctx, &extensionsv1beta1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: extensionsv1beta1.DeploymentSpec{Template: olderTemplate("i:1")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s := created.Spec; s.Selector == nil || s.Selector.MatchLabels["app"] != "older" || s.Strategy.RollingUpdate.MaxSurge.IntVal != 1 || created.Labels["app"] != "older" {
		t.Errorf("created %+v", created)
	}
	eventually(t, func() error { // the controllers write to it
		d, err := apps.Get(ctx, "d", metav1.GetOptions{})
		if err == nil {
			d.Spec.Template = olderTemplate("i:2")
			_, err = apps.Update(ctx, d, metav1.UpdateOptions{})
		}
		return err
	})
	scale, err := older.GetScale(ctx, "d", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 1 || scale.Status.Selector["app"] != "older" {
		t.Fatalf("scale %+v, %v", scale, err)
	}
	scale.Spec.Replicas, scale.ResourceVersion = 2, ""
	if scale, err = older.UpdateScale(ctx, "d", scale, metav1.UpdateOptions{}); err != nil || scale.Spec.Replicas != 2 {
		t.Errorf("scaled to %+v, %v", scale, err)
	}
	config := extensionsv1beta1apply.Deployment("d", ns).WithSpec(extensionsv1beta1apply.DeploymentSpec().
		WithTemplate(corev1apply.PodTemplateSpec().WithSpec(corev1apply.PodSpec().WithContainers(corev1apply.Container().WithName("c").WithImage("i:3")))))
	if _, err := older.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "test"}); err == nil {
		t.Error("an apply takes what another manager owns")
	}
	applied, err := older.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "test", Force: true})
	if err != nil || applied.Spec.Template.Spec.Containers[0].Image != "i:3" {
		t.Fatalf("applied %+v, %v", applied, err)
	}
	newest, err := c.AppsV1().Deployments(ns).Get(ctx, "d", metav1.GetOptions{})
	if err != nil || newest.Spec.Template.Spec.Containers[0].Image != "i:3" || *newest.Spec.Replicas != 2 || newest.UID != created.UID {
		t.Errorf("apps/v1 has %+v, %v", newest, err)
	}
	w, err := c.AppsV1beta2().Deployments(ns).Watch(ctx, metav1.ListOptions{ResourceVersion: created.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	select {
	case e := <-w.ResultChan():
		if e.Type != watch.Modified {
			t.Errorf("event %+v", e)
		}
	case <-time.After(patience):
		t.Error("no event")
	}
	eventually(t, func() error {
		d, err := apps.Get(ctx, "d", metav1.GetOptions{})
		if err == nil {
			d.Spec.RollbackTo = &appsv1beta1.RollbackConfig{Revision: 1}
			_, err = apps.Update(ctx, d, metav1.UpdateOptions{})
		}
		return err
	})
	eventually(t, func() error {
		rss, err := c.ExtensionsV1beta1().ReplicaSets(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=older"})
		if err == nil && (len(rss.Items) == 0 || rss.Items[0].Spec.Selector == nil) {
			err = fmt.Errorf("replica sets %+v", rss)
		}
		return err
	})
	if err := older.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
}

func testOlderOthers(t *testing.T, c *kubernetes.Clientset, ns string) {
	ctx, me := t.Context(), "me"
	lease, err := c.CoordinationV1beta1().Leases(ns).Create(ctx, &coordinationv1beta1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "l"}, Spec: coordinationv1beta1.LeaseSpec{HolderIdentity: &me},
	}, metav1.CreateOptions{})
	if err != nil || *lease.Spec.HolderIdentity != me {
		t.Errorf("lease %+v, %v", lease, err)
	}
	slice, err := c.DiscoveryV1beta1().EndpointSlices(ns).Create(ctx, &discoveryv1beta1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "s"}, AddressType: discoveryv1beta1.AddressTypeIPv4,
		Endpoints: []discoveryv1beta1.Endpoint{{Addresses: []string{"10.0.0.1"}, Topology: map[string]string{corev1.LabelTopologyZone: "z", "a": "b"}}},
	}, metav1.CreateOptions{})
	if err != nil || slice.Endpoints[0].Topology[corev1.LabelTopologyZone] != "z" || slice.Endpoints[0].Topology["a"] != "b" {
		t.Errorf("endpoint slice %+v, %v", slice, err)
	}
	if s, err := c.DiscoveryV1().EndpointSlices(ns).Get(ctx, "s", metav1.GetOptions{}); err != nil || *s.Endpoints[0].Zone != "z" || len(s.Endpoints[0].DeprecatedTopology) != 1 {
		t.Errorf("in v1 %+v, %v", s, err)
	}
	about := corev1.ObjectReference{Kind: "Pod", Namespace: ns, Name: "p"}
	event, err := c.EventsV1beta1().Events(ns).Create(ctx, &eventsv1beta1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, EventTime: metav1.NowMicro(), ReportingController: "example.com/c", ReportingInstance: "i",
		Action: "a", Reason: "r", Type: corev1.EventTypeNormal, Regarding: about, Note: "n",
	}, metav1.CreateOptions{})
	if err != nil || event.Note != "n" {
		t.Fatalf("event %+v, %v", event, err)
	}
	if e, err := c.CoreV1().Events(ns).Get(ctx, "e", metav1.GetOptions{}); err != nil || e.Message != "n" || e.InvolvedObject != about {
		t.Errorf("as a core event %+v, %v", e, err)
	}
	for _, p := range []func() (int, error){
		func() (int, error) {
			l, err := c.SchedulingV1beta1().PriorityClasses().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=system-node-critical"})
			return len(l.Items), err
		},
		func() (int, error) {
			l, err := c.EventsV1beta1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "regarding.name=p"})
			return len(l.Items), err
		},
	} {
		if n, err := p(); err != nil || n != 1 {
			t.Errorf("%d listed, %v", n, err)
		}
	}
}
