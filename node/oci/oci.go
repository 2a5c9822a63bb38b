// Package oci makes OCI image archives: tar files with an image layout inside, as "ctr image import", "docker load" and
// "pintle image import" take them. It makes images of a few files, such as the sandbox image; it is no builder.
package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
)

// Image is a small image.
type Image struct {
	Name       string            // with a tag: "pintle.dev/pause:1"
	Files      map[string][]byte // by absolute path; all are executable
	Entrypoint []string
	Cmd        []string
	Env        []string
	User       string
	Arch       string // GOARCH; "" for this one
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// Write writes the image's archive. Equal images give equal bytes.
func Write(w io.Writer, im Image) error {
	if im.Arch == "" {
		im.Arch = runtime.GOARCH
	}
	layer, err := layerOf(im.Files)
	if err != nil {
		return err
	}
	type m = map[string]any
	config, err := json.Marshal(m{
		"architecture": im.Arch, "os": "linux",
		"config": m{"Entrypoint": im.Entrypoint, "Cmd": im.Cmd, "Env": im.Env, "User": im.User},
		"rootfs": m{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's configuration: %w", err)
	}
	const kind = "application/vnd.oci.image."
	manifest, err := json.Marshal(m{
		"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
		"config": descriptor{MediaType: kind + "config.v1+json", Digest: digest(config), Size: len(config)},
		"layers": []descriptor{{MediaType: kind + "layer.v1.tar", Digest: digest(layer), Size: len(layer)}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's manifest: %w", err)
	}
	index, err := json.Marshal(m{
		"schemaVersion": 2, "mediaType": kind + "index.v1+json",
		"manifests": []descriptor{{
			MediaType: kind + "manifest.v1+json", Digest: digest(manifest), Size: len(manifest),
			Annotations: map[string]string{"org.opencontainers.image.ref.name": im.Name, "io.containerd.image.name": im.Name},
			Platform:    map[string]string{"os": "linux", "architecture": im.Arch},
		}},
	})
	if err != nil {
		return fmt.Errorf("encoding the image's index: %w", err)
	}
	t := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", index},
		{blob(manifest), manifest}, {blob(config), config}, {blob(layer), layer},
	} {
		if err := add(t, f.name, f.data, 0o644); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("writing the image archive: %w", err)
	}
	return nil
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

func blob(b []byte) string { return "blobs/sha256/" + strings.TrimPrefix(digest(b), "sha256:") }

func add(t *tar.Writer, name string, data []byte, mode int64) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: mode}); err != nil {
		return fmt.Errorf("writing %s into the image archive: %w", name, err)
	}
	if _, err := t.Write(data); err != nil {
		return fmt.Errorf("writing %s into the image archive: %w", name, err)
	}
	return nil
}

// layerOf is one layer of the files and the directories above them.
func layerOf(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	made := map[string]bool{}
	for _, p := range slices.Sorted(maps.Keys(files)) {
		name := strings.TrimPrefix(path.Clean(p), "/")
		for i := range len(name) {
			if name[i] != '/' || made[name[:i]] {
				continue
			}
			made[name[:i]] = true
			mode := int64(0o755)
			if name[:i] == "tmp" {
				mode = 0o1777
			}
			if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name[:i+1], Mode: mode}); err != nil {
				return nil, fmt.Errorf("writing directory %s into the image's layer: %w", name[:i], err)
			}
		}
		if err := add(t, name, files[p], 0o755); err != nil {
			return nil, err
		}
	}
	if err := t.Close(); err != nil {
		return nil, fmt.Errorf("writing the image's layer: %w", err)
	}
	return b.Bytes(), nil
}
