package conformance

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/openapi3"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	toolswatch "k8s.io/client-go/tools/watch"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

func create(t *testing.T, c kubernetes.Interface, ns, name string, labels map[string]string) *corev1.ConfigMap {
	t.Helper()
	o, err := c.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestPages lists in pages while the objects change: every page is of one snapshot.
func TestPages(t *testing.T) {
	t.Parallel()
	ctx, c, ns := t.Context(), shared.clients(t), shared.namespace(t)
	var want []string
	for i := range 25 {
		name := fmt.Sprintf("o%02d", i)
		want = append(want, name)
		create(t, c, ns, name, map[string]string{"paged": "yes"})
	}
	opts := metav1.ListOptions{LabelSelector: "paged=yes", Limit: 10}
	var got []string
	version := ""
	for page := 0; ; page++ {
		l, err := c.CoreV1().ConfigMaps(ns).List(ctx, opts)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range l.Items {
			got = append(got, o.Name)
		}
		if page == 0 {
			version = l.ResourceVersion
			if err := c.CoreV1().ConfigMaps(ns).Delete(ctx, "o20", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			create(t, c, ns, "o15a", map[string]string{"paged": "yes"})
		}
		if l.ResourceVersion != version {
			t.Errorf("page %d is of revision %s, the first of %s", page, l.ResourceVersion, version)
		}
		if opts.Continue = l.Continue; opts.Continue == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages hold %v\nwant %v", got, want)
	}
	// The same by client-go's pager, as reflectors use it.
	n := 0
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) { return c.CoreV1().ConfigMaps(ns).List(ctx, o) }))
	p.PageSize = 4
	if err := p.EachListItem(ctx, metav1.ListOptions{LabelSelector: "paged"}, func(runtime.Object) error { n++; return nil }); err != nil || n != 25 {
		t.Errorf("the pager saw %d objects: %v", n, err)
	}
	if _, err := c.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact}); err != nil {
		t.Errorf("an exact list of revision %s: %v", version, err)
	}
	_, err := c.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{Continue: "bm9uc2Vuc2U", Limit: 1})
	if !apierrors.IsBadRequest(err) {
		t.Errorf("a continue token that is none: %v", err)
	}
}

// TestSelectors selects by labels and fields.
func TestSelectors(t *testing.T) {
	t.Parallel()
	ctx, c, ns := t.Context(), shared.clients(t), shared.namespace(t)
	create(t, c, ns, "a", map[string]string{"tier": "front", "n": "1"})
	create(t, c, ns, "b", map[string]string{"tier": "back", "n": "2"})
	create(t, c, ns, "c", map[string]string{"n": "3"})
	for _, s := range []struct {
		labels, fields string
		want           []string
	}{
		{"tier=front", "", []string{"a"}},
		{"tier==back", "", []string{"b"}},
		{"n,tier!=front", "", []string{"b", "c"}},
		{"tier in (front,back)", "", []string{"a", "b"}},
		{"n,tier notin (front)", "", []string{"b", "c"}},
		{"n,!tier", "", []string{"c"}},
		{"n", "metadata.name=b", []string{"b"}},
		{"n", "metadata.name!=b", []string{"a", "c"}},
		{"n", "metadata.namespace=elsewhere", nil},
	} {
		l, err := c.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{LabelSelector: s.labels, FieldSelector: s.fields})
		if err != nil {
			t.Errorf("%q %q: %v", s.labels, s.fields, err)
			continue
		}
		var got []string
		for _, o := range l.Items {
			got = append(got, o.Name)
		}
		if !slices.Equal(got, s.want) {
			t.Errorf("%q %q: got %v, want %v", s.labels, s.fields, got, s.want)
		}
	}
}

// next is the next event of a watch, of the wanted type.
func next(t *testing.T, w watch.Interface, want watch.EventType) watch.Event {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok || e.Type != want {
			t.Fatalf("got event %q %+v (open: %v), want %q", e.Type, e.Object, ok, want)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no event, want %q", want)
	}
	return watch.Event{}
}

