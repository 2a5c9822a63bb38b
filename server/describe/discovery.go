package describe

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
)

// Discovery answers what a client asks first: which groups, versions and resources there are (/api, /apis and below),
// each list on its own or all of them in one document (aggregated discovery, apidiscovery.k8s.io).
//
// Everything is built when asked for and kept until the registry's generation changes. Then only the groups are built
// anew that have changed, so that a new CRD among a thousand costs a client's next request
// little and a server without clients nothing.
type Discovery struct {
	registry *resource.Registry

	mu         sync.Mutex
	generation uint64
	groups     map[string]*discoveryGroup
	order      []*discoveryGroup // without the core group
	aggregated map[aggregatedKey]*cachedDocument
}

// discoveryGroup is what the registry serves under one API group.
type discoveryGroup struct {
	name        string
	of          *resource.Group
	priority    int // see groupPriority
	definitions []*resource.Definition
	versions    []string               // the preferred one first
	aggregate   func() *cachedDocument // nil when it cannot be encoded
}

type aggregatedKey struct {
	core    bool   // /api, else /apis
	version string // of apidiscovery.k8s.io
}

// NewDiscovery returns the discovery of what is registered, now and later.
func NewDiscovery(registry *resource.Registry) *Discovery {
	return &Discovery{registry: registry, groups: map[string]*discoveryGroup{}}
}

// Serve answers a request for one of discovery's paths: /api, /api/v1, /apis, /apis/GROUP, /apis/GROUP/VERSION. When it
// returns an error, nothing has been written.
func (d *Discovery) Serve(w http.ResponseWriter, r *http.Request) error {
	path := strings.Trim(r.URL.Path, "/")
	parts := strings.Split(path, "/")
	if h := r.Header.Get("Accept"); h != "" && d.routed(parts) && !accept.Routed(h, accept.All()...) {
		return accept.Unrouted(accept.All()...)
	}
	switch {
	case path == "api" || path == "apis":
		return d.serveRoot(w, r, path == "api")
	case len(parts) == 2 && parts[0] == "apis":
		g := d.group(parts[1])
		if g == nil {
			return ErrPage
		}
		return writeDiscovery(w, r, g.apiGroup(true))
	case len(parts) == 2 && parts[0] == "api":
		return d.serveVersion(w, r, "", parts[1])
	case len(parts) == 3 && parts[0] == "apis":
		return d.serveVersion(w, r, parts[1], parts[2])
	}
	return ErrPage
}

// routed reports whether upstream's router knows a path of these parts: all that belongs to built-in kinds does, but /apis
// and groups, which its aggregator answers for.
func (d *Discovery) routed(parts []string) bool {
	switch {
	case parts[0] == "api":
		return true
	case len(parts) == 3:
		g := d.group(parts[1])
		return g != nil && !g.custom()
	}
	return false
}

// AnyMethod reports whether a path is one that upstream answers without a look at the method: its aggregator has those of
// groups, and /apis/ unlike /apis, its handler of custom resources those of their versions.
func (d *Discovery) AnyMethod(path string) bool {
	if path == "/apis/" {
		return true
	}
	rest, found := strings.CutPrefix(path, "/apis/")
	if !found {
		return false
	}
	group, version, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	g := d.group(group)
	return g != nil && (version == "" || g.custom() && slices.Contains(g.versions, version))
}

func (d *Discovery) serveRoot(w http.ResponseWriter, r *http.Request, core bool) error {
	f, err := negotiateDiscovery(r.Header.Get("Accept"), true)
	if err != nil {
		return err
	}
	if f.aggregated != "" {
		doc, err := d.document(aggregatedKey{core, f.aggregated})
		if err != nil {
			return err
		}
		return doc.serve(w, r, f)
	}
	if core {
		return writeDiscovery(w, r, &metav1.APIVersions{
			TypeMeta: metav1.TypeMeta{Kind: "APIVersions"},
			Versions: []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{
				{ClientCIDR: "0.0.0.0/0", ServerAddress: r.Host},
			},
		})
	}
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	for _, g := range d.all() {
		list.Groups = append(list.Groups, *g.apiGroup(false))
	}
	return writeDiscovery(w, r, list)
}

func (d *Discovery) serveVersion(w http.ResponseWriter, r *http.Request, groupName, versionName string) error {
	g := d.group(groupName)
	switch {
	case g != nil && slices.Contains(g.versions, versionName):
		return writeDiscovery(w, r, g.resourceList(versionName))
	case g != nil && !g.custom():
		// Upstream's router knows built-in groups and answers for them; all else is an unknown path.
		return ErrVersion
	}
	return ErrPage
}

