package server

import (
	"strings"
	"testing"
)

const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},` + template + `}}`

// What a patched document says it is, is judged before it is read, in the words of upstream's decoder.
func TestPatchedType(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	const strict = "?fieldValidation=Strict"
	run(t, s, []step{
		{"PATCH " + path + "/c", `{"kind":null}`, []string{mergePatch}, 200, nil, nil},
		{"PATCH " + path + "/c", `{"kind":"X"}`, []string{mergePatch}, 422, []string{`no kind \"X\" is registered for version \"v1\"`, `"field":"patch"`}, nil},
		{"PATCH " + path + "/c", `{"kind":"Status"}`, []string{mergePatch}, 422, []string{"converting (v1.Status) to (core.ConfigMap): unknown conversion"}, nil},
		{"PATCH " + path + "/c", `{"kind":"ConfigMapList"}`, []string{mergePatch}, 422, []string{"converting (v1.ConfigMapList) to (core.ConfigMap): unknown conversion"}, nil},
		{"PATCH " + path + "/c", `{"apiVersion":"a/b/c"}`, []string{mergePatch}, 422, []string{"unexpected GroupVersion string: a/b/c"}, nil},
		{"PATCH " + path + "/c", `[{"op":"add","path":"/kind","value":1}]`, []string{jsonPatch}, 422, []string{"couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string"}, nil},
		{"PATCH " + path + "/c", `{"apiVersion":null}`, []string{mergePatch}, 400, []string{"the name of the object (c based on URL) was undeterminable: name must be provided"}, nil},
		{"PATCH " + path + "/c" + strict, `{"apiVersion":null}`, []string{mergePatch}, 422, []string{`strict decoding error: unknown field \"data\", unknown field \"metadata\"`}, nil},
		{"PATCH " + path + "/c", `{"apiVersion":"v9","kind":"X"}`, []string{smPatch}, 200, []string{`"kind":"ConfigMap","apiVersion":"v1"`}, nil},
		// Of two mistakes the one that comes first where members are in order.
		{"PATCH " + path + "/c", `{"metadata":{"labels":1},"data":{"a":1}}`, []string{mergePatch}, 422, []string{"json: cannot unmarshal number into Go struct field ConfigMap.data of type string"}, nil},
	})
}

// A strategic merge patch that does not fit is shown without the directives that merging it has followed.
func TestSpentPatches(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	run(t, s, []step{
		{"PATCH " + path + "/c", `{"metadata":{"labels":{"$patch":"replace","a":5}}}`, []string{smPatch}, 422, []string{`Invalid value: \"map[metadata:map[labels:map[a:5]]]\": cannot convert int64 to string`}, nil},
		{"PATCH " + path + "/c", `{"binaryData":{"a":"!!"}}`, []string{smPatch}, 422, []string{`Invalid value: \"map[binaryData:map[a:!!]]\": error decoding from json: illegal base64 data at input byte 0`}, nil},
		{"PATCH " + path + "/c?fieldValidation=Strict", `{"x":9007199254740993}`, []string{smPatch}, 422, []string{`Invalid value: \"map[x:9007199254740993]\": strict decoding error: unknown field \"x\"`}, nil},
	})
}

