package http2

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// write is a handler that sets header fields, by pairs, and writes parts; flushes says between which.
func write(status int, pairs []string, parts ...string) func(*notes, http.ResponseWriter, *http.Request) {
	return func(n *notes, w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			w.Header()[pairs[i]] = append(w.Header()[pairs[i]], pairs[i+1])
		}
		if status != 0 {
			w.WriteHeader(status)
		}
		for _, p := range parts {
			if p == "flush" {
				n.handler("flush: %s", kind(http.NewResponseController(w).Flush()))
				continue
			}
			wrote, err := io.WriteString(w, p)
			n.handler("wrote %d, %s", wrote, kind(err))
		}
	}
}

func fieldsOf(pairs ...string) []string { return pairs }

// twice is what is asked with GET and with HEAD.
func twice(all []exchange) (asked []exchange) {
	for _, x := range all {
		asked = append(asked, x)
		x.name, x.method = "head "+x.name, http.MethodHead
		asked = append(asked, x)
	}
	return asked
}

var answers = slices.Concat(alone, twice(both))

// alone is not asked with HEAD, which has no body to tell one from the other.
var alone = []exchange{
	{name: "declared less", ours: `wrote 0, an error`, theirs: `body "hel"`, handle: write(0, fieldsOf("Content-Length", "3"), "hello")},
	{name: "declared less, in parts", ours: `body "hello", error unexpected EOF`, theirs: `body "hellohe"`, handle: write(0, fieldsOf("Content-Length", "7"), "hello", "hello", "x")},
}

