package server

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
	"pintle.dev/store"
)

// TestServerApply walks through the life of an object that several managers apply.
func TestServerApply(t *testing.T) {
	const c = "/api/v1/namespaces/default/configmaps/c"
	s := open(t)
	patch := []string{applyPatch}
	doc := func(meta, data string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c" + meta + "}\ndata: {" + data + "}\n"
	}
	run(t, s, []step{
		{"PATCH " + c + "?fieldManager=a", doc(", uid: x", "k: v"), patch, 409, []string{"uid mismatch: the provided object specified uid x, and no existing object was found"}, nil},
		{"PATCH " + c + "/status?fieldManager=a", doc("", "k: v"), patch, 404, nil, nil},
		{"PATCH " + c + "?fieldManager=a", doc(", resourceVersion: x", "k: v"), patch, 400, []string{`strconv.ParseUint: parsing \"x\": invalid syntax`}, nil},
		{"PATCH " + c + "?fieldManager=a&dryRun=All", doc("", "k: v"), patch, 201, []string{`"k":"v"`}, nil},
		{"GET " + c, "", nil, 404, nil, nil},
		{"PATCH " + c + "?fieldManager=a", doc("", "k: v, l: w"), patch, 201, []string{`"operation":"Apply"`, `{"f:data":{"f:k":{},"f:l":{}}}`}, nil},
		{"PATCH " + c + "?fieldManager=b", doc("", "k: w"), patch, 409,
			[]string{`Apply failed with 1 conflict: conflict with \"a\": .data.k`, `"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"a\"","field":".data.k"}]`}, nil},
		{"PATCH " + c + "?fieldManager=b", doc("", "k: v"), patch, 200, []string{`"manager":"b"`}, nil},
		{"PATCH " + c + "?fieldManager=a", doc("", "l: w"), patch, 200, []string{`"k":"v"`, `"l":"w"`}, nil},
		{"PATCH " + c + "?fieldManager=b", doc("", ""), patch, 200, []string{`"l":"w"`}, []string{`"k":"v"`}},
		{"PATCH " + c + "?fieldManager=b&force=true", doc("", "l: x"), patch, 200, []string{`"l":"x"`}, []string{`"manager":"a"`}},
		{"PATCH " + c + "?fieldManager=b", doc(`, resourceVersion: "1"`, "l: q"), patch, 409, []string{"the object has been modified"}, nil},
		{"PATCH " + c + "?fieldManager=b", doc("", "l: q, l: z"), patch, 200, []string{`"l":"z"`}, nil},
		{"PATCH " + c + "?fieldManager=b&fieldValidation=Strict", doc("", "l: q, l: r"), patch, 400, []string{`error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 4: key \"l\" already set in map`}, nil},
		{"PATCH " + c + "?fieldManager=b", doc("", "l: 5"), patch, 400, []string{`failed to create typed patch object (/c; /v1, Kind=ConfigMap): .data.l: expected string, got \u0026value.valueUnstructured{Value:5}`}, nil},
		{"PATCH " + c + "?fieldManager=b", doc(", managedFields: []", "l: q"), patch, 400, []string{"metadata.managedFields must be nil"}, nil},
		{"PATCH " + c + "?fieldManager=b", doc("", "l: q") + "zzz: 1\n", patch, 400, []string{".zzz: field not declared in schema"}, nil},
		// What does not fit the schema comes before conflicts.
		{"PATCH " + c + "?fieldManager=d", doc("", "l: q"), patch, 409, []string{`conflict with \"b\": .data.l`}, nil},
		{"PATCH " + c + "?fieldManager=d", doc("", "l: q") + "zzz: null\n", patch, 400, []string{".zzz: field not declared in schema"}, nil},
		{"GET " + c, "", nil, 200, []string{`"l":"z"`}, nil},
	})
}

