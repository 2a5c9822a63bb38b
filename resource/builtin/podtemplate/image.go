package podtemplate

import (
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
)

// pullPolicy is the default policy for an image: Always when its tag is, or defaults to, "latest"; IfNotPresent
// otherwise, also when the image is no reference at all.
func pullPolicy(image string) corev1.PullPolicy {
	tag, plain := plainTag(image)
	if !plain {
		tag = referenceTag(image)
	}
	if tag == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// referenceTag is the tag of an image reference, "latest" when it has neither tag nor digest, "" when it is none.
func referenceTag(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return ""
	}
	if tagged, ok := ref.(reference.Tagged); ok {
		return tagged.Tag()
	}
	if _, ok := ref.(reference.Digested); ok {
		return ""
	}
	return "latest"
}

// plainTag answers as referenceTag does for the references that nearly every pod has: lower case letters, digits and
// single separators, without a digest. The full grammar costs a regular expression. It declines anything else.
func plainTag(image string) (tag string, plain bool) {
	name, tag := image, "latest"
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		name, tag = image[:i], image[i+1:]
	}
	if len(name) >= 64 || len(tag) > 128 || !alternating(tag) {
		return "", false
	}
	domain, path, found := strings.Cut(name, "/")
	if found {
		host, port, hasPort := strings.Cut(domain, ":")
		if !alternating(host) || hasPort && (port == "" || strings.Trim(port, "0123456789") != "") {
			return "", false
		}
	} else {
		path = name
	}
	for part := range strings.SplitSeq(path, "/") {
		if !alternating(part) {
			return "", false
		}
	}
	return tag, true
}

// alternating reports lower case letters and digits with single '.', '-' or '_' between them.
func alternating(s string) bool {
	separated := true
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			separated = false
		case (c == '.' || c == '-' || c == '_') && !separated:
			separated = true
		default:
			return false
		}
	}
	return !separated
}
