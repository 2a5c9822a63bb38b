package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/server/describe"
)

// Check is a named condition of the server's health.
type Check struct {
	Name string
	// Live checks count for /livez as well: failing one asks for a restart. The others only for /readyz.
	Live bool
	// Check returns nil when all is well; its error is logged, not shown.
	Check func(ctx context.Context) error
}

// serveHealth answers /healthz, /livez and /readyz, and below them each check by name, as upstream does:
// ?verbose lists every check, ?exclude=NAME leaves one out.
func (x *exchange) serveHealth(probe, name string) error {
	q := x.r.URL.Query()
	excluded := map[string]bool{}
	for _, n := range q["exclude"] {
		excluded[n] = true
	}
	var out bytes.Buffer
	failed, found := false, name == ""
	for _, c := range x.s.checks(probe) {
		if name != "" && c.Name != name {
			continue
		}
		found = true
		if excluded[c.Name] {
			delete(excluded, c.Name)
			fmt.Fprintf(&out, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := c.Check(x.r.Context()); err != nil {
			x.s.Log.Warn("health check failed", "probe", probe, "check", c.Name, "err", err)
			fmt.Fprintf(&out, "[-]%s failed: reason withheld\n", c.Name)
			failed = true
			continue
		}
		fmt.Fprintf(&out, "[+]%s ok\n", c.Name)
	}
	if !found {
		return errPage
	}
	for n := range excluded {
		fmt.Fprintf(&out, "warn: some health checks cannot be excluded: no matches for %q\n", n)
	}
	_, verbose := q["verbose"]
	switch {
	case failed:
		fmt.Fprintf(&out, "%s check failed\n", probe)
		return x.text(http.StatusInternalServerError, out.String())
	case verbose:
		fmt.Fprintf(&out, "%s check passed\n", probe)
		return x.text(http.StatusOK, out.String())
	}
	return x.text(http.StatusOK, "ok")
}

func (s *Server) checks(probe string) []Check {
	checks := []Check{
		{Name: "ping", Live: true, Check: func(context.Context) error { return nil }},
		{Name: "store", Live: true, Check: func(context.Context) error { return s.Store.Err() }},
	}
	for _, c := range s.Checks {
		if probe != "livez" || c.Live {
			checks = append(checks, c)
		}
	}
	if probe == "readyz" {
		checks = append(checks, Check{Name: "shutdown", Check: func(context.Context) error { return s.stopping.Err() }})
	}
	return checks
}

// text sends plain text.
func (x *exchange) text(code int, s string) error {
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	x.code = code
	x.w.WriteHeader(code)
	_, err := x.w.Write([]byte(s))
	return err
}

// servePath answers what is no resource: health, metrics, version, discovery, OpenAPI.
func (x *exchange) servePath(user *api.User) {
	if err := x.path(user); err != nil {
		x.form = statusForm(x.r.Header.Get("Accept"))
		x.fail(err)
	}
}

func (x *exchange) path(user *api.User) error {
	s, r := x.s, x.r
	p := r.URL.Path
	if s.AuthorizePath != nil {
		if err := s.AuthorizePath(user, strings.ToLower(r.Method), p); err != nil {
			return err
		}
	}
	if err := checkTimeout(r.URL.Query()); err != nil {
		return err
	}
	// Only discovery and the version may be asked for with a slash behind.
	head, rest, deeper := strings.Cut(strings.TrimPrefix(p, "/"), "/")
	switch head {
	case "healthz", "livez", "readyz": // by any method: load balancers ask by HEAD
		if deeper && rest == "" {
			return errPage
		}
		return x.serveHealth(head, rest)
	}
	if r.Method != http.MethodGet && !s.documents.AnyMethod(p) {
		return x.unread(head)
	}
	switch head {
	case "metrics":
		if deeper {
			return errPage
		}
		s.metrics.handler.ServeHTTP(x.w, r)
		return nil
	}
	if p == "/" || p == "/index.html" {
		return x.writeObject(http.StatusOK, metav1.RootPaths{Paths: s.paths()})
	}
	return x.serveDocument()
}

// serveDocument answers what describes the API: discovery, OpenAPI and the version.
func (x *exchange) serveDocument() error {
	x.code = http.StatusOK
	err := x.s.documents.Serve(x.w, x.r)
	if err == nil {
		return nil
	}
	x.code = 0
	switch err {
	case errPage:
		return err
	case describe.ErrVersion:
		return errNoResource()
	}
	// A client that takes no JSON is told so in what it does take.
	x.form, _ = negotiate(x.r.Header.Get("Accept"), endpoint{})
	return err
}

// paths are all that is served beside resources, in order.
func (s *Server) paths() []string {
	set := map[string]bool{"/apis": true, "/metrics": true, "/openapi/v2": true, "/openapi/v3": true, "/openapi/v3/": true, "/version": true}
	for _, d := range s.Registry.All() {
		for i := range d.Versions {
			switch v := &d.Versions[i]; {
			case !v.Served:
			case v.Group == "":
				set["/api"], set["/api/"+v.Name] = true, true
			default:
				set["/apis/"+v.Group], set["/apis/"+v.APIVersion()] = true, true
			}
		}
	}
	for _, probe := range []string{"healthz", "livez", "readyz"} {
		set["/"+probe] = true
		for _, c := range s.checks(probe) {
			set["/"+probe+"/"+c.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// unread is the answer to another method where a path below head is only read: that of a GET, where it has found nothing.
func (x *exchange) unread(head string) error {
	switch head {
	case "api", "apis":
		get := x.r.Clone(x.r.Context())
		get.Method = http.MethodGet
		get.Header.Del("Accept")
		switch err := x.s.documents.Serve(discarded{}, get); err {
		case errPage:
			return err
		case describe.ErrVersion:
			return errNoResource()
		}
		return errMethod()
	case "version", "metrics":
		return errMethod()
	}
	if x.r.URL.Path == "/" {
		return errMethod()
	}
	return errPage
}

// discarded takes an answer that nobody gets.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}