// TestServerApplyOverClientApply: what kubectl applied by itself it may change by server-side apply without force, and
// the annotation that client-side apply works from is kept up to date.
func TestServerApplyOverClientApply(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	patch := []string{applyPatch}
	last := `{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"k\":\"v\",\"l\":\"v\"}}`
	object := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","annotations":{"` + lastApplied + `":"` + last + `"}},"data":{"k":"v","l":"v"}}`
	config := func(k, l string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: " + k + ", l: " + l + "}\n"
	}
	run(t, s, []step{
		{"POST " + base + "?fieldManager=kubectl-client-side-apply", object, nil, 201, nil, nil},
		{"PATCH " + base + "/c?fieldManager=other", config("w", "v"), patch, 409, []string{"kubectl-client-side-apply"}, nil},
		{"PATCH " + base + "/c?fieldManager=ctl", `{"data":{"l":"w"}}`, []string{mergePatch}, 200, nil, nil},
		// l is not as kubectl applied it any more: it belongs to who changed it.
		{"PATCH " + base + "/c?fieldManager=kubectl", config("w", "x"), patch, 409, []string{`Apply failed with 1 conflict: conflict with \"ctl\" using v1: .data.l`}, []string{".data.k"}},
		{"PATCH " + base + "/c?fieldManager=kubectl", config("w", "w"), patch, 200,
			[]string{`"` + lastApplied + `":"` + strings.ReplaceAll(`{"apiVersion":"v1","data":{"k":"w","l":"w"},"kind":"ConfigMap","metadata":{"name":"c"}}`, `"`, `\"`)}, nil},
	})
}

// TestApplyClaimsStatus: what a kind's Claim puts into the status of an object that is applied belongs to the kind's
// StatusManager, and to nobody when it has none.
func TestApplyClaimsStatus(t *testing.T) {
	for manager, want := range map[string]string{
		"keeper": `{"manager":"keeper","operation":"Update","apiVersion":"v1","time":`, "": "",
	} {
		kinds := builtin.All()
		for _, d := range kinds {
			if d.Resource == api.Services {
				d.StatusManager = manager
				d.Hooks.Claim = func(_ context.Context, _ store.View, w *resource.Write) ([]store.Write, error) {
					w.New.Value.(*corev1.Service).Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "h"}}
					w.StatusClaimed = true
					return nil, nil
				}
			}
		}
		s := open(t, func(c *Config) { c.Registry = resource.NewRegistry(kinds...) })
		a := ask(t, s, "PATCH /api/v1/namespaces/default/services/s?fieldManager=m",
			`{"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"clusterIP":"None","ports":[{"port":1}]}}`, applyPatch)
		if a.code != 201 || !strings.Contains(a.body, `"hostname":"h"`) {
			t.Fatal(a.code, a.body)
		}
		if !strings.Contains(a.body, want) || strings.Contains(a.body, `"subresource":"status"`) != (want != "") {
			t.Errorf("manager %q: %s", manager, a.body)
		}
	}
}

// TestScaleApply: through a Scale the replicas of its object are applied, and owned.
func TestScaleApply(t *testing.T) {
	const d = "/apis/apps/v1/namespaces/default/deployments/d"
	s := open(t)
	patch := []string{applyPatch}
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 2, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n"
	scale := func(replicas string) string {
		return "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: d}\nspec: {replicas: " + replicas + "}\n"
	}
	run(t, s, []step{
		{"PATCH " + d + "?fieldManager=a", deployment, patch, 201, nil, nil},
		{"PATCH " + d + "/scale?fieldManager=h", scale("5"), patch, 409, []string{`Apply failed with 1 conflict: conflict with \"a\": .spec.replicas`}, nil},
		{"PATCH " + d + "/scale?fieldManager=h", deployment, patch, 400, []string{"invalid object type: apps/v1, Kind=Deployment"}, nil},
		{"PATCH " + d + "/scale?fieldManager=h", scale("x"), patch, 400, []string{".spec.replicas: expected numeric (int or float), got string"}, nil},
		{"PATCH " + d + "/scale?fieldManager=h&force=true", scale("5"), patch, 200, []string{`"replicas":5`}, nil},
		{"GET " + d, "", nil, 200, []string{`{"manager":"h","operation":"Apply","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}},"subresource":"scale"}`}, nil},
		{"PATCH " + d + "?fieldManager=a", deployment, patch, 409, []string{`conflict with \"h\" with subresource \"scale\": .spec.replicas`}, nil},
	})
}

