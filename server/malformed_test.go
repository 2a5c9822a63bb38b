package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
	"pintle.dev/server/accept"
)

// TestMalformed: whatever is sent to whatever decodes it gets a 4xx (W5).
func TestMalformed(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+base, configMap("c"))
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	bodies := []string{
		"{", "[", `"`, "nul", "\xff\xfe", `{"a":"` + "\xff" + `"}`, "{}{}", `{"metadata":5}`, `{"metadata":{"name":[]}}`, deep,
		`{"kind":5}`, `{"apiVersion":"a/b/c"}`, "a: b: c", "\t- x", "&a [*a,*a]", "k8s\x00", "k8s\x00\x0a\xff\xff\xff\xff\x0f", `[{"op":"add"}]`,
		`[{"op":"frob","path":"/x"}]`, `[5]`, `{"metadata":{"resourceVersion":"x","name":"c"}}`, `{"metadata":{"managedFields":[{"fieldsV1":5}]}}`,
		`{"metadata":{"creationTimestamp":"yesterday"}}`, `{"data":{"a":1e999}}`, `{"preconditions":5}`, `{"gracePeriodSeconds":"x"}`,
	}
	types := []string{
		accept.TypeJSON, accept.TypeYAML, accept.TypeProtobuf, "application/merge-patch+json", "application/json-patch+json",
		"application/strategic-merge-patch+json", "application/apply-patch+yaml", "text/plain", ";;;", "",
	}
	for _, request := range []string{"POST " + base, "PUT " + base + "/c", "PATCH " + base + "/c", "DELETE " + base + "/nope"} {
		for _, typ := range types {
			for _, body := range bodies {
				a := ask(t, s, request, body, "Content-Type: "+typ)
				if a.code < 400 || a.code > 499 {
					// Not every body is malformed for every type: a merge patch of unknown fields is one that changes nothing.
					if a.code == 200 || a.code == 201 {
						continue
					}
					t.Errorf("%s %s %.60q: %d %.200s", request, typ, body, a.code, a.body)
				}
			}
		}
	}
}

func TestMalformedQueries(t *testing.T) {
	const base = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	for _, q := range []string{
		"limit=x", "resourceVersion=x", "resourceVersion=-1", "continue=%00", "continue=abc", "labelSelector=%3D%3D", "labelSelector=a+in+(",
		"fieldSelector=x", "fieldSelector=a%3Db", "resourceVersionMatch=Exact", "timeoutSeconds=1e9", "%zz=1", "sendInitialEvents=true",
		"watch=1&resourceVersion=x", "watch=1&timeoutSeconds=x", "watch=1&continue=x", "watch=1&sendInitialEvents=true",
		"limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5OTk5OTk5OSwic3RhcnQiOiIuLi8uLi94In0",
	} {
		if a := ask(t, s, "GET "+base+"?"+q, ""); a.code < 400 || a.code > 499 {
			t.Errorf("%s: %d %s", q, a.code, a.body)
		}
	}
	if a := ask(t, s, "POST "+base, strings.Repeat("x", maxBody+1)); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d %s", a.code, a.body)
	}
}

func TestPanicEndsItsRequestOnly(t *testing.T) {
	s := open(t, func(c *Config) {
		c.Authenticate = func(r *http.Request) (*api.User, error) {
			if r.Header.Get("Boom") != "" {
				panic("boom")
			}
			return &api.User{Name: "u"}, nil
		}
	})
	if a := ask(t, s, "GET /version", "", "Boom: 1"); a.code != 500 {
		t.Errorf("panic: %d %s", a.code, a.body)
	}
	if a := ask(t, s, "GET /livez", ""); a.code != 200 || a.body != "ok" {
		t.Errorf("after a panic: %d %s", a.code, a.body)
	}
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/api/v1/pods", "/apis/apps/v1/namespaces/x/deployments/y/status", "/api/v1/watch/namespaces/x/pods", "/apis//v1", "/api/v1/namespaces/x/finalize", "//"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, ok := parsePath(path)
		if ok && p.Subresource != "" && p.Name == "" {
			t.Errorf("%q: a subresource of nothing: %+v", path, p)
		}
		if strings.Contains(p.Resource+p.Name+p.Subresource, "/") && ok {
			t.Errorf("%q: a slash within a part: %+v", path, p)
		}
	})
}

func FuzzContinue(f *testing.F) {
	f.Add(encodeContinue(5, "", api.Key{Namespace: "a", Name: "b"}, 3), "")
	f.Add(encodeContinue(-1, "a", api.Key{Namespace: "a", Name: "b"}, 0), "a")
	f.Add("eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "x")
	f.Fuzz(func(t *testing.T, token, namespace string) {
		c, after, err := decodeContinue(token, namespace, true)
		if err != nil {
			if e := api.AsError(err); e.Status.Code != http.StatusBadRequest {
				t.Errorf("%q: %v", token, err)
			}
			return
		}
		if namespace != "" && after.Namespace != namespace {
			t.Errorf("%q leads out of %q to %v", token, namespace, after)
		}
		if c.Revision == 0 || c.Revision < -1 || c.Given < 0 {
			t.Errorf("%q: %+v", token, c)
		}
	})
}

func FuzzSelectors(f *testing.F) {
	for _, s := range []string{"a=b", "a in (b,c),!d", "x>1", "metadata.name=c", `a\,b=c`, "==", "a!=b", "("} {
		f.Add(s, s)
	}
	s := open(f)
	ask(f, s, "POST /api/v1/namespaces/default/configmaps", configMap("c"))
	d, v := resource.NewRegistry(builtin.All()...).Lookup("", "v1", "pods")
	f.Fuzz(func(t *testing.T, labels, fields string) {
		q := map[string][]string{"labelSelector": {labels}, "fieldSelector": {fields}}
		if _, err := parseListOptions(d, v, q, api.List); err != nil && api.AsError(err).Status.Code != http.StatusBadRequest {
			t.Errorf("%q %q: %v", labels, fields, err)
		}
		r := httptest.NewRequest("GET", "/api/v1/configmaps", nil)
		r.URL.RawQuery = "labelSelector=" + strings.NewReplacer("&", "", "#", "").Replace(labels)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 {
			t.Errorf("%q: %d %s", labels, w.Code, w.Body)
		}
	})
}
