package containerd

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportNamesImagesInFull: an image that containerd has imported under a short name gets the full one; one whose name
// containerd made full, as it does for archives of `docker save`, is left as it is.
func TestImportNamesImagesInFull(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	manifest := []byte(`[{"Config":"c.json","RepoTags":["example/web:1"],"Layers":[]}]`)
	if err := w.WriteHeader(&tar.Header{Name: "manifest.json", Size: int64(len(manifest)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(manifest); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, listed string
		tagged       bool
	}{
		{"short", "example/web:1", true},
		{"full", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			calls := filepath.Join(dir, "calls")
			script := "#!/bin/sh\necho \"$@\" >>" + calls + "\ncase \"$*\" in\n*import*) cat >/dev/null ;;\n*' ls '*) echo \"" + tt.listed + "\" ;;\nesac\n"
			path := filepath.Join(dir, "web.tar")
			if err := os.WriteFile(filepath.Join(dir, "ctr"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			names, err := Import(t.Context(), "/none.sock", path)
			if err != nil || len(names) != 1 || names[0] != "example/web:1" {
				t.Fatalf("%q, %v", names, err)
			}
			b, err := os.ReadFile(calls)
			if err != nil {
				t.Fatal(err)
			}
			if tagged := strings.Contains(string(b), "images tag --force example/web:1 "); tagged != tt.tagged {
				t.Errorf("tagged: %v, want %v; ctr was called with\n%s", tagged, tt.tagged, b)
			}
		})
	}
}
