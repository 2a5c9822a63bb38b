package oci

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrNoImage says that an archive holds no image.
var ErrNoImage = errors.New("the file is no OCI or Docker image archive: it has neither index.json nor manifest.json")

// largestIndex bounds an archive's table of contents, in bytes.
const largestIndex = 8 << 20

// Names lists the images of an archive in OCI's layout or in that of "docker save".
func Names(r io.Reader) ([]string, error) {
	var names []string
	found := false
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNoImage, err)
		}
		switch h.Name {
		case "index.json":
			var index struct{ Manifests []descriptor }
			if err := json.NewDecoder(io.LimitReader(t, largestIndex)).Decode(&index); err != nil {
				return nil, fmt.Errorf("index.json: %w", err)
			}
			for _, m := range index.Manifests {
				for _, a := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
					if n := m.Annotations[a]; n != "" {
						names = append(names, n)
						break
					}
				}
			}
			found = true
		case "manifest.json":
			var manifest []struct{ RepoTags []string }
			if err := json.NewDecoder(io.LimitReader(t, largestIndex)).Decode(&manifest); err != nil {
				return nil, fmt.Errorf("manifest.json: %w", err)
			}
			for _, m := range manifest {
				names = append(names, m.RepoTags...)
			}
			found = true
		}
	}
	if !found {
		return nil, ErrNoImage
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
