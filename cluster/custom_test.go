package cluster

import (
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/resource"
)

const widgets = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.example.com"},
	"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},
	"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`

// call sends a request as the administrator and returns status code and body.
func call(t *testing.T, sys *System, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, sys.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	switch method {
	case http.MethodPatch:
		r.Header.Set("Content-Type", "application/merge-patch+json")
	case "APPLY":
		r.Method = http.MethodPatch
		r.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	p, err := sys.adminClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	b, err := io.ReadAll(p.Body)
	if err != nil {
		t.Fatal(err)
	}
	return p.StatusCode, string(b)
}

// TestCustomRoutes: custom resources are served by verbs, not by routes.
func TestCustomRoutes(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const all = "/apis/example.com/v1/widgets"
	const base = "/apis/example.com/v1/namespaces/default/widgets"
	const widget = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"}}`
	for _, c := range []struct {
		request, body string
		code          int
		want          string
	}{
		{"POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgets, 201, ""},
		{"POST " + base + "/w", widget, 201, `"name":"w"`},
		{"POST " + base + "/w", widget, 409, "AlreadyExists"},
		{"HEAD " + base + "/w", "", 200, ""},
		{"OPTIONS " + base, "", 405, ` is not supported on resources of kind \"widgets.example.com\"`},
		{"PUT " + base, widget, 400, "name must be provided"},
		{"PATCH " + base, widget, 400, "name must be provided"},
		{"DELETE " + all, "", 404, "404 page not found"},
		{"POST " + all, widget, 404, "404 page not found"},
		{"GET " + all + "/w", "", 404, "404 page not found"},
		{"GET /apis/example.com/v1/gadgets", "", 404, "404 page not found"},
		{"PATCH " + base + "/w", `{"kind":"Gadget","apiVersion":"example.com/v9"}`, 422, "kind: Invalid value: \\\"Gadget\\\": must be Widget, apiVersion: Invalid value: \\\"example.com/v9\\\": must be example.com/v1"},
		{"PATCH " + base + "/w?fieldValidation=Strict", `{"apiVersion":null,"bad":1}`, 400, `"details":{"causes":[{"message":"Object 'apiVersion' is missing in 'object has no apiVersion field'"}]}`},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		if code, body := call(t, sys, method, path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.request, code, body, c.code, c.want)
		}
	}
}

// TestDeprecatedRoutes: the warning of a deprecated version comes with whatever is answered under it.
func TestDeprecatedRoutes(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const base = "/apis/example.com/v1/namespaces/default/widgets"
	crd := strings.Replace(widgets, `"storage":true`, `"storage":true,"deprecated":true`, 1)
	if code, body := call(t, sys, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	for request, code := range map[string]int{
		"GET " + base: 200, "GET " + base + "/w": 404, "GET " + base + "/w/status": 404, "PUT " + base: 400, "OPTIONS " + base: 405,
		"GET " + base + "?watch=true&timeoutSeconds=1": 200, "DELETE " + base: 200,
	} {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, sys.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := sys.adminClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if w := a.Header.Get("Warning"); a.StatusCode != code || w != `299 - "example.com/v1 Widget is deprecated"` {
			t.Errorf("%s: %d, want %d, with warning %s", request, a.StatusCode, code, w)
		}
	}
}

// TestDefaultedStatus: what the schema says an absent status is stands in a new object, though not while its rules are
// checked, and the client's own status does not. It is no change later, so writing the object back is none.
func TestDefaultedStatus(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const base = "/apis/example.com/v1/namespaces/default/buckets"
	const crd = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"buckets.example.com"},
		"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"buckets","kind":"Bucket"},"versions":[{"name":"v1","served":true,
		"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object",
		"x-kubernetes-validations":[{"rule":"oldSelf.hasValue() || !has(self.status)","optionalOldSelf":true}],
		"properties":{"spec":{"type":"object","properties":{"size":{"type":"integer","default":3}}},
		"status":{"type":"object","default":{"observed":-1},"properties":{"observed":{"type":"integer"}}}}}}}]}}`
	if code, body := call(t, sys, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	const want = `"spec":{"size":3},"status":{"observed":-1}`
	code, created := call(t, sys, "POST", base, `{"apiVersion":"example.com/v1","kind":"Bucket","metadata":{"name":"b"},"spec":{},"status":{"observed":7}}`)
	if code != 201 || !strings.Contains(created, want) || strings.Contains(created, "f:status") {
		t.Errorf("created: %d %s", code, created)
	}
	code, read := call(t, sys, "GET", base+"/b", "")
	if code != 200 || read != created {
		t.Errorf("read: %d %s, created as %s", code, read, created)
	}
	if code, again := call(t, sys, "PUT", base+"/b", read); code != 200 || again != read {
		t.Errorf("written back: %d %s, want %s", code, again, read)
	}
	if code, body := call(t, sys, "PATCH", base+"/b/status", `{"status":null}`); code != 200 || !strings.Contains(body, want) {
		t.Errorf("status taken away: %d %s", code, body)
	}
}

// TestDeleteInvalidDefinition: a definition whose storedVersions name a version it has not cannot be updated, but it can
// go.
func TestDeleteInvalidDefinition(t *testing.T) {
	sys := startTest(t, Config{})
	const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	const crd = crds + "/widgets.example.com"
	if code, body := call(t, sys, "POST", crds, widgets); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := call(t, sys, "PATCH", crd+"/status", `{"status":{"storedVersions":["v1","v0"]}}`); code != 200 {
		t.Fatalf("status: %d %s", code, body)
	}
	if code, body := call(t, sys, "PATCH", crd, `{"metadata":{"labels":{"a":"b"}}}`); code != 422 || !strings.Contains(body, "status.storedVersions[1]") {
		t.Errorf("update: %d %s", code, body)
	}
	if code, body := call(t, sys, "DELETE", crd, ""); code != 200 {
		t.Fatalf("delete: %d %s", code, body)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		code, body := call(t, sys, "GET", crd, "")
		if code == 404 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: %d %s", code, body)
		}
	}
}

// TestEndingDefinition: while objects keep a definition that is being deleted, its kind can be read and deleted, and says so;
// a watch goes on and sees the last object go. What is still there cannot be created anew, nor can a definition.
func TestEndingDefinition(t *testing.T) {
	sys := startTest(t, Config{})
	const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	const base = "/apis/example.com/v1/namespaces/default/widgets"
	const held = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","finalizers":["example.com/hold"]}}`
	steps := func(list ...[4]string) {
		t.Helper()
		for _, s := range list {
			code, body := call(t, sys, s[0], s[1], s[2])
			if !strings.Contains(strconv.Itoa(code)+" "+body, s[3]) {
				t.Errorf("%s %s: %d %s, want %s", s[0], s[1], code, body, s[3])
			}
		}
	}
	steps([4]string{"POST", crds, widgets, "201 "}, [4]string{"POST", base, held, "201 "})
	watched := watchOf(t, sys, base+"?watch=true&resourceVersion=0")
	if e, err := watched(); err != nil || !strings.Contains(e, `"type":"ADDED"`) {
		t.Fatalf("the watch begins with %s %v", e, err)
	}
	steps(
		[4]string{"GET", "/apis/example.com/v1", "", `"verbs":["delete","deletecollection","get","list","patch","create","update","watch"]`},
		[4]string{"DELETE", crds + "/widgets.example.com", `{"preconditions":{"uid":"x"}}`, `409 {`},
		[4]string{"DELETE", crds + "/widgets.example.com", `{"preconditions":{"uid":"x"}}`,
			`on customresourcedefinitions.apiextensions.k8s.io \"widgets.example.com\": Precondition failed: UID in precondition: x, UID in object meta: `},
		[4]string{"DELETE", crds + "/widgets.example.com", `{"preconditions":{"resourceVersion":"1"}}`, `Precondition failed: ResourceVersion in precondition: 1, ResourceVersion in object meta: `},
		[4]string{"DELETE", crds + "/widgets.example.com", `{"propagationPolicy":"Foreground"}`, `"finalizers":["customresourcecleanup.apiextensions.k8s.io"]`},
		[4]string{"GET", "/apis/example.com/v1", "", `"verbs":["delete","deletecollection","get","list","watch"]`},
		[4]string{"DELETE", crds + "/widgets.example.com", "", `"deletionGracePeriodSeconds":0`},
		[4]string{"POST", base, strings.Replace(held, `"w"`, `"v"`, 1), "create not allowed while custom resource definition is terminating"},
		[4]string{"POST", crds, widgets, `object is being deleted: customresourcedefinitions.apiextensions.k8s.io \"widgets.example.com\" already exists`},
		[4]string{"POST", crds + "?dryRun=All", widgets, "409 "},
		[4]string{"PATCH", base + "/w", `{"metadata":{"finalizers":null}}`, "200 "},
	)
	for {
		e, err := watched()
		if err != nil {
			t.Fatalf("the watch ends before the object: %v", err)
		}
		if strings.Contains(e, `"type":"DELETED"`) {
			break
		}
	}
}

