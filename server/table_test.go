package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
	"pintle.dev/server/accept"
)

const acceptTable = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io"

func tableFrom(t *testing.T, a answer) metav1.Table {
	t.Helper()
	var table metav1.Table
	if err := json.Unmarshal([]byte(a.body), &table); err != nil || a.code != 200 || table.Kind != "Table" {
		t.Fatalf("%d %v %s", a.code, err, a.body)
	}
	return table
}

// TestTableOfDryRun: what has not been stored has no revision, as a Table neither.
func TestTableOfDryRun(t *testing.T) {
	s := open(t)
	a := ask(t, s, "POST /api/v1/namespaces/default/configmaps?dryRun=All", configMap("c"), "Accept: application/json;as=Table;v=v1;g=meta.k8s.io")
	if a.code != 201 || !strings.Contains(a.body, `"apiVersion":"meta.k8s.io/v1","metadata":{},"columnDefinitions"`) {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func TestTable(t *testing.T) {
	s := open(t)
	for _, n := range []string{"a", "b", "c"} {
		if a := ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap(n)); a.code != 201 {
			t.Fatalf("create: %d %s", a.code, a.body)
		}
	}
	const list = "GET /api/v1/namespaces/default/configmaps"
	table := tableFrom(t, ask(t, s, list, "", acceptTable))
	if len(table.Rows) != 3 || len(table.ColumnDefinitions) != 3 || table.ColumnDefinitions[0].Format != "name" || table.ResourceVersion == "" {
		t.Errorf("list: %+v", table)
	}
	if c := table.Rows[1].Cells; len(c) != 3 || c[0] != "b" || c[1] != float64(1) && c[1] != int64(1) {
		t.Errorf("cells: %#v", c)
	}
	var row metav1.PartialObjectMetadata
	if err := json.Unmarshal(table.Rows[1].Object.Raw, &row); err != nil {
		t.Fatal(err)
	}
	if row.Kind != "PartialObjectMetadata" || row.APIVersion != "meta.k8s.io/v1" || row.Labels["app"] != "b" {
		t.Errorf("object: %s", table.Rows[1].Object.Raw)
	}
	page := tableFrom(t, ask(t, s, list+"?limit=1", "", acceptTable))
	if page.Continue == "" || page.RemainingItemCount == nil || *page.RemainingItemCount != 2 {
		t.Errorf("page: %+v", page.ListMeta)
	}
	one := ask(t, s, list+"/a", "", strings.ReplaceAll(acceptTable, "v=v1;", "v=v1beta1;"))
	if table := tableFrom(t, one); table.APIVersion != "meta.k8s.io/v1beta1" || len(table.Rows) != 1 || table.ResourceVersion == "" {
		t.Errorf("get: %s", one.body)
	}
	if a := ask(t, s, list+"?labelSelector=no%3Done", "", acceptTable); !strings.HasSuffix(strings.TrimSpace(a.body), `"rows":[]}`) {
		t.Errorf("empty: %s", a.body)
	}
	if e := ask(t, s, list+"/nope", "", acceptTable); e.code != 404 || e.at(t, "kind") != "Status" {
		t.Errorf("missing: %d %s", e.code, e.body)
	}
}

func TestTableIncludeObject(t *testing.T) {
	s := open(t)
	ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap("a"))
	const list = "GET /api/v1/namespaces/default/configmaps?includeObject="
	for include, want := range map[string]string{"None": "", "Metadata": "PartialObjectMetadata", "Object": "ConfigMap", "": "PartialObjectMetadata"} {
		var head metav1.TypeMeta
		if raw := tableFrom(t, ask(t, s, list+include, "", acceptTable)).Rows[0].Object.Raw; len(raw) > 0 {
			if err := json.Unmarshal(raw, &head); err != nil {
				t.Fatal(err)
			}
		}
		if head.Kind != want {
			t.Errorf("includeObject=%s: %q", include, head.Kind)
		}
	}
	a := ask(t, s, list+"All", "", acceptTable)
	const message = `Unable to convert to Table as requested: includeObject: Invalid value: "All": must be 'Metadata', 'Object', 'None', or empty`
	if a.code != 400 || a.at(t, "message") != message {
		t.Errorf("includeObject=All: %d %s", a.code, a.body)
	}
}

