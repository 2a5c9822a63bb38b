package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
)

// OpenAPI serves the description of everything the registry serves: of OpenAPI v3 an index at /openapi/v3 and one document
// for each group and version below it, of v2 one document of all at /openapi/v2.
//
// A document's name in the index carries a hash of what the document is made from, not of the document: the index of a
// thousand CRDs is made without building one document. A document is built when it is asked for, with the schemas of
// its kinds and of all they refer to, and kept compressed until its kinds change.
type OpenAPI struct {
	registry *resource.Registry
	build    string // tells one server's embedded schemas from another's

	mu          sync.Mutex
	generation  uint64
	documents   map[string]*openAPIDocument // "api/v1", "apis/apps/v1"
	index       *cachedDocument
	kinds       map[*resource.Version]*openAPIKind
	base        *openAPIBase
	customKinds []*openAPIKind // of groups and versions that have no built-in kinds
	tagV2       string
}

// openAPIDocument describes one group and version.
type openAPIDocument struct {
	group, version string
	kinds          []*openAPIKind // by name
	hash           string
	packed         func() ([]byte, error) // the document, compressed
}

// openAPIKind describes one version of a kind.
type openAPIKind struct {
	def     *resource.Definition
	version *resource.Version
	sum     [sha256.Size]byte // of all that the description is made from
	v2      func(openAPIForm) (kindPieces, error)
}

// NewOpenAPI returns the description of what is registered, now and later.
func NewOpenAPI(registry *resource.Registry) *OpenAPI {
	v := Version()
	return &OpenAPI{registry: registry, build: v.GitVersion + v.GitCommit}
}

const openAPIPrefix = "/openapi/v3"

