package server

import "testing"

// Parameters and headers that upstream refuses before it looks at an object.
func TestRefusedParameters(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, configMap("c"))
	const badType = "the body of the request was in an unknown format - accepted media types include"
	run(t, s, []step{
		{"GET " + path + "?limit=", ``, nil, 400, []string{`strconv.ParseInt: parsing \"\": invalid syntax`}, nil},
		{"DELETE " + path + "/c?gracePeriodSeconds=", ``, nil, 400, []string{`strconv.ParseInt: parsing \"\": invalid syntax`}, nil},
		{"GET " + path + "/c?timeout=x", ``, nil, 400, []string{`invalid timeout specified in the request URL - time: invalid duration \"x\"`}, nil},
		{"GET " + path + "/c?timeout=1s", ``, nil, 200, nil, nil},
		{"GET " + path + "?continue=W10", ``, nil, 400, []string{"json: cannot unmarshal array into Go value of type storage.continueToken"}, nil},
		{"GET " + path + "?continue=x&resourceVersion=1", ``, nil, 400, []string{"invalid continue token"}, nil},
		{"GET " + path + "?watch=true&timeoutSeconds=1", ``, []string{"Accept: application/json;q=0.1,application/yaml"}, 406, []string{"application/json;stream=watch"}, nil},
		{"DELETE " + path + "/c", `{}`, []string{"Content-Type: application/xml"}, 415, []string{badType}, nil},
		{"DELETE " + path + "/c", `{"kind":"x"}`, nil, 400, []string{`no kind \"x\" is registered for version \"meta.k8s.io/v1\"`}, nil},
		{"POST " + path, configMap("d"), []string{"Content-Type: application/json;;"}, 415, []string{badType}, nil},
		{"POST " + path, configMap("d"), []string{"Content-Type: application/json; charset=utf-8"}, 201, nil, nil},
		{"PATCH " + path + "/d", `{}`, []string{"Content-Type: application/merge-patch+json;;"}, 200, nil, nil},
		{"HEAD /livez", ``, nil, 200, nil, nil},
	})
}

// A resourceVersion that cannot be read is refused in the words of who reads it: upstream's cache, or its storage for
// pages and exact states. A create that does not come to the storage keeps it.
func TestStatedVersions(t *testing.T) {
	const path, leases = "/api/v1/namespaces/default/configmaps", "/apis/coordination.k8s.io/v1/namespaces/default/leases"
	lease := func(version string) string {
		return `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"l","resourceVersion":"` + version + `"}}`
	}
	const why = `resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax`
	s := open(t)
	run(t, s, []step{
		{"GET " + path + "?resourceVersion=x", ``, nil, 400, []string{`"message":"` + why}, nil},
		{"GET " + path + "/c?resourceVersion=x", ``, nil, 400, []string{`"message":"` + why}, nil},
		{"GET " + path + "?resourceVersion=x&limit=1", ``, nil, 400, []string{`"message":"invalid resource version: ` + why}, nil},
		{"GET " + path + "?resourceVersion=x&resourceVersionMatch=Exact", ``, nil, 400, []string{"invalid resource version: " + why}, nil},
		{"DELETE " + path + "?resourceVersion=x", ``, nil, 400, []string{"invalid resource version: " + why}, nil},
		{"POST " + leases + "?dryRun=All", lease("5"), nil, 201, []string{`"resourceVersion":"5"`}, nil},
		{"POST " + leases + "?dryRun=All", lease("99999999999999999999"), nil, 201, nil, []string{"resourceVersion"}},
		{"POST " + leases, lease("5"), nil, 400, []string{"resourceVersion should not be set on objects to be created"}, nil},
		{"PUT " + leases + "/l", lease("x"), nil, 400, []string{`strconv.ParseUint: parsing \"x\": invalid syntax`}, nil},
		{"PUT " + leases + "/l?dryRun=All", lease("7"), nil, 201, []string{`"resourceVersion":"7"`}, nil},
		{"PUT " + leases + "/l", lease("8"), nil, 201, nil, []string{`"resourceVersion":"8"`}},
	})
}

// What an apply made and cannot be read is explained by upstream's converter, which reads maps.
func TestApplyOfWhatCannotBeRead(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	run(t, s, []step{
		{"PATCH " + path + "/c?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"binaryData":{"a":"!!"}}`, []string{applyPatch}, 400,
			[]string{"failed to convert new object (/c; /v1, Kind=ConfigMap) to proper version: unable to convert unstructured object to /v1, Kind=ConfigMap: error decoding from json: illegal base64 data at input byte 0"}, nil},
		// Bytes are a string to the schema, whatever a typed decoder takes for them.
		{"PATCH " + path + "/c?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"binaryData":{"a":[1,2]}}`, []string{applyPatch}, 400,
			[]string{`failed to create typed patch object (/c; /v1, Kind=ConfigMap): .binaryData.a: expected string, got`}, nil},
		{"PATCH " + path + "/c?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","managedFields":[{"manager":5}]}}`, []string{applyPatch}, 400,
			[]string{`.metadata.managedFields[0].manager: expected string, got`}, nil},
		{"PATCH " + path + "/c?fieldManager=m", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","managedFields":[null]}}`, []string{applyPatch}, 201, nil, nil},
	})
}