// TestTableWatch also has two watchers that include different things: what they see must not be shared.
func TestTableWatch(t *testing.T) {
	s := open(t)
	ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap("a"))
	ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap("b"))
	const watch = "GET /api/v1/configmaps?watch=1&resourceVersion=0&timeoutSeconds=1"
	for include, want := range map[string]string{"None": "null", "Metadata": "PartialObjectMetadata"} {
		a := ask(t, s, watch+"&includeObject="+include, "", acceptTable)
		lines := strings.Split(strings.TrimSpace(a.body), "\n")
		if len(lines) != 2 {
			t.Fatalf("%q", lines)
		}
		for i, l := range lines {
			var e struct {
				Type   string
				Object struct {
					ColumnDefinitions []metav1.TableColumnDefinition
					Rows              []json.RawMessage
				}
			}
			if err := json.Unmarshal([]byte(l), &e); err != nil || e.Type != "ADDED" || len(e.Object.Rows) != 1 {
				t.Fatalf("%v %s", err, l)
			}
			if (len(e.Object.ColumnDefinitions) > 0) != (i == 0) || !strings.Contains(string(e.Object.Rows[0]), want) {
				t.Errorf("event %d: %s", i, l)
			}
		}
	}
}

// TestTableOfPlainKind covers kinds that define no columns: upstream shows the name and the creation time.
func TestTableOfPlainKind(t *testing.T) {
	defs := builtin.All()
	for _, d := range defs {
		if d.Kind == "ConfigMap" {
			d.Hooks.Cells = nil
		}
	}
	s := open(t, func(c *Config) { c.Registry = resource.NewRegistry(defs...) })
	ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap("a"))
	table := tableFrom(t, ask(t, s, "GET /api/v1/namespaces/default/configmaps", "", acceptTable))
	if c := table.ColumnDefinitions; len(c) != 2 || c[1].Name != "Created At" || c[1].Type != "date" {
		t.Errorf("columns: %+v", c)
	}
	if c := table.Rows[0].Cells; c[0] != "a" || !strings.HasSuffix(fmt.Sprint(c[1]), "Z") {
		t.Errorf("cells: %v", c)
	}
}

func TestAppendCell(t *testing.T) {
	for want, cell := range map[string]any{
		`null`: nil, `"a\"b"`: `a"b`, `-3`: int64(-3), `4`: int32(4), `5`: 5, `true`: true, `1.5`: 1.5, `{"a":[1]}`: map[string]any{"a": []any{1}},
	} {
		b, err := appendCell(nil, cell)
		if err != nil || string(b) != want {
			t.Errorf("%v: %s %v", cell, b, err)
		}
	}
}

// TestLongTable covers a Table that goes out in chunks.
func TestLongTable(t *testing.T) {
	s := open(t)
	for i := range 500 {
		body := strings.Replace(configMap(fmt.Sprintf("cm-%03d", i)), `"app":`, `"l`+strings.Repeat("x", 60)+`":"v","app":`, 1)
		body = strings.Replace(body, `"metadata":{`, `"metadata":{"annotations":{"a":"`+strings.Repeat("y", chunkSize/80)+`"},`, 1)
		if a := ask(t, s, "POST /api/v1/namespaces/default/configmaps", body); a.code != 201 {
			t.Fatal(a.body)
		}
	}
	a := ask(t, s, "GET /api/v1/namespaces/default/configmaps", "", acceptTable)
	table := tableFrom(t, a)
	if len(a.body) < 2*chunkSize || len(table.Rows) != 500 || table.Rows[499].Cells[0] != "cm-499" {
		t.Errorf("%d bytes, %d rows", len(a.body), len(table.Rows))
	}
}