// Serve answers /openapi/v2, /openapi/v3 and what is below it. When it returns an error, nothing has been written.
func (o *OpenAPI) Serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == openAPIV2Path {
		return o.serveV2(w, r)
	}
	name, ok := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, "/"), openAPIPrefix)
	if !ok {
		return errPage
	}
	if !acceptsJSON(r.Header.Get("Accept")) {
		// Clients that would rather have protobuf accept JSON as well.
		return notAcceptable("only the following media types are accepted: " + typeJSON)
	}
	if name == "" {
		return o.serveIndex(w, r)
	}
	name = strings.TrimPrefix(name, "/")
	doc := o.document(name)
	if doc == nil {
		return errPage
	}
	h := w.Header()
	hash := r.URL.Query().Get("hash")
	if hash != "" && hash != doc.hash {
		http.Redirect(w, r, openAPIURL(name, doc.hash), http.StatusMovedPermanently)
		return nil
	}
	tag := strconv.Quote(doc.hash)
	fresh := r.Header.Get("If-None-Match") == tag
	var packed []byte
	if !fresh {
		var err error
		if packed, err = doc.packed(); err != nil {
			return fmt.Errorf("building the OpenAPI document of %s: %w", name, err)
		}
	}
	h.Set("Vary", "Accept")
	h.Set("ETag", tag)
	if hash != "" {
		h.Set("Cache-Control", "public, immutable")
		h.Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	if fresh {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", typeJSON)
	return writePacked(w, r, packed)
}

func (o *OpenAPI) serveIndex(w http.ResponseWriter, r *http.Request) error {
	o.mu.Lock()
	o.refresh()
	index := o.index
	o.mu.Unlock()
	return index.serve(w, r, discoveryForm{})
}

func (o *OpenAPI) document(name string) *openAPIDocument {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh()
	return o.documents[name]
}

// refresh brings the documents up to the registry's generation, keeping those whose kinds are the same. o.mu is held.
func (o *OpenAPI) refresh() {
	s := o.registry.Snapshot()
	if s.Generation() == o.generation {
		return
	}
	kinds, members := map[*resource.Version]*openAPIKind{}, map[string]*openAPIDocument{}
	for _, def := range s.All() {
		for i := range def.Versions {
			v := &def.Versions[i]
			if !v.Served {
				continue
			}
			kind := o.kinds[v]
			if kind == nil {
				kind = newOpenAPIKind(def, v)
			}
			kinds[v] = kind
			name := apiPath(v.Group, v.Name)
			if members[name] == nil {
				members[name] = &openAPIDocument{group: v.Group, version: v.Name}
			}
			members[name].kinds = append(members[name].kinds, kind)
		}
	}
	base := &openAPIBase{build: o.build}
	var custom []*openAPIKind
	for _, name := range slices.Sorted(maps.Keys(members)) {
		doc := members[name]
		slices.SortFunc(doc.kinds, func(a, b *openAPIKind) int { return strings.Compare(a.def.Resource.Name, b.def.Resource.Name) })
		if old := o.documents[name]; old != nil && slices.Equal(old.kinds, doc.kinds) {
			doc = old
			members[name] = old
		} else {
			doc.hash = doc.fingerprint(o.build)
			doc.packed = sync.OnceValues(doc.pack)
		}
		if doc.custom() {
			custom = append(custom, doc.kinds...)
		} else {
			base.documents = append(base.documents, doc)
		}
	}
	if o.base == nil || !slices.Equal(o.base.documents, base.documents) {
		o.base = base
		base.prepare()
	}
	o.generation, o.documents, o.kinds, o.customKinds = s.Generation(), members, kinds, custom
	o.index, o.tagV2 = indexOf(members), tagOf(o.base, custom)
}

// custom reports a document of custom kinds only.
func (d *openAPIDocument) custom() bool {
	return !slices.ContainsFunc(d.kinds, func(k *openAPIKind) bool { return !k.def.Custom })
}

func newOpenAPIKind(def *resource.Definition, v *resource.Version) *openAPIKind {
	k := &openAPIKind{def: def, version: v}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%t\x00%q\x00%s\x00", def.Resource.Name, def.KindOf(v), listKind(def, v), def.Namespaced, discoveryVerbs(def), v.Model)
	for _, s := range discoverySubresources(def, v) {
		fmt.Fprintf(h, "%s\x00%v\x00%q\x00", s.name, s.kind, s.verbs)
	}
	h.Write(resource.SchemaJSON(v))
	h.Sum(k.sum[:0])
	k.v2 = onceByForm(k.packV2)
	return k
}

// onceByForm remembers what a function returns for each form.
func onceByForm[T any](f func(openAPIForm) (T, error)) func(openAPIForm) (T, error) {
	var once [openAPIForms]func() (T, error)
	for form := range openAPIForms {
		once[form] = sync.OnceValues(func() (T, error) { return f(form) })
	}
	return func(form openAPIForm) (T, error) { return once[form]() }
}

// apiPath is where a group and version are served, without the leading slash.
func apiPath(group, version string) string {
	if group == "" {
		return "api/" + version
	}
	return "apis/" + group + "/" + version
}

func openAPIURL(name, hash string) string {
	return openAPIPrefix + "/" + name + "?hash=" + url.QueryEscape(hash)
}

func indexOf(documents map[string]*openAPIDocument) *cachedDocument {
	names := make([]string, 0, len(documents))
	for name := range documents {
		names = append(names, name)
	}
	slices.Sort(names)
	b := []byte(`{"paths":{`)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `%q:{"serverRelativeURL":%q}`, name, openAPIURL(name, documents[name].hash))
	}
	return newCachedDocument(append(b, "}}"...))
}

