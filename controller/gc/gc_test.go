package gc

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
	"pintle.dev/controller/controllertest"
)

var widgets = api.Resource{Group: "example.com", Name: "widgets"}

type widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
}

var builtins = []controller.Kind{
	{Resource: api.ConfigMaps, Version: "v1", Kind: "ConfigMap", Namespaced: true},
	{Resource: api.Namespaces, Version: "v1", Kind: "Namespace"},
	{Resource: api.Nodes, Version: "v1", Kind: "Node"},
	{Resource: api.Events, Version: "v1", Kind: "Event", Namespaced: true},
}

type world struct {
	*testing.T
	*controllertest.API
	serve func(kinds ...controller.Kind) // adds kinds to the catalog
}

func run(t *testing.T, f func(w world)) {
	synctest.Test(t, func(t *testing.T) {
		c := controllertest.New()
		rec := client.NewRecorder(c, "garbage-collector", "")
		var mu sync.Mutex
		kinds, changed := builtins, make(chan struct{})
		w := world{t, c, func(ks ...controller.Kind) {
			mu.Lock()
			defer mu.Unlock()
			kinds = append(slices.Clone(kinds), ks...)
			old := changed
			changed = make(chan struct{})
			close(old)
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			gc := New(c, func() ([]controller.Kind, <-chan struct{}) {
				mu.Lock()
				defer mu.Unlock()
				return kinds, changed
			}, rec)
			done <- controller.Run(ctx, c, []*controller.Controller{gc})
		}()
		for _, ns := range []string{"ns", "other"} {
			c.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		}
		f(w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// cm makes a ConfigMap whose UID is its name; owners are names of ConfigMaps, with "!" those that it blocks.
func (w world) cm(name string, owners ...string) api.Key {
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}}
	for _, owner := range owners {
		ref := ownerRef("v1", "ConfigMap", strings.TrimSuffix(owner, "!"))
		if strings.HasSuffix(owner, "!") {
			yes := true
			ref.BlockOwnerDeletion = &yes
		}
		o.OwnerReferences = append(o.OwnerReferences, ref)
	}
	return w.Create(o).Key()
}

func ownerRef(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(name)}
}

func (w world) delete(r api.Resource, k api.Key, policy metav1.DeletionPropagation) {
	w.Helper()
	if _, err := w.Commit(w.Context(), client.Change{Verb: api.Delete, Resource: r, Key: k, Delete: &metav1.DeleteOptions{PropagationPolicy: &policy}}); err != nil {
		w.Fatal(err)
	}
}

// left lists the ConfigMaps: "name(owners)".
func (w world) left() string {
	w.Helper()
	time.Sleep(30 * time.Second)
	synctest.Wait()
	cms, err := client.ConfigMaps.List(w.Context(), w, client.Options{})
	if err != nil {
		w.Fatal(err)
	}
	var out []string
	for _, cm := range cms {
		s := cm.Name
		var owners []string
		for _, o := range cm.OwnerReferences {
			owners = append(owners, o.Name)
		}
		if len(owners) > 0 {
			s += "(" + strings.Join(owners, ",") + ")"
		}
		if cm.DeletionTimestamp != nil {
			s += "-"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func (w world) want(what, want string) {
	w.Helper()
	if got := w.left(); got != want {
		w.Errorf("%s: left %q, want %q", what, got, want)
	}
}

const (
	background = metav1.DeletePropagationBackground
	foreground = metav1.DeletePropagationForeground
	orphan     = metav1.DeletePropagationOrphan
)

func TestBackground(t *testing.T) {
	run(t, func(w world) {
		a := w.cm("a")
		w.cm("b", "a")
		w.cm("c", "b")
		w.cm("d")
		w.cm("e", "a", "d")
		w.want("start", "a b(a) c(b) d e(a,d)")
		w.delete(api.ConfigMaps, a, background)
		w.want("a deleted", "d e(d)")
	})
}

func TestOrphan(t *testing.T) {
	run(t, func(w world) {
		a := w.cm("a")
		w.cm("b", "a")
		w.cm("c", "b")
		w.delete(api.ConfigMaps, a, orphan)
		w.want("a deleted", "b c(b)")
	})
}

func TestForeground(t *testing.T) {
	run(t, func(w world) {
		a := w.cm("a")
		b := w.cm("b", "a!")
		w.cm("c", "a")
		w.cm("d", "b!")
		held, err := client.MergePatch(map[string]any{"metadata": map[string]any{"finalizers": []string{"x/y"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.ConfigMaps.Patch(t.Context(), w, b, held); err != nil {
			t.Fatal(err)
		}
		w.delete(api.ConfigMaps, a, foreground)
		// c goes, too, though it blocks nobody. b waits for d, then for its own finalizer, and a for b.
		w.want("a deleted while b is held", "a- b(a)-")
		held.Body = []byte(`{"metadata":{"finalizers":null}}`)
		if _, err := client.ConfigMaps.Patch(t.Context(), w, b, held); err != nil {
			t.Fatal(err)
		}
		w.want("b let go", "")
	})
}

func TestForegroundIgnoresReleasedDependents(t *testing.T) {
	run(t, func(w world) {
		a := w.cm("a")
		b := w.cm("b", "a!")
		if _, err := client.ConfigMaps.Patch(t.Context(), w, b, client.Patch{Type: types.MergePatchType, Body: []byte(`{"metadata":{"finalizers":["x/y"]}}`)}); err != nil {
			t.Fatal(err)
		}
		w.delete(api.ConfigMaps, a, foreground)
		w.want("a deleted while b is held", "a- b(a)-")
		if _, err := client.ConfigMaps.Patch(t.Context(), w, b, client.Patch{Type: types.MergePatchType, Body: []byte(`{"metadata":{"ownerReferences":null}}`)}); err != nil {
			t.Fatal(err)
		}
		w.want("b released", "b-")
	})
}

func TestCircleOfForegroundDeletions(t *testing.T) {
	run(t, func(w world) {
		// The circle is closed by an update: an object made before its owner is garbage to whoever looks at once.
		a := w.cm("a")
		w.cm("b", "a!")
		p := client.Patch{Type: types.MergePatchType, Body: []byte(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"b","uid":"b","blockOwnerDeletion":true}]}}`)}
		if _, err := client.ConfigMaps.Patch(w.Context(), w, a, p); err != nil {
			t.Fatal(err)
		}
		w.want("start", "a(b) b(a)")
		w.delete(api.ConfigMaps, a, foreground)
		w.want("a deleted", "")
	})
}

func TestAbsentOwners(t *testing.T) {
	run(t, func(w world) {
		w.cm("late", "never-was")
		w.want("created with an owner that does not exist", "")
		a := w.cm("a")
		w.cm("b", "a")
		w.left()
		w.delete(api.ConfigMaps, a, orphan) // b keeps living without it
		w.left()
		w.cm("again", "a")
		w.want("created with an owner that was known, but is gone", "b")
		w.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "another"}})
		w.cm("of-a-namesake", "a")
		w.want("created with an owner in whose place there is another", "a b")
	})
}

func TestNamespacesOfOwners(t *testing.T) {
	run(t, func(w world) {
		w.cm("owner")
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "x", UID: "x", OwnerReferences: []metav1.OwnerReference{ownerRef("v1", "ConfigMap", "owner")}}}
		w.Create(o)
		w.want("owner in another namespace", "owner")
		w.Create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "n", OwnerReferences: []metav1.OwnerReference{ownerRef("v1", "ConfigMap", "owner")}}})
		w.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "of-node", UID: "y", OwnerReferences: []metav1.OwnerReference{ownerRef("v1", "Node", "n")}}})
		w.want("owned by a node", "owner of-node(n)")
		if _, err := client.Nodes.Get(t.Context(), w, api.Key{Name: "n"}); err != nil {
			t.Errorf("a cluster-scoped object with a namespaced owner was deleted: %v", err)
		}
		var got []string
		evs, err := client.Events.List(t.Context(), w, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			got = append(got, e.InvolvedObject.Kind+" "+e.InvolvedObject.Name+" "+e.Reason+" "+e.Message)
		}
		slices.Sort(got)
		want := []string{
			`ConfigMap x OwnerRefInvalidNamespace ownerRef [v1/ConfigMap, namespace: other, name: owner, uid: owner] does not exist in namespace "other"`,
			`Node n OwnerRefInvalidNamespace ownerRef [v1/ConfigMap, namespace: , name: owner, uid: owner] does not exist in namespace ""`,
		}
		if !slices.Equal(got, want) {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		w.delete(api.Nodes, api.Key{Name: "n"}, background)
		w.want("node deleted", "owner")
	})
}

func TestCustomResources(t *testing.T) {
	run(t, func(w world) {
		o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "x", OwnerReferences: []metav1.OwnerReference{ownerRef("example.com/v1", "Widget", "w")}}}
		w.Create(o)
		w.want("owner of an unknown kind", "x(w)")
		w.Create(&widget{metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"}, metav1.ObjectMeta{Namespace: "ns", Name: "w", UID: "w"}})
		w.serve(controller.Kind{Resource: widgets, Version: "v1", Kind: "Widget", Namespaced: true})
		time.Sleep(2 * time.Minute)
		w.want("kind defined", "x(w)")
		w.Create(&widget{metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"}, metav1.ObjectMeta{Namespace: "ns", Name: "v", UID: "v", OwnerReferences: []metav1.OwnerReference{ownerRef("v1", "ConfigMap", "x")}}})
		w.delete(widgets, api.Key{Namespace: "ns", Name: "w"}, background)
		w.want("owner deleted", "")
		if _, err := w.Get(t.Context(), widgets, api.Key{Namespace: "ns", Name: "v"}); !api.IsNotFound(err) {
			t.Errorf("custom dependent: %v, want it gone", err)
		}
	})
}

// TestOwnerInAnotherGroup names owners by a group that their kind is also served under.
func TestOwnerInAnotherGroup(t *testing.T) {
	run(t, func(w world) {
		w.serve(controller.Kind{Resource: widgets, Version: "v1", Kind: "Widget", Namespaced: true, Groups: []string{"old.example.com", ""}})
		w.Create(&widget{metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"}, metav1.ObjectMeta{Namespace: "ns", Name: "w", UID: "w"}})
		for name, owner := range map[string]string{"x": "w", "y": "other"} {
			w.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), OwnerReferences: []metav1.OwnerReference{ownerRef("old.example.com/v1beta1", "Widget", owner)}}})
		}
		time.Sleep(time.Minute)
		w.want("one owner exists", "x(w)")
		w.delete(widgets, api.Key{Namespace: "ns", Name: "w"}, background)
		w.want("owner deleted", "")
	})
}

// TestLostHistory loses the deletion of an owner: only one stream has a gap, that of the owner's resource.
func TestLostHistory(t *testing.T) {
	c := controllertest.New()
	kinds := append(slices.Clone(builtins), controller.Kind{Resource: widgets, Version: "v1", Kind: "Widget", Namespaced: true})
	g := newCollector(c, func() ([]controller.Kind, <-chan struct{}) { return kinds, nil }, nil)
	g.learn(kinds)
	owner := c.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "a"}})
	o := &widget{metav1.TypeMeta{APIVersion: "example.com/v1", Kind: "Widget"}, metav1.ObjectMeta{Namespace: "ns", Name: "v", UID: "v", OwnerReferences: []metav1.OwnerReference{ownerRef("v1", "ConfigMap", "a")}}}
	c.Create(o)
	list := func(r api.Resource, gap bool) {
		v, err := c.View(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		g.list(r, v, gap)
		for g.queue.Len() > 0 {
			r, _ := g.queue.Get()
			if err := g.look(t.Context(), r); err != nil {
				t.Error(err)
			}
			g.queue.Done(r)
		}
	}
	list(api.ConfigMaps, false)
	list(widgets, false)
	if _, err := c.Commit(t.Context(), client.Change{Verb: api.Delete, Resource: api.ConfigMaps, Key: owner.Key()}); err != nil {
		t.Fatal(err)
	}
	list(api.ConfigMaps, true)
	if _, err := c.Get(t.Context(), widgets, client.KeyOf(o)); !api.IsNotFound(err) {
		t.Errorf("dependent of an owner that went unseen: %v, want it gone", err)
	}
}

// An object that names itself as its owner does not wait for its own end.
func TestForegroundDeletionOfAnOwnOwner(t *testing.T) {
	run(t, func(w world) {
		self := w.cm("self", "self!")
		w.cm("below", "self!")
		w.delete(api.ConfigMaps, self, metav1.DeletePropagationForeground)
		if left := w.left(); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}
