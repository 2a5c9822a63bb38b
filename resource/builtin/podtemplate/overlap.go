package podtemplate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// placed is the path of a file in a volume, and of several sources that make up a volume the one that puts it there.
type placed struct {
	path   string
	source *corev1.VolumeProjection
}

func (f placed) String() string {
	switch s := f.source; {
	case s == nil:
		return fmt.Sprintf("%q", f.path)
	case s.ConfigMap != nil:
		return fmt.Sprintf("%q (ConfigMap %q)", f.path, s.ConfigMap.Name)
	case s.Secret != nil:
		return fmt.Sprintf("%q (Secret %q)", f.path, s.Secret.Name)
	case s.DownwardAPI != nil:
		return fmt.Sprintf("%q (DownwardAPI)", f.path)
	}
	return fmt.Sprintf("%q (ServiceAccountToken)", f.path)
}

// hides reports whether the two cannot both be there: they are the same, or one is a directory on the other's way.
func (f placed) hides(other placed) bool {
	long, short := f.path, other.path
	if len(long) < len(short) {
		long, short = short, long
	}
	return short != "" && strings.HasPrefix(long, short) && (len(long) == len(short) || long[len(short)] == '/')
}

// overlaps warns of files in a volume that get in each other's way.
func (w *warner) overlaps(s *corev1.PodSpec) {
	var few [8]placed
	for i := range s.Volumes {
		v := &s.Volumes[i]
		switch {
		case v.ConfigMap != nil:
			if len(v.ConfigMap.Items) > 1 {
				w.overlapping(v.Name, fmt.Sprintf("ConfigMap %q", v.ConfigMap.Name), appendItems(few[:0], v.ConfigMap.Items, nil))
			}
		case v.Secret != nil:
			if len(v.Secret.Items) > 1 {
				w.overlapping(v.Name, fmt.Sprintf("Secret %q", v.Secret.SecretName), appendItems(few[:0], v.Secret.Items, nil))
			}
		case v.DownwardAPI != nil:
			w.overlapping(v.Name, "DownwardAPI", appendFiles(few[:0], v.DownwardAPI.Items, nil))
		case v.Projected != nil:
			w.overlapping(v.Name, "Projected", appendSources(few[:0], v.Projected.Sources))
		}
	}
}

func appendItems(files []placed, items []corev1.KeyToPath, source *corev1.VolumeProjection) []placed {
	for i := range items {
		files = append(files, placed{items[i].Path, source})
	}
	return files
}

func appendFiles(files []placed, items []corev1.DownwardAPIVolumeFile, source *corev1.VolumeProjection) []placed {
	for i := range items {
		files = append(files, placed{items[i].Path, source})
	}
	return files
}

// appendSources adds the files that sources name. A source that is of several types, which is an error, counts as the
// first of them.
func appendSources(files []placed, sources []corev1.VolumeProjection) []placed {
	for i := range sources {
		switch s := &sources[i]; {
		case s.ConfigMap != nil:
			files = appendItems(files, s.ConfigMap.Items, s)
		case s.Secret != nil:
			files = appendItems(files, s.Secret.Items, s)
		case s.DownwardAPI != nil:
			files = appendFiles(files, s.DownwardAPI.Items, s)
		case s.ServiceAccountToken != nil:
			files = append(files, placed{s.ServiceAccountToken.Path, s})
		}
	}
	return files
}

// overlapping warns of every pair of files of a volume of which one hides the other, within bounds.
func (w *warner) overlapping(volume, source string, files []placed) {
	pairs := 0
	for i := range files {
		files[i].path = strings.TrimRight(files[i].path, "/")
		for _, earlier := range files[:i] {
			if pairs++; pairs > maxPairs || len(w.texts) >= maxWarnings {
				return
			}
			if files[i].hides(earlier) {
				w.texts = append(w.texts, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", volume, source, files[i], earlier))
			}
		}
	}
}