// Bytes that are not UTF-8 are read as U+FFFD, each, in patches as in objects.
func TestUnreadableBytes(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	run(t, s, []step{
		{"POST " + path, `{"metadata":{"name":"c"},"data":{"k":"a` + "\xc3\xff" + `b"}}`, nil, 201, []string{`"k":"a��b"`}, nil},
		{"PATCH " + path + "/c", `[{"op":"add","path":"/data/k","value":"` + "\xff" + `"}]`, []string{jsonPatch}, 200, []string{`"k":"�"`}, nil},
		{"PATCH " + path + "/c", `{"data":{"l` + "\xff" + `":"x"}}`, []string{mergePatch}, 422, []string{"data[l�]: Invalid value"}, nil},
		{"PATCH " + path + "/c", `{"data":{"l":"` + "\xff", []string{mergePatch}, 400, nil, nil},
		{"POST " + path, `{"metadata":{"name":"d"},"data":{"k":"` + "\xff" + `"}}`, []string{"Content-Type: application/yaml"}, 400, nil, nil},
		{"PATCH " + path + "/d?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":{"k":"` + "\xff" + `"}}`, []string{applyPatch}, 400, nil, nil},
	})
}

// Patches that nobody asked to have checked are refused by what applies them, with its own words.
func TestUncheckedPatches(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	const ignore = "PATCH " + path + "/c?fieldValidation=Ignore"
	run(t, s, []step{
		{ignore, `{}`, []string{jsonPatch}, 400, []string{`"json: cannot unmarshal object into Go value of type jsonpatch.Patch"`}, nil},
		{ignore, `[{"op":1}]`, []string{jsonPatch}, 422, []string{`"the server rejected our request due to an error in our request"`}, nil},
		{ignore, `[{"op":"add","path":"/data/z","value":"1","x":1}]`, []string{jsonPatch}, 200, []string{`"z":"1"`}, nil},
		{ignore, `1`, []string{mergePatch}, 400, []string{`"Invalid JSON Patch"`}, nil},
		{ignore, `{`, []string{mergePatch}, 400, []string{`"Invalid JSON Patch"`}, nil},
		{ignore, `[]`, []string{mergePatch}, 422, []string{"couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct"}, nil},
	})
}

// The UID in a patch is no precondition but a change, unlike that in an object sent as a whole.
func TestPatchedUID(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	run(t, s, []step{
		{"PATCH " + path + "/c", `{"metadata":{"uid":"x"}}`, []string{mergePatch}, 422, []string{`metadata.uid: Invalid value: \"x\": field is immutable`}, nil},
		{"PUT " + path + "/c", `{"metadata":{"name":"c","uid":"x"}}`, nil, 409, []string{"UID in precondition: x"}, nil},
	})
}

// An object sent as a whole loses duplicate owners before anybody looks for what it replaces; a Scale that is not there
// is named as what it is in reads.
func TestMissingObjects(t *testing.T) {
	const owner = `{"apiVersion":"v1","kind":"Pod","name":"x","uid":"u"}`
	s := open(t)
	a := ask(t, s, "PUT /api/v1/namespaces/default/configmaps/c", `{"metadata":{"name":"c","ownerReferences":[`+owner+`,`+owner+`]}}`)
	if w := a.header.Get("Warning"); a.code != 404 || !strings.Contains(w, "duplicate UID(s) observed: u") {
		t.Errorf("%d %s, warned %q", a.code, a.body, w)
	}
	run(t, s, []step{
		{"GET /apis/apps/v1/namespaces/default/deployments/d/scale", ``, nil, 404, []string{`deployments/scale.apps \"d\" not found`}, nil},
		{"PATCH /apis/apps/v1/namespaces/default/deployments/d/scale", `{}`, []string{mergePatch}, 404, []string{`deployments.apps \"d\" not found`}, nil},
	})
}

func TestUpdatedMetadata(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	owner := func(name string) string { return `{"apiVersion":"v1","kind":"Pod","name":"` + name + `","uid":"u"}` }
	run(t, s, []step{
		// A generated name need only be fit for a path, once the object exists, by the rule of all kinds.
		{"PATCH " + path + "/c", `{"metadata":{"generateName":"a/b"}}`, []string{mergePatch}, 422, []string{`may not contain '/'`, "a lowercase RFC 1123 subdomain"}, nil},
		// Owner references are duplicates when all of them is alike.
		{"PATCH " + path + "/c", `{"metadata":{"ownerReferences":[` + owner("x") + `,` + owner("y") + `]}}`, []string{mergePatch}, 200, []string{`"name":"x"`, `"name":"y"`}, nil},
		{"PATCH " + path + "/c", `{"metadata":{"ownerReferences":[` + owner("x") + `,` + owner("x") + `]}}`, []string{mergePatch}, 200, []string{`"name":"x"`}, []string{owner("x") + "," + owner("x")}},
		// managedFields of versions that the kind does not have are dropped; names are judged of those that stay.
		{"PATCH " + path + "/c", `{"metadata":{"managedFields":[{"manager":"m","operation":"Update","apiVersion":"nope/v9","fieldsType":"FieldsV1","fieldsV1":{"f:data":{}}}]}}`, []string{mergePatch}, 200, nil, []string{"nope/v9"}},
		{"PATCH " + path + "/c", `{"metadata":{"managedFields":[{"manager":"m\u0000","operation":"Update","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{}}}]}}`, []string{mergePatch}, 422, []string{"metadata.managedFields[0].manager"}, nil},
	})
}

// Numbers keep the text a patch has them in: typed kinds read 3.0 as no integer, and quantities as they are written.
func TestPatchedNumbers(t *testing.T) {
	const path = "/apis/apps/v1/namespaces/default/deployments"
	s := open(t)
	ask(t, s, "POST "+path, deployment)
	refused := []string{"json: cannot unmarshal number 3.0 into Go struct field DeploymentSpec.spec.minReadySeconds of type int32", `"field":"patch"`}
	run(t, s, []step{
		{"PATCH " + path + "/d", `{"spec":{"minReadySeconds":3.0}}`, []string{mergePatch}, 422, refused, nil},
		{"PATCH " + path + "/d", `[{"op":"add","path":"/spec/minReadySeconds","value":3.0}]`, []string{jsonPatch}, 422, refused, nil},
		{"PATCH " + path + "/d", `{"spec":{"minReadySeconds":3.0}}`, []string{smPatch}, 200, []string{`"minReadySeconds":3`}, nil},
		{"PATCH " + path + "/d", `[{"op":"add","path":"/spec/template/spec/containers/0/resources","value":{"limits":{"cpu":1.0,"memory":1e3}}}]`,
			[]string{jsonPatch}, 200, []string{`"limits":{"cpu":"1","memory":"1e3"}`}, nil},
		{"PATCH " + path + "/d/scale", `{"spec":{"replicas":2.0}}`, []string{mergePatch}, 422, []string{"json: cannot unmarshal number 2.0 into Go struct field ScaleSpec.spec.replicas of type int32"}, nil},
	})
}

// A patch of a Scale sees who owns the replicas, and may not say who does.
func TestPatchedScaleShowsOwners(t *testing.T) {
	const path = "/apis/apps/v1/namespaces/default/deployments"
	s := open(t)
	ask(t, s, "POST "+path, deployment)
	const owned = `\\\"managedFields\\\":[{\\\"manager\\\":\\\"golden\\\",\\\"operation\\\":\\\"Update\\\",\\\"apiVersion\\\":\\\"autoscaling/v1\\\",`
	run(t, s, []step{
		{"PATCH " + path + "/d/scale", `[{"op":"add","path":"/spec/replicas","value":"x"}]`, []string{jsonPatch}, 422, []string{owned}, nil},
		{"PATCH " + path + "/d/scale", `[{"op":"add","path":"/kind","value":1}]`, []string{jsonPatch}, 422, []string{"couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string"}, nil},
		{"PATCH " + path + "/d/scale", `[{"op":"test","path":"/metadata/managedFields/0/manager","value":"golden"}]`, []string{jsonPatch}, 200, nil, []string{"managedFields"}},
		{"PATCH " + path + "/d/scale", `[{"op":"replace","path":"/metadata/managedFields","value":[{}]}]`, []string{jsonPatch}, 200, []string{`"kind":"Scale"`}, nil},
	})
}

func TestShapesOfScales(t *testing.T) {
	const path = "/apis/apps/v1/namespaces/default/deployments"
	s := open(t)
	ask(t, s, "POST "+path, deployment)
	as := func(shape string) []string {
		return []string{"Accept: application/json;as=" + shape + ";v=v1;g=meta.k8s.io"}
	}
	run(t, s, []step{
		{"GET " + path + "/d/scale", ``, as("PartialObjectMetadata"), 200, []string{`{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"d",`}, []string{"replicas"}},
		{"GET " + path + "/d/scale", ``, as("PartialObjectMetadataList"), 406, []string{"but the requested object is not a list (*autoscaling.Scale)"}, nil},
		{"GET " + path + "/d/scale", ``, as("Table"), 200, []string{`"kind":"Table"`, `"cells":["d",1,0,`}, nil},
	})
}

// Upstream's router looks at what a client accepts for some documents, and its aggregator at no method.
func TestDocumentsByAcceptAndMethod(t *testing.T) {
	s := open(t)
	const routed = "406: Not Acceptable\\n\\nAvailable representations: application/json"
	const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList;q=0.5"
	run(t, s, []step{
		{"GET /api", ``, []string{"Accept: text/html"}, 406, []string{routed + ", application/yaml"}, nil},
		{"GET /apis/apps/v1", ``, []string{"Accept: application/*"}, 406, []string{routed + ", application/yaml"}, nil},
		{"GET /apis", ``, []string{"Accept: text/html"}, 406, []string{"only the following media types are accepted"}, nil},
		{"GET /apis", ``, []string{"Accept: application/*"}, 200, []string{`"kind":"APIGroupList"`}, nil},
		{"GET /apis", ``, []string{"Accept: " + aggregated + ",application/json;q=0.9"}, 200, []string{`"kind":"APIGroupDiscoveryList"`}, nil},
		{"GET /version", ``, []string{"Accept: application/yaml"}, 406, []string{"kind: Status", "Available representations: application/json"}, nil},
		{"GET /version", ``, []string{"Accept: application/yaml, */*"}, 200, []string{`"major"`}, nil},
		{"POST /apis", ``, nil, 405, nil, nil},
		{"POST /apis/", ``, nil, 200, []string{`"kind":"APIGroupList"`}, nil},
		{"DELETE /apis/apps", ``, nil, 200, []string{`"kind":"APIGroup"`}, nil},
		{"DELETE /apis/apps/v1", ``, nil, 405, nil, nil},
	})
}
