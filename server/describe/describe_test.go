package describe

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pintle.dev/resource"
)

// handler serves Documents alone, as package server does with all else around them.
type handler struct{ *Documents }

func serve(reg *resource.Registry) handler { return handler{New(reg)} }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.Serve(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
	}
}

type answer struct {
	code   int
	header http.Header
	body   string
}

// ask sends "METHOD PATH" with headers given as "Name: value".
func ask(t testing.TB, h http.Handler, request string, headers ...string) answer {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("User-Agent", "test/1.0")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestUnknownPaths(t *testing.T) {
	h := serve(resource.NewRegistry())
	for _, path := range []string{"/openapi", "/openapi/v1", "/version/x", "/apis/a/b/c", "/other"} {
		if a := ask(t, h, "GET "+path); a.code != 404 || a.body != ErrPage.Error()+"\n" {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
}
