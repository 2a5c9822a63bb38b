package describe

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
	"pintle.dev/server/accept"
)

// The models that requests and answers use beside the kinds themselves.
const (
	metaModel          = "io.k8s.apimachinery.pkg.apis.meta.v1."
	statusModel        = metaModel + "Status"
	patchModel         = metaModel + "Patch"
	deleteOptionsModel = metaModel + "DeleteOptions"
	objectMetaModel    = metaModel + "ObjectMeta"
	listMetaModel      = metaModel + "ListMeta"
	watchEventModel    = metaModel + "WatchEvent"
	schemaPrefix       = "#/components/schemas/"
)

// pathItem, operation and their parts are OpenAPI v3's objects of these names, as far as the description uses them.
type pathItem struct {
	Parameters []parameter `json:"parameters,omitempty"`
	Get        *operation  `json:"get,omitempty"`
	Put        *operation  `json:"put,omitempty"`
	Post       *operation  `json:"post,omitempty"`
	Delete     *operation  `json:"delete,omitempty"`
	Patch      *operation  `json:"patch,omitempty"`
}

type operation struct {
	Tags        []string                 `json:"tags"`
	Description string                   `json:"description"`
	ID          string                   `json:"operationId"`
	Parameters  []parameter              `json:"parameters,omitempty"`
	Body        *content                 `json:"requestBody,omitempty"`
	Responses   map[string]content       `json:"responses"`
	Action      string                   `json:"x-kubernetes-action,omitempty"`
	Kind        *metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind,omitempty"`
}

type content struct {
	Description string               `json:"description,omitempty"`
	Content     map[string]mediaBody `json:"content,omitempty"`
	Required    bool                 `json:"required,omitempty"`
}

type mediaBody struct {
	Schema map[string]string `json:"schema"`
}

type parameter struct {
	Name        string         `json:"name"`
	In          string         `json:"in"`
	Description string         `json:"description"`
	Required    bool           `json:"required,omitempty"`
	Schema      map[string]any `json:"schema"`
}

// openAPIPaths collects the paths of one group and version, and the models they use.
type openAPIPaths struct {
	group, version string
	items          map[string]*pathItem
	models         map[string]bool
	err            error
}

func newOpenAPIPaths(group, version string) *openAPIPaths {
	return &openAPIPaths{group: group, version: version, items: map[string]*pathItem{}, models: map[string]bool{}}
}

// route is what the operations of one path have in common.
type route struct {
	*openAPIPaths
	def       *resource.Definition
	path      string
	scope     string // "Namespaced" in operation IDs
	kind      string // in operation IDs and descriptions
	sub       string // the subresource
	gvk       metav1.GroupVersionKind
	model     string // of bodies and answers
	listModel string
	params    []parameter // of all the path's operations
}

// addRoot describes the list of resources itself.
func (p *openAPIPaths) addRoot() {
	r := route{openAPIPaths: p, def: &resource.Definition{}}
	op := r.operation("get", "", "APIResources", "get available resources")
	op.Kind = nil
	op.Responses["200"] = r.answer("OK", metaModel+"APIResourceList", false)
	p.items["/"+apiPath(p.group, p.version)+"/"] = &pathItem{Get: op}
}

// addTop describes a document above those of a group and version: the server's build, the API's groups, or a group.
func (p *openAPIPaths) addTop(name string) {
	switch name {
	case "version":
		p.addDocument("/version/", "getCodeVersion", "get the version information for this server", "version", "io.k8s.apimachinery.pkg.version.Info")
	case "apis":
		p.addDocument("/apis/", "getAPIVersions", "get available API versions", "apis", metaModel+"APIGroupList")
	case "api":
		p.addDocument("/api/", "getCoreAPIVersions", "get available API versions", "core", metaModel+"APIVersions")
	default:
		group := groupName(p.group)
		p.addDocument("/"+name+"/", "get"+group+"APIGroup", "get information of a group", strings.ToLower(group[:1])+group[1:], metaModel+"APIGroup")
	}
}

func (p *openAPIPaths) addDocument(path, id, description, tag, model string) {
	r := route{openAPIPaths: p, def: &resource.Definition{Custom: path == "/version/"}}
	op := r.operation("get", "", "", description)
	op.ID, op.Tags, op.Kind = id, []string{tag}, nil
	op.Responses["200"] = r.answer("OK", model, false)
	if path == "/version/" { // which has one form only
		delete(op.Responses["200"].Content, accept.TypeYAML)
	}
	p.items[path] = &pathItem{Get: op}
}

