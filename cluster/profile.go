package cluster

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"pintle.dev/api"
	"pintle.dev/auth"
)

const profilePath = "/debug/pprof/"

// profiled adds net/http/pprof, as upstream's servers have it, for those who may see the path: system:masters.
func profiled(next http.Handler, a *auth.Authenticator, z *auth.Authorizer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, profilePath) {
			next.ServeHTTP(w, r)
			return
		}
		if !administrator(w, r, a, z) {
			return
		}
		switch strings.TrimPrefix(r.URL.Path, profilePath) {
		case "cmdline":
			pprof.Cmdline(w, r)
		case "profile":
			pprof.Profile(w, r)
		case "symbol":
			pprof.Symbol(w, r)
		case "trace":
			pprof.Trace(w, r)
		default:
			pprof.Index(w, r)
		}
	})
}

// administrator answers those who may not see the path.
func administrator(w http.ResponseWriter, r *http.Request, a *auth.Authenticator, z *auth.Authorizer) bool {
	u, err := a.Authenticate(r)
	if err == nil {
		err = z.AuthorizePath(u, strings.ToLower(r.Method), r.URL.Path)
	}
	if err != nil {
		e := api.AsError(err)
		http.Error(w, e.Status.Message, int(e.Status.Code))
		return false
	}
	return true
}
