package server

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	appsv1beta1 "k8s.io/api/apps/v1beta1"
	corev1 "k8s.io/api/core/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"pintle.dev/server/accept"
)

const (
	olderPath = "/apis/extensions/v1beta1/namespaces/default/deployments"
	asJSON    = "Content-Type: application/json"
	appsPath  = "/apis/apps/v1/namespaces/default/deployments"
	template  = `"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}`
)

func olderDeployment(apiVersion, spec string) string {
	return `{"apiVersion":"` + apiVersion + `","kind":"Deployment","metadata":{"name":"d"},"spec":{` + spec + template + `}}`
}

// want asks, and checks the code and the parts of the answer that are given.
func want(t *testing.T, s *Server, code int, request, body, header string, parts ...string) answer {
	t.Helper()
	a := ask(t, s, request, body, header)
	if a.code != code {
		t.Fatalf("%s: %d %s", request, a.code, a.body)
	}
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Errorf("%s: no %s in %s", request, p, a.body)
		}
	}
	return a
}

func TestOlderVersionsOfOneObject(t *testing.T) {
	s := open(t)
	a := want(t, s, 201, "POST "+olderPath, olderDeployment("extensions/v1beta1", `"rollbackTo":{"revision":5},`), asJSON,
		`{"kind":"Deployment","apiVersion":"extensions/v1beta1"`, `"rollbackTo":{"revision":5}`, `"maxSurge":1`, `"f:rollbackTo":{".":{},"f:revision":{}}`)
	if got := a.header.Get("Warning"); got != `299 - "extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment"` {
		t.Errorf("warning %q", got)
	}
	if strings.Contains(a.body, "annotations") {
		t.Errorf("shows how rollbackTo is stored: %s", a.body)
	}
	a = want(t, s, 200, "GET "+appsPath+"/d", "", asJSON, `{"kind":"Deployment","apiVersion":"apps/v1"`, `"deprecated.deployment.rollback.to":"5"`, `"progressDeadlineSeconds":2147483647`)
	if a.header.Get("Warning") != "" || strings.Contains(a.body, `"rollbackTo":{"rev`) {
		t.Errorf("apps/v1: %q, %s", a.header, a.body)
	}
	want(t, s, 200, "GET /apis/apps/v1beta2/namespaces/default/deployments/d", "", asJSON, `"apiVersion":"apps/v1beta2"`, `"deprecated.deployment.rollback.to":"5"`)
	want(t, s, 200, "GET /apis/apps/v1beta1/namespaces/default/deployments?watch=1&timeoutSeconds=1&resourceVersion=0", "", asJSON,
		`{"type":"ADDED","object":{"kind":"Deployment","apiVersion":"apps/v1beta1"`, `"rollbackTo":{"revision":5}`)
	// A body of another version is refused, as upstream does.
	want(t, s, 400, "PUT "+appsPath+"/d", olderDeployment("extensions/v1beta1", ""), asJSON,
		"the API version in the data (extensions/v1beta1) does not match the expected API version (apps/v1)")
	want(t, s, 400, "POST "+olderPath+"?fieldValidation=Strict", olderDeployment("extensions/v1beta1", `"nothing":1,`), asJSON, `unknown field \"spec.nothing\"`)
	// The selector may change by the versions in which it could.
	change := `{"spec":{"selector":{"matchLabels":{"c":"d"}},"template":{"metadata":{"labels":{"c":"d"}}}}}`
	want(t, s, 422, "PATCH "+appsPath+"/d", change, mergePatch, "field is immutable")
	want(t, s, 200, "PATCH "+olderPath+"/d", change, mergePatch, `"matchLabels":{"a":"b","c":"d"}`)
	want(t, s, 200, "PATCH "+olderPath+"/d", `{"spec":{"rollbackTo":null,"template":{"spec":{"containers":[{"name":"e","image":"j"}]}}}}`,
		"Content-Type: application/strategic-merge-patch+json", `"name":"c"`, `"name":"e"`)
	if a = want(t, s, 200, "GET "+appsPath+"/d", "", asJSON); strings.Contains(a.body, "rollback.to") {
		t.Errorf("rollbackTo stays: %s", a.body)
	}
}

