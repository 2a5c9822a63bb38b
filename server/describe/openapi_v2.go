package describe

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
	"pintle.dev/server/accept"
)

// OpenAPI v2 is one document that describes everything. It is strung together from pieces: one of all built-in kinds, and
// one for each version of a custom kind, so that a new CRD costs its own schema and nothing else. The pieces are derived
// from what v3 says: paths by rewriting the operations, schemas by what upstream leaves out of v2.

const (
	openAPIV2Path = "/openapi/v2"
	v2Prefix      = "#/definitions/"
	typeProtoV2   = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
)

// openAPIForm is how a document of OpenAPI is encoded.
type openAPIForm int

const (
	openAPIJSON openAPIForm = iota
	openAPIProto
	openAPIForms // how many there are
)

// openAPIFormOf reads an Accept header; version is "v2" or "v3". The protobuf type has a name with "@" and one without.
func openAPIFormOf(header, version string) (openAPIForm, bool) {
	if header == "" {
		return openAPIJSON, true
	}
	for _, r := range accept.Parse(header) {
		if r.Type != "application" && r.Type != "*" {
			continue
		}
		switch r.Subtype {
		case "json", "*":
			return openAPIJSON, true
		case "com.github.proto-openapi.spec." + version + "@v1.0+protobuf", "com.github.proto-openapi.spec." + version + ".v1.0+protobuf":
			return openAPIProto, true
		}
	}
	return 0, false
}

// kindPieces are what a kind, or all built-in ones, contribute to the v2 document in one form: entries of its paths and
// of its definitions.
type kindPieces struct{ paths, definitions piece }

// serveV2 answers /openapi/v2.
func (o *OpenAPI) serveV2(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Vary", "Accept")
	form, ok := openAPIFormOf(r.Header.Get("Accept"), "v2")
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return nil
	}
	v2 := o.wholeNow()
	var pieces []piece
	if r.Header.Get("If-None-Match") != v2.tag {
		var err error
		if pieces, err = o.piecesV2(v2, form); err != nil {
			return fmt.Errorf("building the OpenAPI v2 document: %w", err)
		}
	}
	h.Set("ETag", v2.tag)
	h.Set("Content-Type", [...]string{accept.TypeJSON, typeProtoV2}[form])
	return servePieces(w, r, v2.made, pieces)
}

// piecesV2 strings the document together.
func (o *OpenAPI) piecesV2(v2 *wholeV2, form openAPIForm) ([]piece, error) {
	parts := make([]kindPieces, 0, 1+len(v2.custom))
	first, err := v2.base.v2(form)
	if err != nil {
		return nil, err
	}
	parts = append(parts, first.kindPieces)
	for _, k := range v2.custom {
		p, err := o.pieces.get(pieceKey{k, "v2", form}, k.packV2)
		if err != nil {
			return nil, fmt.Errorf("describing %s in %s: %w", k.def.Resource, k.version.APIVersion(), err)
		}
		parts = append(parts, p)
	}
	pieces := make([]piece, 0, 2*len(parts)+3)
	add := func(open string, of func(kindPieces) piece, number int) {
		size := 0
		for _, p := range parts {
			size += of(p).size
		}
		if form == openAPIProto {
			open = string(appendSize(nil, number, size))
		}
		pieces = append(pieces, storedPiece([]byte(open)))
		for _, p := range parts {
			pieces = append(pieces, of(p))
		}
	}
	pieces = append(pieces, first.head)
	add(`"paths":{`, func(p kindPieces) piece { return p.paths }, 8)
	add(`},"definitions":{`, func(p kindPieces) piece { return p.definitions }, 9)
	if form == openAPIJSON {
		pieces = append(pieces, storedPiece([]byte("}}")))
	}
	return pieces, nil
}

// entries are named JSON values: entries of a document's paths or definitions.
type entries map[string][]byte

