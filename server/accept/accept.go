// Package accept reads Accept headers (RFC 9110) as upstream's API server does: media ranges by preference, with the
// parameters by which a client asks for another shape of what it gets. What can be had is for the caller to decide.
package accept

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// GzipAbove is the size in bytes from which answers are compressed for clients that ask for it: upstream's.
const GzipAbove = 128 << 10

// Gzip reports whether a client takes compressed answers, by its Accept-Encoding header. As upstream, only a plain "gzip"
// says so: what comes with a weight, which may be 0, does not.
func Gzip(header string) bool {
	for encoding := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(encoding) == "gzip" {
			return true
		}
	}
	return false
}

// GzipWeighed reports whether a client takes compressed OpenAPI documents. Another part of upstream than that of all other
// answers compresses them, which reads weights and takes "gzip" in any case; a weight that is no number is 0.
func GzipWeighed(header string) bool {
	takes := false
	for encoding := range strings.SplitSeq(header, ",") {
		coding, rest, _ := strings.Cut(encoding, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight := 1.0
		for parameter := range strings.SplitSeq(rest, ";") {
			if q, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
				var err error
				if weight, err = strconv.ParseFloat(q, 64); err != nil {
					weight = 0
				}
			}
		}
		takes = weight > 0
	}
	return takes
}

// Media is how an answer is encoded.
type Media uint8

// The encodings of the API.
const (
	JSON Media = iota
	YAML
	Protobuf
)

// Their media types.
const (
	TypeJSON     = "application/json"
	TypeYAML     = "application/yaml"
	TypeProtobuf = "application/vnd.kubernetes.protobuf"
)

// ContentType is the media type without parameters.
func (m Media) ContentType() string {
	return [...]string{TypeJSON, TypeYAML, TypeProtobuf}[m]
}

// Range is one media range of an Accept header.
type Range struct {
	Type, Subtype              string
	Quality                    float64 // its weight; 0 where that is malformed, as upstream has it
	As, Group, Version, Stream string  // the parameters as, g, v and stream
	Pretty                     bool
}

// Media is what the range is satisfied by: JSON where a wildcard leaves the choice, and nothing but the API's encodings.
func (r *Range) Media() (Media, bool) {
	switch {
	case r.Subtype == "*":
		return JSON, r.Type == "application" || r.Type == "*"
	case r.Type != "application":
		return 0, false
	}
	switch r.Subtype {
	case "json":
		return JSON, true
	case "yaml":
		return YAML, true
	case "vnd.kubernetes.protobuf":
		return Protobuf, true
	}
	return 0, false
}

// Transforms reports whether the range asks for another shape than the object's own.
func (r *Range) Transforms() bool { return r.As != "" || r.Group != "" || r.Version != "" }

// Parse returns the ranges of a header, those wanted most first. What is no media range is passed over.
func Parse(header string) []Range {
	var ranges []Range
	for part := range strings.SplitSeq(header, ",") {
		t, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		typ, sub, _ := strings.Cut(strings.TrimSpace(t), "/")
		if typ == "*" && sub == "" {
			sub = "*"
		}
		if sub == "" || strings.Contains(sub, "/") {
			continue
		}
		r := Range{Type: typ, Subtype: sub, Quality: 1}
		for p := range strings.SplitSeq(params, ";") {
			k, v, _ := strings.Cut(p, "=")
			r.set(strings.TrimSpace(k), strings.TrimSpace(v))
		}
		ranges = append(ranges, r)
	}
	slices.SortStableFunc(ranges, func(a, b Range) int {
		switch {
		case a.Quality != b.Quality:
			return -compare(a.Quality > b.Quality)
		case (a.Type == "*") != (b.Type == "*"):
			return compare(a.Type == "*")
		case (a.Subtype == "*") != (b.Subtype == "*"):
			return compare(a.Subtype == "*")
		}
		return 0
	})
	return ranges
}

// compare puts what is false before what is true.
func compare(later bool) int {
	if later {
		return 1
	}
	return -1
}

func (r *Range) set(parameter, value string) {
	switch parameter {
	case "q":
		r.Quality, _ = strconv.ParseFloat(value, 32)
	case "as":
		r.As = value
	case "g":
		r.Group = value
	case "v":
		r.Version = value
	case "stream":
		r.Stream = value
	case "pretty":
		r.Pretty = value == "1"
	}
}

// All are the media types of the API.
func All() []string { return []string{TypeJSON, TypeYAML, TypeProtobuf} }

// Only is upstream's 406 for a client that takes none of the media types there are.
func Only(types ...string) error {
	return NotAcceptable("only the following media types are accepted: " + strings.Join(types, ", "))
}

// Routed reports whether a header that is not empty passes the first of upstream's two checks, by its router: whether it
// names one of types, or anything at all. The router compares media types without their parameters, and knows no partial
// wildcard.
func Routed(header string, types ...string) bool {
	for part := range strings.SplitSeq(header, ",") {
		t, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		if t = strings.TrimSpace(t); t == "*/*" || slices.Contains(types, t) {
			return true
		}
	}
	return false
}

// Unrouted is the 406 of upstream's router, which lists all that the route has.
func Unrouted(representations ...string) error {
	e := api.NewError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"406: Not Acceptable\n\nAvailable representations: %s", strings.Join(representations, ", "))
	e.Status.Details = new(metav1.StatusDetails)
	return e
}

// NotAcceptable is a 406.
func NotAcceptable(message string) error {
	return api.NewError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, "%s", message)
}

// Pretty reports whether JSON is to be indented for the client: by the query's "pretty" where it is given, otherwise for
// browsers, curl and Wget.
func Pretty(r *http.Request) bool {
	if strings.Contains(r.URL.RawQuery, "pretty") {
		if p := r.URL.Query().Get("pretty"); p != "" {
			on, err := strconv.ParseBool(p)
			return on && err == nil
		}
	}
	ua := r.UserAgent()
	return strings.HasPrefix(ua, "curl") || strings.HasPrefix(ua, "Wget") || strings.HasPrefix(ua, "Mozilla/5.0")
}
