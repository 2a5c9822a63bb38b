package main

import (
	"cmp"
	"fmt"
	"go/parser"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// groupVersion is a version of an API group.
type groupVersion struct{ group, version string }

// serverVersions are what upstream's API server knows beside the versions of client-go's scheme: what it sends to webhooks,
// and what the servers that are part of it serve.
var serverVersions = []groupVersion{
	{"admission.k8s.io", "v1"}, {"admission.k8s.io", "v1beta1"},
	{"apiextensions.k8s.io", "v1"}, {"apiextensions.k8s.io", "v1beta1"},
	{"apiregistration.k8s.io", "v1"}, {"apiregistration.k8s.io", "v1beta1"},
	{"imagepolicy.k8s.io", "v1alpha1"},
}

// findVersions finds the versions that upstream's API server knows, whether it serves them or not: those that client-go's
// scheme is made of and serverVersions. It loads packages whose constants are not to be taken for those of enums, so that
// findEnums goes before it.
func (s *source) findVersions() error {
	file := filepath.Join(s.modules["k8s.io/client-go"], "kubernetes", "scheme", "register.go")
	f, err := parser.ParseFile(s.fset, file, nil, parser.ImportsOnly)
	if err != nil {
		return fmt.Errorf("reading client-go's scheme: %w", err)
	}
	s.versions = slices.Clone(serverVersions)
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return fmt.Errorf("%s: import %s: %w", file, i.Path.Value, err)
		}
		if !strings.HasPrefix(p, "k8s.io/api/") {
			continue
		}
		if err := s.load(p); err != nil {
			return err
		}
		s.versions = append(s.versions, groupVersion{s.pkgs[p].group, path.Base(p)})
	}
	slices.SortFunc(s.versions, func(a, b groupVersion) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.version, b.version))
	})
	return nil
}

// kindsOfAll says of a kind of meta/v1 that it is one of every version: of all that the server knows, whatever document it
// is described in.
func (s *source) kindsOfAll(kind string) []schema {
	kinds := make([]schema, len(s.versions))
	for i, v := range s.versions {
		kinds[i] = schema{"group": v.group, "version": v.version, "kind": kind}
	}
	return kinds
}