func TestOlderVersionsInProtobuf(t *testing.T) {
	s := open(t)
	var sent appsv1beta1.Deployment
	if err := json.Unmarshal([]byte(olderDeployment("apps/v1beta1", `"rollbackTo":{"revision":5},`)), &sent); err != nil {
		t.Fatal(err)
	}
	raw, err := sent.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const path = "/apis/apps/v1beta1/namespaces/default/deployments"
	want(t, s, 201, "POST "+path, string(appendUnknown(nil, "apps/v1beta1", "Deployment", raw)), "Content-Type: "+accept.TypeProtobuf,
		`"revisionHistoryLimit":2`, `"rollbackTo":{"revision":5}`, `"matchLabels":{"a":"b"}`)
	read := func(request string, into interface{ Unmarshal([]byte) error }) {
		t.Helper()
		a := want(t, s, 200, request, "", "Accept: "+accept.TypeProtobuf)
		var u runtime.Unknown
		if err := u.Unmarshal([]byte(strings.TrimPrefix(a.body, string(protobufMagic)))); err != nil {
			t.Fatal(err)
		}
		if err := into.Unmarshal(u.Raw); err != nil {
			t.Fatal(err)
		}
	}
	var got appsv1beta1.Deployment
	if read("GET "+path+"/d", &got); got.Spec.RollbackTo == nil || got.Spec.RollbackTo.Revision != 5 || *got.Spec.RevisionHistoryLimit != 2 || got.Name != "d" {
		t.Errorf("read %+v", got)
	}
	sent.Name = "e"
	sent.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": quantity.MustParse("123457")}
	if raw, err = sent.Marshal(); err != nil {
		t.Fatal(err)
	}
	raw = bytes.Replace(raw, []byte("123457"), []byte("1e2000"), 1) // of which upstream's library would make a number
	want(t, s, 400, "POST "+path, string(appendUnknown(nil, "apps/v1beta1", "Deployment", raw)), "Content-Type: "+accept.TypeProtobuf,
		"the exponent must be between -999 and 999")
	var scale extensionsv1beta1.Scale
	if read("GET "+olderPath+"/d/scale", &scale); scale.Spec.Replicas != 1 || scale.Status.TargetSelector != "a=b" || scale.Status.Selector["a"] != "b" {
		t.Errorf("read %+v", scale)
	}
}

func TestOlderScaleAndRollback(t *testing.T) {
	s := open(t)
	want(t, s, 201, "POST "+olderPath, olderDeployment("extensions/v1beta1", ""), asJSON)
	want(t, s, 200, "PATCH "+appsPath+"/d", `{"metadata":{"labels":null}}`, mergePatch)
	const older = "/apis/apps/v1beta1/namespaces/default/deployments/d/"
	a := want(t, s, 200, "GET "+older+"scale", "", asJSON, `"apiVersion":"apps/v1beta1"`, `"spec":{"replicas":1}`)
	if got := a.header.Get("Warning"); got != `299 - "apps/v1beta1 Scale is deprecated in v1.8+, unavailable in v1.16+; use autoscaling/v1 Scale"` {
		t.Errorf("warning %q", got)
	}
	// What was read is written back, its selector a map.
	want(t, s, 200, "PUT "+older+"scale", strings.Replace(a.body, `"spec":{"replicas":1}`, `"spec":{"replicas":3}`, 1), asJSON, `"spec":{"replicas":3}`)
	want(t, s, 200, "PATCH "+older+"scale", `{"spec":{"replicas":4}}`, mergePatch, `"spec":{"replicas":4}`)
	want(t, s, 200, "GET "+appsPath+"/d/scale", "", asJSON, `"apiVersion":"autoscaling/v1"`, `"spec":{"replicas":4}`, `"selector":"a=b"`)
	if a := want(t, s, 200, "GET "+appsPath+"/d", "", asJSON); a.at(t, "metadata", "labels") != "" {
		t.Errorf("scaling defaulted the labels: %s", a.body)
	}
	body := `{"apiVersion":"apps/v1beta1","kind":"DeploymentRollback","name":"d","updatedAnnotations":{"x":"y"},"rollbackTo":{"revision":2}}`
	a = want(t, s, 200, "POST "+older+"rollback", body, asJSON, `"status":"Success"`, `rollback request for deployment \"d\" succeeded`)
	if got := a.header.Get("Warning"); !strings.HasPrefix(got, `299 - "apps/v1beta1 DeploymentRollback is deprecated`) {
		t.Errorf("warning %q", got)
	}
	want(t, s, 200, "GET "+appsPath+"/d", "", asJSON, `"deprecated.deployment.rollback.to":"2"`, `"x":"y"`, `"generation":4`)
	want(t, s, 404, "POST "+appsPath+"/d/rollback", body, asJSON)
	want(t, s, 404, "POST /apis/apps/v1beta2/namespaces/default/deployments/d/rollback", body, asJSON)
}

