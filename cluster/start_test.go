package cluster

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pintle.dev/auth"
)

// patience is how long a test waits for what the system does in its own time. It is far above what that takes, because
// machines that run tests are busy; nothing waits for it unless something is broken.
const patience = 2 * time.Minute

// startTest starts a system in memory that ends with the test.
func startTest(t *testing.T, c Config) *System {
	t.Helper()
	c.Ephemeral, c.NoNode = true, true
	s, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// adminClient speaks to the system over the network as its administrator.
func (s *System) adminClient() *http.Client {
	config, err := s.TLS(auth.UserAdmin, auth.GroupMasters)
	if err != nil {
		panic(err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

// TestSecondStart starts a system on a data directory in use. It must not come as far as the certificates, which the
// other may be renewing: those that are there could not be read.
func TestSecondStart(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(t.Context(), Config{Data: dir, NoNode: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.WriteFile(filepath.Join(dir, pkiDirectory, "ca.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Config{Data: dir, NoNode: true})
	if err == nil || !strings.Contains(err.Error(), "is in use by another process") {
		t.Errorf("a second start: %v", err)
	}
}
