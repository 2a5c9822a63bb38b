package describe

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
)

func builtinWidget() []*resource.Definition {
	return []*resource.Definition{
		{
			Resource: api.Pods, Kind: "Pod", Singular: "pod", ShortNames: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
			Versions: []resource.Version{{Name: "v1", Served: true, Storage: true}},
			Subresources: map[string]resource.Subresource{
				"status":   {},
				"eviction": {Verbs: []api.Verb{api.Create}, Group: "policy", Version: "v1", Kind: "Eviction"},
				"binding":  {Verbs: []api.Verb{api.Create}, Version: "v1", Kind: "Binding"},
			},
		},
		{
			Resource: api.Namespaces, Kind: "Namespace", Singular: "namespace",
			Verbs:    []api.Verb{api.Create, api.Delete, api.Get, api.List, api.Patch, api.Update, api.Watch},
			Versions: []resource.Version{{Name: "v1", Served: true, Storage: true}},
		},
		{
			Resource: api.Events, Kind: "Event", Singular: "event", Namespaced: true,
			Versions: []resource.Version{{Name: "v1", Served: true, Storage: true}, {Group: "events.k8s.io", Name: "v1", Served: true}},
		},
		{
			Resource: api.Deployments, Kind: "Deployment", Singular: "deployment", Namespaced: true,
			Versions:     []resource.Version{{Group: "apps", Name: "v1", Served: true, Storage: true}},
			Subresources: map[string]resource.Subresource{"scale": {}, "status": {}},
		},
	}
}

func customWidget(group string) *resource.Definition {
	return &resource.Definition{
		Resource: api.Resource{Group: group, Name: "widgets"}, Kind: "Widget", Singular: "widget", Namespaced: true, Custom: true,
		Versions: []resource.Version{
			{Group: group, Name: "v1beta1", Served: true}, {Group: group, Name: "v2", Served: true, Storage: true}, {Group: group, Name: "v1", Served: true},
			{Group: group, Name: "v3"},
		},
		Subresources: map[string]resource.Subresource{"scale": {}, "status": {}},
	}
}

func askDiscovery(t *testing.T, d *Discovery, path, accept string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	err := d.Serve(w, r)
	return w, err
}

func discover[T any](t *testing.T, d *Discovery, path, accept string) T {
	t.Helper()
	w, err := askDiscovery(t, d, path, accept)
	if err != nil || w.Code != 200 {
		t.Fatalf("GET %s: %d %v %s", path, w.Code, err, w.Body)
	}
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("GET %s: %v: %s", path, err, w.Body)
	}
	return v
}

const acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