// TestScaleTellsUpdatersApart: a Scale written as it is splits the entry of who updated the replicas, with no time for the
// part, of which the next write keeps the rest, as on upstream. And it warns of the object that it is a part of.
func TestScaleTellsUpdatersApart(t *testing.T) {
	s := open(t)
	const d = appsPath + "/d"
	want(t, s, 201, "POST "+appsPath+"?fieldManager=m", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}],"imagePullSecrets":[{}]}}}}`, asJSON)
	want(t, s, 200, "PATCH "+d+"/scale?fieldManager=n", `{"spec":{"replicas":2}}`, mergePatch)
	const part = `{"manager":"m","operation":"Update","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}},{"manager":"m","operation":"Update",`
	want(t, s, 200, "GET "+d, "", asJSON, part)
	if a := want(t, s, 200, "PATCH "+d+"?fieldManager=n", `{"metadata":{"labels":{"x":"y"}}}`, mergePatch, `"manager":"m"`); strings.Contains(a.body, `"f:replicas"`) {
		t.Errorf("the part is kept: %s", a.body)
	}
	a := want(t, s, 200, "PATCH "+d+"/scale?fieldManager=n", `{"spec":{"replicas":3}}`, mergePatch)
	if got := a.header.Get("Warning"); !strings.Contains(got, "spec.template.spec.imagePullSecrets[0].name: invalid empty name") {
		t.Errorf("warning %q", got)
	}
}

// TestApplyAfterOwnersOfAnotherGroup: who applied in another group's version is forgotten, but what they own is not held
// against the next by before-first-apply.
func TestApplyAfterOwnersOfAnotherGroup(t *testing.T) {
	s := open(t)
	const name = "/namespaces/default/events/e?fieldManager="
	want(t, s, 201, "PATCH /apis/events.k8s.io/v1"+name+"a", "apiVersion: events.k8s.io/v1\nkind: Event\nmetadata: {name: e, labels: {l: a}}\neventTime: 2020-01-01T00:00:00.000000Z\n"+
		"reportingController: a/b\nreportingInstance: i\nregarding: {namespace: default, name: x}\naction: x\nreason: r\ntype: Normal\n", applyPatch)
	a := want(t, s, 200, "PATCH /api/v1"+name+"b", "apiVersion: v1\nkind: Event\nmetadata: {name: e, labels: {l: b}}\ninvolvedObject: {namespace: default, name: x}\n", applyPatch, `"manager":"b"`)
	if strings.Contains(a.body, "before-first-apply") || strings.Contains(a.body, `"manager":"a"`) {
		t.Error(a.body)
	}
}

// TestEventUpdateRefusals: a new reason of an event is refused twice, as on upstream, and its finalizers are judged again.
func TestEventUpdateRefusals(t *testing.T) {
	s := open(t)
	const events = "/apis/events.k8s.io/v1/namespaces/default/events"
	want(t, s, 201, "POST "+events, `{"metadata":{"name":"e"},"eventTime":"2020-01-01T00:00:00.000000Z","reportingController":"a/b","reportingInstance":"i",
		"regarding":{"namespace":"default","name":"x"},"action":"x","reason":"r","type":"Normal"}`, asJSON)
	a := want(t, s, 422, "PATCH "+events+"/e", `{"reason":"s","metadata":{"finalizers":["x"]}}`, mergePatch, `"field":"metadata.finalizers[0]"`)
	if n := strings.Count(a.body, `"field":"reason"`); n != 2 {
		t.Errorf("the reason is refused %d times: %s", n, a.body)
	}
}

