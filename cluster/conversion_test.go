package cluster

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pintle.dev/auth"
)

// converterServer is a conversion webhook for gadgets: v1 has spec.color and v2, the stored version, spec.hue. It also
// moves the label color to hue and back.
type converterServer struct {
	*httptest.Server
	calls, objects atomic.Int64
	path           atomic.Value // of the last call

	mu   sync.Mutex
	bend func(review map[string]any) any // makes the answer wrong; nil for an honest one
}

func newConverter(t *testing.T) *converterServer {
	c := new(converterServer)
	c.Server = httptest.NewTLSServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

// lie has the webhook answer with what bend makes of an honest answer, in place of it.
func (c *converterServer) lie(bend func(review map[string]any) any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bend = bend
}

func (c *converterServer) bundle() string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}))
}

func (c *converterServer) serve(w http.ResponseWriter, r *http.Request) {
	var review map[string]any
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request := review["request"].(map[string]any)
	to := request["desiredAPIVersion"].(string)
	c.calls.Add(1)
	c.path.Store(r.URL.Path)
	var out []any
	for _, o := range request["objects"].([]any) {
		c.objects.Add(1)
		out = append(out, convertGadget(o.(map[string]any), to))
	}
	answer := any(map[string]any{
		"apiVersion": review["apiVersion"], "kind": "ConversionReview",
		"response": map[string]any{"uid": request["uid"], "result": map[string]any{"status": "Success"}, "convertedObjects": out},
	})
	c.mu.Lock()
	bend := c.bend
	c.mu.Unlock()
	if bend != nil {
		answer = bend(answer.(map[string]any))
	}
	var err error
	if raw, ok := answer.(io.Reader); ok {
		_, err = io.Copy(w, raw)
	} else {
		err = json.NewEncoder(w).Encode(answer)
	}
	if err != nil && bend == nil {
		panic(err)
	}
}

func convertGadget(o map[string]any, to string) map[string]any {
	from, into := "color", "hue"
	if strings.HasSuffix(to, "/v1") {
		from, into = into, from
	}
	o["apiVersion"] = to
	rename := func(in any) {
		if m, ok := in.(map[string]any); ok && m[from] != nil {
			m[into] = m[from]
			delete(m, from)
		}
	}
	rename(o["spec"])
	rename(o["metadata"].(map[string]any)["labels"])
	return o
}

