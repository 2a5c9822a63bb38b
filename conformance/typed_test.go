package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
)

// TestWrites follows one object through the verbs, in each encoding the typed clients have.
func TestWrites(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			config := rest.CopyConfig(shared.config)
			config.ContentType, config.AcceptContentTypes = encoding, encoding
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			testWrites(t, c, shared.namespace(t))
		})
	}
}

func testWrites(t *testing.T, c *kubernetes.Clientset, ns string) {
	ctx, maps := t.Context(), c.CoreV1().ConfigMaps(ns)
	created, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "made-"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(created.Name, "made-") || len(created.Name) != len("made-")+5 || created.UID == "" ||
		created.ResourceVersion == "" || created.CreationTimestamp.IsZero() || len(created.ManagedFields) != 1 {
		t.Errorf("created %+v", created.ObjectMeta)
	}
	name := created.Name
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("created twice: %v", err)
	}

	updated := created.DeepCopy()
	updated.Data["a"] = "2"
	if updated, err = maps.Update(ctx, updated, metav1.UpdateOptions{}); err != nil || updated.ResourceVersion == created.ResourceVersion {
		t.Fatalf("update: %v, %+v", err, updated)
	}
	if same, err := maps.Update(ctx, updated, metav1.UpdateOptions{}); err != nil || same.ResourceVersion != updated.ResourceVersion {
		t.Errorf("an update that changes nothing: %v, from %s to %s", err, updated.ResourceVersion, same.ResourceVersion)
	}
	created.Data["a"] = "stale"
	if _, err := maps.Update(ctx, created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("a stale update: %v", err)
	}
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		o, err := maps.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		o.Labels = map[string]string{"kept": "yes"}
		_, err = maps.Update(ctx, o, metav1.UpdateOptions{})
		return err
	}); err != nil {
		t.Errorf("update with retries: %v", err)
	}

	for _, p := range []struct {
		kind types.PatchType
		body string
		want string
	}{
		{types.MergePatchType, `{"data":{"b":"merged","a":null}}`, `{"b":"merged"}`},
		{types.StrategicMergePatchType, `{"data":{"c":"strategic"}}`, `{"b":"merged","c":"strategic"}`},
		{types.JSONPatchType, `[{"op":"move","from":"/data/b","path":"/data/d"}]`, `{"c":"strategic","d":"merged"}`},
	} {
		got, err := maps.Patch(ctx, name, p.kind, []byte(p.body), metav1.PatchOptions{FieldManager: "tester"})
		if err != nil {
			t.Errorf("%s: %v", p.kind, err)
			continue
		}
		if b, _ := json.Marshal(got.Data); string(b) != p.want {
			t.Errorf("%s %s: %s, want %s", p.kind, p.body, b, p.want)
		}
	}
	dry, err := maps.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"dry":"run"}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil || dry.Data["dry"] != "run" {
		t.Errorf("dry run: %v, %+v", err, dry)
	}
	got, err := maps.Get(ctx, name, metav1.GetOptions{})
	if err != nil || got.Data["dry"] != "" || got.Labels["kept"] != "yes" {
		t.Errorf("after a dry run: %v, %+v", err, got)
	}

	other := types.UID("another")
	if err := maps.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("delete of another uid: %v", err)
	}
	if err := maps.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &got.UID, ResourceVersion: &got.ResourceVersion}}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := maps.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get of what was deleted: %v", err)
	}
	for i := range 3 {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("many-", i), Labels: map[string]string{"many": "yes"}}}
		if _, err := maps.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	many := metav1.ListOptions{LabelSelector: "many=yes"}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, many); err != nil {
		t.Error(err)
	}
	if l, err := maps.List(ctx, many); err != nil || len(l.Items) != 0 {
		t.Errorf("after deletecollection: %v, %d left", err, len(l.Items))
	}
}

