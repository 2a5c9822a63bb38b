package describe

import (
	"bytes"
	"encoding/json"
	"net/http"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apidiscoveryv2beta1 "k8s.io/api/apidiscovery/v2beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"pintle.dev/resource"
	"pintle.dev/server/accept"
)

// aggregatedJSON is the group as one item of an APIGroupDiscoveryList; both versions of that API write it alike.
func (g *discoveryGroup) aggregatedJSON() *cachedDocument {
	item := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g.name}}
	for _, name := range g.versions {
		v := apidiscoveryv2.APIVersionDiscovery{Version: name, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent}
		for def, version := range g.served(name) {
			v.Resources = append(v.Resources, aggregatedResource(def, version))
		}
		item.Versions = append(item.Versions, v)
	}
	b, err := json.Marshal(item)
	if err != nil {
		return nil // the types are structs of strings, so this cannot be; the caller reports it all the same
	}
	return newCachedDocument(b)
}

func aggregatedResource(def *resource.Definition, v *resource.Version) apidiscoveryv2.APIResourceDiscovery {
	// Upstream names the group and version of a custom resource's kinds, and leaves them empty for built-ins whose kind
	// is of the group and version it is listed under.
	own := func(k metav1.GroupVersionKind) *metav1.GroupVersionKind {
		if def.Custom && k.Group == "" && k.Version == "" {
			k.Group, k.Version = v.Group, v.Name
		}
		return &k
	}
	known := aliases(def, v)
	r := apidiscoveryv2.APIResourceDiscovery{
		Resource: def.Resource.Name, SingularResource: def.Singular, Scope: apidiscoveryv2.ScopeCluster,
		ResponseKind: own(metav1.GroupVersionKind{Kind: def.KindOf(v)}),
		Verbs:        verbsNow(def), ShortNames: known.shortNames, Categories: known.categories,
	}
	if def.Namespaced {
		r.Scope = apidiscoveryv2.ScopeNamespace
	}
	for _, s := range discoverySubresources(def, v) {
		r.Subresources = append(r.Subresources, apidiscoveryv2.APISubresourceDiscovery{
			Subresource: s.name, ResponseKind: own(s.kind), Verbs: s.verbs,
		})
	}
	return r
}

// discoveryForm is what an Accept header makes of a discovery document.
type discoveryForm struct {
	media      accept.Media
	aggregated string // the version of apidiscovery.k8s.io; "" for the documents of meta/v1
}

// negotiateDiscovery reads an Accept header; root says that the path is one that aggregated discovery is served under. A
// client that takes that gets it, even if it would rather have the documents of meta/v1: upstream asks for the one first.
func negotiateDiscovery(header string, root bool) (discoveryForm, error) {
	if header == "" {
		return discoveryForm{}, nil
	}
	ranges := accept.Parse(header)
	for _, r := range ranges {
		media, ok := r.Media()
		if ok && root && r.Group == apidiscoveryv2.GroupName && r.As == "APIGroupDiscoveryList" && (r.Version == "v2" || r.Version == "v2beta1") {
			return discoveryForm{media: media, aggregated: r.Version}, nil
		}
	}
	for _, r := range ranges {
		if media, ok := r.Media(); ok && !r.Transforms() {
			return discoveryForm{media: media}, nil
		}
	}
	return discoveryForm{}, accept.Only(accept.All()...)
}

func (f discoveryForm) contentType() string {
	t := f.media.ContentType()
	if f.aggregated != "" {
		t += ";g=" + apidiscoveryv2.GroupName + ";v=" + f.aggregated + ";as=APIGroupDiscoveryList"
	}
	return t
}

// writeDiscovery answers with one of meta/v1's discovery types.
func writeDiscovery(w http.ResponseWriter, r *http.Request, o runtime.Object) error {
	f, err := negotiateDiscovery(r.Header.Get("Accept"), false)
	if err != nil {
		return err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return writeForm(w, r, f, append(b, '\n'))
}

// writeForm writes a JSON document in the form that was negotiated.
func writeForm(w http.ResponseWriter, r *http.Request, f discoveryForm, body []byte) error {
	var err error
	switch f.media {
	case accept.YAML:
		body, err = yaml.JSONToYAML(body)
	case accept.Protobuf:
		body, err = discoveryProtobuf(body, f.aggregated)
	case accept.JSON:
		if accept.Pretty(r) {
			var out bytes.Buffer
			err = json.Indent(&out, bytes.TrimSuffix(body, []byte("\n")), "", "  ")
			body = out.Bytes()
		}
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", f.contentType())
	writeWhole(w, r, body)
	return nil
}

// discoveryProtobuf turns a document into Kubernetes' protobuf envelope. Hardly any client asks for it, so it starts
// from the JSON.
func discoveryProtobuf(body []byte, aggregated string) ([]byte, error) {
	var head metav1.TypeMeta
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, err
	}
	var o interface{ Marshal() ([]byte, error) }
	switch head.Kind {
	case "APIVersions":
		o = new(metav1.APIVersions)
	case "APIGroupList":
		o = new(metav1.APIGroupList)
	case "APIGroup":
		o = new(metav1.APIGroup)
	case "APIResourceList":
		o = new(metav1.APIResourceList)
	case "APIGroupDiscoveryList":
		if o = new(apidiscoveryv2.APIGroupDiscoveryList); aggregated == "v2beta1" {
			o = new(apidiscoveryv2beta1.APIGroupDiscoveryList)
		}
	}
	if err := json.Unmarshal(body, o); err != nil {
		return nil, err
	}
	raw, err := o.Marshal()
	if err != nil {
		return nil, err
	}
	envelope, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: head.APIVersion, Kind: head.Kind}, Raw: raw}).Marshal()
	return append([]byte("k8s\x00"), envelope...), err
}
