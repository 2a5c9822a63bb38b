package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// kind is what the basic work is done with.
type kind struct {
	name      string
	path      func(ns string) string // of the collection
	object    func(name string, i int) []byte
	patch     func(value string) []byte // a merge patch that changes something, carrying value
	changes   string                    // what in an object the member stands behind that patches change
	crd       string
	namespace string
}

const patchMark = `"sent":"`

func kinds() []kind { return []kind{customResources(), configMaps()} }

func configMaps() kind {
	return kind{
		name: "configmaps",
		path: func(ns string) string { return "/api/v1/namespaces/" + ns + "/configmaps" },
		object: func(name string, i int) []byte {
			var b strings.Builder
			fmt.Fprintf(&b, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"labels":{"app":"bench","tenth":"t%d"}},"data":{`, name, i%10)
			for k := range 8 {
				fmt.Fprintf(&b, `"key-%d":"%s",`, k, strings.Repeat("configuration ", 10))
			}
			fmt.Fprintf(&b, `"number":"%d"}}`, i)
			return []byte(b.String())
		},
		changes: `"data":{`,
		patch:   func(v string) []byte { return []byte(`{"data":{"sent":"` + v + `"}}`) },
	}
}

func customResources() kind {
	return kind{
		name: "customresources",
		path: func(ns string) string { return "/apis/bench.pintle.dev/v1/namespaces/" + ns + "/racks" },
		object: func(name string, i int) []byte {
			var b strings.Builder
			fmt.Fprintf(&b, `{"apiVersion":"bench.pintle.dev/v1","kind":"Rack","metadata":{"name":%q,"labels":{"app":"bench","tenth":"t%d"}},"spec":{"items":[`, name, i%10)
			for k := range 16 {
				if k > 0 {
					b.WriteByte(',')
				}
				fmt.Fprintf(&b, `{"name":"item-%02d","image":"example/%05d","size":%d}`, k, i, k+1)
			}
			b.WriteString(`],"note":"a rack of sixteen items, as benchmarks want it"}}`)
			return []byte(b.String())
		},
		changes: `"spec":{`,
		patch:   func(v string) []byte { return []byte(`{"spec":{"sent":"` + v + `"}}`) },
		crd: `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"racks.bench.pintle.dev"},
"spec":{"group":"bench.pintle.dev","scope":"Namespaced","names":{"plural":"racks","singular":"rack","kind":"Rack","listKind":"RackList"},
"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{
"replicas":{"type":"integer","default":3,"minimum":0},"note":{"type":"string","maxLength":200},"sent":{"type":"string"},
"items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{
"name":{"type":"string","maxLength":63},"image":{"type":"string"},"size":{"type":"integer","minimum":1}}}}}}}}}}]}}`,
	}
}

// prepare makes a namespace, and the kind where it is a custom one. cleanup removes them.
func (k kind) prepare(ctx context.Context, e *endpoint) (ns string, cleanup func(), err error) {
	const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	ns = fmt.Sprintf("bench-%06x", rand.IntN(1<<24))
	if k.crd != "" {
		if _, err := e.do(ctx, call{method: "POST", path: crds, body: []byte(k.crd)}); err != nil && !strings.Contains(err.Error(), "AlreadyExists") {
			return "", nil, err
		}
	}
	body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, ns)
	if _, err := e.do(ctx, call{method: "POST", path: "/api/v1/namespaces", body: body}); err != nil {
		return "", nil, err
	}
	// Upstream serves a new kind some time after its create has returned.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := e.do(ctx, call{method: "GET", path: k.path(ns)})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return "", nil, fmt.Errorf("the kind is not served: %w", err)
		}
	}
	return ns, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		defer cancel()
		e.do(ctx, call{method: "DELETE", path: k.path(ns)})
		e.do(ctx, call{method: "DELETE", path: "/api/v1/namespaces/" + ns})
	}, nil
}

func objectName(i int) string { return fmt.Sprintf("object-%07d", i) }
