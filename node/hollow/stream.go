package hollow

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"pintle.dev/api"
)

// Names are the names of the fleet's nodes.
func (f *Fleet) Names() []string {
	names := make([]string, len(f.agents))
	for i, a := range f.agents {
		names[i] = a.Name()
	}
	return names
}

// Handler answers requests for the streams of hollow nodes: there are none, and it says why.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := api.NewError(http.StatusNotImplemented, "NotImplemented", "%v", ErrHollow)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotImplemented)
		if err := json.NewEncoder(w).Encode(e.Status); err != nil {
			slog.Debug("client left before its error", "path", r.URL.Path, "err", err)
		}
	})
}
