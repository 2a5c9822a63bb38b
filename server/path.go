package server

import (
	"strings"
)

// resourcePath is the address of a resource, an object or a subresource: what a path below /api or /apis says.
type resourcePath struct {
	Group, Version string
	Resource       string // "" when the path ends before it: discovery
	Namespace      string
	Name           string
	Subresource    string
	Watch          bool // the deprecated /watch/ form
}

// parsePath reads a path below /api and /apis as upstream does. ok is false for paths that are neither, or address
// nothing that could exist.
func parsePath(path string) (p resourcePath, ok bool) {
	s := strings.Trim(path, "/")
	head, s, _ := strings.Cut(s, "/")
	switch head {
	case "api":
	case "apis":
		if p.Group, s, _ = strings.Cut(s, "/"); p.Group == "" {
			return p, s == ""
		}
	default:
		return p, false
	}
	p.Version, s, _ = strings.Cut(s, "/")
	if rest, found := strings.CutPrefix(s, "watch/"); found {
		p.Watch, s = true, rest
	}
	if s == "" {
		return p, !p.Watch
	}
	p.Resource, s, _ = strings.Cut(s, "/")
	if p.Resource == "" {
		return p, false
	}
	if p.Resource == "namespaces" && s != "" {
		name, rest, _ := strings.Cut(s, "/")
		switch first, _, _ := strings.Cut(rest, "/"); first {
		case "", "status", "finalize":
		default:
			p.Namespace = name
			p.Resource, s, _ = strings.Cut(rest, "/")
		}
	}
	p.Name, s, _ = strings.Cut(s, "/")
	p.Subresource = s
	if p.Name == "" && s != "" || strings.Contains(s, "/") || p.Watch && s != "" {
		return p, false
	}
	return p, true
}