// group finds a group that has a served version; nil when there is none.
func (d *Discovery) group(name string) *discoveryGroup {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh()
	return d.groups[name]
}

// all lists the groups but the core one, in upstream's order.
func (d *Discovery) all() []*discoveryGroup {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh()
	return d.order
}

// refresh brings groups up to the registry's generation, keeping those that have not changed. d.mu is held.
func (d *Discovery) refresh() {
	s := d.registry.Snapshot()
	if s.Generation() == d.generation {
		return
	}
	now, same := s.Groups(), true
	for name := range d.groups {
		if g := now[name]; g == nil || len(g.Served()) == 0 {
			delete(d.groups, name)
			same = false
		}
	}
	for name, of := range now {
		if g := d.groups[name]; g != nil && g.of == of || len(of.Served()) == 0 {
			continue
		}
		d.groups[name] = newDiscoveryGroup(name, of)
		same = false
	}
	if !same {
		d.sort()
	}
	d.generation, d.aggregated = s.Generation(), map[aggregatedKey]*cachedDocument{}
}

// sort lists the groups but the core one. d.mu is held.
func (d *Discovery) sort() {
	d.order = make([]*discoveryGroup, 0, len(d.groups))
	for name, g := range d.groups {
		if name != "" {
			d.order = append(d.order, g)
		}
	}
	slices.SortFunc(d.order, func(a, b *discoveryGroup) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), strings.Compare(a.name, b.name))
	})
}

// groupPriority is the place upstream's aggregator gives a group among all: higher ones come first. Groups it does not
// know, those of CRDs, share one place.
func groupPriority(name string) int {
	switch name {
	case "apiregistration.k8s.io":
		return 20000
	case "apps":
		return 17800
	case "events.k8s.io":
		return 17750
	case "authentication.k8s.io", "authorization.k8s.io":
		return 17700
	case "autoscaling":
		return 17500
	case "batch":
		return 17400
	case "certificates.k8s.io":
		return 17300
	case "networking.k8s.io":
		return 17200
	case "extensions":
		return 17150
	case "policy":
		return 17100
	case "rbac.authorization.k8s.io":
		return 17000
	case "storage.k8s.io":
		return 16800
	case "admissionregistration.k8s.io", "apiextensions.k8s.io":
		return 16700
	case "scheduling.k8s.io":
		return 16600
	case "coordination.k8s.io":
		return 16500
	case "node.k8s.io":
		return 16300
	case "discovery.k8s.io":
		return 16200
	case "flowcontrol.apiserver.k8s.io":
		return 16100
	case "resource.k8s.io":
		return 15900
	case "storagemigration.k8s.io":
		return 15800
	}
	return 1000
}

func newDiscoveryGroup(name string, of *resource.Group) *discoveryGroup {
	g := &discoveryGroup{name: name, of: of, priority: groupPriority(name), definitions: of.Served()}
	for _, def := range g.definitions {
		for i := range def.Versions {
			if v := &def.Versions[i]; v.Group == name && v.Served && !slices.Contains(g.versions, v.Name) {
				g.versions = append(g.versions, v.Name)
			}
		}
	}
	slices.SortFunc(g.versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	g.aggregate = sync.OnceValue(g.aggregatedJSON)
	return g
}

// custom reports a group that only CRDs make up.
func (g *discoveryGroup) custom() bool {
	return !slices.ContainsFunc(g.definitions, func(d *resource.Definition) bool { return !d.Custom })
}

func (g *discoveryGroup) apiGroup(alone bool) *metav1.APIGroup {
	a := &metav1.APIGroup{Name: g.name}
	if alone {
		a.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
	}
	for _, v := range g.versions {
		a.Versions = append(a.Versions, metav1.GroupVersionForDiscovery{GroupVersion: g.name + "/" + v, Version: v})
	}
	a.PreferredVersion = a.Versions[0]
	return a
}

// resourceList is what /apis/GROUP/VERSION shows: resources and, after each, its subresources.
func (g *discoveryGroup) resourceList(versionName string) *metav1.APIResourceList {
	list := &metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, APIResources: []metav1.APIResource{}}
	list.GroupVersion = g.name + "/" + versionName
	if g.name == "" {
		// As upstream: the core group's list alone has no apiVersion.
		list.GroupVersion, list.APIVersion = versionName, ""
	}
	for def, v := range g.served(versionName) {
		known := aliases(def, v)
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: def.Resource.Name, SingularName: def.Singular, Namespaced: def.Namespaced, Kind: def.KindOf(v),
			Verbs: verbsNow(def), ShortNames: known.shortNames, Categories: known.categories, StorageVersionHash: storageVersionHash(def),
		})
		for _, s := range discoverySubresources(def, v) {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: def.Resource.Name + "/" + s.name, Namespaced: def.Namespaced,
				Group: s.kind.Group, Version: s.kind.Version, Kind: s.kind.Kind, Verbs: s.verbs,
			})
		}
	}
	return list
}

