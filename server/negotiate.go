package server

import (
	"net/http"
	"sort"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// media is how an answer is encoded.
type media uint8

const (
	mediaJSON media = iota
	mediaYAML
	mediaProtobuf
)

// The media types of the API.
const (
	typeJSON     = "application/json"
	typeYAML     = "application/yaml"
	typeProtobuf = "application/vnd.kubernetes.protobuf"
)

func (m media) contentType() string {
	return [...]string{typeJSON, typeYAML, typeProtobuf}[m]
}

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
	media   media
	shape   shape
	version string                     // of meta.k8s.io, for the transformed shapes: "v1" or "v1beta1"
	include metav1.IncludeObjectPolicy // of a Table, from the query
	pretty  bool
}

// partial reports whether only the metadata of objects is shown.
func (f *form) partial() bool { return f.shape == asMetadata || f.shape == asMetadataList }

// clause is one media range of an Accept header.
type clause struct {
	typ, sub         string
	q                float64
	as, g, v, stream string
	pretty           bool
}

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
func negotiate(accept string, e endpoint) (form, error) {
	switch accept {
	case "", "application/json", "*/*", "application/json, */*":
		return form{}, nil
	}
	if !e.custom && !routeAccepts(accept, e) {
		return form{}, routerError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
			"406: Not Acceptable\n\nAvailable representations: "+strings.Join(e.representations(), ", "))
	}
	clauses := parseAccept(accept)
	var proto *form
	for i := range clauses {
		f, ok := clauses[i].form(e)
		if !ok {
			continue
		}
		if e.watch && f.media == mediaYAML && proto == nil {
			return form{}, notAcceptable("only the following media types are accepted: " + e.streamed()) // what is wanted most cannot be streamed
		}
		if f.media != mediaProtobuf {
			if proto != nil && f.media != mediaJSON {
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
	return form{}, notAcceptable("only the following media types are accepted: " + e.accepted())
}

func notAcceptable(message string) error {
	return api.NewError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, "%s", message)
}

// representations are the route's media types, as upstream's router lists them.
func (e endpoint) representations() []string {
	if e.list {
		return []string{typeJSON, typeYAML, typeProtobuf, typeJSON + ";stream=watch", typeProtobuf + ";stream=watch"}
	}
	return []string{typeJSON, typeYAML, typeProtobuf}
}

func (e endpoint) accepted() string {
	if e.watch && !e.custom {
		return e.streamed()
	}
	return typeJSON + ", " + typeYAML + ", " + typeProtobuf
}

// streamed are the media types that a watch of the endpoint can be had in.
func (e endpoint) streamed() string {
	if e.custom {
		return typeJSON + ";stream=watch"
	}
	return typeJSON + ";stream=watch, " + typeProtobuf + ";stream=watch"
}

// routeAccepts is the first of upstream's two checks: its router compares media types without their parameters, and
// knows no partial wildcard.
func routeAccepts(accept string, e endpoint) bool {
	for part := range strings.SplitSeq(accept, ",") {
		t, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch strings.TrimSpace(t) {
		case "*/*", typeJSON, typeYAML, typeProtobuf:
			return true
		}
	}
	return false
}

func parseAccept(accept string) []clause {
	var clauses []clause
	for part := range strings.SplitSeq(accept, ",") {
		t, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		typ, sub, _ := strings.Cut(strings.TrimSpace(t), "/")
		if typ == "*" && sub == "" {
			sub = "*"
		}
		if sub == "" || strings.Contains(sub, "/") {
			continue
		}
		c := clause{typ: typ, sub: sub, q: 1}
		for p := range strings.SplitSeq(params, ";") {
			k, v, _ := strings.Cut(p, "=")
			v = strings.TrimSpace(v)
			switch strings.TrimSpace(k) {
			case "q":
				c.q, _ = strconv.ParseFloat(v, 32) // a malformed weight counts as 0, as upstream has it
			case "as":
				c.as = v
			case "g":
				c.g = v
			case "v":
				c.v = v
			case "stream":
				c.stream = v
			case "pretty":
				c.pretty = v == "1"
			}
		}
		clauses = append(clauses, c)
	}
	sort.SliceStable(clauses, func(i, j int) bool {
		a, b := &clauses[i], &clauses[j]
		if a.q != b.q {
			return a.q > b.q
		}
		if wild := a.typ == "*"; wild != (b.typ == "*") {
			return !wild
		}
		return a.sub != "*" && b.sub == "*"
	})
	return clauses
}

// form is what the clause asks for, if the endpoint has it.
func (c *clause) form(e endpoint) (form, bool) {
	f := form{pretty: c.pretty, version: c.v}
	switch {
	case c.typ == "application" && c.sub == "json", c.sub == "*" && (c.typ == "application" || c.typ == "*"):
	case c.typ == "application" && c.sub == "yaml":
		if f.media = mediaYAML; c.stream != "" {
			return f, false
		}
	case c.typ == "application" && c.sub == "vnd.kubernetes.protobuf":
		f.media = mediaProtobuf
	default:
		return f, false
	}
	if c.stream != "" && c.stream != "watch" {
		return f, false
	}
	if c.as == "" && c.g == "" && c.v == "" {
		return f, f.media != mediaProtobuf || !e.custom
	}
	if !e.transform && !(e.scale && c.as == "Table") || c.g != metav1.GroupName || c.v != "v1" && c.v != "v1beta1" {
		return f, false
	}
	switch c.as {
	case "Table":
		f.shape = asTable
	case "PartialObjectMetadata":
		f.shape = asMetadata
	case "PartialObjectMetadataList":
		f.shape = asMetadataList
	default:
		return f, false
	}
	return f, f.media != mediaProtobuf || f.shape != asTable
}
