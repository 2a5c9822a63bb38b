package cluster

import (
	"net/http"
	"testing"

	"pintle.dev/api"
	"pintle.dev/auth"
	"pintle.dev/store"
)

// TestBackup takes a backup of a running system and makes a data directory of it. Only administrators get one.
func TestBackup(t *testing.T) {
	s := startTest(t, Config{Listen: "127.0.0.1:0"})
	ordinary, err := s.TLS("somebody", auth.GroupAuthenticated)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: ordinary}}).Get(s.URL() + BackupPath)
	if err != nil {
		t.Fatal(err)
	}
	if refused.Body.Close(); refused.StatusCode != http.StatusForbidden {
		t.Errorf("an ordinary user gets %s", refused.Status)
	}
	r, err := s.adminClient().Get(s.URL() + BackupPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	dir := t.TempDir()
	rev, err := Restore(t.Context(), r.Body, dir)
	if err != nil || rev <= store.RestoreShift {
		t.Fatalf("restored at %d: %v", rev, err)
	}
	c := Config{Data: dir}
	b, err := openBackend(c)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Config{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	v, err := st.View(t.Context(), 0)
	if err != nil || v.Revision() != rev || v.Get(api.Namespaces, api.Key{Name: "kube-system"}) == nil {
		t.Errorf("the restored store is at %d: %v", v.Revision(), err)
	}
}