// TestOwnershipAcrossGroups has one manager per version; what one of them takes, the other loses.
func TestOwnershipAcrossGroups(t *testing.T) {
	s := open(t)
	want(t, s, 201, "POST "+olderPath+"?fieldManager=old", olderDeployment("extensions/v1beta1", `"replicas":1,`), asJSON)
	want(t, s, 200, "PATCH "+appsPath+"/d?fieldManager=new", `{"spec":{"replicas":2}}`, mergePatch)
	owners := func() map[string]string {
		t.Helper()
		var o struct {
			Metadata struct {
				ManagedFields []struct {
					Manager, APIVersion string
					FieldsV1            json.RawMessage
				}
			}
		}
		if err := json.Unmarshal([]byte(want(t, s, 200, "GET "+appsPath+"/d", "", asJSON).body), &o); err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, f := range o.Metadata.ManagedFields {
			m[f.Manager+" "+f.APIVersion] = string(f.FieldsV1)
		}
		return m
	}
	m := owners()
	if old, newer := m["old extensions/v1beta1"], m["new apps/v1"]; newer != `{"f:spec":{"f:replicas":{}}}` || strings.Contains(old, "f:replicas") || !strings.Contains(old, "f:template") {
		t.Errorf("owners %q", m)
	}
	const applied = `{"apiVersion":"apps/v1beta2","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3}}`
	const beta2 = "/apis/apps/v1beta2/namespaces/default/deployments/d"
	const apply = "Content-Type: application/apply-patch+yaml"
	want(t, s, 409, "PATCH "+beta2+"?fieldManager=third", applied, apply, `conflict with \"new\" using apps/v1`)
	want(t, s, 200, "PATCH "+beta2+"?fieldManager=third&force=true", applied, apply, `"replicas":3`)
	if m = owners(); m["new apps/v1"] != "" || m["third apps/v1beta2"] != `{"f:spec":{"f:replicas":{}}}` || m["old extensions/v1beta1"] == "" {
		t.Errorf("owners %q", m)
	}
	// An apply by another group's version releases what it no longer names.
	const first = `{"apiVersion":"extensions/v1beta1","kind":"Deployment","metadata":{"name":"d","labels":{"x":"y"}}}`
	want(t, s, 200, "PATCH "+olderPath+"/d?fieldManager=third", first, apply, `"x":"y"`)
	if m = owners(); m["third apps/v1beta2"] != "" || !strings.Contains(m["third extensions/v1beta1"], `"f:x"`) {
		t.Errorf("owners %q", m)
	}
}

func TestOlderEvents(t *testing.T) {
	s := open(t)
	const path = "/apis/events.k8s.io/v1beta1/namespaces/default/events"
	// Of this version, unlike of v1, no more is asked than of core events.
	body := `{"apiVersion":"events.k8s.io/v1beta1","kind":"Event","metadata":{"name":"e"},"regarding":{"kind":"Pod","name":"p","namespace":"default"},"note":"n","deprecatedCount":2}`
	want(t, s, 201, "POST "+path, body, asJSON, `"apiVersion":"events.k8s.io/v1beta1"`, `"note":"n"`)
	want(t, s, 422, "POST /apis/events.k8s.io/v1/namespaces/default/events", strings.Replace(body, "v1beta1", "v1", 1), asJSON)
	// Each group selects by its own names of the fields.
	const core, newer = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
	for _, own := range []struct{ core, newer string }{
		{"involvedObject.name%3Dp", "regarding.name%3Dp"},
		{"involvedObject.uid!%3Dx", "regarding.uid!%3Dx"},
		{"reportingComponent!%3Dx", "reportingController!%3Dx"},
		{"source!%3Dx", "reason!%3Dx"},
	} {
		want(t, s, 200, "GET "+core+"?fieldSelector="+own.core, "", asJSON, `"name":"e"`)
		for _, in := range []string{path, newer} {
			want(t, s, 200, "GET "+in+"?fieldSelector="+own.newer, "", asJSON, `"name":"e"`)
			want(t, s, 400, "GET "+in+"?fieldSelector="+own.core, "", asJSON, "field label not supported: ")
		}
	}
	want(t, s, 400, "GET "+core+"?fieldSelector=regarding.name%3Dp", "", asJSON, "field label not supported: regarding.name")
	want(t, s, 200, "GET /api/v1/namespaces/default/events/e", "", asJSON, `"message":"n"`, `"involvedObject":{"kind":"Pod"`, `"count":2`)
}