// gadgets defines the kind that converterServer converts. config is the client configuration of the webhook.
func gadgets(config, reviews string) string {
	version := func(name, field string, storage bool) string {
		return fmt.Sprintf(`{"name":%q,"served":true,"storage":%t,"selectableFields":[{"jsonPath":".spec.%s"}],
			"additionalPrinterColumns":[{"name":"Tone","type":"string","jsonPath":".spec.%s"}],
			"subresources":{"status":{}},
			"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{%q:{"type":"string"},"size":{"type":"integer","default":3}}},
			"status":{"type":"object","properties":{"ok":{"type":"boolean"}}}}}}}`, name, storage, field, field, field)
	}
	return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gadgets.example.com"},
		"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"gadgets","kind":"Gadget"},
		"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":` + reviews + `,"clientConfig":` + config + `}},
		"versions":[` + version("v1", "color", false) + "," + version("v2", "hue", true) + `]}}`
}

const (
	gadgetsV1 = "/apis/example.com/v1/namespaces/default/gadgets"
	gadgetsV2 = "/apis/example.com/v2/namespaces/default/gadgets"
)

func gadget(version, name, field, value string) string {
	return fmt.Sprintf(`{"apiVersion":"example.com/%s","kind":"Gadget","metadata":{"name":%q,"labels":{%q:%q}},"spec":{%q:%q}}`, version, name, field, value, field, value)
}

// want sends a request and fails unless it is answered by code and texts. Texts that begin with "!" must be absent.
func want(t *testing.T, sys *System, method, path, body string, code int, texts ...string) string {
	t.Helper()
	got, answer := call(t, sys, method, path, body)
	if got != code {
		t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, code)
	}
	says(t, answer, texts)
	return answer
}

// says fails unless an answer has the texts; those that begin with "!" must be absent.
func says(t *testing.T, answer string, texts []string) {
	t.Helper()
	for _, s := range texts {
		if absent, ok := strings.CutPrefix(s, "!"); ok && strings.Contains(answer, absent) || !ok && !strings.Contains(answer, s) {
			t.Errorf("%s, want %q", answer, s)
		}
	}
}

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

func TestConversionWebhook(t *testing.T) {
	for _, reviews := range []string{`["v1"]`, `["v0","v1beta1","v1"]`} {
		t.Run(reviews, func(t *testing.T) {
			c := newConverter(t)
			sys := startTest(t, Config{NoControllers: true})
			want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL+"/convert", c.bundle()), reviews), 201)

			want(t, sys, "POST", gadgetsV1, gadget("v1", "a", "color", "red"), 201, `"color":"red"`, `"size":3`, `"apiVersion":"example.com/v1"`, "!hue")
			want(t, sys, "GET", gadgetsV2+"/a", "", 200, `"hue":"red"`, `"labels":{"hue":"red"}`, "!\"color\":\"red\"")
			before := c.calls.Load()
			for range 3 {
				want(t, sys, "GET", gadgetsV1+"/a", "", 200, `"spec":{"color":"red","size":3}`, `"labels":{"color":"red"}`)
			}
			if n := c.calls.Load() - before; n > 0 {
				t.Errorf("%d calls for what was converted already", n)
			}
			want(t, sys, "PATCH", gadgetsV1+"/a", `{"spec":{"color":"blue"}}`, 200, `"color":"blue"`, `"generation":2`, "!hue")
			want(t, sys, "PATCH", gadgetsV1+"/a/status", `{"status":{"ok":true},"spec":{"color":"no"}}`, 200, `"color":"blue"`, `"ok":true`, `"generation":2`)
			want(t, sys, "GET", gadgetsV2+"/a", "", 200, `"hue":"blue"`, `"ok":true`)
			want(t, sys, "PATCH", gadgetsV1+"/a", `{"spec":{"color":7}}`, 422, `spec.color: Invalid value: \"integer\"`)

			// Selectors look at the version that is asked for.
			want(t, sys, "POST", gadgetsV2, gadget("v2", "b", "hue", "green"), 201)
			want(t, sys, "GET", gadgetsV1+"?fieldSelector=spec.color%3Dgreen", "", 200, `"name":"b"`, `!"name":"a"`)
			want(t, sys, "GET", gadgetsV1+"?labelSelector=color%3Dgreen", "", 200, `"name":"b"`, `!"name":"a"`)
			want(t, sys, "GET", gadgetsV2+"?fieldSelector=spec.hue%3Dgreen", "", 200, `"name":"b"`, `!"name":"a"`)
			want(t, sys, "GET", gadgetsV2+"?fieldSelector=spec.color%3Dgreen", "", 400, "field label not supported: spec.color")
			want(t, sys, "DELETE", gadgetsV1+"?fieldSelector=spec.color%3Dgreen", "", 200, `"name":"b"`)
			want(t, sys, "GET", gadgetsV2+"/b", "", 404)
			want(t, sys, "DELETE", gadgetsV1+"/a", "", 200)
		})
	}
}

