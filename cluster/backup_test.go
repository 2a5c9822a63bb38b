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

// TestRestoreBrokenOff: what a restore leaves that is killed before the store is whole is not taken for a cluster, and the
// next restore makes one of it.
func TestRestoreBrokenOff(t *testing.T) {
	s := startTest(t, Config{NoControllers: true})
	var backup bytes.Buffer
	if err := writeAuthority(&backup, s.authority); err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	left := func(names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, dir := range map[string]string{
		"before anything":    left("restoring"),
		"before the keys":    left("restoring", "pki.new/ca.crt"),
		"before the store":   left("restoring", "pki/ca.crt"),
		"within the store":   left("restoring", "pki/ca.crt", "store.restoring/x"),
		"after a first file": left("restoring", "store.restoring/x"),
	} {
		if _, err := openBackend(Config{Data: dir}); err == nil || !strings.Contains(err.Error(), "was broken off: run it again") {
			t.Errorf("%s: opened with %v", name, err)
		}
		if _, authority, err := Restore(t.Context(), bytes.NewReader(backup.Bytes()), dir); err != nil || !authority {
			t.Errorf("%s: restored with authority %t, %v", name, authority, err)
			continue
		}
		if a, err := auth.LoadAuthority(filepath.Join(dir, pkiDirectory)); err != nil || !a.TokenKey.Equal(s.authority.TokenKey) {
			t.Errorf("%s: the authority is another: %v", name, err)
		}
		opened(t, dir)
	}
	// The store is whole: only the mark is left.
	dir := t.TempDir()
	if _, _, err := Restore(t.Context(), bytes.NewReader(backup.Bytes()), dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, restoringFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opened(t, dir)
	if _, _, err := Restore(t.Context(), bytes.NewReader(backup.Bytes()), dir); err == nil || !strings.Contains(err.Error(), "certificates already") {
		t.Errorf("restored over a cluster: %v", err)
	}
	// A restore that fails leaves nothing that looks like one.
	dir = t.TempDir()
	if _, _, err := Restore(t.Context(), bytes.NewReader(backup.Bytes()[:backup.Len()-10]), dir); err == nil {
		t.Error("a backup that is cut short is restored")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("a failed restore leaves %v %v", files, err)
	}
}

// opened fails unless the store of a data directory can be opened.
func opened(t *testing.T, dir string) {
	t.Helper()
	b, err := openBackend(Config{Data: dir})
	if err != nil {
		t.Error(err)
		return
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestDataIsAFile: a data directory that is a file, or below one, is called that.
func TestDataIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{file, filepath.Join(file, "below")} {
		if _, err := openBackend(Config{Data: data}); err == nil || !strings.Contains(err.Error(), data+" is not a directory") {
			t.Errorf("%s: opened with %v", data, err)
		}
	}
}
