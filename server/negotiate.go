package server

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/server/accept"
)

// shape is which view of an object an answer shows.
type shape uint8

const (
	asObject shape = iota
	asTable
	asMetadata     // PartialObjectMetadata
	asMetadataList // PartialObjectMetadataList
)

// form is everything the Accept header decides.
type form struct {
	media   accept.Media
	shape   shape
	version string                     // of meta.k8s.io, for the transformed shapes: "v1" or "v1beta1"
	include metav1.IncludeObjectPolicy // of a Table, from the query
	pretty  bool
}

// partial reports whether only the metadata of objects is shown.
func (f *form) partial() bool { return f.shape == asMetadata || f.shape == asMetadataList }

// endpoint is what kind of route is being negotiated for.
type endpoint struct {
	custom    bool // a custom resource: no protobuf but of its metadata
	list      bool // the route lists and watches
	watch     bool // this request is a watch
	transform bool // Table and PartialObjectMetadata can be had
	scale     bool // a Scale, which can be had as a Table
}

// negotiate reads an Accept header (RFC 9110, with the parameters as, g, v, stream and pretty). JSON is preferred to
// protobuf wherever both are admitted: stored bytes are JSON. The error is upstream's 406.
func negotiate(header string, e endpoint) (form, error) {
	switch header {
	case "", "application/json", "*/*", "application/json, */*":
		return form{}, nil
	}
	if !e.custom && !accept.Routed(header, accept.All()...) {
		return form{}, accept.Unrouted(e.representations()...)
	}
	var proto *form
	for _, r := range accept.Parse(header) {
		f, ok := formOf(&r, e)
		if !ok {
			continue
		}
		if e.watch && f.media == accept.YAML && proto == nil {
			return form{}, accept.Only(e.streamed()...) // what is wanted most cannot be streamed
		}
		if f.media != accept.Protobuf {
			if proto != nil && f.media != accept.JSON {
				continue
			}
			return f, nil
		}
		if proto == nil {
			proto = &f
		}
	}
	if proto != nil {
		return *proto, nil
	}
	return form{}, accept.Only(e.accepted()...)
}

// representations are the route's media types, as upstream's router lists them.
func (e endpoint) representations() []string {
	if e.list {
		return append(accept.All(), accept.TypeJSON+streaming, accept.TypeProtobuf+streaming)
	}
	return accept.All()
}

const streaming = ";stream=watch"

func (e endpoint) accepted() []string {
	if e.watch && !e.custom {
		return e.streamed()
	}
	return accept.All()
}

// streamed are the media types that a watch of the endpoint can be had in.
func (e endpoint) streamed() []string {
	if e.custom {
		return []string{accept.TypeJSON + streaming}
	}
	return []string{accept.TypeJSON + streaming, accept.TypeProtobuf + streaming}
}

// formOf is what a range asks for, if the endpoint has it.
func formOf(r *accept.Range, e endpoint) (form, bool) {
	f := form{pretty: r.Pretty, version: r.Version}
	var ok bool
	if f.media, ok = r.Media(); !ok || f.media == accept.YAML && r.Stream != "" {
		return f, false
	}
	if r.Stream != "" && r.Stream != "watch" {
		return f, false
	}
	if !r.Transforms() {
		return f, f.media != accept.Protobuf || !e.custom
	}
	if !e.transform && !e.scale || r.Group != metav1.GroupName || r.Version != "v1" && r.Version != "v1beta1" {
		return f, false
	}
	switch r.As {
	case "Table":
		f.shape = asTable
	case "PartialObjectMetadata":
		f.shape = asMetadata
	case "PartialObjectMetadataList":
		f.shape = asMetadataList
	default:
		return f, false
	}
	return f, f.media != accept.Protobuf || f.shape != asTable
}
