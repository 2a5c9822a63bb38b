package builtin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
)

// The golden cases are recorded conversations with upstream's API server (1.32). This test plays their writes through
// the hooks of the kinds alone, without a server: what admission adds, and what the server checks, is left out on
// both sides.

type goldenCase struct {
	Name  string
	Steps []goldenStep
}

type goldenStep struct {
	Method, Path, ContentType string
	Body, Response            json.RawMessage
	Status                    int
	Warnings                  []string
}

// played are the cases of which kinds, by the recorded areas that package cluster carries.
var played = map[string][]string{
	"pods":      {"pods-create/", "pods-patch/"},
	"workloads": {"deployments-", "replicasets-"},
	"groups":    {"priorityclasses-"},
	"tables":    {"pod-status/", "kind/pods", "kind/deployments", "kind/priorityclasses"},
}

func goldenCases(t *testing.T, area string) []goldenCase {
	t.Helper()
	f, err := os.Open("../../cluster/testdata/golden/" + area + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Cases []goldenCase }
	if err := json.NewDecoder(z).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	doc.Cases = slices.DeleteFunc(doc.Cases, func(c goldenCase) bool {
		return !slices.ContainsFunc(played[area], func(prefix string) bool { return strings.HasPrefix(c.Name, prefix) })
	})
	if len(doc.Cases) == 0 {
		t.Fatalf("no golden cases of %s", area)
	}
	return doc.Cases
}

// differ names the cases whose answer is right to differ from upstream 1.32, or that need more than the hooks.
var differ = map[string]string{
	"pods-patch/ephemeral-add": "ephemeral containers are not served",
	"pods-patch/resize-cpu":    "resizing is not served",
}

func TestGolden(t *testing.T) {
	definitions := map[string]*resource.Definition{}
	for _, d := range builtin.All() {
		definitions[d.Resource.Name] = d
	}
	for area := range played {
		for _, c := range goldenCases(t, area) {
			t.Run(area+"/"+c.Name, func(t *testing.T) {
				if reason := differ[c.Name]; reason != "" {
					t.Skip(reason)
				}
				play(t, definitions, c)
			})
		}
	}
}

// play goes through the steps of a case as long as they are the hooks' to answer; later steps depend on earlier ones.
func play(t *testing.T, definitions map[string]*resource.Definition, c goldenCase) {
	var r replay
	for i, s := range c.Steps {
		u, err := url.Parse(s.Path)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(strings.Trim(u.Path, "/"), "/")
		at := 2 // /api/v1/RESOURCE
		if parts[0] == "apis" {
			at = 3
		}
		if parts[at] == "namespaces" {
			at += 2
		}
		r.d, r.subresource = definitions[parts[at]], ""
		if len(parts) > at+2 {
			r.subresource = parts[at+2]
		}
		if r.d == nil || s.Status == 400 || s.Status == 403 || s.Status == 404 || r.subresource != "" && r.subresource != "status" {
			return
		}
		t.Run(fmt.Sprintf("%d-%s", i, s.Method), func(t *testing.T) { r.step(t, s) })
		if t.Failed() {
			return
		}
	}
}

// replay holds the object of a case from step to step, as stored JSON.
type replay struct {
	d           *resource.Definition
	subresource string
	stored      []byte
}