// add describes a kind: its collection, its objects and their subresources.
func (p *openAPIPaths) add(def *resource.Definition, v *resource.Version) {
	root := "/" + apiPath(p.group, p.version) + "/"
	r := route{
		openAPIPaths: p, def: def, kind: def.KindOf(v), model: modelName(def, v), listModel: modelListName(def, v),
		gvk:    metav1.GroupVersionKind{Group: p.group, Version: p.version, Kind: def.KindOf(v)},
		params: []parameter{prettyParameter},
	}
	verbs := discoveryVerbs(def)
	watched := !def.Custom && slices.Contains(verbs, "watch")
	within := def.Resource.Name
	if def.Namespaced {
		if !def.Transient {
			all := r
			all.path = root + within
			all.collection([]string{"list"}, "ForAllNamespaces")
			if watched {
				all.path = root + "watch/" + within
				all.watch("watchlist", "ForAllNamespaces")
			}
		}
		within = "namespaces/{namespace}/" + within
		r.scope = "Namespaced"
		r.params = append(r.params, namespaceParameter)
	}
	r.path = root + within
	r.collection(verbs, "")
	if def.Transient {
		return
	}
	if watched {
		list := r
		list.path = root + "watch/" + within
		list.watch("watchlist", "")
	}
	r.params = append(slices.Clip(r.params), pathParameter("name", "name of the "+r.kind))
	if watched {
		one := r
		one.path = root + "watch/" + within + "/{name}"
		one.watch("watch", "")
	}
	r.path += "/{name}"
	r.object(verbs)
	for _, s := range discoverySubresources(def, v) {
		r.subresource(s)
	}
}

func (r *route) item() *pathItem {
	if r.items[r.path] == nil {
		r.items[r.path] = &pathItem{}
	}
	return r.items[r.path]
}

// finish completes what has been collected.
func (p *openAPIPaths) finish() error {
	for _, item := range p.items {
		item.finish()
	}
	return p.err
}

func (i *pathItem) operations() []*operation {
	return slices.DeleteFunc([]*operation{i.Get, i.Put, i.Post, i.Delete, i.Patch}, func(o *operation) bool { return o == nil })
}

// finish gives a path the parameters that all its operations have, and puts them in order, as upstream's builder does.
func (i *pathItem) finish() {
	ops := i.operations()
	key := func(p parameter) [2]string { return [2]string{p.Name, p.In} }
	count := map[[2]string]int{}
	for _, op := range ops {
		for _, p := range op.Parameters {
			count[key(p)]++
		}
	}
	shared := func(p parameter) bool { return count[key(p)] == len(ops) }
	inOrder := func(a, b parameter) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.In, b.In)) }
	for n, op := range ops {
		all := slices.SortedFunc(slices.Values(op.Parameters), inOrder)
		if n == 0 {
			i.Parameters = slices.DeleteFunc(slices.Clone(all), func(p parameter) bool { return !shared(p) })
		}
		op.Parameters = slices.DeleteFunc(all, shared)
	}
}

func (r *route) collection(verbs []string, suffix string) {
	item := r.item()
	if slices.Contains(verbs, "list") {
		description := "list or watch objects of kind " + r.kind
		if r.def.Custom {
			description = "list objects of kind " + r.kind
		}
		op := r.operation("list", "list", suffix, description)
		op.Parameters = append(op.Parameters, listParameters...)
		op.Responses["200"] = r.answer("OK", r.listModel, !r.def.Custom && (slices.Contains(verbs, "watch") || suffix != ""))
		item.Get = op
	}
	if slices.Contains(verbs, "create") {
		item.Post = r.create()
	}
	if slices.Contains(verbs, "deletecollection") {
		op := r.operation("deletecollection", "deletecollection", "", "delete collection of "+r.kind)
		op.Parameters = append(op.Parameters, listParameters...)
		if !r.def.Custom {
			// Upstream describes the options of the list, which is not watched.
			op.Parameters = slices.DeleteFunc(append(op.Parameters, deleteParameters...), func(p parameter) bool {
				return p.Name == "watch" || p.Name == "allowWatchBookmarks"
			})
			op.Body = r.body(deleteOptionsModel)
		}
		op.Responses["200"] = r.answer("OK", statusModel, false)
		item.Delete = op
	}
}

