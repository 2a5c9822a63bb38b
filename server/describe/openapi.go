package describe

import (
	"bytes"
	"container/list"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
	"pintle.dev/server/accept"
)

// OpenAPI serves the description of everything the registry serves: of OpenAPI v3 an index at /openapi/v3 and one document
// for each group and version below it, of v2 one document of all at /openapi/v2.
//
// A document's name in the index carries a hash of what the document is made from, not of the document: the index of a
// thousand CRDs is made without building one document. Documents are strung together from compressed pieces, one for each
// version of a custom kind and one for what goes with all of them. A piece is made when it is asked for: a new CRD costs
// its own schema and nothing else. Of the pieces of custom kinds as many are kept as fit into a budget.
type OpenAPI struct {
	registry *resource.Registry
	build    string // tells one server's embedded schemas from another's
	pieces   pieceCache

	mu         sync.Mutex
	generation uint64
	groups     map[string]*openAPIGroup
	documents  map[string]*openAPIDocument // of all groups and beside them: "api/v1", "apis/apps/v1", "apis"
	base       *openAPIBase                // nil until somebody asks
	index      *cachedDocument             // likewise
	v2         *wholeV2                    // likewise
}

// openAPIPieces is the budget for pieces of custom kinds, compressed.
const openAPIPieces = 16 << 20

// NewOpenAPI returns the description of what is registered, now and later.
func NewOpenAPI(registry *resource.Registry) *OpenAPI {
	v := Version()
	return &OpenAPI{
		registry: registry, build: v.GitVersion + v.GitCommit, pieces: pieceCache{budget: openAPIPieces},
		groups: map[string]*openAPIGroup{}, documents: map[string]*openAPIDocument{},
	}
}

const (
	openAPIPrefix = "/openapi/v3"
	typeProtoV3   = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
)

// Serve answers /openapi/v2, /openapi/v3 and what is below it. When it returns an error, nothing has been written.
func (o *OpenAPI) Serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == openAPIV2Path {
		return o.serveV2(w, r)
	}
	name, ok := strings.CutPrefix(r.URL.Path, openAPIPrefix)
	if !ok {
		return ErrPage
	}
	if name == "" {
		return o.serveIndex(w, r)
	}
	name = strings.TrimPrefix(name, "/")
	doc := o.document(name)
	if doc == nil {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	h := w.Header()
	h.Set("Vary", "Accept")
	form, ok := openAPIFormOf(r.Header.Get("Accept"), "v3")
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return nil
	}
	hash, tag := r.URL.Query().Get("hash"), strconv.Quote(doc.hash)
	old := hash != "" && hash != doc.hash
	var pieces []piece
	if !old && r.Header.Get("If-None-Match") != tag {
		var err error
		if pieces, err = o.piecesV3(doc, form); err != nil {
			return fmt.Errorf("building the OpenAPI document of %s: %w", name, err)
		}
	}
	h.Set("Content-Type", [...]string{accept.TypeJSON, typeProtoV3}[form])
	h.Set("ETag", tag)
	if old {
		http.Redirect(w, r, openAPIURL(name, doc.hash), http.StatusMovedPermanently)
		return nil
	}
	if hash != "" {
		h.Set("Cache-Control", "public, immutable")
		h.Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	return servePieces(w, r, doc.made, pieces)
}