// pack encodes the entries. In JSON all but a document's first ones begin with a comma; in protobuf body is the message of
// a value and number that of the field that holds the entries.
func (e entries) pack(form openAPIForm, first bool, number int, body protoBody) (piece, error) {
	var out []byte
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if form == openAPIJSON {
			if !first {
				out = append(out, ',')
			}
			first = false
			out = append(fmt.Appendf(out, "%q:", name), e[name]...)
			continue
		}
		v, err := object.Parse(e[name])
		if err != nil {
			return piece{}, fmt.Errorf("description of %s: %w", name, err)
		}
		out = appendMessage(out, number, v, func(dst []byte, v *object.Value) []byte {
			return appendMessage(appendText(dst, 1, name), 2, v, body)
		})
	}
	return newPiece(out)
}

func packV2(form openAPIForm, first bool, paths, definitions entries) (kindPieces, error) {
	p, err := paths.pack(form, first, 2, protoV2().pathItem)
	if err != nil {
		return kindPieces{}, err
	}
	d, err := definitions.pack(form, first, 1, protoV2().schema)
	return kindPieces{p, d}, err
}

// pathItemV2, operationV2 and their parts are OpenAPI v2's objects of these names.
type pathItemV2 struct {
	Get        *operationV2  `json:"get,omitempty"`
	Put        *operationV2  `json:"put,omitempty"`
	Post       *operationV2  `json:"post,omitempty"`
	Delete     *operationV2  `json:"delete,omitempty"`
	Patch      *operationV2  `json:"patch,omitempty"`
	Parameters []parameterV2 `json:"parameters,omitempty"`
}

type operationV2 struct {
	Description string                   `json:"description"`
	Consumes    []string                 `json:"consumes"`
	Produces    []string                 `json:"produces"`
	Schemes     []string                 `json:"schemes"`
	Tags        []string                 `json:"tags"`
	ID          string                   `json:"operationId"`
	Parameters  []parameterV2            `json:"parameters,omitempty"`
	Responses   map[string]responseV2    `json:"responses"`
	Action      string                   `json:"x-kubernetes-action,omitempty"`
	Kind        *metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind,omitempty"`
}

type responseV2 struct {
	Description string            `json:"description"`
	Schema      map[string]string `json:"schema,omitempty"`
}

// parameterV2 has its members in the order in which upstream writes them: the names of shared parameters hash it.
type parameterV2 struct {
	Ref         string            `json:"$ref,omitempty"`
	UniqueItems bool              `json:"uniqueItems,omitempty"`
	Type        any               `json:"type,omitempty"`
	Description string            `json:"description,omitempty"`
	Name        string            `json:"name,omitempty"`
	In          string            `json:"in,omitempty"`
	Required    bool              `json:"required,omitempty"`
	Schema      map[string]string `json:"schema,omitempty"`
}

// mediaOrder is how operations list media types; those not listed are not in use.
var mediaOrder = []string{
	"*/*", "text/plain", accept.TypeJSON, accept.TypeYAML, accept.TypeProtobuf, accept.TypeJSON + ";stream=watch", accept.TypeProtobuf + ";stream=watch",
	"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
}

// parametersV2 collects the parameters that operations share, by name. Upstream moves all out of the operations but those
// that are a kind's own and those that older kubectl looks for in place.
type parametersV2 map[string]parameterV2

func (s parametersV2) add(list []parameter) []parameterV2 {
	out := make([]parameterV2, 0, len(list))
	for _, p := range list {
		unique, _ := p.Schema["uniqueItems"].(bool)
		q := parameterV2{UniqueItems: unique, Type: p.Schema["type"], Description: p.Description, Name: p.Name, In: p.In, Required: p.Required}
		if p.Name != "name" && p.Name != "fieldValidation" && p.Name != "dryRun" {
			q = s.share(q)
		}
		out = append(out, q)
	}
	return out
}