// TestTableOfScale: kubectl get deployments/d --subresource=scale.
func TestTableOfScale(t *testing.T) {
	s := open(t)
	const deployments = "/apis/apps/v1/namespaces/default/deployments"
	if a := ask(t, s, "POST "+deployments, `{"metadata":{"name":"d","labels":{"k":"v"}},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`); a.code != 201 {
		t.Fatalf("create: %d %s", a.code, a.body)
	}
	const get = "GET " + deployments + "/d/scale"
	table := tableFrom(t, ask(t, s, get, "", acceptTable))
	var names []string
	for _, c := range table.ColumnDefinitions {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "Name Desired Available Age" {
		t.Errorf("columns: %s", got)
	}
	if c := fmt.Sprint(table.Rows[0].Cells[:3]); c != "[d 2 0]" {
		t.Errorf("cells: %s", c)
	}
	if old := tableFrom(t, ask(t, s, strings.Replace(get, "apps/v1", "apps/v1beta1", 1), "", acceptTable)); fmt.Sprint(old.Rows[0].Cells[:3]) != "[d 2 0]" {
		t.Errorf("of an older version: %+v", old.Rows)
	}
	for include, want := range map[string]string{"": "PartialObjectMetadata", "?includeObject=Object": "Scale", "?includeObject=None": "<none>"} {
		table := tableFrom(t, ask(t, s, get+include, "", acceptTable))
		row := metav1.TypeMeta{Kind: "<none>"}
		if raw := table.Rows[0].Object.Raw; len(raw) > 0 {
			if err := json.Unmarshal(raw, &row); err != nil {
				t.Fatal(err)
			}
		}
		if row.Kind != want {
			t.Errorf("%q: the row has a %s, want %s", include, row.Kind, want)
		}
	}
	if a := ask(t, s, get, "", "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"); !strings.Contains(a.body, `"kind":"PartialObjectMetadata"`) {
		t.Errorf("metadata of a Scale: %s", a.body)
	}
}

// TestMetadataAsProtobuf: metadata alone can be had as protobuf too, as an object, in lists and in watches.
func TestMetadataAsProtobuf(t *testing.T) {
	s := open(t)
	const maps = "/api/v1/namespaces/default/configmaps"
	want(t, s, 201, "POST "+maps, `{"metadata":{"name":"a","labels":{"k":"v"}},"data":{"k":"hidden"}}`, asJSON)
	for request, kind := range map[string]string{
		"GET " + maps + "/a": "PartialObjectMetadata", "GET " + maps: "PartialObjectMetadataList",
		"GET " + maps + "?watch=1&timeoutSeconds=1": "PartialObjectMetadata",
		"GET " + maps + "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true": "BOOKMARK",
	} {
		shape := "PartialObjectMetadata"
		if !strings.HasSuffix(request, "/a") {
			shape = "PartialObjectMetadataList"
		}
		a := want(t, s, 200, request, "", "Accept: "+accept.TypeProtobuf+";as="+shape+";g=meta.k8s.io;v=v1", kind, "meta.k8s.io/v1")
		if strings.Contains(a.body, "hidden") || strings.Contains(a.body, "ConfigMap") {
			t.Errorf("%s: %q", request, a.body)
		}
	}
	a := want(t, s, 200, "GET "+maps+"/a", "", "Accept: "+accept.TypeProtobuf+";as=PartialObjectMetadata;g=meta.k8s.io;v=v1")
	u, err := unwrap([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	var p metav1.PartialObjectMetadata
	if err := p.Unmarshal(u.Raw); err != nil || p.Name != "a" || p.Labels["k"] != "v" || len(p.ManagedFields) != 1 {
		t.Errorf("%v: %+v", err, p)
	}
	want(t, s, 406, "GET "+maps+"/a", "", "Accept: "+accept.TypeProtobuf+";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "is not a list (*core.ConfigMap)")
	want(t, s, 406, "GET "+maps, "", "Accept: "+accept.TypeProtobuf+";as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "is a list (*core.ConfigMapList)")
}
