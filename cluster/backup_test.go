package cluster

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
	backup, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	rev, authority, err := Restore(t.Context(), bytes.NewReader(backup), dir)
	if err != nil || !authority || rev <= store.RestoreShift {
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
	// What the cluster has signed is good on the restored one.
	a, err := auth.LoadAuthority(filepath.Join(dir, pkiDirectory))
	if err != nil || !a.Certificate().Equal(s.authority.Certificate()) || !a.TokenKey.Equal(s.authority.TokenKey) {
		t.Errorf("the restored authority is another: %v", err)
	}
	for _, f := range []string{"ca.key", "sa.key"} {
		if st, err := os.Stat(filepath.Join(dir, pkiDirectory, f)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, err %v", f, st, err)
		}
	}

	// The objects alone, as backups were before, do without.
	var objects bytes.Buffer
	if _, err := s.store.Backup(t.Context(), &objects); err != nil {
		t.Fatal(err)
	}
	if _, authority, err := Restore(t.Context(), &objects, t.TempDir()); err != nil || authority {
		t.Errorf("a backup of objects alone: authority %v, err %v", authority, err)
	}
	backup[len(authorityMagic)+100] ^= 1
	if _, _, err := Restore(t.Context(), bytes.NewReader(backup), t.TempDir()); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a bit of the authority's bundle is flipped: %v", err)
	}
}
