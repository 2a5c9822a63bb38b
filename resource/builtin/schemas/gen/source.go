package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// source is the parsed packages. Packages are loaded as they are referred to.
type source struct {
	fset    *token.FileSet
	modules map[string]string // module path to directory
	pkgs    map[string]*pkg

	versions []groupVersion // set by findVersions
}

type pkg struct {
	path, group string
	decls       map[string]*decl
	consts      map[string]*constant
	methods     map[string]map[string]bool // by type name
}

// decl is a declared type.
type decl struct {
	src        *source
	path, name string
	group      string
	comments   []string
	isStruct   bool
	fields     []*field
	under      *typ // of a type that is no struct
	enum       []*constant
	keys       map[string]bool // its fields that identify the items of a list; set by findKeys
}

type field struct {
	goName   string
	embedded bool
	typ      *typ
	tag      reflect.StructTag
	comments []string
	owner    *decl
}

type constant struct {
	name     string
	comments []string
	file     *file
	typ      ast.Expr
	value    ast.Expr
}

// file is what names in a file mean.
type file struct {
	pkg     *pkg
	imports map[string]string
}

type kind int

const (
	builtinKind kind = iota
	namedKind
	pointerKind
	sliceKind
	mapKind
	anyKind
)

type typ struct {
	kind      kind
	name      string // of a builtin, and "time.Time"
	decl      *decl
	key, elem *typ
}

func newSource() *source {
	return &source{fset: token.NewFileSet(), modules: map[string]string{}, pkgs: map[string]*pkg{}}
}

func (s *source) dir(path string) (string, bool) {
	if same := gone[path]; same != "" {
		path = same
	}
	for m, d := range s.modules {
		if path == m || strings.HasPrefix(path, m+"/") {
			return filepath.Join(d, filepath.FromSlash(strings.TrimPrefix(path, m))), true
		}
	}
	return "", false
}

// load parses a package. Its type declarations exist before their contents are resolved, as packages and types refer
// to each other.
func (s *source) load(pkgPath string) error {
	if s.pkgs[pkgPath] != nil {
		return nil
	}
	dir, ok := s.dir(pkgPath)
	if !ok {
		return fmt.Errorf("package %s is in none of the modules", pkgPath)
	}
	parsed, err := parser.ParseDir(s.fset, dir, func(f fs.FileInfo) bool {
		return !strings.HasSuffix(f.Name(), "_test.go") && !strings.HasPrefix(f.Name(), "zz_generated") && !strings.HasSuffix(f.Name(), ".pb.go")
	}, parser.ParseComments)
	if err != nil {
		return err
	}
	p := &pkg{path: pkgPath, decls: map[string]*decl{}, consts: map[string]*constant{}, methods: map[string]map[string]bool{}}
	s.pkgs[pkgPath] = p
	var files []*ast.File
	for _, a := range parsed {
		var names []string
		for name := range a.Files {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			files = append(files, a.Files[name])
		}
	}
	var resolve []func() error
	for _, f := range files {
		resolve = append(resolve, s.declare(p, f)...)
	}
	if c := p.consts["GroupName"]; c != nil {
		if p.group, err = c.text(s); err != nil {
			return fmt.Errorf("package %s: GroupName: %w", pkgPath, err)
		}
	}
	for _, r := range resolve {
		if err := r(); err != nil {
			return fmt.Errorf("package %s: %w", pkgPath, err)
		}
	}
	return nil
}

// declare enters the file's declarations and returns what completes them.
func (s *source) declare(p *pkg, f *ast.File) (resolve []func() error) {
	scope := &file{pkg: p, imports: map[string]string{}}
	for _, i := range f.Imports {
		to, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue // the parser has accepted it, so this cannot be
		}
		name := path.Base(to)
		if i.Name != nil {
			name = i.Name.Name
		}
		scope.imports[name] = to
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || len(d.Recv.List) == 0 {
				continue
			}
			t := d.Recv.List[0].Type
			if star, ok := t.(*ast.StarExpr); ok {
				t = star.X
			}
			if id, ok := t.(*ast.Ident); ok {
				if p.methods[id.Name] == nil {
					p.methods[id.Name] = map[string]bool{}
				}
				p.methods[id.Name][d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					doc := spec.Doc
					if doc == nil && len(d.Specs) == 1 {
						doc = d.Doc
					}
					resolve = append(resolve, s.declareType(scope, spec, lines(doc)))
				case *ast.ValueSpec:
					if d.Tok != token.CONST || len(spec.Values) != len(spec.Names) {
						continue
					}
					doc := spec.Doc
					if doc == nil && !d.Lparen.IsValid() {
						doc = d.Doc
					}
					for i, n := range spec.Names {
						p.consts[n.Name] = &constant{name: n.Name, comments: lines(doc), file: scope, typ: spec.Type, value: spec.Values[i]}
					}
				}
			}
		}
	}
	return resolve
}