// TestConversionSeesOwners: a webhook is shown managedFields, whether an object is read, listed or written, and cannot
// change them.
func TestConversionSeesOwners(t *testing.T) {
	c := newConverter(t)
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL+"/convert", c.bundle()), `["v1"]`), 201)
	var mu sync.Mutex
	var seen []string // the managers of each object that was sent
	c.lie(func(review map[string]any) any {
		mu.Lock()
		defer mu.Unlock()
		for _, o := range review["response"].(map[string]any)["convertedObjects"].([]any) {
			meta := o.(map[string]any)["metadata"].(map[string]any)
			var managers []string
			entries, _ := meta["managedFields"].([]any)
			for _, e := range entries {
				e := e.(map[string]any)
				managers = append(managers, fmt.Sprint(e["manager"], " ", e["operation"], " ", e["apiVersion"], " ", e["fieldsV1"] != nil && e["time"] != nil))
			}
			seen = append(seen, strings.Join(managers, ", "))
			meta["managedFields"] = []any{map[string]any{"manager": "webhook"}}
		}
		return review
	})
	sees := func(what string, managers ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if len(seen) == 0 {
			t.Errorf("%s: the webhook was shown nothing", what)
		}
		for _, s := range seen {
			if !slices.Contains(managers, s) {
				t.Errorf("%s: the webhook was shown an object of %q, want %q", what, s, managers)
			}
		}
		seen = nil
	}
	const a, b = "a Update example.com/v2 true", "b Update example.com/v1 true"
	honest := []string{`"manager":"a"`, `!"manager":"webhook"`}
	want(t, sys, "POST", gadgetsV2+"?fieldManager=a", gadget("v2", "x", "hue", "red"), 201, honest...)
	want(t, sys, "GET", gadgetsV1+"/x", "", 200, honest...)
	sees("get", a)
	want(t, sys, "POST", gadgetsV1+"?fieldManager=b", gadget("v1", "y", "color", "red"), 201, `"manager":"b"`, `!"manager":"webhook"`)
	sees("create", b)
	// Comparing what two versions' managers own is done without managedFields, on upstream too.
	want(t, sys, "PATCH", gadgetsV2+"/x?fieldManager=a", `{"spec":{"size":4}}`, 200, honest...)
	want(t, sys, "PATCH", gadgetsV2+"/y?fieldManager=a", `{"spec":{"size":4}}`, 200, honest...)
	mu.Lock()
	seen = nil
	mu.Unlock()
	want(t, sys, "GET", gadgetsV1, "", 200, honest...)
	sees("list", a, b+", "+a, a+", "+b)
}

// TestConversionOwners: a write through one version takes fields from managers who wrote in another, where they go by
// other names.
func TestConversionOwners(t *testing.T) {
	c := newConverter(t)
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL+"/convert", c.bundle()), `["v1"]`), 201)
	config := func(version, field, value string) string {
		return fmt.Sprintf(`{"apiVersion":"example.com/%s","kind":"Gadget","metadata":{"name":"g"},"spec":{%q:%q}}`, version, field, value)
	}
	owns := func(manager, operation, version string) string {
		return fmt.Sprintf(`"manager":%q,"operation":%q,"apiVersion":"example.com/%s",`, manager, operation, version)
	}
	want(t, sys, "APPLY", gadgetsV1+"/g?fieldManager=a", config("v1", "color", "red"), 201, owns("a", "Apply", "v1"))
	want(t, sys, "APPLY", gadgetsV2+"/g?fieldManager=b", config("v2", "hue", "green"), 409, `conflict with \"a\": .spec.color`)
	want(t, sys, "APPLY", gadgetsV2+"/g?fieldManager=b", config("v2", "hue", "red"), 200, owns("a", "Apply", "v1"), owns("b", "Apply", "v2"))
	want(t, sys, "PATCH", gadgetsV2+"/g?fieldManager=u", `{"spec":{"hue":"blue"}}`, 200, owns("u", "Update", "v2"), `!"manager":"a"`, `!"manager":"b"`)
	want(t, sys, "APPLY", gadgetsV1+"/g?fieldManager=a", config("v1", "color", "red"), 409, `conflict with \"u\" using example.com/v2: .spec.hue`)
	want(t, sys, "APPLY", gadgetsV1+"/g?fieldManager=a&force=true", config("v1", "color", "red"), 200, owns("a", "Apply", "v1"), `!"manager":"u"`)
	// What a manager applied in one version it lets go of in another.
	want(t, sys, "APPLY", gadgetsV2+"/g?fieldManager=a", `{"apiVersion":"example.com/v2","kind":"Gadget","metadata":{"name":"g"},"spec":{"size":4}}`, 200,
		owns("a", "Apply", "v2"), `"size":4`, `!"hue":"red"`, `!"color"`)

	// What the webhook leaves in an object that the version it makes does not declare cannot be told whose it is.
	stray := func(review map[string]any) any {
		for _, o := range review["response"].(map[string]any)["convertedObjects"].([]any) {
			o.(map[string]any)["spec"].(map[string]any)["stray"] = "x"
		}
		return review
	}
	want(t, sys, "APPLY", gadgetsV1+"/s?fieldManager=a", strings.Replace(config("v1", "color", "red"), `"g"`, `"s"`, 1), 201)
	c.lie(stray)
	want(t, sys, "APPLY", gadgetsV2+"/s?fieldManager=b", strings.Replace(config("v2", "hue", "red"), `"g"`, `"s"`, 1), 400, `"message":".spec.stray: field not declared in schema"`)
	want(t, sys, "PATCH", gadgetsV2+"/s?fieldManager=u", `{"spec":{"hue":"blue"}}`, 200, `!managedFields`, `!stray`)
	c.lie(nil)

	// A webhook that fails fails the apply, but no other write: who owned fields goes on owning them, as on upstream.
	want(t, sys, "PATCH", gadgetsV2+"/g?fieldManager=u", `{"spec":{"hue":"blue"}}`, 200)
	want(t, sys, "APPLY", gadgetsV1+"/g?fieldManager=c", `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":{"name":"g"},"spec":{"size":4}}`, 200, owns("c", "Apply", "v1"))
	c.lie(func(map[string]any) any { return strings.NewReader("no") })
	want(t, sys, "APPLY", gadgetsV2+"/g?fieldManager=d", config("v2", "hue", "white"), 500, "conversion webhook for example.com/v2, Kind=Gadget failed")
	want(t, sys, "PATCH", gadgetsV2+"/g?fieldManager=u", `{"spec":{"hue":"black","size":5}}`, 200, owns("c", "Apply", "v1"), `"hue":"black"`)
}

