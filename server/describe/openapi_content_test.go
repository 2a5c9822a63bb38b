package describe

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"pintle.dev/resource"
)

// TestOpenAPIRangesAndConditions: documents are answered as net/http answers files, which upstream leaves it to.
func TestOpenAPIRangesAndConditions(t *testing.T) {
	reg := resource.NewRegistry(append(someKinds("configmaps"), customDefinition(t, cronTab))...)
	s := serve(reg)
	const proto = "Accept: application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	for _, path := range []string{"/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/example.com/v1"} {
		whole := ask(t, s, "GET "+path)
		tag, made, size := whole.header.Get("ETag"), whole.header.Get("Last-Modified"), strconv.Itoa(len(whole.body))
		if _, err := time.Parse(time.RFC1123, made); err != nil || whole.header.Get("Accept-Ranges") != "bytes" || whole.header.Get("Content-Length") != size {
			t.Errorf("%s: %v", path, whole.header)
		}
		for _, tt := range []struct {
			headers, body string
			code          int
		}{
			{"Range: bytes=2-9", whole.body[2:10], 206},
			{"Range: bytes=2-9|Accept-Encoding: gzip", whole.body[2:10], 206},
			{"Range: bytes=-7", whole.body[len(whole.body)-7:], 206},
			{"Range: bytes=5-|If-Range: " + tag, whole.body[5:], 206},
			{`Range: bytes=5-|If-Range: "other"`, whole.body, 200},
			{"Range: bytes=" + size + "-", "invalid range: failed to overlap\n", 416},
			{"Range: bytes=9-2", "invalid range\n", 416},
			{"If-None-Match: " + tag, "", 304},
			{"If-None-Match: W/" + tag, "", 304},
			{"If-None-Match: *", "", 304},
			{`If-None-Match: "other"`, whole.body, 200},
			{"If-Match: " + tag, whole.body, 200},
			{`If-Match: "other"`, "", 412},
			{"If-Match: \"other\"|If-None-Match: " + tag, "", 412},
			{"If-Modified-Since: " + made, "", 304},
			{"If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT", whole.body, 200},
			{"If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT", "", 412},
			{"If-Modified-Since: " + made + `|If-None-Match: "other"`, whole.body, 200},
		} {
			a := ask(t, s, "GET "+path, strings.Split(tt.headers, "|")...)
			if a.code != tt.code || a.body != tt.body {
				t.Errorf("%s with %s: %d and %d bytes, want %d and %d", path, tt.headers, a.code, len(a.body), tt.code, len(tt.body))
			}
			if tt.code != 416 && a.header.Get("ETag") != tag {
				t.Errorf("%s with %s: tag %s", path, tt.headers, a.header.Get("ETag"))
			}
		}
		many := ask(t, s, "GET "+path, "Range: bytes=0-1,3-4")
		if many.code != 206 || !strings.HasPrefix(many.header.Get("Content-Type"), "multipart/byteranges") || !strings.Contains(many.body, "Content-Range: bytes 3-4/"+size+"\r\n") {
			t.Errorf("%s: several ranges: %d %v", path, many.code, many.header)
		}
		if packed := ask(t, s, "GET "+path, "Accept-Encoding: gzip"); packed.header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(packed.body))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(z); err != nil || string(text) != whole.body {
				t.Errorf("%s: compressed: %v", path, err)
			}
		} else if path != "/openapi/v3" {
			t.Errorf("%s is not compressed", path)
		}
	}
	old := ask(t, s, "GET /openapi/v3/apis/example.com/v1?hash=x", proto)
	if old.code != 301 || old.body != "" || old.header.Get("Content-Type") != typeProtoV3 || old.header.Get("ETag") == "" {
		t.Errorf("an old hash: %d %v %s", old.code, old.header, old.body)
	}
	for _, path := range []string{"/openapi/v3/", "/openapi/v3/nothing", "/openapi/v3/apis/example.com/v1/"} {
		if a := ask(t, s, "GET "+path); a.code != 404 || a.body != "" || a.header.Get("Content-Type") != "" {
			t.Errorf("%s: %d %v %q", path, a.code, a.header, a.body)
		}
	}
}

// TestOpenAPIByGroup: a change of a group's kinds leaves what describes the others as it was, and a group that goes leaves
// nothing.
func TestOpenAPIByGroup(t *testing.T) {
	reg := resource.NewRegistry(append(someKinds("configmaps"), customDefinition(t, cronTab))...)
	s := serve(reg)
	ask(t, s, "GET /openapi/v2")
	base, group := s.openapi.base, s.openapi.groups["example.com"]
	other := customDefinition(t, strings.ReplaceAll(cronTab, "example.com", "other.example.com"))
	reg.Put(other)
	if s.openapi.document("apis/other.example.com/v1") == nil || s.openapi.groups["example.com"] != group {
		t.Error("a group was described anew that had not changed")
	}
	if ask(t, s, "GET /openapi/v2"); s.openapi.base != base || len(s.openapi.v2.custom) != 2 {
		t.Error("a custom kind made the description of built-in ones anew, or is not in the v2 document")
	}
	reg.Remove(other.Resource)
	if s.openapi.document("apis/other.example.com/v1") != nil || len(s.openapi.groups) != 2 || s.openapi.pieces.order.Len() != 1 {
		t.Errorf("after a group went: %d groups, pieces of %d kinds", len(s.openapi.groups), s.openapi.pieces.order.Len())
	}
	reg.Put(customDefinition(t, strings.ReplaceAll(cronTab, "example.com", "coordination.k8s.io")))
	ask(t, s, "GET /openapi/v2")
	first := s.openapi.base
	reg.Put(someKinds("leases")...)
	if a := ask(t, s, "GET /openapi/v2"); s.openapi.base == first || !strings.Contains(a.body, "coordination.v1.Lease") || len(s.openapi.v2.custom) != 1 {
		t.Error("a group of custom kinds got a built-in one, which is not described")
	}
}