// TestWatch sees objects enter and leave a selection, resumes, and is told what is too old or too new.
func TestWatch(t *testing.T) {
	t.Parallel()
	ctx, c, ns := t.Context(), shared.clients(t), shared.namespace(t)
	maps := c.CoreV1().ConfigMaps(ns)
	l, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "seen=yes", ResourceVersion: l.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	o := create(t, c, ns, "o", nil) // not selected
	first := ""
	for _, step := range []struct {
		label string
		want  watch.EventType
	}{{"yes", watch.Added}, {"yes", watch.Modified}, {"no", watch.Deleted}, {"yes", watch.Added}} {
		o.Labels = map[string]string{"seen": step.label}
		o.Data = map[string]string{"step": step.label + string(step.want)}
		if o, err = maps.Update(ctx, o, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		got := next(t, w, step.want).Object.(*corev1.ConfigMap)
		if got.ResourceVersion != o.ResourceVersion {
			t.Errorf("%s has revision %s, the object %s", step.want, got.ResourceVersion, o.ResourceVersion)
		}
		if first == "" {
			first = got.ResourceVersion
		}
	}
	if err := maps.Delete(ctx, "o", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	last := next(t, w, watch.Deleted).Object.(*corev1.ConfigMap)
	if last.ResourceVersion <= o.ResourceVersion && len(last.ResourceVersion) <= len(o.ResourceVersion) {
		t.Errorf("the deletion has revision %s, the object had %s", last.ResourceVersion, o.ResourceVersion)
	}

	// Resumed after the first event, the rest comes again, nothing else.
	again, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "seen=yes", ResourceVersion: first})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Stop()
	for _, want := range []watch.EventType{watch.Modified, watch.Deleted, watch.Added, watch.Deleted} {
		next(t, again, want)
	}

	// A list by watch: the objects, then a bookmark that says so.
	create(t, c, ns, "p", map[string]string{"seen": "yes"})
	yes := true
	initial, err := maps.Watch(ctx, metav1.ListOptions{LabelSelector: "seen=yes", SendInitialEvents: &yes, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	if err != nil {
		t.Fatal(err)
	}
	defer initial.Stop()
	next(t, initial, watch.Added)
	mark := next(t, initial, watch.Bookmark).Object.(*corev1.ConfigMap)
	if mark.Annotations[metav1.InitialEventsAnnotationKey] != "true" || mark.ResourceVersion == "" {
		t.Errorf("the bookmark is %+v", mark.ObjectMeta)
	}

	// A revision nobody has reached is refused.
	// client-go would ask again ten times, as it is told to.
	err = c.CoreV1().RESTClient().Get().Namespace(ns).Resource("configmaps").Param("resourceVersion", "9000000000000000").MaxRetries(0).Do(ctx).Error()
	if !apierrors.IsTimeout(err) || !apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) {
		t.Errorf("a list of the future: %v", err)
	}
	// A watch ends when its time is over, and not before.
	short := int64(1)
	start := time.Now()
	ends, err := maps.Watch(ctx, metav1.ListOptions{TimeoutSeconds: &short, ResourceVersion: mark.ResourceVersion, LabelSelector: "seen"})
	if err != nil {
		t.Fatal(err)
	}
	for range ends.ResultChan() {
		t.Error("an event nobody made")
	}
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("the watch of one second ended after %v", d)
	}
}

// TestRetryWatcher keeps one stream over watches that end.
func TestRetryWatcher(t *testing.T) {
	t.Parallel()
	ctx, c, ns := t.Context(), shared.clients(t), shared.namespace(t)
	first := create(t, c, ns, "first", nil)
	w, err := toolswatch.NewRetryWatcherWithContext(ctx, first.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			second := int64(1) // each watch ends after a second; the watcher resumes
			o.TimeoutSeconds, o.FieldSelector = &second, fields.OneTermNotEqualSelector("metadata.name", "kube-root-ca.crt").String()
			return c.CoreV1().ConfigMaps(ns).Watch(ctx, o)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for i := range 3 {
		name := fmt.Sprint("later-", i)
		create(t, c, ns, name, nil)
		if got := next(t, w, watch.Added).Object.(*corev1.ConfigMap).Name; got != name {
			t.Errorf("got %s, want %s", got, name)
		}
		time.Sleep(700 * time.Millisecond)
	}
}

// TestInformers keeps caches by typed and metadata informers in step with the server.
func TestInformers(t *testing.T) {
	t.Parallel()
	ctx, c, ns := t.Context(), shared.clients(t), shared.namespace(t)
	for i := range 5 {
		create(t, c, ns, fmt.Sprint("early-", i), nil)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(c, 0, informers.WithNamespace(ns))
	informer := factory.Core().V1().ConfigMaps()
	events := make(chan string, 100)
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { events <- "add " + o.(*corev1.ConfigMap).Name },
		UpdateFunc: func(_, o any) { events <- "update " + o.(*corev1.ConfigMap).Name },
		DeleteFunc: func(o any) { events <- "delete " + o.(*corev1.ConfigMap).Name },
	}); err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if l, err := informer.Lister().ConfigMaps(ns).List(labels.Everything()); err != nil || len(l) < 5 {
		t.Fatalf("synced with %d objects: %v", len(l), err)
	}
	o := create(t, c, ns, "late", nil)
	o.Data = map[string]string{"a": "b"}
	if _, err := c.CoreV1().ConfigMaps(ns).Update(ctx, o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CoreV1().ConfigMaps(ns).Delete(ctx, "late", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"add late", "update late", "delete late"} {
		for got := ""; got != want; {
			select {
			case got = <-events:
			case <-time.After(patience):
				t.Fatalf("the informer never said %q", want)
			}
		}
	}
	meta, err := metadata.NewForConfig(shared.config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := meta.Resource(configMaps).Namespace(ns).List(ctx, metav1.ListOptions{Limit: 2})
	if err != nil || len(l.Items) != 2 || l.Items[0].Kind != "PartialObjectMetadata" || l.Items[0].UID == "" || l.Continue == "" {
		t.Errorf("metadata list: %v, %+v", err, l)
	}
}

// TestDiscovery reads what is served, as mappers and generators do.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	c := shared.clients(t)
	v, err := c.Discovery().ServerVersion()
	if err != nil || v.Major != "1" || v.Minor != "37" {
		t.Errorf("version: %v, %+v", err, v)
	}
	groups, err := restmapper.GetAPIGroupResources(c.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewShortcutExpander(restmapper.NewDiscoveryRESTMapper(groups), memory.NewMemCacheClient(c.Discovery()), nil)
	for short, want := range map[string]string{"po": "pods", "deploy": "deployments", "cm": "configmaps", "crd": "customresourcedefinitions", "pc": "priorityclasses"} {
		if r, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: short}); err != nil || r.Resource != want {
			t.Errorf("%s is %v: %v", short, r, err)
		}
	}
	lists, err := c.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	root := openapi3.NewRoot(c.Discovery().OpenAPIV3())
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := root.GVSpec(gv); err != nil {
			t.Errorf("OpenAPI of %s: %v", gv, err)
		}
	}
}