func (s parametersV2) share(p parameterV2) parameterV2 {
	key := sharedKey{p.Name, p.In, p.Description, p.Schema["$ref"], p.Type, p.Required}
	name, ok := sharedNames.Load(key)
	if !ok {
		h := fnv.New64()
		h.Write(encodeV2(p))
		name, _ = sharedNames.LoadOrStore(key, p.Name+"-"+base64.URLEncoding.EncodeToString(h.Sum(nil)[:6]))
	}
	s[name.(string)] = p
	return parameterV2{Ref: "#/parameters/" + name.(string)}
}

// sharedKey tells shared parameters apart, of which there are some fifty.
type sharedKey struct {
	name, in, description, ref string
	typ                        any
	required                   bool
}

var sharedNames sync.Map // string by sharedKey

// body is the parameter that stands for a request's body.
func (s parametersV2) body(c *content) parameterV2 {
	p := parameterV2{Name: "body", In: "body", Required: c.Required, Schema: refV2(c.Content)}
	if strings.HasPrefix(p.Schema["$ref"], v2Prefix+"io.k8s.apimachinery") {
		return s.share(p)
	}
	return p
}

// refV2 is the schema of what a body or an answer holds, the same in all media types.
func refV2(content map[string]mediaBody) map[string]string {
	for _, m := range content {
		if r, ok := m.Schema["$ref"]; ok {
			return map[string]string{"$ref": v2Prefix + strings.TrimPrefix(r, schemaPrefix)}
		}
		return m.Schema
	}
	return nil
}

func mediaTypes(content map[string]mediaBody) []string {
	var list []string
	for _, m := range mediaOrder {
		if _, ok := content[m]; ok {
			list = append(list, m)
		}
	}
	return list
}

// rewritePaths are v2's paths. Those of custom kinds say what bodies they take where there is none, too.
func rewritePaths(items map[string]*pathItem, shared parametersV2, custom bool) entries {
	out := entries{}
	for path, item := range items {
		v := pathItemV2{Parameters: shared.add(item.Parameters)}
		for _, o := range []struct {
			from *operation
			to   **operationV2
		}{{item.Get, &v.Get}, {item.Put, &v.Put}, {item.Post, &v.Post}, {item.Delete, &v.Delete}, {item.Patch, &v.Patch}} {
			if o.from != nil {
				*o.to = rewriteOperation(o.from, shared, custom)
			}
		}
		out[path] = encodeV2(v)
	}
	return out
}

func rewriteOperation(from *operation, shared parametersV2, custom bool) *operationV2 {
	op := &operationV2{
		Description: from.Description, Schemes: []string{"https"}, Tags: from.Tags, ID: from.ID, Action: from.Action, Kind: from.Kind,
		Responses: map[string]responseV2{}, Consumes: []string{"*/*"},
	}
	if custom {
		op.Consumes = []string{accept.TypeJSON, accept.TypeYAML}
	}
	if from.Body != nil {
		op.Parameters = append(op.Parameters, shared.body(from.Body))
		op.Consumes = mediaTypes(from.Body.Content)
	}
	op.Parameters = append(op.Parameters, shared.add(from.Parameters)...)
	for code, c := range from.Responses {
		op.Responses[code] = responseV2{Description: c.Description, Schema: refV2(c.Content)}
		if len(op.Produces) == 0 {
			op.Produces = mediaTypes(c.Content)
		}
	}
	if from.Kind == nil { // discovery
		op.Consumes = op.Produces
	}
	return op
}

// encodeV2 encodes one of the types above, which always can be.
func encodeV2(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding a %T: %v", v, err))
	}
	return b
}

// rewriteBuiltin turns a built-in type's schema into v2's: references stand alone, there are no defaults, and what is an
// integer or a string is a string.
func rewriteBuiltin(v *object.Value) {
	v.Remove("default")
	if v.Remove("oneOf") {
		v.Set("type", object.NewString("string"))
	}
	if all := v.Get("allOf"); all.Len() == 1 {
		ref := *all.Index(0).Get("$ref")
		v.Remove("allOf")
		v.Set("$ref", ref)
	}
	if ref := v.Get("$ref"); ref.Kind() == object.String {
		v.Set("$ref", object.NewString(v2Prefix+strings.TrimPrefix(ref.Str(), schemaPrefix)))
	}
	for _, p := range v.Get("properties").Fields() {
		rewriteBuiltin(p)
	}
	for _, name := range []string{"items", "additionalProperties"} {
		if sub := v.Get(name); sub.Kind() == object.Map {
			rewriteBuiltin(sub)
		}
	}
}