func TestDiscoveryResources(t *testing.T) {
	reg := resource.NewRegistry(append(builtinWidget(), customWidget("example.com"))...)
	d := NewDiscovery(reg)
	w, err := askDiscovery(t, d, "/api/v1", "")
	if err != nil {
		t.Fatal(err)
	}
	const all = `["create","delete","deletecollection","get","list","patch","update","watch"]`
	want := `{"kind":"APIResourceList","groupVersion":"v1","resources":[` +
		`{"name":"events","singularName":"event","namespaced":true,"kind":"Event","verbs":` + all + `,"storageVersionHash":"r2yiGXH7wu8="},` +
		`{"name":"namespaces","singularName":"namespace","namespaced":false,"kind":"Namespace","verbs":["create","delete","get","list","patch","update","watch"],"storageVersionHash":"Q3oi5N2YM8M="},` +
		`{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":` + all + `,"shortNames":["po"],"categories":["all"],"storageVersionHash":"xPOwRZ+Yhw8="},` +
		`{"name":"pods/binding","singularName":"","namespaced":true,"kind":"Binding","verbs":["create"]},` +
		`{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]},` +
		`{"name":"pods/status","singularName":"","namespaced":true,"kind":"Pod","verbs":["get","patch","update"]}]}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("/api/v1:\n%s\nwant\n%s", got, want)
	}
	list := discover[metav1.APIResourceList](t, d, "/apis/example.com/v1", "")
	if len(list.APIResources) != 3 || list.APIResources[1].Name != "widgets/status" || list.APIResources[2].Group != "autoscaling" {
		t.Errorf("custom resources: %+v", list.APIResources)
	}
	if got := strings.Join(list.APIResources[0].Verbs, " "); got != "delete deletecollection get list patch create update watch" {
		t.Errorf("verbs of a custom resource: %s", got)
	}
	if a, b := discover[metav1.APIResourceList](t, d, "/apis/events.k8s.io/v1", ""), discover[metav1.APIResourceList](t, d, "/api/v1", ""); a.APIResources[0].StorageVersionHash != b.APIResources[0].StorageVersionHash {
		t.Error("events have two storage versions")
	}
}

// TestStorageVersionHash: a custom kind that is stored in a version which is not served has no hash.
func TestStorageVersionHash(t *testing.T) {
	d := customWidget("example.com")
	if got := storageVersionHash(d); got == "" {
		t.Error("a kind stored in a served version has none")
	}
	d.Storage().Served = false
	if got := storageVersionHash(d); got != "" {
		t.Errorf("a kind stored in a version that is not served has %q", got)
	}
}

func TestDiscoveryGroups(t *testing.T) {
	d := NewDiscovery(resource.NewRegistry(append(builtinWidget(), customWidget("example.com"), customWidget("a.example.com"))...))
	g := discover[metav1.APIGroup](t, d, "/apis/example.com", "")
	var versions []string
	for _, v := range g.Versions {
		versions = append(versions, v.GroupVersion)
	}
	if !slices.Equal(versions, []string{"example.com/v2", "example.com/v1", "example.com/v1beta1"}) || g.PreferredVersion.Version != "v2" {
		t.Errorf("versions %q, preferred %v", versions, g.PreferredVersion)
	}
	var names []string
	for _, g := range discover[metav1.APIGroupList](t, d, "/apis", "").Groups {
		names = append(names, g.Name)
	}
	if !slices.Equal(names, []string{"apps", "events.k8s.io", "a.example.com", "example.com"}) {
		t.Errorf("groups %q", names)
	}
	if v := discover[metav1.APIVersions](t, d, "/api", ""); !slices.Equal(v.Versions, []string{"v1"}) {
		t.Errorf("/api: %+v", v)
	}
}

func TestDiscoveryUnknownPaths(t *testing.T) {
	d := NewDiscovery(resource.NewRegistry(append(builtinWidget(), customWidget("example.com"))...))
	for _, path := range []string{"/apis/foo", "/apis/foo/v1", "/apis/example.com/v9", "/apis/example.com/v3"} {
		if _, err := askDiscovery(t, d, path, ""); err != ErrPage {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{"/apis/apps/v9", "/api/v2"} {
		if _, err := askDiscovery(t, d, path, ""); err != ErrVersion {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestDiscoveryMediaTypes(t *testing.T) {
	d := NewDiscovery(resource.NewRegistry(builtinWidget()...))
	const message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
	for _, path := range []string{"/apis/apps/v1", "/api/v1"} {
		_, err := askDiscovery(t, d, path, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		if e := (*api.Error)(nil); !errors.As(err, &e) || e.Status.Code != 406 || e.Status.Message != message {
			t.Errorf("%s: %v", path, err)
		}
	}
	w, err := askDiscovery(t, d, "/apis/apps/v1", acceptAggregated)
	if err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("falling back: %v %v", err, w.Header())
	}
	w, err = askDiscovery(t, d, "/apis/apps/v1", "application/yaml")
	if err != nil || !strings.HasPrefix(w.Body.String(), "apiVersion: v1\ngroupVersion: apps/v1\n") {
		t.Errorf("YAML: %v %s", err, w.Body)
	}
	w, err = askDiscovery(t, d, "/apis/apps/v1", "application/vnd.kubernetes.protobuf")
	if err != nil {
		t.Fatal(err)
	}
	var u runtime.Unknown
	var list metav1.APIResourceList
	if err := u.Unmarshal(w.Body.Bytes()[4:]); err != nil {
		t.Fatal(err)
	}
	if err := list.Unmarshal(u.Raw); err != nil || u.Kind != "APIResourceList" || len(list.APIResources) != 3 {
		t.Errorf("protobuf: %v %+v", err, list)
	}
}

func TestAggregatedDiscovery(t *testing.T) {
	reg := resource.NewRegistry(append(builtinWidget(), customWidget("example.com"))...)
	d := NewDiscovery(reg)
	w, err := askDiscovery(t, d, "/apis", acceptAggregated)
	if err != nil || w.Header().Get("Content-Type") != "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" {
		t.Fatalf("%v %v", err, w.Header())
	}
	list := discover[apidiscoveryv2.APIGroupDiscoveryList](t, d, "/apis", acceptAggregated)
	if len(list.Items) != 3 || list.Items[0].Name != "apps" || list.APIVersion != "apidiscovery.k8s.io/v2" {
		t.Fatalf("%+v", list)
	}
	deployments := list.Items[0].Versions[0].Resources[0]
	if k := *deployments.ResponseKind; k.Group != "" || k.Version != "" || k.Kind != "Deployment" {
		t.Errorf("kind of deployments: %v", k)
	}
	widgets := list.Items[2].Versions[0].Resources[0]
	if k := *widgets.ResponseKind; k.Group != "example.com" || k.Version != "v2" || k.Kind != "Widget" {
		t.Errorf("kind of widgets: %v", k)
	}
	if s := widgets.Subresources; len(s) != 2 || s[0].ResponseKind.Group != "example.com" || s[1].ResponseKind.Kind != "Scale" {
		t.Errorf("subresources of widgets: %v", s)
	}
	if core := discover[apidiscoveryv2.APIGroupDiscoveryList](t, d, "/api", strings.ReplaceAll(acceptAggregated, "v2", "v2beta1")); len(core.Items) != 1 || core.APIVersion != "apidiscovery.k8s.io/v2beta1" {
		t.Errorf("/api: %+v", core)
	}

	tag := w.Header().Get("ETag")
	r := httptest.NewRequest("GET", "/apis", nil)
	r.Header.Set("Accept", acceptAggregated)
	r.Header.Set("If-None-Match", tag)
	again := httptest.NewRecorder()
	if err := d.Serve(again, r); err != nil || again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("same tag: %d %v", again.Code, err)
	}
	apps := d.groups["apps"]
	reg.Put(customWidget("other.example.com"))
	again = httptest.NewRecorder()
	if err := d.Serve(again, r); err != nil || again.Code != 200 || again.Header().Get("ETag") == tag || !strings.Contains(again.Body.String(), "other.example.com") {
		t.Errorf("after a change: %d %v", again.Code, err)
	}
	if d.groups["apps"] != apps {
		t.Error("a group that did not change was built anew")
	}
	ending := customWidget("other.example.com")
	ending.Ending = new(atomic.Bool)
	reg.Put(ending)
	if !slices.Contains(discover[apidiscoveryv2.APIGroupDiscoveryList](t, d, "/apis", acceptAggregated).Items[3].Versions[0].Resources[0].Verbs, "create") {
		t.Error("a kind cannot be created")
	}
	ending.Ending.Store(true)
	reg.Put(ending)
	if verbs := discover[apidiscoveryv2.APIGroupDiscoveryList](t, d, "/apis", acceptAggregated).Items[3].Versions[0].Resources[0].Verbs; slices.Contains(verbs, "create") {
		t.Errorf("verbs of a kind whose definition is being deleted: %v", verbs)
	}
	reg.Remove(api.Resource{Group: "other.example.com", Name: "widgets"})
	if _, err := askDiscovery(t, d, "/apis/other.example.com", ""); err != ErrPage {
		t.Errorf("a removed group: %v", err)
	}
}

func TestVersion(t *testing.T) {
	w := httptest.NewRecorder()
	if err := serveVersion(w, httptest.NewRequest("GET", "/version", nil)); err != nil {
		t.Fatal(err)
	}
	var v map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || v["major"] != "1" || v["minor"] != "37" || v["gitVersion"] != api.KubernetesVersion {
		t.Errorf("%v %v", err, v)
	}
}

// notYet are subresources of served kinds that upstream lists and that later work adds.
var notYet = map[string]bool{"nodes/proxy": true, "pods/proxy": true, "services/proxy": true, "pods/ephemeralcontainers": true}

// TestGoldenDiscovery compares the lists of the built-in kinds with upstream's, resource by resource and in order.
func TestGoldenDiscovery(t *testing.T) {
	packed, err := os.ReadFile("testdata/discovery.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Name  string
			Steps []struct {
				Path, Accept string
				Response     metav1.APIResourceList
			}
		}
	}
	if err := json.NewDecoder(z).Decode(&golden); err != nil {
		t.Fatal(err)
	}
	d := NewDiscovery(resource.NewRegistry(builtin.All()...))
	compared := 0
	for _, c := range golden.Cases {
		if !strings.HasPrefix(c.Name, "legacy/") {
			continue
		}
		w, err := askDiscovery(t, d, c.Steps[0].Path, c.Steps[0].Accept)
		if err != nil {
			continue // a group that is not served yet
		}
		var list metav1.APIResourceList
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
			t.Fatal(err)
		}
		served := map[string]bool{}
		for _, r := range list.APIResources {
			served[r.Name] = true
		}
		var want []metav1.APIResource
		for _, r := range c.Steps[0].Response.APIResources {
			if parent, _, _ := strings.Cut(r.Name, "/"); !served[parent] || notYet[r.Name] {
				continue
			}
			if r.Name == "customresourcedefinitions" {
				r.StorageVersionHash = "M5uH+AlWATY=" // upstream stores v1beta1
			}
			want = append(want, r)
		}
		if diff := cmp.Diff(want, list.APIResources); diff != "" {
			t.Errorf("%s (- upstream, + ours):\n%s", c.Name, diff)
		}
		compared += len(want)
	}
	if compared < 30 {
		t.Errorf("only %d resources compared", compared)
	}
}

// TestSubresourcesByVersion covers a custom kind whose versions differ in their subresources.
func TestSubresourcesByVersion(t *testing.T) {
	plain := `,{"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}}]},"status"`
	def := customDefinition(t, strings.Replace(cronTab, `]},
"status"`, plain, 1))
	d := NewDiscovery(resource.NewRegistry(append(builtin.All(), def)...))
	for version, want := range map[string]string{"v1": "crontabs crontabs/status crontabs/scale", "v1beta1": "crontabs"} {
		list := discover[metav1.APIResourceList](t, d, "/apis/example.com/"+version, "")
		var names []string
		for _, r := range list.APIResources {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