// TestDefinitionOfBuiltIn: a definition may bear the name of what is built in. When it goes, those objects stay.
func TestDefinitionOfBuiltIn(t *testing.T) {
	sys := startTest(t, Config{})
	const crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/leases.coordination.k8s.io"
	const lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
	leases := strings.NewReplacer("widgets", "leases", "example.com", "coordination.k8s.io", "Widget", "Lease",
		`"metadata":{`, `"metadata":{"annotations":{"api-approved.kubernetes.io":"https://example.com/1"},`).Replace(widgets)
	if code, body := call(t, sys, "PUT", lease, `{"metadata":{"name":"l"}}`); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := call(t, sys, "POST", path.Dir(crd), leases); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := call(t, sys, "DELETE", crd, ""); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if code, _ := call(t, sys, "GET", crd, ""); code == 404 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the definition is still there")
		}
	}
	if code, body := call(t, sys, "GET", lease, ""); code != 200 {
		t.Errorf("the lease: %d %s", code, body)
	}
}

// TestCustomForms: a custom resource has no protobuf message, but its metadata has; its Scale can be had as a Table.
func TestCustomForms(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const base = "/apis/example.com/v1/namespaces/default/widgets"
	scaled := strings.Replace(widgets, `"storage":true`, `"storage":true,"subresources":{"scale":{"specReplicasPath":".spec.count","statusReplicasPath":".status.count"}}`, 1)
	if code, body := call(t, sys, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", scaled); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := call(t, sys, "POST", base, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"count":2}}`); code != 201 {
		t.Fatalf("%d %s", code, body)
	}
	const protobuf, meta = "application/vnd.kubernetes.protobuf", ";g=meta.k8s.io;v=v1;as="
	for _, c := range []struct {
		path, accept string
		code         int
		want         string
	}{
		{"/w", protobuf, 406, "only the following media types are accepted"},
		{"/w", protobuf + meta + "PartialObjectMetadata", 200, "\x12\x15PartialObjectMetadata"},
		{"", protobuf + meta + "PartialObjectMetadataList", 200, "\x12\x19PartialObjectMetadataList"},
		{"?watch=1&timeoutSeconds=1&resourceVersion=0", protobuf + meta + "PartialObjectMetadata", 200, "ADDED"},
		{"", "application/json" + meta + "PartialObjectMetadata", 406, "is a list (*unstructured.UnstructuredList)"},
		{"/w/scale", "application/json" + meta + "Table", 200, `"cells":["w",2,0,`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", sys.URL()+base+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", c.accept)
		p, err := sys.adminClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		p.Body.Close()
		if p.StatusCode != c.code || !strings.Contains(string(b), c.want) {
			t.Errorf("%s as %s: %d %q, want %d %q", c.path, c.accept, p.StatusCode, b, c.code, c.want)
		}
	}
}