// customDefinitions are the v2 schemas of a custom kind's objects and lists.
func customDefinitions(def *resource.Definition, v *resource.Version) (entries, error) {
	root := object.NewMap()
	if source := resource.SchemaJSON(v); source != nil {
		parsed, err := object.Parse(source)
		if err != nil {
			return nil, fmt.Errorf("schema of %s in %s: %w", def.Resource, v.APIVersion(), err)
		}
		// kubectl takes what a schema with properties does not name for unknown, so that one that preserves unknown
		// fields must not have any.
		if !parsed.Get("x-kubernetes-preserve-unknown-fields").Bool() && !resource.PreservesUnknown(v) {
			rewriteCustom(parsed)
			addObjectProperties(parsed, typeDoc, v2Prefix)
			root = *parsed
		}
	}
	root.Set("type", object.NewString("object"))
	extend(&root, v, def.KindOf(v))
	list := listSchema(def, v, v2Prefix)
	return entries{modelName(def, v): object.AppendJSON(nil, &root), modelListName(def, v): object.AppendJSON(nil, &list)}, nil
}

// rewriteCustom leaves out of a structural schema what v2 cannot say, or what kubectl's reading of v2 would turn into a
// refusal of valid objects: a nullable value has no type, nor has one that preserves unknown fields, and a list without
// items is none.
func rewriteCustom(v *object.Value) {
	for _, name := range []string{"allOf", "oneOf", "anyOf", "not", "default"} {
		v.Remove(name)
	}
	preserve := v.Get("x-kubernetes-preserve-unknown-fields").Bool()
	if v.Get("nullable").Bool() {
		for _, name := range []string{"type", "items", "properties"} {
			v.Remove(name)
		}
	}
	v.Remove("nullable")
	if preserve {
		v.Remove("items")
		v.Remove("properties")
	}
	switch typ := v.Get("type").Str(); {
	case typ == "array" && v.Get("items") == nil, typ == "object" && preserve:
		v.Remove("type")
	}
	dropNullableRequired(v)
	for _, p := range v.Get("properties").Fields() {
		rewriteCustom(p)
	}
	for _, name := range []string{"items", "additionalProperties"} {
		if sub := v.Get(name); sub.Kind() == object.Map {
			rewriteCustom(sub)
		}
	}
	if v.Get("x-kubernetes-embedded-resource").Bool() && !preserve {
		addEmbeddedProperties(v, v2Prefix)
	}
}

// dropNullableRequired forgets that members are required that may be null, which v2 cannot say.
func dropNullableRequired(v *object.Value) {
	required := v.Get("required")
	if required == nil {
		return
	}
	if v.Get("additionalProperties").Get("nullable").Bool() {
		v.Remove("required")
		return
	}
	for i := required.Len() - 1; i >= 0; i-- {
		if v.Path("properties", required.Index(i).Str(), "nullable").Bool() {
			required.RemoveIndex(i)
		}
	}
	if required.Len() == 0 {
		v.Remove("required")
	}
}

// openAPIBase is what the description has whatever CRDs there are: the built-in kinds, and what all kinds refer to.
type openAPIBase struct {
	documents []*openAPIDocument // those that have built-in kinds, by name
	sum       []byte

	v2 func(openAPIForm) (basePieces, error)
}

// basePieces are what there is of the v2 document without custom kinds.
type basePieces struct {
	kindPieces
	head piece // all but paths and definitions
}

