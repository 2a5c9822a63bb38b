package server

import (
	"strings"
	"testing"
)

// TestFinalizerNames: a finalizer has a domain or is one of Kubernetes' own.
func TestFinalizerNames(t *testing.T) {
	const complaint = "is neither a standard finalizer name nor is it fully qualified"
	s := open(t)
	for _, c := range []struct {
		request, body, at string
	}{
		{"POST /api/v1/namespaces/default/configmaps", `{"metadata":{"name":"a","finalizers":["example.com/x","orphan","kubernetes"]}}`, ""},
		{"POST /api/v1/namespaces/default/configmaps", `{"metadata":{"name":"b","finalizers":["example.com/x","example.com"]}}`, "metadata.finalizers[1]"},
		{"PUT /api/v1/namespaces/default/configmaps/a", `{"metadata":{"name":"a","finalizers":["hold"]}}`, "metadata.finalizers[0]"},
		{"POST /apis/scheduling.k8s.io/v1/priorityclasses", `{"metadata":{"name":"a","finalizers":["hold"]}}`, "metadata.finalizers[0]"},
		{"POST /apis/coordination.k8s.io/v1/namespaces/default/leases", `{"metadata":{"name":"a","finalizers":["hold"]}}`, ""},
		{"POST /api/v1/namespaces/default/events", `{"metadata":{"name":"a","namespace":"default","finalizers":["hold"]},"involvedObject":{"namespace":"default"}}`, ""},
		{"POST /api/v1/namespaces", `{"metadata":{"name":"a"},"spec":{"finalizers":["hold"]}}`, "spec.finalizers"},
		{"POST /api/v1/namespaces", `{"metadata":{"name":"a"}}`, ""},
		{"PUT /api/v1/namespaces/a/finalize", `{"metadata":{"name":"a"},"spec":{"finalizers":["kubernetes","hold"]}}`, "spec.finalizers[1]"},
	} {
		a := ask(t, s, c.request, c.body)
		if c.at == "" && a.code > 201 || c.at != "" && (a.code != 422 || !strings.Contains(a.at(t, "message"), c.at+": Invalid value: ") || !strings.Contains(a.body, complaint)) {
			t.Errorf("%s %s: %d %s", c.request, c.body, a.code, a.body)
		}
	}
}