func (s *source) declareType(scope *file, spec *ast.TypeSpec, comments []string) func() error {
	d := &decl{src: s, path: scope.pkg.path, name: spec.Name.Name, comments: comments}
	scope.pkg.decls[d.name] = d
	st, ok := spec.Type.(*ast.StructType)
	d.isStruct = ok
	return func() error {
		d.group = scope.pkg.group
		if !ok {
			t, err := s.resolve(scope, spec.Type)
			d.under = t
			return err
		}
		for _, af := range st.Fields.List {
			f := field{comments: lines(af.Doc), owner: d}
			if af.Tag != nil {
				tag, err := strconv.Unquote(af.Tag.Value)
				if err != nil {
					return fmt.Errorf("%s: tag %s: %w", d.name, af.Tag.Value, err)
				}
				f.tag = reflect.StructTag(tag)
			}
			if len(af.Names) > 0 && !af.Names[0].IsExported() {
				continue
			}
			if j, ok := f.tag.Lookup("json"); ok && j == "-" {
				continue
			}
			t, err := s.resolve(scope, af.Type)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			f.typ = t
			if len(af.Names) == 0 {
				f.embedded, f.goName = true, typeName(af.Type)
				d.fields = append(d.fields, &f)
			}
			for _, n := range af.Names {
				g := f
				g.goName = n.Name
				d.fields = append(d.fields, &g)
			}
		}
		return nil
	}
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// resolve turns a type expression into a typ, loading the packages it names.
func (s *source) resolve(scope *file, e ast.Expr) (*typ, error) {
	switch e := e.(type) {
	case *ast.Ident:
		if d := scope.pkg.decls[e.Name]; d != nil {
			return &typ{kind: namedKind, decl: d}, nil
		}
		if e.Name == "any" {
			return &typ{kind: anyKind}, nil
		}
		return &typ{kind: builtinKind, name: e.Name}, nil
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		if !ok {
			return nil, fmt.Errorf("cannot read type %T", e.X)
		}
		to := scope.imports[x.Name]
		if _, ours := s.dir(to); !ours {
			return &typ{kind: builtinKind, name: to + "." + e.Sel.Name}, nil
		}
		if err := s.load(to); err != nil {
			return nil, err
		}
		d := s.pkgs[to].decls[e.Sel.Name]
		if d == nil {
			return nil, fmt.Errorf("%s has no type %s", to, e.Sel.Name)
		}
		return &typ{kind: namedKind, decl: d}, nil
	case *ast.StarExpr:
		t, err := s.resolve(scope, e.X)
		return &typ{kind: pointerKind, elem: t}, err
	case *ast.ArrayType:
		t, err := s.resolve(scope, e.Elt)
		return &typ{kind: sliceKind, elem: t}, err
	case *ast.MapType:
		k, err := s.resolve(scope, e.Key)
		if err != nil {
			return nil, err
		}
		t, err := s.resolve(scope, e.Value)
		return &typ{kind: mapKind, key: k, elem: t}, err
	default: // interfaces and functions are no JSON
		return &typ{kind: anyKind}, nil
	}
}

// findEnums gives every +enum type its constants, whichever package declares them.
func (s *source) findEnums() {
	for _, path := range sortedKeys(s.pkgs) {
		p := s.pkgs[path]
		for _, name := range sortedKeys(p.consts) {
			c := p.consts[name]
			e := c.typ
			if call, ok := c.value.(*ast.CallExpr); ok && e == nil && len(call.Args) == 1 {
				e = call.Fun
			}
			if e == nil {
				continue
			}
			if t, err := s.resolve(c.file, e); err == nil && t.kind == namedKind && t.decl.isEnum() {
				t.decl.addEnum(c)
			}
		}
	}
}

func (d *decl) isEnum() bool {
	_, ok := tags(d.comments)["enum"]
	return ok && d.under != nil && d.under.kind == builtinKind && d.under.name == "string"
}

// addEnum adds a constant. Of two with one value (an enum re-exported by another package) the longer comment wins.
func (d *decl) addEnum(c *constant) {
	v, err := c.text(d.src)
	if err != nil {
		return
	}
	for i, old := range d.enum {
		if ov, _ := old.text(d.src); ov == v {
			if len(strings.Join(old.comments, " ")) < len(strings.Join(c.comments, " ")) {
				d.enum[i] = c
			}
			return
		}
	}
	d.enum = append(d.enum, c)
}

// text is the value of a string constant.
func (c *constant) text(s *source) (string, error) { return s.eval(c.file, c.value) }

func (s *source) eval(scope *file, e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			return strconv.Unquote(e.Value)
		}
	case *ast.ParenExpr:
		return s.eval(scope, e.X)
	case *ast.CallExpr:
		if len(e.Args) == 1 {
			return s.eval(scope, e.Args[0])
		}
	case *ast.Ident:
		if c := scope.pkg.consts[e.Name]; c != nil {
			return c.text(s)
		}
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return s.constText(scope.imports[x.Name], e.Sel.Name)
		}
	case *ast.BinaryExpr:
		a, err := s.eval(scope, e.X)
		if err != nil {
			return "", err
		}
		b, err := s.eval(scope, e.Y)
		return a + b, err
	}
	return "", fmt.Errorf("not a string constant: %T", e)
}