// TestConversionTogether: what a list shows is sent to the webhook at once, and not again.
func TestConversionTogether(t *testing.T) {
	c := newConverter(t)
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`), 201)
	const n = 300
	for i := range n {
		want(t, sys, "POST", gadgetsV2, gadget("v2", fmt.Sprintf("g%d", i), "hue", "red"), 201)
	}
	if c.calls.Load() != 0 {
		t.Fatalf("%d calls for writes in the stored version", c.calls.Load())
	}
	if got := strings.Count(want(t, sys, "GET", gadgetsV1, "", 200), `"spec":{"color":"red"`); got != n {
		t.Errorf("%d of %d are converted", got, n)
	}
	if calls, objects := c.calls.Load(), c.objects.Load(); calls > 2 || objects != n {
		t.Errorf("%d calls with %d objects", calls, objects)
	}
	want(t, sys, "GET", gadgetsV1, "", 200)
	if objects := c.objects.Load(); objects != n {
		t.Errorf("%d objects after a second list", objects)
	}

	r, err := http.NewRequestWithContext(t.Context(), "GET", sys.URL()+gadgetsV1+"?limit=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	p, err := sys.adminClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	if b, err := io.ReadAll(p.Body); err != nil || !strings.Contains(string(b), `"cells":["g0","red"]`) {
		t.Errorf("Table: %s %v", b, err)
	}
}

func TestConversionWatch(t *testing.T) {
	for name, selector := range map[string]string{"all": "", "selected": "&labelSelector=color"} {
		t.Run(name, func(t *testing.T) { testConversionWatch(t, selector) })
	}
}

func testConversionWatch(t *testing.T, selector string) {
	c := newConverter(t)
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`), 201)
	r, err := http.NewRequestWithContext(t.Context(), "GET", sys.URL()+gadgetsV1+"?watch=true"+selector, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sys.adminClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	events := json.NewDecoder(p.Body)
	next := func(texts ...string) {
		t.Helper()
		var e json.RawMessage
		if err := events.Decode(&e); err != nil {
			t.Fatal(err)
		}
		for _, s := range texts {
			if !strings.Contains(string(e), s) {
				t.Errorf("event %s, want %s", e, s)
			}
		}
	}
	want(t, sys, "POST", gadgetsV2, gadget("v2", "a", "hue", "red"), 201)
	next(`"type":"ADDED"`, `"color":"red"`)
	want(t, sys, "PATCH", gadgetsV2+"/a", `{"spec":{"hue":"blue"}}`, 200)
	next(`"type":"MODIFIED"`, `"color":"blue"`)
	want(t, sys, "PATCH", gadgetsV2+"/a", `{"metadata":{"labels":{"hue":null}}}`, 200)
	if selector != "" {
		next(`"type":"DELETED"`)
	} else {
		next(`"type":"MODIFIED"`)
	}
	c.lie(func(review map[string]any) any { review["response"] = nil; return review })
	want(t, sys, "POST", gadgetsV2, gadget("v2", "b", "hue", "red"), 201)
	next(`"type":"ERROR"`, "conversion webhook for example.com/v2, Kind=Gadget failed: no response provided")
	if err := events.Decode(new(json.RawMessage)); err != io.EOF {
		t.Errorf("the watch goes on: %v", err)
	}
}