var both = []exchange{
	{name: "nothing", handle: write(0, nil)},
	{name: "nothing created", handle: write(201, nil)},
	{name: "text", handle: write(0, nil, "hello")},
	{name: "html", handle: write(0, nil, "<html><body>hello")},
	{name: "json", handle: write(0, nil, `{"a":1}`)},
	{name: "gif", handle: write(0, nil, "GIF89a....")},
	{name: "in parts", handle: write(0, nil, "<ht", "ml>", "", "hello")},
	{name: "in flushed parts", handle: write(0, nil, "<ht", "flush", "ml>", "flush", "flush", "hello")},
	{name: "flushed first", handle: write(0, nil, "flush", "<html>")},
	{name: "flushed only", handle: write(0, nil, "flush")},
	{name: "flushed at the end", handle: write(0, nil, "hello", "flush")},
	{name: "empty write", handle: write(0, nil, "")},
	{name: "at the edge", handle: write(0, nil, strings.Repeat("e", pieceMost))},
	{name: "over the edge", handle: write(0, nil, strings.Repeat("e", pieceMost+1))},
	{name: "small and large", handle: write(0, nil, "<html>", strings.Repeat("e", pieceMost), "hello")},
	{name: "a frame", handle: write(0, fieldsOf("Content-Length", "16384"), strings.Repeat("f", minFrame))},
	{name: "several windows", handle: write(0, nil, strings.Repeat("w", 3<<20), "end")},
	{name: "several windows, declared", handle: write(0, fieldsOf("Content-Length", "3145728"), strings.Repeat("w", 3<<20))},
	{name: "typed", handle: write(0, fieldsOf("Content-Type", "text/odd"), "hello")},
	{name: "not typed", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "hello")
	}},
	{name: "encoded", handle: write(0, fieldsOf("Content-Encoding", "br"), "hello")},
	{name: "dated", handle: write(0, fieldsOf("Date", "Sat, 01 Jan 2000 00:00:00 GMT"), "hello")},
	{name: "not dated", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		io.WriteString(w, "hello")
	}},
	{name: "declared", handle: write(0, fieldsOf("Content-Length", "5"), "hello")},
	{name: "declared in parts", handle: write(0, fieldsOf("Content-Length", "10"), "hello", "flush", "hello")},
	{name: "declared more", handle: write(0, fieldsOf("Content-Length", "10"), "hello")},
	{name: "declared more, flushed", handle: write(0, fieldsOf("Content-Length", "10"), "hello", "flush")},
	{name: "declared nothing", handle: write(0, fieldsOf("Content-Length", "0"))},
	{name: "declared nonsense", handle: write(0, fieldsOf("Content-Length", "five"), "hello")},
	{name: "declared negative", handle: write(0, fieldsOf("Content-Length", "-5"), "hello")},
	{name: "no content", handle: write(204, nil, "hello", "flush")},
	{name: "not modified", handle: write(304, fieldsOf("Etag", `"1"`), "hello")},
	{name: "not modified, declared", handle: write(304, fieldsOf("Content-Length", "5", "Content-Type", "text/odd"))},
	{name: "reset content", handle: write(205, nil)},
	{name: "redirect", handle: func(_ *notes, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/there", http.StatusFound)
	}},
	{name: "odd status", handle: write(599, nil, "hello")},
	{name: "impossible status", ours: `http2: invalid status code 99`, theirs: `invalid WriteHeader code 99`, handle: write(99, nil, "hello")},
	{name: "early hints", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Add("Link", "</script.js>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		write(201, fieldsOf("X-Last", "1"), "hello")(n, w, r)
	}},
	{name: "two statuses", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("X-Late", "1")
		write(500, nil, "hello")(n, w, r)
	}},
	{name: "header after the body", handle: func(_ *notes, w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.Header().Set("X-Late", "1")
	}},
	{name: "values", handle: write(0, fieldsOf("X-One", "1", "X-Two", "a", "X-Two", "b", "X-Empty", "", "x-lower", "1", "Set-Cookie", "a=1", "Set-Cookie", "b=2"))},
	{name: "odd fields", handle: write(0, fieldsOf("Bad Name", "1", "X-Bad", "a\nb", "X-Bad", "good", "X-Blank", " a ", "X-Ünicode", "1", "", "1"))},
	{name: "of older HTTP", ours: `Date (1, <nil>)`, theirs: `Keep-Alive="5" Proxy-Connection="x" Upgrade="x"`, handle: write(0, fieldsOf("Connection", "keep-alive", "Keep-Alive", "5", "Proxy-Connection", "x", "Transfer-Encoding", "chunked", "Upgrade", "x"), "hello")},
	{name: "close", handle: write(0, fieldsOf("Connection", "close"), "hello")},
	{name: "long header", handle: write(0, fieldsOf("X-Long", strings.Repeat("l", 100<<10)), "hello")},
	{name: "trailers", handle: trailers(fieldsOf("Trailer", "X-After, X-Missing"), "hello")},
	{name: "trailers, flushed", handle: trailers(fieldsOf("Trailer", "X-After", "Trailer", "X-Missing"), "hello", "flush")},
	{name: "trailers alone", handle: trailers(fieldsOf("Trailer", "X-After"))},
	{name: "trailers, declared", handle: trailers(fieldsOf("Trailer", "X-After", "Content-Length", "5"), "hello")},
	{name: "trailers that may not be", handle: trailers(fieldsOf("Trailer", "Content-Length, Transfer-Encoding, X-After, Trailer"), "hello")},
	{name: "trailers of no content", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-After")
		w.WriteHeader(http.StatusNoContent)
		w.Header().Set("X-After", "1")
	}},
	{name: "trailers by prefix", handle: prefixed("hello")},
	{name: "trailers by prefix, flushed", handle: prefixed("hello", "flush")},
	{name: "trailers by prefix alone", handle: prefixed()},
	{name: "trailers both ways", handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-After")
		w.Header().Set(http.TrailerPrefix+"X-Early", "0")
		io.WriteString(w, "hello")
		w.Header().Set("X-After", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	}},
	{name: "gzip", adjust: func(q *http.Request) { q.Header.Set("Accept-Encoding", "gzip") }, handle: func(n *notes, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, strings.Repeat("zip", 1000))
		n.handler("closed %v", z.Close())
	}},
}

// trailers writes and sets what a header of pairs may have announced.
func trailers(pairs []string, parts ...string) func(*notes, http.ResponseWriter, *http.Request) {
	return func(n *notes, w http.ResponseWriter, r *http.Request) {
		write(0, pairs, parts...)(n, w, r)
		w.Header().Set("X-After", "1")
		w.Header().Add("X-After", "2")
		w.Header().Set("X-Unannounced", "3")
		if len(parts) == 0 {
			return
		}
		w.Header().Set("Trailer", "X-Unannounced") // too late
	}
}

// prefixed writes and sets trailers that nothing has announced.
func prefixed(parts ...string) func(*notes, http.ResponseWriter, *http.Request) {
	return func(n *notes, w http.ResponseWriter, r *http.Request) {
		write(0, nil, parts...)(n, w, r)
		w.Header().Set(http.TrailerPrefix+"X-After", "1")
		w.Header().Set(http.TrailerPrefix+"Content-Length", "2")
		w.Header().Set(http.TrailerPrefix+"bad name", "3")
	}
}
