package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/store/pebble"
)

// BackupPath is where a running server gives a backup of all objects to administrators (GET).
const BackupPath = "/debug/backup"

// backedUp serves BackupPath. A backup that fails on the way ends without its checksum, and the connection with it.
func (s *System) backedUp(next http.Handler, a *auth.Authenticator, z *auth.Authorizer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != BackupPath {
			next.ServeHTTP(w, r)
			return
		}
		if !administrator(w, r, a, z) {
			return
		}
		if r.Method != http.MethodGet {
			http.Error(w, "a backup is had by GET", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		rev, err := s.store.Backup(r.Context(), w)
		if err != nil {
			s.log.Error("backup", "error", err)
			panic(http.ErrAbortHandler)
		}
		s.log.Info("backup", "revision", rev)
	})
}

// Restore makes the store of a new data directory of a backup. It returns the revision the cluster will be at.
func Restore(ctx context.Context, backup io.Reader, data string) (api.Revision, error) {
	rev, err := pebble.Restore(ctx, backup, filepath.Join(data, storeDirectory), pebble.Options{})
	if err != nil {
		return 0, fmt.Errorf("make a cluster of the backup: %w", err)
	}
	return rev, nil
}
