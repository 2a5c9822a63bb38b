// Command gen reads the Go source of the Kubernetes API types and writes what package schemas embeds: for every Go
// package of types, DATA/PACKAGE.shape (how values merge) and DATA/PACKAGE.doc (OpenAPI v3 schemas with documentation,
// deflated). It is run by go generate and by nobody else.
//
// It reads source rather than reflecting on types because field documentation, list types, defaults and enums exist
// only as comments. The rules by which comments become schemas are those of k8s.io/kube-openapi's generator, so that
// the outcome equals what upstream serves. Data flows source.go (parse) -> model.go (schemas) and shape.go (shapes); scheme.go finds
// the versions of the API.
package main

import (
	"bytes"
	"compress/flate"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("schemas/gen: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: gen DIRECTORY")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// run writes the data of all packages to dir, removing what was there.
func run(dir string) error {
	src := newSource()
	roots, err := packages(src)
	if err != nil {
		return err
	}
	for _, p := range roots {
		if err := src.load(p); err != nil {
			return err
		}
	}
	src.findEnums()
	types := reachable(src, roots)
	findKeys(types)
	if err := src.findVersions(); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for path, decls := range types {
		shapes, docs := new(bytes.Buffer), new(bytes.Buffer)
		for _, d := range decls {
			if err := appendShape(shapes, d); err != nil {
				return fmt.Errorf("%s.%s: %w", path, d.name, err)
			}
			if err := appendDoc(docs, d); err != nil {
				return fmt.Errorf("%s.%s: %w", path, d.name, err)
			}
		}
		file := filepath.Join(dir, modelPackage(path))
		if err := os.WriteFile(file+".shape", shapes.Bytes(), 0o644); err != nil {
			return err
		}
		packed, err := deflate(docs.Bytes())
		if err != nil {
			return err
		}
		if err := os.WriteFile(file+".doc", packed, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func deflate(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

const metaPath = "k8s.io/apimachinery/pkg/apis/meta/v1"

var (
	stable = regexp.MustCompile(`^v\d+$`)
	// notServed are groups of k8s.io/api whose types are only ever sent to webhooks or are gone.
	notServed = map[string]bool{"admission": true, "extensions": true, "imagepolicy": true, "testdata": true, "apidiscovery": true}
)

// older are the packages of versions that are kept for old clients, and the kinds in them that are; nil stands for all.
var older = map[string][]string{
	"k8s.io/api/apps/v1beta1":         nil,
	"k8s.io/api/apps/v1beta2":         nil,
	"k8s.io/api/coordination/v1beta1": {"Lease", "LeaseList"},
	"k8s.io/api/discovery/v1beta1":    nil,
	"k8s.io/api/events/v1beta1":       nil,
	"k8s.io/api/extensions/v1beta1":   nil,
	"k8s.io/api/scheduling/v1alpha1":  {"PriorityClass", "PriorityClassList"},
	"k8s.io/api/scheduling/v1beta1":   {"PriorityClass", "PriorityClassList"},

	"k8s.io/api/storagemigration/v1beta1": nil,
}

// gone are packages that k8s.io/api has no longer, and those that declare the same types.
var gone = map[string]string{"k8s.io/api/scheduling/v1alpha1": "k8s.io/api/scheduling/v1beta1"}

// packages lists the packages whose kinds are served or will be: every stable version of k8s.io/api, the older ones, both
// versions of apiextensions, and the metadata they share.
func packages(src *source) ([]string, error) {
	for _, m := range []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/apiextensions-apiserver", "k8s.io/client-go"} {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m).Output()
		if err != nil {
			return nil, fmt.Errorf("finding module %s: %w", m, err)
		}
		src.modules[m] = strings.TrimSpace(string(out))
	}
	dirs, err := filepath.Glob(filepath.Join(src.modules["k8s.io/api"], "*", "v*"))
	if err != nil {
		return nil, err
	}
	paths := []string{
		metaPath,
		"k8s.io/apimachinery/pkg/version",
		"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
		"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1",
	}
	for p := range older {
		paths = append(paths, p)
	}
	for _, d := range dirs {
		group := filepath.Base(filepath.Dir(d))
		if stable.MatchString(filepath.Base(d)) && !notServed[group] {
			paths = append(paths, "k8s.io/api/"+group+"/"+filepath.Base(d))
		}
	}
	sort.Strings(paths)
	return paths, nil
}

// reachable lists by package path, sorted by name, the struct types that kinds of the root packages consist of.
func reachable(src *source, roots []string) map[string][]*decl {
	seen := map[*decl]bool{}
	var visit func(t *typ)
	visit = func(t *typ) {
		switch t.kind {
		case pointerKind, sliceKind:
			visit(t.elem)
		case mapKind:
			visit(t.key)
			visit(t.elem)
		case namedKind:
			d := t.decl
			if seen[d] {
				return
			}
			seen[d] = true
			if !d.isStruct {
				visit(d.under)
				return
			}
			if special[d.model()] != nil {
				return
			}
			for _, f := range d.fields {
				if f.name() != "" || f.inline() {
					visit(f.typ)
				}
			}
		}
	}
	for _, path := range roots {
		for _, d := range src.pkgs[path].decls {
			if kinds := older[path]; kinds != nil && !slices.Contains(kinds, d.name) {
				continue
			}
			if d.isKind() || path == "k8s.io/apimachinery/pkg/version" || path == metaPath && (d.name == "WatchEvent" || d.name == "Patch") {
				visit(&typ{kind: namedKind, decl: d})
			}
		}
	}
	types := map[string][]*decl{}
	for d := range seen {
		if d.isStruct && d.exported() {
			types[d.path] = append(types[d.path], d)
		}
	}
	for _, ds := range types {
		sort.Slice(ds, func(i, j int) bool { return ds[i].name < ds[j].name })
	}
	return types
}

// modelPackage is a Go package path as OpenAPI names it: io.k8s.api.core.v1 for k8s.io/api/core/v1.
func modelPackage(path string) string {
	host, rest, _ := strings.Cut(path, "/")
	parts := strings.Split(host, ".")
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, ".") + "." + strings.ReplaceAll(rest, "/", ".")
}