// newOpenAPIBase says what the base is made of, which is known now, and how it is packed, when somebody asks.
func newOpenAPIBase(build string, documents []*openAPIDocument) *openAPIBase {
	h := sha256.New()
	h.Write([]byte(build))
	for _, d := range documents {
		h.Write([]byte(d.hash))
	}
	b := &openAPIBase{documents: documents, sum: h.Sum(nil)}
	b.v2 = onceByForm(b.packV2)
	return b
}

// sharedModels are what the paths and schemas of every custom kind refer to.
var sharedModels = []string{objectMetaModel, listMetaModel, statusModel, deleteOptionsModel, patchModel, scaleModel}

const scaleModel = "io.k8s.api.autoscaling.v1.Scale"

// describe collects the paths and definitions of the built-in kinds and the parameters that all kinds share.
func (b *openAPIBase) describe() (paths, definitions entries, shared parametersV2, err error) {
	shared = parametersV2{}
	for _, list := range [][]parameter{listParameters, getParameters, createParameters, patchParameters, deleteParameters, {prettyParameter, namespaceParameter}} {
		shared.add(list)
	}
	p := &route{openAPIPaths: newOpenAPIPaths("", ""), def: &resource.Definition{}}
	shared.body(p.body(deleteOptionsModel))
	shared.body(p.patchBody())
	paths, definitions = entries{}, entries{}
	models := slices.Clone(sharedModels)
	for _, d := range b.documents {
		p, err := d.paths()
		if err != nil {
			return nil, nil, nil, err
		}
		for _, k := range d.kinds {
			if k.def.Custom { // in a built-in group
				own, err := customDefinitions(k.def, k.version)
				if err != nil {
					return nil, nil, nil, err
				}
				maps.Copy(definitions, own)
			}
		}
		maps.Copy(paths, rewritePaths(p.items, shared, false))
		models = slices.AppendSeq(models, maps.Keys(p.models))
	}
	models = slices.DeleteFunc(models, func(m string) bool { return definitions[m] != nil })
	docs, err := schemas.Closure(models...)
	if err != nil {
		return nil, nil, nil, err
	}
	for name, doc := range docs {
		v, err := object.Parse(doc)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("schema of %s: %w", name, err)
		}
		rewriteBuiltin(v)
		definitions[name] = object.AppendJSON(nil, v)
	}
	return paths, definitions, shared, nil
}

func (b *openAPIBase) packV2(form openAPIForm) (basePieces, error) {
	paths, definitions, shared, err := b.describe()
	if err != nil {
		return basePieces{}, err
	}
	kinds, err := packV2(form, true, paths, definitions)
	if err != nil {
		return basePieces{}, err
	}
	head, err := packHead(form, shared)
	return basePieces{kinds, head}, err
}

// packHead is the document but for paths and definitions.
func packHead(form openAPIForm, shared parametersV2) (piece, error) {
	text := encodeV2(map[string]any{
		"swagger": "2.0", "info": map[string]string{"title": "Kubernetes", "version": infoVersion()},
		"parameters": shared,
		"securityDefinitions": map[string]any{"BearerToken": map[string]string{
			"description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey"}},
		"security": []any{map[string]any{"BearerToken": []string{}}},
	})
	if form == openAPIJSON {
		text[len(text)-1] = ','
		return newPiece(text)
	}
	v, err := object.Parse(text)
	if err != nil {
		return piece{}, err
	}
	return newPiece(protoV2().head(nil, v))
}

// packV2 is the kind's part of the v2 document.
func (k *openAPIKind) packV2(form openAPIForm) (kindPieces, error) {
	p := newOpenAPIPaths(k.version.Group, k.version.Name)
	p.add(k.def, k.version)
	if err := p.finish(); err != nil {
		return kindPieces{}, err
	}
	definitions, err := customDefinitions(k.def, k.version)
	if err != nil {
		return kindPieces{}, err
	}
	return packV2(form, false, rewritePaths(p.items, parametersV2{}, true), definitions)
}
