// Package pintle_test holds what is true of the tree as a whole: which package may import which, and that each says what
// it is.
package pintle_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// graph says which packages of this module a package may import, below itself. A line is read "these: may import
// those"; "x/..." are x and all packages below it, and packages below x may import x. Standard library and third-party
// packages are not its business, but for those that forbidden names.
const graph = `
	api:            -
	growthtest:     -
	object:         api
	schema/...:     api object schema/...
	store/...:      api
	webhook:        api store
	client:         api object
	resource:       api object schema store webhook resource/builtin/schemas
	resource/...:   api object schema store webhook resource/...
	auth:           api object store
	admission:      api object store resource resource/builtin/scheduling auth
	server:         api object schema store client resource/... auth admission server/...
	server/accept:  api
	server/describe: api object resource/... server/accept
	server/http2:   -

	controller/...: api object client
	scheduler/...:  api object client controller
	node/...:       api object client

	cluster:        api object schema store/... client resource/... auth admission server server/http2 controller/... scheduler/... node/...
	bench:          auth
	cli:            api auth bench client cluster node/... server/... store/...
	cmd/...:        cli
`

// forbidden packages would bring in what Pintle is built to do without.
var forbidden = []string{
	"k8s.io/kubernetes", "k8s.io/apiserver/pkg/server", "k8s.io/apiserver/pkg/storage", "k8s.io/apiserver/pkg/endpoints",
	"k8s.io/client-go/informers", "k8s.io/client-go/tools/cache",
}

const module = "pintle.dev/"

func TestImportGraph(t *testing.T) {
	rules := map[string][]string{}
	for line := range strings.Lines(graph) {
		if who, what, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			rules[who] = strings.Fields(what)
		}
	}
	for dir, files := range packages(t) {
		pattern, allowed := ruleFor(rules, dir)
		if pattern == "" {
			t.Errorf("%s: the graph has no line for this package", dir)
			continue
		}
		for file, imports := range files {
			for _, imp := range imports {
				for _, f := range forbidden {
					if imp == f || strings.HasPrefix(imp, f+"/") {
						t.Errorf("%s imports %s", file, imp)
					}
				}
				own, ok := strings.CutPrefix(imp, module)
				if ok && !matches(pattern, own) && !matchesAny(allowed, own) {
					t.Errorf("%s imports %s: the graph allows %s only %v", file, own, pattern, allowed)
				}
			}
		}
	}
}

func ruleFor(rules map[string][]string, dir string) (string, []string) {
	if a, ok := rules[dir]; ok {
		return dir, a
	}
	for p := dir; p != "."; p = path.Dir(p) {
		if a, ok := rules[p+"/..."]; ok {
			return p + "/...", a
		}
	}
	return "", nil
}

func matches(pattern, pkg string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pkg == pattern
}

func matchesAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if matches(p, pkg) {
			return true
		}
	}
	return false
}

// packages returns the imports of every file that is no test, by package directory.
func packages(t *testing.T) map[string]map[string][]string {
	t.Helper()
	out := map[string]map[string][]string{}
	walkGo(t, func(file string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(file))
		if out[dir] == nil {
			out[dir] = map[string][]string{}
		}
		out[dir][file] = nil
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			out[dir][file] = append(out[dir][file], p)
		}
	})
	return out
}

// isModule reports whether a directory is the root of a module of its own, as conformance is.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// walkGo visits every Go file of this module.
func walkGo(t *testing.T, visit func(file string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "vendor" || isModule(p)):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(p, ".go"):
			visit(p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPackageComments: a package that cannot say what it is should not be one.
func TestPackageComments(t *testing.T) {
	comments, commands := map[string]string{}, map[string]bool{}
	walkGo(t, func(file string) {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.ToSlash(filepath.Dir(file))
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		comments[dir] += ""
		commands[dir] = f.Name.Name == "main"
		if f.Doc != nil {
			comments[dir] += f.Doc.Text()
		}
	})
	for dir, text := range comments {
		want := "Package " + path.Base(dir)
		if commands[dir] {
			want = ""
		}
		if text == "" || !strings.HasPrefix(text, want) {
			t.Errorf("%s: its package comment is %q, want one that begins with %q", dir, firstLine(text), want)
		}
	}
}

// TestNames keeps out names that say nothing.
func TestNames(t *testing.T) {
	for dir := range packages(t) {
		for _, bad := range []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "factory", "impl"} {
			if path.Base(dir) == bad {
				t.Error(fmt.Errorf("%s: name the package by what it is about", dir))
			}
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