func TestOlderVersionsInDiscovery(t *testing.T) {
	s := open(t)
	a := want(t, s, 200, "GET /apis", "", "Accept: application/json", `"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}`)
	var groups struct {
		Groups []struct {
			Name     string
			Versions []struct{ Version string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &groups); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range groups.Groups {
		names = append(names, g.Name)
		if g.Name == "apps" && (len(g.Versions) != 3 || g.Versions[1].Version != "v1beta2" || g.Versions[2].Version != "v1beta1") {
			t.Errorf("versions of apps: %v", g.Versions)
		}
	}
	if slices.Index(names, "extensions") < slices.Index(names, "apps") {
		t.Errorf("groups in the order %q", names)
	}
	a = want(t, s, 200, "GET /apis/extensions/v1beta1", "", "Accept: application/json",
		`"name":"deployments/rollback"`, `{"name":"deployments/scale","singularName":"","namespaced":true,"kind":"Scale","verbs":`)
	if strings.Contains(a.body, "shortNames") || strings.Contains(a.body, "categories") {
		t.Errorf("found by other names: %s", a.body)
	}
	want(t, s, 200, "GET /apis/apps/v1beta2", "", "Accept: application/json", `"categories":["all"]`, `"shortNames":["deploy"]`)
	want(t, s, 200, "GET /openapi/v3/apis/extensions/v1beta1", "", "Accept: application/json", `"io.k8s.api.extensions.v1beta1.Scale"`,
		`"io.k8s.api.extensions.v1beta1.DeploymentRollback"`, `"io.k8s.api.extensions.v1beta1.RollbackConfig"`)
}

// TestOlderDeletionsOrphan deletes with and without saying what is to become of the dependents.
func TestOlderDeletionsOrphan(t *testing.T) {
	for _, c := range []struct {
		version, query, finalizer string
	}{
		{"extensions/v1beta1", "", "orphan"},
		{"apps/v1beta1", "", "orphan"},
		{"apps/v1beta2", "", "orphan"},
		{"apps/v1", "", ""},
		{"extensions/v1beta1", "?propagationPolicy=Background", ""},
		{"extensions/v1beta1", "?propagationPolicy=Foreground", "foregroundDeletion"},
		{"apps/v1beta1", "?orphanDependents=false", ""},
	} {
		s := open(t)
		want(t, s, 201, "POST "+appsPath, olderDeployment("apps/v1", `"selector":{"matchLabels":{"a":"b"}},`), asJSON)
		want(t, s, 200, "DELETE /apis/"+c.version+"/namespaces/default/deployments/d"+c.query, "", asJSON)
		if c.finalizer == "" {
			want(t, s, 404, "GET "+appsPath+"/d", "", asJSON)
			continue
		}
		want(t, s, 200, "GET "+appsPath+"/d", "", asJSON, `"finalizers":["`+c.finalizer+`"]`)
	}
}

// TestOlderVersionsWordErrors compares what is said of a body that is no Deployment.
func TestOlderVersionsWordErrors(t *testing.T) {
	s := open(t)
	for _, v := range []string{"apps/v1", "apps/v1beta1", "extensions/v1beta1"} {
		_, name, _ := strings.Cut(v, "/")
		want(t, s, 400, "POST /apis/"+v+"/namespaces/default/deployments", olderDeployment(v, `"replicas":"x",`), asJSON,
			`Deployment in version \"`+name+`\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`)
	}
}