// TestConversionAnswers: what a webhook may not do is refused in upstream's words, and harms nothing that is stored.
func TestConversionAnswers(t *testing.T) {
	c := newConverter(t)
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`), 201)
	want(t, sys, "POST", gadgetsV2, gadget("v2", "a", "hue", "red"), 201)
	response := func(f func(r map[string]any)) func(map[string]any) any {
		return func(review map[string]any) any { f(review["response"].(map[string]any)); return review }
	}
	first := func(f func(o map[string]any)) func(map[string]any) any {
		return response(func(r map[string]any) { f(r["convertedObjects"].([]any)[0].(map[string]any)) })
	}
	metadata := func(f func(m map[string]any)) func(map[string]any) any {
		return first(func(o map[string]any) { f(o["metadata"].(map[string]any)) })
	}
	const failed = "conversion webhook for example.com/v2, Kind=Gadget failed: "
	const invalid = "conversion webhook for example.com/v2, Kind=Gadget returned invalid "
	for _, tt := range []struct {
		name string
		bend func(map[string]any) any
		want string
	}{
		{"no JSON", func(map[string]any) any { return strings.NewReader("<html>") }, failed + "couldn't get version/kind; json parse error: "},
		{"an array", func(map[string]any) any { return []int{} }, failed + "couldn't get version/kind; json parse error: "},
		{"nothing", func(map[string]any) any { return strings.NewReader("") }, failed},
		{"100 MB", func(map[string]any) any { return io.LimitReader(zeros{}, 100<<20) }, failed + "the response is larger than 16777216 bytes"},
		{"deep", func(map[string]any) any { return strings.NewReader(strings.Repeat("[", 1<<20)) }, failed},
		{"another kind", func(r map[string]any) any { r["kind"] = "Review"; return r }, failed + "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1, Kind=Review"},
		{"no kind", func(r map[string]any) any { delete(r, "kind"); delete(r, "apiVersion"); return r }, failed + "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got /, Kind="},
		{"no response", func(r map[string]any) any { delete(r, "response"); return r }, failed + "no response provided"},
		{"another's uid", response(func(r map[string]any) { r["uid"] = "x" }), `got "x"`},
		{"a failure", response(func(r map[string]any) {
			r["result"] = map[string]any{"status": "Failure", "message": "hue is not known"}
		}), failed + "hue is not known"},
		{"a silent failure", response(func(r map[string]any) { delete(r, "result") }), failed + "response.result.status was '', not 'Success'"},
		{"no objects", response(func(r map[string]any) { delete(r, "convertedObjects") }), "conversion webhook for example.com/v2, Kind=Gadget returned 0 objects, expected 1"},
		{"too many", response(func(r map[string]any) { r["convertedObjects"] = []any{1, 2} }), "returned 2 objects, expected 1"},
		{"no list", response(func(r map[string]any) { r["convertedObjects"] = "x" }), failed + "response.convertedObjects is a string"},
		{"no object", response(func(r map[string]any) { r["convertedObjects"] = []any{1} }), invalid + "object: "},
		{"the same version", first(func(o map[string]any) { o["apiVersion"] = "example.com/v2" }), invalid + "object at index 0: invalid groupVersion (expected example.com/v1, received example.com/v2)"},
		{"an object of another kind", first(func(o map[string]any) { o["kind"] = "Widget" }), invalid + "object at index 0: invalid kind (expected Gadget, received Widget)"},
		{"an object without a kind", first(func(o map[string]any) { delete(o, "kind") }), invalid + "object: Object 'Kind' is missing in '"},
		{"another name", metadata(func(m map[string]any) { m["name"] = "b" }), invalid + "object: must have the same name: a != b"},
		{"another namespace", metadata(func(m map[string]any) { m["namespace"] = "b" }), "must have the same namespace: default != b"},
		{"another UID", metadata(func(m map[string]any) { m["uid"] = "b" }), "must have the same UID: "},
		{"no metadata", first(func(o map[string]any) { delete(o, "metadata") }), "must have the same name: a != "},
		{"bad labels", metadata(func(m map[string]any) { m["labels"] = map[string]any{"a b": "c"} }), invalid + "metadata: metadata.labels: Invalid value: "},
		{"labels that are no texts", metadata(func(m map[string]any) { m["labels"] = map[string]any{"a": 1} }), "metadata.labels[a] must be a string, but is int64 in converted object"},
		{"labels that are no map", metadata(func(m map[string]any) { m["labels"] = 1 }), "invalid metadata.labels of type int64 in converted object"},
		{"annotations that are no map", metadata(func(m map[string]any) { m["annotations"] = true }), "invalid metadata.annotations of type bool in converted object"},
	} {
		c.lie(tt.bend)
		t.Run(tt.name, func(t *testing.T) {
			text, err := json.Marshal(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			inJSON := string(bytes.Trim(text, `"`))
			if code, body := call(t, sys, "GET", gadgetsV1+"/a", ""); code != 500 || !strings.Contains(body, inJSON) {
				t.Errorf("GET: %d %.600s, want %s", code, body, inJSON)
			}
			if code, body := call(t, sys, "PATCH", gadgetsV1+"/a", `{"spec":{"color":"blue"}}`); code != 500 {
				t.Errorf("PATCH: %d %s", code, body)
			}
		})
	}
	c.lie(metadata(func(m map[string]any) {
		m["finalizers"], m["resourceVersion"], m["ownerReferences"] = []string{"a/b"}, "1", 5
		m["annotations"] = map[string]any{"note": "kept"}
	}))
	want(t, sys, "GET", gadgetsV1+"/a", "", 200, `"annotations":{"note":"kept"}`, "!finalizers", "!ownerReferences", `!resourceVersion":"1"`)
	c.lie(nil)
	want(t, sys, "GET", gadgetsV2+"/a", "", 200, `"hue":"red"`, `"generation":1`)
	c.Close()
	want(t, sys, "POST", gadgetsV1, gadget("v1", "b", "color", "red"), 500, "conversion webhook for example.com/v1, Kind=Gadget failed: Post ", "?timeout=30s", "connection refused")
	want(t, sys, "GET", gadgetsV2+"/b", "", 404)
	want(t, sys, "DELETE", gadgetsV1+"/a", "", 200) // going needs no conversion
}

