package server

import (
	"strings"
	"testing"
)

// TestMetadataOfUpdates: upstream has the metadata of an update checked for all kinds and again by the kind, each kind by
// the rules for changes, for new objects or by both, and lists what is wrong as often.
func TestMetadataOfUpdates(t *testing.T) {
	const spec = `"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}`
	s := open(t)
	for _, c := range []struct {
		path, body                       string
		labels, finalizers, generateName int // how often what is wrong with them is listed
	}{
		{"/api/v1/namespaces/default/configmaps", `"data":{}`, 4, 2, 1},
		{"/api/v1/namespaces/default/serviceaccounts", `"secrets":[]`, 4, 2, 1},
		{"/api/v1/namespaces/default/services", `"spec":{"ports":[{"port":80}]}`, 4, 2, 1},
		{"/api/v1/namespaces", `"spec":{}`, 4, 2, 1},
		{"/apis/apps/v1/namespaces/default/replicasets", spec, 4, 2, 1},
		{"/apis/apps/v1/namespaces/default/deployments", spec, 3, 1, 0},
		{"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", `"addressType":"IPv4"`, 3, 1, 1},
		{"/apis/scheduling.k8s.io/v1/priorityclasses", `"value":1`, 3, 1, 0},
		{"/api/v1/namespaces/default/services/x/status", ``, 3, 1, 0},
	} {
		path, create := c.path+"/x", c.body
		if create == "" {
			path = c.path
		} else if a := ask(t, s, "POST "+c.path, `{"metadata":{"name":"x"},`+create+`}`); a.code != 201 {
			t.Fatalf("%s: %d %s", c.path, a.code, a.body)
		}
		for _, m := range []struct {
			metadata, complaint string
			times               int
		}{
			{`{"labels":{"a b":""}}`, `"field":"metadata.labels"`, c.labels},
			{`{"finalizers":["hold"]}`, `"field":"metadata.finalizers[0]"`, c.finalizers},
			{`{"generateName":"A b"}`, `"field":"metadata.generateName"`, c.generateName},
		} {
			a := ask(t, s, "PATCH "+path+"?dryRun=All", `{"metadata":`+m.metadata+`}`, mergePatch)
			if n := strings.Count(a.body, m.complaint); n != m.times {
				t.Errorf("%s %s: %d times %s, want %d: %s", path, m.metadata, n, m.complaint, m.times, a.body)
			}
		}
	}
}

// TestUnconditionalUpdate: most kinds may be replaced without a resourceVersion.
func TestUnconditionalUpdate(t *testing.T) {
	const path = "/api/v1/namespaces/default/serviceaccounts"
	run(t, open(t), []step{
		{"POST " + path, `{"metadata":{"name":"x"}}`, nil, 201, nil, nil},
		{"PUT " + path + "/x", `{"metadata":{"name":"x","labels":{"a":"b"}}}`, nil, 200, []string{`"a":"b"`}, nil},
		{"PUT " + path + "/x", `{"metadata":{"name":"x","resourceVersion":"1"}}`, nil, 409, nil, nil},
	})
}