// fingerprint covers everything the document is made from.
func (d *openAPIDocument) fingerprint(build string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00", build, d.group, d.version)
	for _, k := range d.kinds {
		h.Write(k.sum[:])
	}
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

func listKind(def *resource.Definition, v *resource.Version) string {
	if v.Kind != "" || def.ListKind == "" {
		return def.KindOf(v) + "List"
	}
	return def.ListKind
}

// pack builds the document and compresses it.
func (d *openAPIDocument) pack() ([]byte, error) {
	body, err := d.json()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(&out)
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// json builds the document.
func (d *openAPIDocument) json() ([]byte, error) {
	p := newOpenAPIPaths(d.group, d.version)
	p.addRoot()
	custom := map[string][]byte{} // and, in the end, all schemas
	for _, k := range d.kinds {
		def, v := k.def, k.version
		p.add(def, v)
		if !def.Custom {
			continue
		}
		object, list, err := customSchemas(def, v)
		if err != nil {
			return nil, err
		}
		custom[modelName(def, v)], custom[modelListName(def, v)] = object, list
	}
	if p.err != nil {
		return nil, p.err
	}
	var names []string
	for m := range p.models {
		if custom[m] == nil {
			names = append(names, m)
		}
	}
	for _, c := range custom {
		for _, m := range schemas.References(c) {
			if custom[m] == nil {
				names = append(names, m)
			}
		}
	}
	components, err := closure(names, len(custom) > 0)
	if err != nil {
		return nil, err
	}
	for name, c := range components {
		if custom[name] == nil {
			custom[name] = c
		}
	}
	if doc, ok := custom[deleteOptionsModel]; ok {
		custom[deleteOptionsModel] = withKind(doc, d.group, d.version, "DeleteOptions")
	}
	paths, err := json.Marshal(p.items)
	if err != nil {
		return nil, err
	}
	return assemble(paths, custom), nil
}

// assemble puts the document together. The schemas are JSON already, and most of it.
func assemble(paths []byte, components map[string][]byte) []byte {
	size := len(paths)
	for name, c := range components {
		size += len(name) + len(c) + 4
	}
	b := make([]byte, 0, size+512)
	b = fmt.Appendf(b, `{"openapi":"3.0.0","info":{"title":"Kubernetes","version":%q},"paths":`, Version().GitVersion)
	b = append(append(b, paths...), `,"components":{"schemas":`...)
	sep := byte('{')
	for _, name := range slices.Sorted(maps.Keys(components)) {
		b = fmt.Appendf(append(b, sep), "%q:", name)
		b = append(b, components[name]...)
		sep = ','
	}
	return append(b, `},"securitySchemes":{"BearerToken":{"description":"Bearer Token authentication","in":"header","name":"authorization","type":"apiKey"}}}}`...)
}

// closures keeps the schemas that documents of custom resources share: metadata, Status, Scale. There are only as many
// sets as combinations of what a CRD can switch on.
var closures sync.Map // of map[string][]byte by names

func closure(names []string, custom bool) (map[string][]byte, error) {
	if !custom {
		return schemas.Closure(names...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	key := strings.Join(names, " ")
	if c, ok := closures.Load(key); ok {
		return c.(map[string][]byte), nil
	}
	c, err := schemas.Closure(names...)
	if err == nil {
		for name, doc := range c {
			c[name] = slices.Clone(doc) // lets the unpacked file go
		}
		closures.Store(key, c)
	}
	return c, err
}

// withKind adds the extension that says of which kind a schema is.
func withKind(doc []byte, group, version, kind string) []byte {
	return fmt.Appendf(slices.Clone(doc[:len(doc)-1]), `,"x-kubernetes-group-version-kind":[{"group":%q,"kind":%q,"version":%q}]}`, group, kind, version)
}

func acceptsJSON(accept string) bool {
	if accept == "" {
		return true
	}
	for _, c := range parseAccept(accept) {
		if (c.typ == "application" || c.typ == "*") && (c.sub == "json" || c.sub == "*") {
			return true
		}
	}
	return false
}

// writePacked writes a compressed body, unpacked for clients that do not take gzip. A client that has gone away is no
// error.
func writePacked(w http.ResponseWriter, r *http.Request, packed []byte) error {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(packed)))
		_, _ = w.Write(packed)
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	_, _ = io.Copy(w, z)
	return nil
}

// serveDocument answers what describes the API: discovery, OpenAPI and the version. head is the path's first part.
func (x *exchange) serveDocument(head string) error {
	x.code = http.StatusOK
	var err error
	switch head {
	case "api", "apis":
		err = x.s.discovery.Serve(x.w, x.r)
	case "openapi":
		err = x.s.openapi.Serve(x.w, x.r)
	case "version":
		err = serveVersion(x.w, x.r)
	default:
		err = errPage
	}
	if err != nil {
		x.code = 0
	}
	return err
}