func (s *source) constText(pkgPath, name string) (string, error) {
	if err := s.load(pkgPath); err != nil {
		return "", err
	}
	c := s.pkgs[pkgPath].consts[name]
	if c == nil {
		return "", fmt.Errorf("%s has no constant %s", pkgPath, name)
	}
	return c.text(s)
}

func (d *decl) exported() bool { return ast.IsExported(d.name) }
func (d *decl) hasMethod(m string) bool {
	return d.src.pkgs[d.path].methods[d.name][m]
}

// isKind reports a type that is a document of its own: it has apiVersion and kind.
func (d *decl) isKind() bool {
	if !d.isStruct || !d.exported() {
		return false
	}
	for _, f := range d.fields {
		if f.embedded && f.inline() && f.typ.kind == namedKind && f.typ.decl.name == "TypeMeta" {
			return true
		}
	}
	return false
}

func (d *decl) model() string { return modelPackage(d.path) + "." + d.name }

// name is the field's JSON name, or "" when it has none of its own.
func (f *field) name() string {
	j, ok := f.tag.Lookup("json")
	if !ok {
		return f.goName
	}
	name, _, _ := strings.Cut(j, ",")
	return name
}

// inline reports an embedded struct whose members appear in its parent.
func (f *field) inline() bool {
	j, ok := f.tag.Lookup("json")
	return f.embedded && ok && (j == "" || strings.HasPrefix(j, ","))
}

func (f *field) omitempty() bool {
	_, opts, _ := strings.Cut(f.tag.Get("json"), ",")
	for o := range strings.SplitSeq(opts, ",") {
		if o == "omitempty" {
			return true
		}
	}
	return false
}

// members are the fields as JSON shows them, inlined structs opened.
func (d *decl) members() []*field {
	var out []*field
	for _, f := range d.fields {
		switch {
		case f.inline():
			t := f.typ
			for t.kind == pointerKind {
				t = t.elem
			}
			if t.kind == namedKind {
				out = append(out, t.decl.members()...)
			}
		case f.name() != "":
			out = append(out, f)
		}
	}
	return out
}

// lines are the lines of a comment without its markers.
func lines(g *ast.CommentGroup) []string {
	if g == nil {
		return nil
	}
	return strings.Split(strings.TrimRight(g.Text(), "\n"), "\n")
}

// tags are the lines of the form +name=value.
func tags(comments []string) map[string][]string {
	out := map[string][]string{}
	for _, l := range comments {
		l = strings.Trim(l, " ")
		if !strings.HasPrefix(l, "+") {
			continue
		}
		k, v, _ := strings.Cut(l[1:], "=")
		out[k] = append(out[k], v)
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
