package describe

import (
	"encoding/json"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"

	"k8s.io/apimachinery/pkg/version"

	"pintle.dev/api"
	"pintle.dev/server/accept"
)

// Version is what the server calls itself at /version: the Kubernetes release whose API it speaks, and its own build.
var Version = sync.OnceValue(func() version.Info {
	v := version.Info{
		Major: "1", Minor: "37", GitVersion: api.KubernetesVersion, GitTreeState: "clean",
		EmulationMajor: "1", EmulationMinor: "37", MinCompatibilityMajor: "1", MinCompatibilityMinor: "36",
		BuildDate: "1970-01-01T00:00:00Z",
		GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range b.Settings {
		switch s.Key {
		case "vcs.revision":
			v.GitCommit = s.Value
		case "vcs.time":
			v.BuildDate = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				v.GitTreeState = "dirty"
			}
		}
	}
	return v
})

// serveVersion answers /version, indented as upstream does.
func serveVersion(w http.ResponseWriter, r *http.Request) error {
	if h := r.Header.Get("Accept"); h != "" && !accept.Routed(h, accept.TypeJSON) {
		return accept.Unrouted(accept.TypeJSON)
	}
	b, err := json.MarshalIndent(Version(), "", "  ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", accept.TypeJSON)
	writeWhole(w, r, b)
	return nil
}