// TestEvents writes an event by each of its two groups, which show one store, and reads it by the other.
func TestEvents(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			config := rest.CopyConfig(shared.config)
			config.ContentType, config.AcceptContentTypes = encoding, encoding
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, ns := t.Context(), shared.namespace(t)
			about := corev1.ObjectReference{Kind: "ConfigMap", APIVersion: "v1", Name: "x", Namespace: ns}
			if _, err := c.EventsV1().Events(ns).Create(ctx, &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Regarding: about,
				EventTime: metav1.NowMicro(), Reason: "Tested", Action: "Test", Type: "Normal", Note: "by events.k8s.io",
				ReportingController: "example.com/test", ReportingInstance: "test-1"}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.CoreV1().Events(ns).Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "old"}, InvolvedObject: about,
				Reason: "Tested", Type: "Normal", Message: "by v1", Count: 2}, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			w, err := c.EventsV1().Events(ns).Watch(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			next(t, w, watch.Added)
			next(t, w, watch.Added)
			if e, err := c.CoreV1().Events(ns).Get(ctx, "new", metav1.GetOptions{}); err != nil || e.Message != "by events.k8s.io" || e.InvolvedObject != about {
				t.Errorf("%v, %+v", err, e)
			}
			l, err := c.EventsV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=Tested"})
			if err != nil || len(l.Items) != 2 || l.Items[1].Note != "by v1" || l.Items[1].DeprecatedCount != 2 {
				t.Errorf("%v, %+v", err, l)
			}
		})
	}
}

// TestInvalid reads the causes of a refusal as a program does.
func TestInvalid(t *testing.T) {
	t.Parallel()
	c, ns := shared.clients(t), shared.namespace(t)
	_, err := c.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{RestartPolicy: "Sometimes", Containers: []corev1.Container{{Name: "c"}}},
	}, metav1.CreateOptions{})
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		t.Fatalf("got %v", err)
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, string(cause.Type)+" "+cause.Field)
	}
	got := strings.Join(fields, ", ")
	for _, want := range []string{"FieldValueRequired spec.containers[0].image", "FieldValueNotSupported spec.restartPolicy"} {
		if !strings.Contains(got, want) {
			t.Errorf("causes %s; want %s", got, want)
		}
	}
}