// watch describes one of the paths below "watch" that upstream keeps for old clients: of a collection or of one object.
func (r *route) watch(action, suffix string) {
	list, description := "", "watch changes to an object of kind "+r.kind+
		". deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter."
	if action == "watchlist" {
		list, description = "List", "watch individual changes to a list of "+r.kind+
			". deprecated: use the 'watch' parameter with a list operation instead."
	}
	op := r.operation("watch", action, list+suffix, description)
	op.Parameters = append(op.Parameters, listParameters...)
	op.Responses["200"] = r.answer("OK", watchEventModel, true)
	r.item().Get = op
}

func (r *route) create() *operation {
	description := "create " + withArticle(r.kind)
	if r.sub != "" {
		description = "create " + r.sub + " of " + withArticle(r.kind)
	}
	op := r.operation("create", "post", "", description)
	op.Parameters = append(op.Parameters, createParameters...)
	op.Body = r.body(r.model)
	op.Body.Required = true
	for code, text := range map[string]string{"200": "OK", "201": "Created", "202": "Accepted"} {
		op.Responses[code] = r.answer(text, r.model, false)
	}
	return op
}

func (r *route) object(verbs []string) {
	item := r.item()
	of := ""
	if r.sub != "" {
		of = r.sub + " of "
	}
	if slices.Contains(verbs, "get") {
		op := r.operation("read", "get", "", "read "+of+"the specified "+r.kind)
		if r.def.Custom {
			op.Parameters = append(op.Parameters, getParameters...)
		}
		op.Responses["200"] = r.answer("OK", r.model, false)
		item.Get = op
	}
	if slices.Contains(verbs, "update") {
		op := r.operation("replace", "put", "", "replace "+of+"the specified "+r.kind)
		op.Parameters = append(op.Parameters, createParameters...)
		op.Body = r.body(r.model)
		op.Body.Required = true
		op.Responses["200"], op.Responses["201"] = r.answer("OK", r.model, false), r.answer("Created", r.model, false)
		item.Put = op
	}
	if slices.Contains(verbs, "delete") && r.sub == "" {
		answer := statusModel
		if r.def.ReturnDeleted && r.kind != "Namespace" { // upstream describes another answer of namespaces than it gives
			answer = r.model
		}
		op := r.operation("delete", "delete", "", "delete "+withArticle(r.kind))
		op.Parameters = append(op.Parameters, deleteParameters...)
		op.Body = r.body(deleteOptionsModel)
		op.Responses["200"], op.Responses["202"] = r.answer("OK", answer, false), r.answer("Accepted", answer, false)
		item.Delete = op
	}
	if slices.Contains(verbs, "patch") {
		op := r.operation("patch", "patch", "", "partially update "+of+"the specified "+r.kind)
		op.Parameters = append(op.Parameters, patchParameters...)
		op.Body = r.patchBody()
		op.Responses["200"] = r.answer("OK", r.model, false)
		if !r.def.Custom {
			op.Responses["201"] = r.answer("Created", r.model, false)
		}
		item.Patch = op
	}
}

func (r route) subresource(s discoverySubresource) {
	r.path += "/" + s.name
	r.sub = s.name
	kind := s.kind
	if kind.Group == "" && kind.Version == "" {
		kind.Group, kind.Version = r.group, r.version
	}
	if strings.HasSuffix(kind.Kind, "Options") || s.name == "log" {
		r.connect(s, kind)
		return
	}
	if kind != r.gvk {
		r.model = builtinModel(kind)
		if !r.def.Custom {
			r.gvk = kind
			r.nameOf(kind.Kind)
		}
	}
	if r.model == "" {
		return
	}
	r.object(s.verbs)
	if slices.Contains(s.verbs, "create") {
		r.item().Post = r.create()
	}
}

// nameOf has the parameter for the object's name, the last of the path, say that it is the name of another kind than the
// path's.
func (r *route) nameOf(kind string) {
	r.params = append(slices.Clone(r.params[:len(r.params)-1]), pathParameter("name", "name of the "+kind))
}