// TestNewDefinitionIsWrittenWhole: of a new definition only metadata and status are encoded once more after its names were
// claimed; what is stored is what encoding all of it would have given.
func TestNewDefinitionIsWrittenWhole(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	body := strings.Replace(gauges, "RULES", `,"some":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"default":{"b":[1,2.50,"<>"],"a":null}}`, 1)
	body = strings.TrimSuffix(body, "}") + `,"status":{"storedVersions":["v9"],"conditions":[{"type":"Mine","status":"True"}]}}`
	want(t, sys, "POST", definitions, body, 201, `"storedVersions":["v1"]`, `"type":"Established"`, `!Mine`, `!v9`)
	view, err := sys.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rec := view.Get(api.CustomResourceDefinitions, api.Key{Name: "gauges.example.com"})
	d := sys.registry.ByResource(api.CustomResourceDefinitions)
	o, _, err := d.Storage().Codec.Decode(rec.JSON(), true)
	if err != nil {
		t.Fatal(err)
	}
	all, err := resource.EncodeBlank(nil, d, o)
	if err != nil {
		t.Fatal(err)
	}
	_, slot, err := api.Locate(all)
	if err != nil {
		t.Fatal(err)
	}
	copy(all[slot:slot+api.SlotSize], rec.JSON()[slot:])
	if string(all) != string(rec.JSON()) {
		t.Errorf("stored\n%s\nwant\n%s", rec.JSON(), all)
	}
}