// served yields what the group serves in a version, by name.
func (g *discoveryGroup) served(versionName string) func(func(*resource.Definition, *resource.Version) bool) {
	return func(yield func(*resource.Definition, *resource.Version) bool) {
		for _, def := range g.definitions {
			for i := range def.Versions {
				v := &def.Versions[i]
				if v.Group == g.name && v.Name == versionName && v.Served && !yield(def, v) {
					return
				}
			}
		}
	}
}

// alias are the names beside its own that a kind is found by.
type alias struct{ shortNames, categories []string }

// aliases are those of a kind in a version. What is kept for old clients in another group than the kind's has none: kubectl
// would show twice what is in a category, and warn of short names that are not unique.
func aliases(def *resource.Definition, v *resource.Version) alias {
	if v.Group != def.Resource.Group && v.Warning != "" {
		return alias{}
	}
	return alias{def.ShortNames, def.Categories}
}

// discoveryVerbs are those of the resource itself, in upstream's order, which is another for custom resources.
func discoveryVerbs(def *resource.Definition) []string {
	if def.Verbs != nil {
		return verbNames(def.Verbs)
	}
	if def.Custom {
		return []string{"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"}
	}
	return []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
}

// verbsNow are those that discovery lists: of what is being deleted with its definition, none that adds or changes.
func verbsNow(def *resource.Definition) []string {
	if def.Ending != nil && def.Ending.Load() {
		return []string{"delete", "deletecollection", "get", "list", "watch"}
	}
	return discoveryVerbs(def)
}

func verbNames(vs []api.Verb) []string {
	names := make([]string, len(vs))
	for i, v := range vs {
		names[i] = string(v)
	}
	return names
}

type discoverySubresource struct {
	name  string
	kind  metav1.GroupVersionKind // without group and version when they are the parent's
	verbs []string
}

// discoverySubresources of a version: by name, but for custom resources status before scale, as upstream lists them.
func discoverySubresources(def *resource.Definition, v *resource.Version) []discoverySubresource {
	var list []discoverySubresource
	for name, sub := range def.SubresourcesOf(v) {
		s := discoverySubresource{name: name, verbs: verbNames(sub.Verbs), kind: metav1.GroupVersionKind{Group: sub.Group, Version: sub.Version, Kind: sub.Kind}}
		if sub.Kind == "" {
			s.kind = metav1.GroupVersionKind{Kind: def.KindOf(v)}
			if name == "scale" {
				s.kind = metav1.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
			}
		}
		if s.kind.Group == v.Group && s.kind.Version == v.Name {
			s.kind.Group, s.kind.Version = "", ""
		}
		if sub.Verbs == nil {
			s.verbs = []string{"get", "patch", "update"}
		}
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return (list[i].name < list[j].name) != def.Custom })
	return list
}

// storageVersionHash tells clients when the version that is stored has changed: the first eight bytes of the SHA-256 of
// its group, version and kind. A custom kind that is stored in a version that is not served has none.
func storageVersionHash(def *resource.Definition) string {
	v := def.Storage()
	if v == nil || def.Transient || def.Custom && !v.Served {
		return ""
	}
	sum := sha256.Sum256([]byte(v.Group + "/" + v.Name + "/" + def.KindOf(v)))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// document is aggregated discovery of all groups in one version of its API.
func (d *Discovery) document(key aggregatedKey) (*cachedDocument, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refresh()
	if doc := d.aggregated[key]; doc != nil {
		return doc, nil
	}
	groups := d.order
	if key.core {
		groups = nil
		if g := d.groups[""]; g != nil {
			groups = []*discoveryGroup{g}
		}
	}
	head := fmt.Sprintf(`{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/%s","metadata":{},"items":[`, key.version)
	const tail = "]}\n"
	size, tags := len(head)+len(groups)+len(tail), sha512.New() // the tags of the parts are those of all, of which only one is new
	tags.Write([]byte(head))
	for _, g := range groups {
		part := g.aggregate()
		if part == nil {
			return nil, fmt.Errorf("encoding the discovery of group %s", g.name)
		}
		size += len(part.body)
		tags.Write([]byte(part.etag))
	}
	body := append(make([]byte, 0, size), head...)
	for i, g := range groups {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, g.aggregate().body...)
	}
	doc := &cachedDocument{body: append(body, tail...), etag: fmt.Sprintf("%X", tags.Sum(nil)), made: time.Now()}
	d.aggregated[key] = doc
	return doc, nil
}
