// Package describe answers what clients ask before they ask for objects: which groups, versions and resources are served
// (discovery), how their objects look (OpenAPI v2 and v3), and which release this is. All of it is made from the registry
// when it is asked for, kept until the registry changes, and then made anew only where it changed.
package describe

import (
	"errors"
	"net/http"
	"strings"

	"pintle.dev/resource"
)

// Documents are what describes the API. Make them with New.
type Documents struct {
	discovery *Discovery
	openapi   *OpenAPI
}

// New returns the description of what is registered, now and later.
func New(registry *resource.Registry) *Documents {
	return &Documents{NewDiscovery(registry), NewOpenAPI(registry)}
}

// Errors of paths below which nothing is described.
var (
	ErrPage    = errors.New("404 page not found")                      // upstream's router has never heard of it
	ErrVersion = errors.New("the group is not served in this version") // of a group of built-in kinds
)

// AnyMethod reports whether a path is answered to any method as to GET.
func (d *Documents) AnyMethod(path string) bool {
	return strings.HasPrefix(path, "/openapi/") || d.discovery.AnyMethod(path)
}

// Serve answers /api, /apis, /openapi, what is below them, and /version. When it returns an error, nothing has been
// written: ErrPage, ErrVersion, or an api.Error.
func (d *Documents) Serve(w http.ResponseWriter, r *http.Request) error {
	switch head, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); {
	case head == "api" || head == "apis":
		return d.discovery.Serve(w, r)
	case head == "openapi":
		return d.openapi.Serve(w, r)
	case head == "version" && rest == "":
		return serveVersion(w, r)
	}
	return ErrPage
}