// zeros is a document that does not end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestConversionHangs: a webhook that does not answer holds up nobody but those who need it.
func TestConversionHangs(t *testing.T) {
	c := newConverter(t)
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`), 201)
	want(t, sys, "POST", gadgetsV2, gadget("v2", "a", "hue", "red"), 201)
	release := make(chan struct{})
	c.lie(func(r map[string]any) any { <-release; return r })
	done := make(chan struct{})
	const waiting = 5
	for range waiting {
		go func() {
			code, body := call(t, sys, "GET", gadgetsV1+"/a", "")
			if code != 200 || !strings.Contains(body, `"color":"red"`) {
				t.Errorf("%d %s", code, body)
			}
			done <- struct{}{}
		}()
	}
	for c.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	want(t, sys, "PATCH", gadgetsV2+"/a/status", `{"status":{"ok":true}}`, 200)
	want(t, sys, "GET", gadgetsV2, "", 200, `"hue":"red"`)
	close(release)
	for range waiting {
		<-done
	}
	if n := c.calls.Load(); n > 2 {
		t.Errorf("%d calls for two states of one object", n)
	}
}

// TestConversionService: a service is found through its ready Endpoints, by the name of its port, and must prove to be the
// service.
func TestConversionService(t *testing.T) {
	addr := hostAddress(t) // Endpoints may not be on loopback
	authority, err := auth.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	serve := func(host string) *converterServer {
		cert, key, err := authority.Issue(auth.Leaf{User: "converter", Hosts: []string{host}})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c := new(converterServer)
		c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
		c.Listener.Close()
		if c.Listener, err = net.Listen("tcp", net.JoinHostPort(addr, "0")); err != nil {
			t.Fatal(err)
		}
		c.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		c.StartTLS()
		t.Cleanup(c.Close)
		return c
	}
	c, impostor := serve("converter.default.svc"), serve("converter.other.svc")
	sys := startTest(t, Config{NoControllers: true})
	config := func(bundle string) string {
		return fmt.Sprintf(`{"service":{"namespace":"default","name":"converter","path":"/convert","port":8443},"caBundle":%q}`, bundle)
	}
	want(t, sys, "POST", definitions, gadgets(config(base64.StdEncoding.EncodeToString(authority.PEM())), `["v1"]`), 201)
	const failed = "conversion webhook for example.com/v1, Kind=Gadget failed: Post \\\"https://converter.default.svc:8443/convert?timeout=30s\\\": "
	post := func(code int, name, text string) {
		t.Helper()
		want(t, sys, "POST", gadgetsV1, gadget("v1", name, "color", "red"), code, text)
	}
	endpoints := func(method string, of *converterServer, addresses string) {
		t.Helper()
		_, port, err := net.SplitHostPort(of.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		path := "/api/v1/namespaces/default/endpoints"
		if method == "PUT" {
			path += "/converter"
		}
		if code, body := call(t, sys, method, path, fmt.Sprintf(
			`{"metadata":{"name":"converter"},"subsets":[{%q:[{"ip":%q}],"ports":[{"name":"other","port":1},{"name":"hook","port":%s}]}]}`, addresses, addr, port)); code >= 300 {
			t.Fatal(code, body)
		}
	}
	post(500, "a", failed+`service \"converter\" not found`)
	want(t, sys, "POST", "/api/v1/namespaces/default/services", `{"metadata":{"name":"converter"},"spec":{"ports":[{"name":"other","port":80},{"name":"web","port":443}]}}`, 201)
	post(500, "a", failed+`no service port 8443 found for service \"converter\"`)
	want(t, sys, "PATCH", "/api/v1/namespaces/default/services/converter", `{"spec":{"ports":[{"name":"other","port":80},{"name":"hook","port":8443,"targetPort":"https"}]}}`, 200)
	post(500, "a", failed+`no endpoints available for service \"converter\"`)
	endpoints("POST", c, "notReadyAddresses")
	post(500, "a", failed+`no endpoints available for service \"converter\"`)
	endpoints("PUT", impostor, "addresses")
	post(500, "a", "certificate is valid for converter.other.svc, not converter.default.svc")
	endpoints("PUT", c, "addresses")
	post(201, "a", `"color":"red"`)
	want(t, sys, "GET", gadgetsV2+"/a", "", 200, `"hue":"red"`)
	if path := c.path.Load(); path != "/convert" {
		t.Errorf("asked at %v", path)
	}
	if n := impostor.calls.Load(); n > 0 {
		t.Errorf("%d calls of a server that is not the service", n)
	}

	// Who moves is found where the Endpoints say.
	moved := serve("converter.default.svc")
	endpoints("PUT", moved, "addresses")
	c.CloseClientConnections()
	c.Close()
	post(201, "b", `"color":"red"`)
	if moved.calls.Load() == 0 {
		t.Error("the one that moved was not asked")
	}
	want(t, sys, "PATCH", gadgetCRD, `{"spec":{"conversion":{"webhook":{"clientConfig":`+config(otherBundle())+`}}}}`, 200)
	post(500, "c", failed+"tls: failed to verify certificate: x509: certificate signed by unknown authority")
}

// otherBundle is the certificate of somebody else.
func otherBundle() string {
	o := httptest.NewTLSServer(http.NotFoundHandler())
	defer o.Close()
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw}))
}

// hostAddress is an address of this host that is not on loopback.
func hostAddress(t *testing.T) string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("the host has no address but those on loopback")
	return ""
}