func (o *OpenAPI) serveIndex(w http.ResponseWriter, r *http.Request) error {
	index := o.indexNow()
	w.Header().Set("ETag", strconv.Quote(index.etag))
	http.ServeContent(w, r, "", index.made, bytes.NewReader(index.body))
	return nil
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

func listKind(def *resource.Definition, v *resource.Version) string {
	if v.Kind != "" || def.ListKind == "" {
		return def.KindOf(v) + "List"
	}
	return def.ListKind
}

// paths describes the operations of a document that is not of custom kinds only.
func (d *openAPIDocument) paths() (*openAPIPaths, error) {
	p := newOpenAPIPaths(d.group, d.version)
	if len(d.kinds) == 0 {
		p.addTop(d.name)
	} else {
		p.addRoot()
	}
	for _, k := range d.kinds {
		p.add(k.def, k.version)
	}
	return p, p.finish()
}

// pack is the document of built-in kinds, and of the custom ones that have been added to their group and version.
func (d *openAPIDocument) pack(form openAPIForm) (kindPieces, error) {
	p, err := d.paths()
	if err != nil {
		return kindPieces{}, err
	}
	definitions := entries{}
	for _, k := range d.kinds {
		if !k.def.Custom {
			continue
		}
		own, err := customSchemas(k.def, k.version)
		if err != nil {
			return kindPieces{}, err
		}
		for name, doc := range own {
			delete(p.models, name)
			definitions[name] = doc
			for _, m := range schemas.References(doc) {
				p.models[m] = own[m] == nil
			}
		}
	}
	maps.DeleteFunc(p.models, func(_ string, builtin bool) bool { return !builtin })
	docs, err := schemas.Closure(slices.Collect(maps.Keys(p.models))...)
	if err != nil {
		return kindPieces{}, err
	}
	for name, doc := range docs {
		if definitions[name] == nil {
			definitions[name] = doc
		}
	}
	return packV3(form, p, definitions)
}

func packV3(form openAPIForm, p *openAPIPaths, definitions entries) (kindPieces, error) {
	items := entries{}
	for path, item := range p.items {
		b, err := json.Marshal(item)
		if err != nil {
			return kindPieces{}, err
		}
		items[path] = b
	}
	paths, err := items.pack(form, true, 1, protoV3().pathItem)
	if err != nil {
		return kindPieces{}, err
	}
	d, err := definitions.pack(form, true, 1, protoV3().schema)
	return kindPieces{paths, d}, err
}

// packV3 is a custom kind's part of the document of its group and version.
func (k *openAPIKind) packV3(form openAPIForm) (kindPieces, error) {
	p := newOpenAPIPaths(k.version.Group, k.version.Name)
	p.add(k.def, k.version)
	if err := p.finish(); err != nil {
		return kindPieces{}, err
	}
	definitions, err := customSchemas(k.def, k.version)
	if err != nil {
		return kindPieces{}, err
	}
	return packV3(form, p, definitions)
}

// sharedClosure are the schemas that custom kinds refer to, without scale or with it.
var sharedClosure = [2]func(openAPIForm) (piece, error){
	onceByForm(func(form openAPIForm) (piece, error) { return packClosure(form, sharedModels[:len(sharedModels)-1]) }),
	onceByForm(func(form openAPIForm) (piece, error) { return packClosure(form, sharedModels) }),
}

func packClosure(form openAPIForm, models []string) (piece, error) {
	docs, err := schemas.Closure(models...)
	if err != nil {
		return piece{}, err
	}
	if docs[deleteOptionsModel], err = ofClients(docs[deleteOptionsModel]); err != nil {
		return piece{}, err
	}
	return entries(docs).pack(form, true, 1, protoV3().schema)
}

// serverGroups are the groups that client-go does not know. Upstream describes custom kinds with client-go's scheme.
var serverGroups = []string{"admission.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "imagepolicy.k8s.io"}

// ofClients is the schema of a kind that every group has, without the groups that client-go does not know.
func ofClients(doc []byte) ([]byte, error) {
	s, err := object.Parse(doc)
	if err != nil {
		return nil, fmt.Errorf("schema of a kind of every group: %w", err)
	}
	var known []object.Value
	for _, k := range s.Get(kindExtension).Items() {
		if !slices.Contains(serverGroups, k.Get("group").Str()) {
			known = append(known, *k)
		}
	}
	s.Set(kindExtension, object.NewList(known...))
	return object.AppendJSON(nil, s), nil
}

// piecesV3 strings a document together.
func (o *OpenAPI) piecesV3(d *openAPIDocument, form openAPIForm) ([]piece, error) {
	if d.builtin != nil {
		whole, err := d.builtin(form)
		if err != nil {
			return nil, err
		}
		return assembleV3(form, "Kubernetes", infoVersion(), []kindPieces{whole})
	}
	parts := make([]kindPieces, 1, 1+len(d.kinds))
	scale := 0
	for _, k := range d.kinds {
		p, err := o.pieces.get(pieceKey{k, "v3", form}, k.packV3)
		if err != nil {
			return nil, fmt.Errorf("describing %s: %w", k.def.Resource, err)
		}
		parts = append(parts, p)
		if slices.ContainsFunc(discoverySubresources(k.def, k.version), func(s discoverySubresource) bool { return s.name == "scale" }) {
			scale = 1
		}
	}
	var err error
	if parts[0].definitions, err = sharedClosure[scale](form); err != nil {
		return nil, err
	}
	return assembleV3(form, "Kubernetes CRD Swagger", "v0.1.0", parts) // what upstream calls those of custom kinds
}

// infoVersion is the version that documents say they are of: that of the API, whatever the build.
func infoVersion() string { return Version().EmulationMajor + "." + Version().EmulationMinor }

// assembleV3 strings parts together to a document of a title and version.
func assembleV3(form openAPIForm, title, version string, parts []kindPieces) ([]piece, error) {
	paths, definitions, size := make([]piece, 0, 4*len(parts)+4), make([]piece, 0, 2*len(parts)), [2]int{}
	for _, p := range parts {
		paths, definitions = appendPart(paths, form, p.paths), appendPart(definitions, form, p.definitions)
		size[0] += p.paths.size
		size[1] += p.definitions.size
	}
	info := fmt.Appendf(nil, `{"openapi":"3.0.0","info":{"title":%q,"version":%q}`, title, version)
	const security = `"securitySchemes":{"BearerToken":{"description":"Bearer Token authentication","in":"header","name":"authorization","type":"apiKey"}}`
	var texts [3][]byte // before the paths, between them and the schemas, behind those
	if form == openAPIJSON {
		texts = [...][]byte{append(info, `,"paths":{`...), []byte(`},"components":{"schemas":{`), []byte("}," + security + "}}")}
	} else {
		head, err := object.Parse(append(info, '}'))
		if err != nil {
			return nil, err
		}
		last, err := object.Parse([]byte("{" + security + "}"))
		if err != nil {
			return nil, err
		}
		texts[0] = appendSize(protoV3().head(nil, head), 4, size[0])
		texts[2] = protoV3().components(nil, last)
		open := appendSize(nil, 1, size[1])
		texts[1] = append(appendSize(nil, 5, len(open)+size[1]+len(texts[2])), open...)
	}
	pieces := append([]piece{storedPiece(texts[0])}, paths...)
	pieces = append(append(pieces, storedPiece(texts[1])), definitions...)
	return append(pieces, storedPiece(texts[2])), nil
}

// appendPart appends a piece of what stands in one JSON object or protobuf message with the pieces before it.
func appendPart(to []piece, form openAPIForm, p piece) []piece {
	if p.size == 0 {
		return to
	}
	if form == openAPIJSON && len(to) > 0 {
		to = append(to, comma)
	}
	return append(to, p)
}

var comma = storedPiece([]byte{','})

// pieceCache keeps the pieces of custom kinds that were asked for last, as many as fit into its budget.
type pieceCache struct {
	budget int // bytes

	mu    sync.Mutex
	used  int
	order list.List // of *cachedPieces, the one asked for last in front
	byKey map[pieceKey]*list.Element
}

// pieceKey names the pieces of a kind in one version of OpenAPI and one form.
type pieceKey struct {
	kind    *openAPIKind
	version string // "v2", "v3"
	form    openAPIForm
}

type cachedPieces struct {
	key pieceKey
	kindPieces
}

func (c *cachedPieces) cost() int { return len(c.paths.deflated) + len(c.definitions.deflated) }

// get returns the pieces of a kind, which build makes when they are not there. Two that ask at once may both build them.
func (c *pieceCache) get(key pieceKey, build func(openAPIForm) (kindPieces, error)) (kindPieces, error) {
	c.mu.Lock()
	if e := c.byKey[key]; e != nil {
		c.order.MoveToFront(e)
		p := e.Value.(*cachedPieces).kindPieces
		c.mu.Unlock()
		return p, nil
	}
	c.mu.Unlock()
	p, err := build(key.form)
	if err != nil {
		return kindPieces{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key] != nil {
		return p, nil
	}
	if c.byKey == nil {
		c.byKey = map[pieceKey]*list.Element{}
	}
	entry := &cachedPieces{key, p}
	c.byKey[key] = c.order.PushFront(entry)
	c.used += entry.cost()
	for c.used > c.budget {
		c.remove(c.order.Back())
	}
	return p, nil
}

func (c *pieceCache) remove(e *list.Element) {
	entry := c.order.Remove(e).(*cachedPieces)
	delete(c.byKey, entry.key)
	c.used -= entry.cost()
}

// drop forgets the pieces of a kind that is no longer served.
func (c *pieceCache) drop(k *openAPIKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, version := range []string{"v2", "v3"} {
		for form := range openAPIForms {
			if e := c.byKey[pieceKey{k, version, form}]; e != nil {
				c.remove(e)
			}
		}
	}
}