// TestScaleIsAScale: what is written as a Scale is one of the version served, and a count of zero belongs to nobody.
func TestScaleIsAScale(t *testing.T) {
	s := open(t)
	const d = appsPath + "/d"
	want(t, s, 201, "POST "+appsPath, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`, asJSON, `"f:replicas"`)
	for _, c := range []struct {
		code          int
		request, body string
		mime, want    string
	}{
		{400, "PUT ", `{"apiVersion":"autoscaling/v2","kind":"Scale"}`, asJSON, `Scale in version \"v2\" cannot be handled as a Scale: no kind \"Scale\" is registered for version \"autoscaling/v2\"`},
		{400, "PUT ", `{"apiVersion":"apps/v1beta1","kind":"Scale"}`, asJSON, `the API version in the data (apps/v1beta1) does not match the expected API version (autoscaling/v1)`},
		{400, "PUT ", `{"apiVersion":"a/b/c","kind":"Scale"}`, asJSON, `unexpected GroupVersion string: a/b/c`},
		{422, "PATCH ", `{"kind":"Other"}`, mergePatch, `no kind \"Other\" is registered for version \"autoscaling/v1\"`},
		{422, "PATCH ", `{"apiVersion":"apps/v1","kind":"Deployment"}`, mergePatch, `converting (v1.Deployment) to (autoscaling.Scale): unknown conversion`},
		{422, "PATCH ", `{"apiVersion":"extensions/v1beta1"}`, mergePatch, `converting (v1beta1.Scale) to (autoscaling.Scale): unknown conversion`},
		{200, "PUT ", `{"metadata":{"name":"d"},"spec":{"replicas":5}}`, asJSON, `"replicas":5`},
		{200, "PATCH ", `{"spec":{"replicas":0}}`, mergePatch, `"spec":{}`},
	} {
		want(t, s, c.code, c.request+d+"/scale", c.body, c.mime, c.want)
	}
	if a := want(t, s, 200, "GET "+d, "", asJSON, `"replicas":0`); strings.Contains(a.body, `"f:replicas"`) {
		t.Errorf("somebody owns a zero: %s", a.body)
	}
}

// TestOwnersOfMalformedVersions: when a client says that somebody owns fields in what cannot be a version, nobody owns any.
func TestOwnersOfMalformedVersions(t *testing.T) {
	s := open(t)
	const cms = "/api/v1/namespaces/default/configmaps"
	doc := func(version string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","managedFields":[{"manager":"m","operation":"Update","apiVersion":"` + version +
			`","fieldsType":"FieldsV1","fieldsV1":{"f:data":{}}}]},"data":{"a":"` + version + `"}}`
	}
	if a := want(t, s, 201, "POST "+cms, doc("a/b/c"), ""); strings.Contains(a.body, "managedFields") {
		t.Error(a.body)
	}
	if a := want(t, s, 200, "PUT "+cms+"/c?fieldManager=u", doc("v9"), "", `"manager":"u"`); strings.Contains(a.body, `"manager":"m"`) {
		t.Error(a.body)
	}
	if a := want(t, s, 200, "PUT "+cms+"/c?fieldManager=u", doc("a/b/c"), ""); strings.Contains(a.body, "managedFields") {
		t.Error(a.body)
	}
}

// TestApplyOfTheStatusOfNothing: that there is no object is said before anything is said of the configuration.
func TestApplyOfTheStatusOfNothing(t *testing.T) {
	s := open(t)
	for _, config := range []string{"apiVersion: apps/v1\nkind: Other\n", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, managedFields: []}\n"} {
		want(t, s, 404, "PATCH /apis/apps/v1/namespaces/default/deployments/d/status?fieldManager=a", config, applyPatch, `deployments.apps \"d\" not found`)
		want(t, s, 400, "PATCH /apis/apps/v1/namespaces/default/deployments/d?fieldManager=a", config, applyPatch)
	}
}