// connect describes a subresource that takes the connection over, or answers in plain text. Its options are a kind of
// their own, whose members come in the query.
func (r route) connect(s discoverySubresource, kind metav1.GroupVersionKind) {
	options := kind
	if s.name == "log" {
		options.Kind = "PodLogOptions"
	}
	params, err := optionParameters(builtinModel(options))
	if err != nil {
		r.err = errors.Join(r.err, err)
		return
	}
	logs := s.name == "log"
	if !logs { // its answers are not shown in other ways, and its name is said to be that of its options
		r.params = r.params[1:]
		r.nameOf(options.Kind)
	}
	item := r.item()
	for _, verb := range s.verbs {
		method, field := "Get", &item.Get
		if verb == "create" {
			method, field = "Post", &item.Post
		}
		op := r.operation("connect", "connect", "", "connect "+strings.ToUpper(method)+" requests to "+s.name+" of "+r.kind)
		op.ID = "connect" + groupName(r.group) + upper(r.version) + method + r.scope + r.kind + upper(s.name)
		media := []string{"*/*"}
		if logs {
			op = r.operation("read", "get", "", "read log of the specified "+r.kind)
			media = []string{"text/plain", accept.TypeJSON, accept.TypeYAML, accept.TypeProtobuf}
		}
		op.Kind = &kind
		op.Parameters = append(op.Parameters, params...)
		text := content{Description: "OK", Content: map[string]mediaBody{}}
		for _, m := range media {
			text.Content[m] = mediaBody{Schema: map[string]string{"type": "string"}}
		}
		op.Responses["200"] = text
		*field = op
	}
}

// optionParameters are the members of an options kind as query parameters.
func optionParameters(model string) ([]parameter, error) {
	docs, err := schemas.Closure(model)
	if err != nil {
		return nil, err
	}
	var schema struct {
		Properties map[string]struct {
			Type, Description string
			Items             struct{ Type string }
		}
	}
	if err := json.Unmarshal(docs[model], &schema); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", model, err)
	}
	var params []parameter
	for name, p := range schema.Properties {
		typ := p.Type
		switch {
		case name == "apiVersion" || name == "kind", typ == "": // upstream leaves out what is of a type of its own: times
			continue
		case typ == "array":
			typ = p.Items.Type
		}
		params = append(params, parameter{Name: name, In: "query", Description: p.Description, Schema: scalarSchema(typ)})
	}
	slices.SortFunc(params, func(a, b parameter) int { return strings.Compare(a.Name, b.Name) })
	return params, nil
}

// operation begins an operation. Upstream's ID is the verb, the group and version, the scope, the kind and the
// subresource.
func (r *route) operation(verb, action, suffix, description string) *operation {
	id := verb
	if verb == "deletecollection" {
		id = "delete"
	}
	id += groupName(r.group) + upper(r.version)
	if verb == "deletecollection" {
		id += "Collection"
	}
	id += r.scope + r.kind + upper(r.sub) + suffix
	return &operation{
		Tags: []string{tagName(r.group, r.version)}, Description: description, ID: id, Action: action, Kind: &r.gvk,
		Parameters: slices.Clone(r.params),
		Responses:  map[string]content{"401": {Description: "Unauthorized"}},
	}
}

// groupName is a group in operation IDs: "Core", "Apps", "RbacAuthorization", "ExampleCom".
func groupName(group string) string {
	if group == "" {
		return "Core"
	}
	var b strings.Builder
	for part := range strings.SplitSeq(strings.TrimSuffix(group, ".k8s.io"), ".") {
		b.WriteString(upper(part))
	}
	return b.String()
}

func tagName(group, version string) string {
	name := groupName(group)
	return strings.ToLower(name[:1]) + name[1:] + "_" + version
}

func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// withArticle puts the article before a kind; plurals have none.
func withArticle(kind string) string {
	switch {
	case strings.HasSuffix(kind, "s") && !strings.HasSuffix(kind, "ss"):
		return kind
	case strings.ContainsRune("AEIOUaeiou", rune(kind[0])):
		return "an " + kind
	}
	return "a " + kind
}

func (r *route) use(model string) map[string]string {
	r.models[model] = true
	return map[string]string{"$ref": schemaPrefix + model}
}