func (r *replay) step(t *testing.T, s goldenStep) {
	v := &r.d.Versions[0]
	switch s.Method {
	case "GET":
		r.table(t, s)
		return
	case "DELETE":
		if r.stored == nil {
			return
		}
		o := r.decode(t, r.stored)
		now := metav1.Now()
		o.Meta.DeletionTimestamp = &now
		r.encode(t, o)
		return
	}
	body := []byte(s.Body)
	if s.Method == "PATCH" {
		var err error
		if strings.HasPrefix(s.ContentType, "application/strategic") {
			body, err = strategicpatch.StrategicMergePatch(r.stored, body, dataStruct(r.d.Kind))
		} else {
			body, err = jsonpatch.MergePatch(r.stored, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &resource.Write{Definition: r.d, Version: v, Subresource: r.subresource, Request: &api.Request{Body: body}}
	w.New = r.decode(t, body)
	if s.Method != "POST" {
		w.Old = r.decode(t, r.stored)
		w.New.Meta.Generation = w.Old.Meta.Generation
	}
	ctx := context.Background()
	h := &r.d.Hooks
	if h.Prepare != nil {
		h.Prepare(ctx, w)
	}
	if h.Default != nil {
		h.Default(w.New)
	}
	admit(w.New)
	errs := h.Validate(ctx, w)
	if w.Old == nil {
		w.New.Meta.Namespace = namespaceFor(r.d)
		errs = append(errs, apivalidation.ValidateObjectMeta(w.New.Meta, r.d.Namespaced, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))...)
	}
	if s.Status >= 400 {
		compareCauses(t, s.Response, errs)
		return
	}
	if len(errs) > 0 {
		t.Fatalf("upstream accepts this; got %v", errs.ToAggregate())
	}
	warnings := w.Warnings
	if h.Warn != nil {
		warnings = append(warnings, h.Warn(ctx, w)...)
	}
	want := slices.DeleteFunc(slices.Clone(s.Warnings), func(s string) bool { return strings.HasPrefix(s, "unknown field") })
	slices.Sort(want)
	slices.Sort(warnings)
	if !slices.Equal(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
	r.encode(t, w.New)
	compareObjects(t, r.stored, s.Response)
}

func namespaceFor(d *resource.Definition) string {
	if d.Namespaced {
		return "golden"
	}
	return ""
}

func dataStruct(kind string) any {
	switch kind {
	case "Pod":
		return &corev1.Pod{}
	case "Deployment":
		return &appsv1.Deployment{}
	case "ReplicaSet":
		return &appsv1.ReplicaSet{}
	}
	return &schedulingv1.PriorityClass{}
}

func (r *replay) decode(t *testing.T, b []byte) *resource.Object {
	t.Helper()
	b = bytes.ReplaceAll(b, []byte("$NS"), []byte("golden"))
	o, _, err := r.d.Versions[0].Codec.Decode(b, false)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (r *replay) encode(t *testing.T, o *resource.Object) {
	t.Helper()
	b, err := r.d.Versions[0].Codec.Encode(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	r.stored = b
}

// admit gives pods the service account that admission would have given them.
func admit(o *resource.Object) {
	if p, ok := o.Value.(*corev1.Pod); ok && p.Spec.ServiceAccountName == "" {
		p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "default", "default"
	}
}

var (
	// dump is a value in Go syntax, which upstream has replaced by JSON since.
	dump   = regexp.MustCompile(`^Invalid value: .*[{\[(].*?: `)
	plural = regexp.MustCompile(`(?s)^(Forbidden: pod updates may not change fields other than [^\n]*).*`)
)

func normalMessage(m string) string {
	m = strings.ReplaceAll(m, "golden", "$NS")
	if s := plural.FindStringSubmatch(m); s != nil {
		return s[1]
	}
	if head, rest, ok := strings.Cut(m, ": supported values: "); ok && strings.ContainsAny(head, "{") {
		return "Unsupported value: DUMP: supported values: " + rest
	}
	if i := strings.LastIndex(m, ": "); i > 0 && strings.ContainsAny(m[:i], "{[(") && !strings.Contains(m, "regex") {
		return "Invalid value: DUMP" + m[i:]
	}
	return m
}

func compareCauses(t *testing.T, response []byte, errs field.ErrorList) {
	t.Helper()
	var status metav1.Status
	if err := json.Unmarshal(response, &status); err != nil {
		t.Fatal(err)
	}
	if status.Details == nil {
		t.Fatalf("the recorded answer has no details: %s", response)
	}
	var got, want []string
	for _, c := range status.Details.Causes {
		want = append(want, fmt.Sprintf("%s|%s|%s", c.Type, c.Field, dumpless(c.Message)))
	}
	for _, e := range errs {
		head, body := fmt.Sprintf("%s|%s|", string(e.Type), e.Field), e.ErrorBody()
		if i := strings.LastIndex(body, ": "); i > 0 && slices.Contains(want, head+"Invalid value: DUMP"+body[i:]) {
			// Values in Go syntax have become JSON since.
			body = "Invalid value: DUMP" + body[i:]
		}
		got = append(got, head+dumpless(body))
	}
	slices.Sort(got)
	slices.Sort(want)
	// A Status does not repeat equal causes of one field's errors; upstream lists them all the same.
	if !slices.Equal(got, want) {
		t.Errorf("got:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func dumpless(m string) string {
	if strings.HasPrefix(m, "Invalid value: ") && !dump.MatchString(m) {
		return strings.ReplaceAll(m, "golden", "$NS")
	}
	return normalMessage(m)
}

// compareObjects compares an object with the recorded one, without what admission, the store and the server add.
func compareObjects(t *testing.T, got, want []byte) {
	t.Helper()
	g, w := normalObject(t, got), normalObject(t, want)
	if !reflect.DeepEqual(g, w) {
		gj, _ := json.MarshalIndent(g, "", " ")
		wj, _ := json.MarshalIndent(w, "", " ")
		t.Errorf("got:\n%s\nwant:\n%s", firstDifference(string(gj), string(wj)), "")
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range x {
		if i >= len(y) || x[i] != y[i] {
			end := min(i+6, len(x))
			endY := min(i+6, len(y))
			start := max(0, i-4)
			return strings.Join(x[start:end], "\n") + "\n--- want\n" + strings.Join(y[min(start, len(y)):endY], "\n")
		}
	}
	return "missing: " + strings.Join(y[len(x):], "\n")
}

var timestamp = regexp.MustCompile(`^20(2[5-9]|[3-9])`)

func normalObject(t *testing.T, b []byte) any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(bytes.ReplaceAll(b, []byte("golden"), []byte("$NS")), &v); err != nil {
		t.Fatal(err)
	}
	if m, ok := v["metadata"].(map[string]any); ok {
		for _, k := range []string{"uid", "resourceVersion", "creationTimestamp", "selfLink", "namespace"} {
			delete(m, k)
		}
		delete(m, "managedFields")
		if m["generateName"] != nil {
			delete(m, "name")
		}
	}
	return normalValue(v)
}

func normalValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		// metadata of templates had a creationTimestamp of null until 1.34.
		if ts, ok := v["creationTimestamp"]; ok && ts == nil {
			delete(v, "creationTimestamp")
		}
		for _, k := range []string{"priority", "preemptionPolicy"} {
			if _, pod := v["containers"]; pod {
				delete(v, k)
			}
		}
		for k, x := range v {
			x = normalValue(x)
			if l, ok := x.([]any); ok && len(l) == 0 && (k == "volumes" || k == "volumeMounts" || k == "tolerations") {
				delete(v, k)
				continue
			}
			v[k] = x
		}
		return v
	case []any:
		out := []any{}
		for _, x := range v {
			if m, ok := x.(map[string]any); ok {
				name, _ := m["name"].(string)
				key, _ := m["key"].(string)
				if strings.HasPrefix(name, "kube-api-access-") ||
					(key == "node.kubernetes.io/not-ready" || key == "node.kubernetes.io/unreachable") && m["tolerationSeconds"] == 300.0 {
					continue
				}
			}
			out = append(out, normalValue(x))
		}
		return out
	case string:
		if timestamp.MatchString(v) {
			return "<time>"
		}
	}
	return v
}

var (
	anAge = regexp.MustCompile(`(\d+[ydhms])+( ago)?|<invalid>|<unknown>`)
)

// table compares the cells of a recorded Table; other answers are not the hooks'.
func (r *replay) table(t *testing.T, s goldenStep) {
	var table struct {
		Kind              string
		ColumnDefinitions []metav1.TableColumnDefinition
		Rows              []struct{ Cells []any }
	}
	if err := json.Unmarshal(s.Response, &table); err != nil || table.Kind != "Table" || len(table.Rows) != 1 || strings.Contains(s.Path, "?") {
		return
	}
	v := &r.d.Versions[0]
	if !reflect.DeepEqual(v.Columns, table.ColumnDefinitions) {
		t.Errorf("columns\n%v\nwant\n%v", v.Columns, table.ColumnDefinitions)
	}
	doc, err := v.Codec.Encode(nil, r.decode(t, r.stored))
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := r.d.Hooks.Cells(v, doc)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	var cells []any
	if err := json.Unmarshal(bytes.ReplaceAll(b, []byte("golden"), []byte("$NS")), &cells); err != nil {
		t.Fatal(err)
	}
	normal := func(cells []any) []any {
		for i := range cells {
			if c, ok := cells[i].(string); ok {
				cells[i] = anAge.ReplaceAllString(c, "<age>")
			}
		}
		return cells
	}
	if got, want := normal(cells), normal(table.Rows[0].Cells); !slices.EqualFunc(got, want, func(a, b any) bool { return a == b || a == "<age>" || b == "<age>" }) {
		t.Errorf("cells %v, want %v", got, want)
	}
}
