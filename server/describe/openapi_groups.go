package describe

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pintle.dev/resource"
)

// openAPIGroup is what is described of one API group, made anew when the registry has another Group of its name.
type openAPIGroup struct {
	of        *resource.Group
	documents map[string]*openAPIDocument
}

// openAPIDocument describes one group and version, or, without kinds, what is above them: the lists of groups and of a
// group's versions, and the server's build.
type openAPIDocument struct {
	name, group, version string
	kinds                []*openAPIKind // by name
	hash                 string
	made                 time.Time
	entry                []byte                                // in the index
	builtin              func(openAPIForm) (kindPieces, error) // the whole of it, unless all kinds are custom ones
}

// openAPIKind describes one version of a kind.
type openAPIKind struct {
	def     *resource.Definition
	version *resource.Version
	sum     [sha256.Size]byte // of all that the description is made from
}

// wholeV2 is what the v2 document is made of.
type wholeV2 struct {
	base   *openAPIBase
	custom []*openAPIKind // of groups and versions that have no built-in kinds
	tag    string
	made   time.Time
}

// refresh brings the documents up to the registry's generation: those of the groups that have changed, so that a new CRD
// among a thousand costs its own. o.mu is held.
func (o *OpenAPI) refresh() {
	s := o.registry.Snapshot()
	if s.Generation() == o.generation {
		return
	}
	if o.generation == 0 {
		for _, name := range []string{"version", "apis"} {
			o.put(&openAPIDocument{name: name})
		}
	}
	o.generation, o.index, o.v2 = s.Generation(), nil, nil
	now := s.Groups()
	for name, g := range o.groups {
		if now[name] == nil {
			o.replace(g, &openAPIGroup{})
			delete(o.groups, name)
		}
	}
	for name, g := range now {
		was := o.groups[name]
		if was == nil {
			was = &openAPIGroup{}
		} else if was.of == g {
			continue
		}
		is := was.next(name, g)
		o.replace(was, is)
		o.groups[name] = is
	}
}

// next is the group as it is now. Kinds that are the same are taken over.
func (g *openAPIGroup) next(name string, of *resource.Group) *openAPIGroup {
	known := map[*resource.Version]*openAPIKind{}
	for _, doc := range g.documents {
		for _, k := range doc.kinds {
			known[k.version] = k
		}
	}
	next := &openAPIGroup{of, map[string]*openAPIDocument{}}
	document := func(path, version string) *openAPIDocument {
		if next.documents[path] == nil {
			next.documents[path] = &openAPIDocument{name: path, group: name, version: version}
		}
		return next.documents[path]
	}
	for _, def := range of.Served() {
		for i := range def.Versions {
			v := &def.Versions[i]
			if !v.Served || v.Group != name {
				continue
			}
			kind := known[v]
			if kind == nil {
				kind = newOpenAPIKind(def, v)
			}
			path := apiPath(name, v.Name)
			doc := document(path, v.Name)
			doc.kinds = append(doc.kinds, kind)
			if !def.Custom {
				document(strings.TrimSuffix(path, "/"+v.Name), "")
			}
		}
	}
	for _, doc := range next.documents {
		slices.SortFunc(doc.kinds, func(a, b *openAPIKind) int { return strings.Compare(a.def.Resource.Name, b.def.Resource.Name) })
	}
	return next
}

// replace puts what a group is described by now in place of what it was described by. Documents whose kinds are the same
// stay what they are.
func (o *OpenAPI) replace(was, is *openAPIGroup) {
	kept := map[*openAPIKind]bool{}
	for name, doc := range is.documents {
		if old := was.documents[name]; old != nil && slices.Equal(old.kinds, doc.kinds) {
			is.documents[name] = old
		} else {
			o.put(doc)
		}
		for _, k := range doc.kinds {
			kept[k] = true
		}
	}
	for name, doc := range was.documents {
		if is.documents[name] == nil {
			delete(o.documents, name)
			o.changed(doc)
		}
		for _, k := range doc.kinds {
			if !kept[k] {
				o.pieces.drop(k)
			}
		}
	}
}

// put adds a document.
func (o *OpenAPI) put(doc *openAPIDocument) {
	doc.hash, doc.made = doc.fingerprint(o.build), time.Now()
	doc.entry = fmt.Appendf(nil, `%q:{"serverRelativeURL":%q}`, doc.name, openAPIURL(doc.name, doc.hash))
	if !doc.custom() {
		doc.builtin = onceByForm(doc.pack)
	}
	o.documents[doc.name] = doc
	o.changed(doc)
}

// changed forgets what is made of built-in kinds when a document that has some is another one or gone.
func (o *OpenAPI) changed(doc *openAPIDocument) {
	if !doc.custom() {
		o.base = nil
	}
}

// custom reports a document of custom kinds only.
func (d *openAPIDocument) custom() bool {
	return len(d.kinds) > 0 && !slices.ContainsFunc(d.kinds, func(k *openAPIKind) bool { return !k.def.Custom })
}

// fingerprint covers everything the document is made from.
func (d *openAPIDocument) fingerprint(build string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", build, d.name)
	for _, k := range d.kinds {
		h.Write(k.sum[:])
	}
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

func newOpenAPIKind(def *resource.Definition, v *resource.Version) *openAPIKind {
	k := &openAPIKind{def: def, version: v}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%t\x00%q\x00%s\x00", def.Resource.Name, def.KindOf(v), listKind(def, v), def.Namespaced, discoveryVerbs(def), v.Model)
	for _, s := range discoverySubresources(def, v) {
		fmt.Fprintf(h, "%s\x00%v\x00%q\x00", s.name, s.kind, s.verbs)
	}
	fmt.Fprintf(h, "%q\x00", resource.SelectableFields(v))
	h.Write(resource.SchemaJSON(v))
	h.Sum(k.sum[:0])
	return k
}

// document is the one of a name in the index; nil when there is none.
func (o *OpenAPI) document(name string) *openAPIDocument {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh()
	return o.documents[name]
}

// indexNow names all documents.
func (o *OpenAPI) indexNow() *cachedDocument {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh()
	if o.index == nil {
		text := []byte(`{"paths":{`)
		for i, name := range slices.Sorted(maps.Keys(o.documents)) {
			if i > 0 {
				text = append(text, ',')
			}
			text = append(text, o.documents[name].entry...)
		}
		o.index = newCachedDocument(append(text, "}}"...))
	}
	return o.index
}

// wholeNow is what the v2 document is made of now.
func (o *OpenAPI) wholeNow() *wholeV2 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refresh()
	if o.v2 != nil {
		return o.v2
	}
	whole := &wholeV2{base: o.base, made: time.Now()}
	var builtin []*openAPIDocument
	for _, name := range slices.Sorted(maps.Keys(o.documents)) {
		if doc := o.documents[name]; doc.custom() {
			whole.custom = append(whole.custom, doc.kinds...)
		} else {
			builtin = append(builtin, doc)
		}
	}
	if whole.base == nil {
		whole.base = newOpenAPIBase(o.build, builtin)
		o.base = whole.base
	}
	h := sha512.New()
	h.Write(whole.base.sum)
	for _, k := range whole.custom {
		h.Write(k.sum[:])
	}
	whole.tag = strconv.Quote(fmt.Sprintf("%X", h.Sum(nil)))
	o.v2 = whole
	return whole
}