func (r *route) answer(description, model string, watch bool) content {
	c := content{Description: description, Content: map[string]mediaBody{}}
	body := mediaBody{Schema: r.use(model)}
	c.Content[accept.TypeJSON], c.Content[accept.TypeYAML] = body, body
	if watch {
		c.Content[accept.TypeJSON+";stream=watch"] = body
	}
	if !r.def.Custom {
		c.Content[accept.TypeProtobuf] = body
		if watch {
			c.Content[accept.TypeProtobuf+";stream=watch"] = body
		}
	}
	return c
}

func (r *route) body(model string) *content {
	body := mediaBody{Schema: r.use(model)}
	if r.def.Custom {
		return &content{Content: map[string]mediaBody{accept.TypeJSON: body, accept.TypeYAML: body}}
	}
	return &content{Content: map[string]mediaBody{"*/*": body}}
}

// patchBody names the patches that are understood.
func (r *route) patchBody() *content {
	body := mediaBody{Schema: r.use(patchModel)}
	c := &content{Required: true, Content: map[string]mediaBody{
		string(types.JSONPatchType): body, string(types.MergePatchType): body, string(types.ApplyYAMLPatchType): body,
	}}
	if !r.def.Custom {
		c.Content[string(types.StrategicMergePatchType)] = body
	}
	return c
}

// modelName is the name of the schema of a version's objects.
func modelName(def *resource.Definition, v *resource.Version) string {
	if def.Custom {
		return customModel(v, def.KindOf(v))
	}
	return v.Model
}

func modelListName(def *resource.Definition, v *resource.Version) string {
	if def.Custom {
		return customModel(v, listKind(def, v))
	}
	return v.Model + "List"
}

// customModel is the name of a custom kind's schema: "com.example.v1.CronTab".
func customModel(v *resource.Version, kind string) string {
	parts := strings.Split(v.Group, ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".") + "." + v.Name + "." + kind
}

// builtinModel is the schema of a kind that is the body of a subresource.
func builtinModel(k metav1.GroupVersionKind) string {
	group := strings.TrimSuffix(k.Group, ".k8s.io")
	if group == "" {
		group = "core"
	}
	if i := strings.IndexByte(group, '.'); i >= 0 {
		group = group[:i]
	}
	return "io.k8s.api." + group + "." + k.Version + "." + k.Kind
}

func pathParameter(name, description string) parameter {
	return parameter{Name: name, In: "path", Description: description, Required: true, Schema: scalarSchema("string")}
}

func scalarSchema(typ string) map[string]any { return map[string]any{"type": typ, "uniqueItems": true} }

// queryParameters describes members of one of meta/v1's options by their documentation. Each is "name" or "name:type".
func queryParameters(doc map[string]string, members ...string) []parameter {
	ps := make([]parameter, len(members))
	for i, m := range members {
		name, typ, ok := strings.Cut(m, ":")
		if !ok {
			typ = "string"
		}
		ps[i] = parameter{Name: name, In: "query", Description: doc[name], Schema: scalarSchema(typ)}
	}
	return ps
}

var (
	prettyParameter = parameter{
		Name: "pretty", In: "query", Schema: scalarSchema("string"),
		Description: "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget).",
	}
	namespaceParameter = pathParameter("namespace", "object name and auth scope, such as for teams and projects")
	listParameters     = queryParameters(metav1.ListOptions{}.SwaggerDoc(), "allowWatchBookmarks:boolean", "continue", "fieldSelector",
		"labelSelector", "limit:integer", "resourceVersion", "resourceVersionMatch", "sendInitialEvents:boolean", "shardSelector",
		"timeoutSeconds:integer", "watch:boolean")
	getParameters    = queryParameters(metav1.GetOptions{}.SwaggerDoc(), "resourceVersion")
	createParameters = queryParameters(metav1.CreateOptions{}.SwaggerDoc(), "dryRun", "fieldManager", "fieldValidation")
	patchParameters  = queryParameters(metav1.PatchOptions{}.SwaggerDoc(), "dryRun", "fieldManager", "fieldValidation", "force:boolean")
	deleteParameters = queryParameters(metav1.DeleteOptions{}.SwaggerDoc(), "dryRun", "gracePeriodSeconds:integer",
		"ignoreStoreReadErrorWithClusterBreakingPotential:boolean", "orphanDependents:boolean", "propagationPolicy")
)
