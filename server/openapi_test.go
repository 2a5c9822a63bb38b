package server

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	cliresource "k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	explain "k8s.io/kubectl/pkg/explain/v2"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
)

const cronTab = `{"metadata":{"name":"crontabs.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
"names":{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"},
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
"schema":{"openAPIV3Schema":{"type":"object","description":"CronTab runs things.","properties":{
"spec":{"type":"object","description":"what is wanted","required":["cronSpec"],"properties":{
"cronSpec":{"type":"string","description":"when to run"},
"replicas":{"type":"integer","default":1},
"port":{"x-kubernetes-int-or-string":true},
"template":{"type":"object","x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}}},
"status":{"type":"object","properties":{"replicas":{"type":"integer"}}}}}}}]},
"status":{"acceptedNames":{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"}}}`

func customDefinition(t testing.TB, source string) *resource.Definition {
	t.Helper()
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := json.Unmarshal([]byte(source), crd); err != nil {
		t.Fatal(err)
	}
	d, err := resource.FromCRD(crd)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// discoveryClient is client-go's discovery of a server of the built-in kinds and CronTab.
func discoveryClient(t *testing.T, reg *resource.Registry) *discovery.DiscoveryClient {
	t.Helper()
	s := open(t, func(c *Config) { c.Registry = reg })
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	c, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestClientGoDiscovery compares what client-go makes of aggregated discovery with what it makes of the single lists.
func TestClientGoDiscovery(t *testing.T) {
	c := discoveryClient(t, resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...))
	_, aggregated, err := c.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	c.UseLegacyDiscovery = true
	_, single, err := c.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	names := func(lists []string) string { slices.Sort(lists); return strings.Join(lists, "\n") }
	var a, b []string
	for _, l := range aggregated {
		for _, r := range l.APIResources {
			a = append(a, l.GroupVersion+" "+r.Name+" "+r.Kind+" "+strings.Join(r.Verbs, ","))
		}
	}
	for _, l := range single {
		for _, r := range l.APIResources {
			b = append(b, l.GroupVersion+" "+r.Name+" "+r.Kind+" "+strings.Join(r.Verbs, ","))
		}
	}
	if len(a) < 20 || names(a) != names(b) {
		t.Errorf("aggregated:\n%s\nsingle:\n%s", names(a), names(b))
	}
	v, err := c.ServerVersion()
	if err != nil || v.Minor != "37" {
		t.Errorf("version %v %v", v, err)
	}
}

// TestKubectlExplain runs kubectl's own explain against the documents.
func TestKubectlExplain(t *testing.T) {
	c := discoveryClient(t, resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...))
	for _, tc := range []struct {
		resource schema.GroupVersionResource
		path     string
		want     []string
	}{
		{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "spec.containers.ports",
			[]string{"KIND:       Pod", "FIELD: ports <[]ContainerPort>", "containerPort\t<integer> -required-", "hostPort\t<integer>", "Number of port to expose on the pod's IP address."}},
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "spec.strategy.type",
			[]string{"GROUP:      apps", "ENUM:\n    Recreate\n    RollingUpdate"}},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "crontabs"}, "",
			[]string{"KIND:       CronTab", "CronTab runs things.", "apiVersion\t<string>", "metadata\t<ObjectMeta>", "spec\t<Object>"}},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "crontabs"}, "spec",
			[]string{"cronSpec\t<string> -required-", "when to run", "replicas\t<integer>"}},
		{schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "crontabs"}, "spec.template.metadata.name",
			[]string{"Name must be unique within a namespace."}},
	} {
		var out bytes.Buffer
		var path []string
		if tc.path != "" {
			path = strings.Split(tc.path, ".")
		}
		if err := explain.PrintModelDescription(path, &out, c.OpenAPIV3(), tc.resource, false, 0, "plaintext"); err != nil {
			t.Errorf("explain %s %s: %v", tc.resource.Resource, tc.path, err)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("explain %s %s: no %q in\n%s", tc.resource.Resource, tc.path, want, out.String())
			}
		}
	}
}

// TestKubectlFieldValidation asks what kubectl asks before create and apply: whether fieldValidation is understood.
func TestKubectlFieldValidation(t *testing.T) {
	c := discoveryClient(t, resource.NewRegistry(append(builtin.All(), customDefinition(t, cronTab))...))
	v := cliresource.NewQueryParamVerifierV3(nil, c.OpenAPIV3(), cliresource.QueryParamFieldValidation)
	for _, gvk := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "ConfigMap"}, {Version: "v1", Kind: "Pod"}, {Version: "v1", Kind: "Namespace"},
		{Group: "apps", Version: "v1", Kind: "Deployment"}, {Group: "example.com", Version: "v1", Kind: "CronTab"},
	} {
		if err := v.HasSupport(gvk); err != nil {
			t.Errorf("%s: %v", gvk, err)
		}
	}
}
