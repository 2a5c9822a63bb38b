package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pintle.dev/store"
)

// TestSegments: what no object can be called is a mistake, not an object that is absent.
func TestSegments(t *testing.T) {
	s := open(t)
	for request, want := range map[string]string{
		"GET /api/v1/namespaces/default/configmaps/..":  `Name parameter invalid: "..": may not be '..'`,
		"GET /api/v1/namespaces/default/configmaps/.":   `Name parameter invalid: ".": may not be '.'`,
		"GET /api/v1/nodes/a%25":                        `Name parameter invalid: "a%": may not contain '%'`,
		"DELETE /api/v1/namespaces/default/pods/..":     `Name parameter invalid: "..": may not be '..'`,
		"GET /api/v1/namespaces/../configmaps":          `invalid key: "/configmaps/.."`,
		"GET /api/v1/namespaces/./configmaps":           `invalid key: "/configmaps/."`,
		"POST /api/v1/namespaces/../configmaps":         `invalid key: "/configmaps/.."`,
		"GET /apis/apps/v1/namespaces/../deployments/x": `invalid key: "/deployments/.."`,
	} {
		if a := ask(t, s, request, "{}"); a.code != http.StatusBadRequest || a.at(t, "message") != want {
			t.Errorf("%s: %d %s, want 400 %s", request, a.code, a.body, want)
		}
	}
}

func TestRootPaths(t *testing.T) {
	s := open(t)
	a := ask(t, s, "GET /", "")
	var paths []string
	for _, p := range a.json(t)["paths"].([]any) {
		paths = append(paths, p.(string))
	}
	if !slices.IsSorted(paths) {
		t.Errorf("not in order: %v", paths)
	}
	for _, want := range []string{"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/apis/events.k8s.io/v1", "/healthz/ping", "/metrics", "/readyz", "/version"} {
		if !slices.Contains(paths, want) {
			t.Errorf("no %s in %v", want, paths)
		}
	}
}

// TestPathsBelow: a slash behind, or a path below, is let pass where upstream lets it pass.
func TestPathsBelow(t *testing.T) {
	s := open(t)
	for path, want := range map[string]int{
		"/version": 200, "/version/": 200, "/version/x": 404,
		"/metrics": 200, "/metrics/": 404, "/metrics/x": 404,
		"/healthz": 200, "/healthz/": 404, "/healthz/ping": 200, "/readyz/ping/": 404, "/livez/nope": 404,
		"/api": 200, "/api/": 200, "/api/v1/": 200, "/apis/": 200, "/apis/apps/": 200, "/apis/apps/v1/": 200,
		"/openapi": 404, "/openapi/v2": 200, "/openapi/v2/": 404, "/openapi/v3": 200, "/openapi/v3/": 404, "/openapi/v3/api/v1": 200,
	} {
		if a := ask(t, s, "GET "+path, ""); a.code != want {
			t.Errorf("GET %s: %d, want %d", path, a.code, want)
		}
	}
}

// TestOtherMethods: what is not there is not there by any method.
func TestOtherMethods(t *testing.T) {
	s := open(t)
	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		for path, want := range map[string]int{
			"/api": 405, "/api/v1": 405, "/api/v2": 404, "/apis/x": 404, "/apis/x/v1": 404, "/apis/apps/v1": 405, "/apis/apps/v9": 404, "/version": 405, "/nope": 404,
		} {
			if a := ask(t, s, method+" "+path, ""); a.code != want {
				t.Errorf("%s %s: %d %s, want %d", method, path, a.code, a.body, want)
			}
		}
	}
}

// TestOpenAPIByAnyMethod: upstream does not look at the method there, which lets clients ask by HEAD.
func TestOpenAPIByAnyMethod(t *testing.T) {
	s := open(t)
	for _, method := range []string{"HEAD", "POST", "OPTIONS"} {
		for path, want := range map[string]int{"/openapi/v2": 200, "/openapi/v3": 200, "/openapi/v3/apis/apps": 200, "/openapi/v3/nope": 404, "/openapi": 404} {
			if a := ask(t, s, method+" "+path, ""); a.code != want {
				t.Errorf("%s %s: %d, want %d", method, path, a.code, want)
			}
		}
	}
}

// TestManyProblems: an answer does not grow with the number of mistakes.
func TestManyProblems(t *testing.T) {
	s := open(t)
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, `,"f%d":1`, i)
	}
	body := strings.Replace(configMap("c"), `,"data"`, b.String()+`,"data"`, 1)
	a := ask(t, s, "POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict", body)
	if n := strings.Count(a.body, "unknown field"); a.code != 400 || n != maxProblems {
		t.Errorf("%d with %d problems: %.300s", a.code, n, a.body)
	}
}

func TestFullDisk(t *testing.T) {
	e := storeError(fmt.Errorf("commit: %w", store.ErrFull))
	s := open(t)
	x := func(w http.ResponseWriter, r *http.Request) { (&exchange{s: s, w: w, r: r}).fail(e) }
	a := ask(t, http.HandlerFunc(x), "POST /", "")
	if a.code != http.StatusInsufficientStorage || a.at(t, "reason") != "InsufficientStorage" || a.at(t, "status") != "Failure" {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func TestAuditID(t *testing.T) {
	s := open(t)
	for given, want := range map[string]string{"mine": "mine", strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 100_000): strings.Repeat("x", 64)} {
		r := httptest.NewRequest("GET", "/version", nil)
		r.Header.Set("Audit-Id", given)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Header().Get("Audit-Id"); got != want {
			t.Errorf("of %d bytes: %.100q", len(given), got)
		}
	}
}