// TestBadBodies sends what no client of the field would; each is refused as the client's mistake, and nothing is kept.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	c, ns := shared.clients(t), shared.namespace(t)
	const head = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"}`
	for _, b := range []struct {
		name, contentType, body string
		code                    int32
	}{
		{"truncated", "application/json", head, 400},
		{"empty", "application/json", "", 400},
		{"an array", "application/json", "[" + head + "}]", 400},
		{"deeply nested", "application/json", head + `,"data":` + strings.Repeat("[", 100_000), 400},
		{"deeply nested YAML", "application/yaml", strings.Repeat("[", 100_000), 400},
		{"malformed YAML", "application/yaml", "a: b: c", 400},
		{"another kind", "application/json", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"bad"}}`, 400},
		{"no protobuf", "application/vnd.kubernetes.protobuf", "k8s\x00\xff\xff", 400},
		{"over 3 MiB", "application/json", head + `,"data":{"a":"` + strings.Repeat("x", 3<<20) + `"}}`, 413},
		{"an unknown media type", "text/plain", head + "}", 415},
	} {
		err := c.CoreV1().RESTClient().Post().Namespace(ns).Resource("configmaps").SetHeader("Content-Type", b.contentType).
			Body([]byte(b.body)).Do(t.Context()).Error()
		var status apierrors.APIStatus
		if !errors.As(err, &status) || status.Status().Code != b.code {
			t.Errorf("%s: got %.300v, want code %d", b.name, err, b.code)
		}
	}
	if _, err := c.CoreV1().ConfigMaps(ns).Get(t.Context(), "bad", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("something was kept: %v", err)
	}
}

// TestSubresources uses status, scale, binding, eviction and token as controllers do.
func TestSubresources(t *testing.T) {
	t.Parallel()
	ctx, c, ns := t.Context(), shared.clients(t), shared.namespace(t)
	deployments, pods := c.AppsV1().Deployments(ns), c.CoreV1().Pods(ns)
	one := int32(1)
	labels := map[string]string{"app": "web"}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}
	if _, err := deployments.Create(ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	scale, err := deployments.GetScale(ctx, "web", metav1.GetOptions{})
	if err != nil || scale.Spec.Replicas != 1 || scale.Status.Selector != "app=web" {
		t.Fatalf("scale: %v, %+v", err, scale)
	}
	eventually(t, func() error { // the controller, which writes the status, may come in between
		if scale, err = deployments.GetScale(ctx, "web", metav1.GetOptions{}); err != nil {
			return err
		}
		scale.Spec.Replicas = 2
		scale, err = deployments.UpdateScale(ctx, "web", scale, metav1.UpdateOptions{})
		return err
	})
	if scale.Spec.Replicas != 2 {
		t.Fatalf("updated scale: %+v", scale)
	}
	eventually(t, func() error {
		d, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		if err == nil && (d.Status.AvailableReplicas != 2 || d.Status.ObservedGeneration != d.Generation) {
			err = fmt.Errorf("status is %+v", d.Status)
		}
		return err
	})

	// A pod that no scheduler takes is bound by hand.
	spec.SchedulerName = "by-hand"
	pod, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bound"}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "bound", UID: pod.UID}, Target: corev1.ObjectReference{Kind: "Node", Name: "hollow-1"}}
	if err := pods.Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Bind(ctx, binding, metav1.CreateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("bound twice: %v", err)
	}
	eventually(t, func() error {
		p, err := pods.Get(ctx, "bound", metav1.GetOptions{})
		if err == nil && (p.Status.Phase != corev1.PodRunning || p.Spec.NodeName != "hollow-1") {
			err = fmt.Errorf("pod is %s on %q", p.Status.Phase, p.Spec.NodeName)
		}
		return err
	})

	token, err := c.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "default", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "bound", UID: pod.UID},
	}}, metav1.CreateOptions{})
	if err != nil || token.Status.ExpirationTimestamp.Before(&metav1.Time{Time: time.Now().Add(50 * time.Minute)}) {
		t.Fatalf("token: %v, %+v", err, token)
	}
	// The token says who asks; that account may do nothing yet.
	as := rest.AnonymousClientConfig(shared.config)
	as.BearerToken = token.Status.Token
	robot, err := kubernetes.NewForConfig(as)
	if err != nil {
		t.Fatal(err)
	}
	_, err = robot.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if want := fmt.Sprintf("User \"system:serviceaccount:%s:default\" cannot list resource \"pods\"", ns); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("with a token: %v; want %s", err, want)
	}

	if err := pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "bound"}, DeleteOptions: metav1.NewDeleteOptions(0)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if _, err := pods.Get(ctx, "bound", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("an evicted pod: %v", err)
		}
		return nil
	})
	eventually(t, func() error {
		if _, err := robot.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
			return fmt.Errorf("with the token of a pod that is gone: %v", err)
		}
		return nil
	})
}

// TestAnonymous reaches health and version, and nothing else.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	c, err := kubernetes.NewForConfig(rest.AnonymousClientConfig(shared.config))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/livez", "/readyz", "/healthz", "/version"} {
		if err := c.RESTClient().Get().AbsPath(path).Do(t.Context()).Error(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := c.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("anonymous list: %v", err)
	}
	wrong := rest.AnonymousClientConfig(shared.config)
	wrong.BearerToken = "not.a.token"
	if c, err = kubernetes.NewForConfig(wrong); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ServerVersion(); !apierrors.IsUnauthorized(err) {
		t.Errorf("a wrong token: %v", err)
	}
}
