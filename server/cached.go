package server

import (
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// cachedDocument is a body that does not change, with the tag by which clients know that.
type cachedDocument struct {
	body []byte
	etag string // without quotes
}

func newCachedDocument(body []byte) *cachedDocument {
	sum := sha512.Sum512(body)
	return &cachedDocument{body: body, etag: strings.ToUpper(hex.EncodeToString(sum[:]))}
}

// serve answers with the document, or with 304 when the client says it has it.
func (d *cachedDocument) serve(w http.ResponseWriter, r *http.Request, f discoveryForm) error {
	h := w.Header()
	tag := strconv.Quote(d.etag)
	h.Set("ETag", tag)
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", "public")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeForm(w, r, f, d.body)
}

// compressAbove is the size in bytes from which answers are compressed, as upstream has it: below it the bytes saved are
// not worth the time.
const compressAbove = 128 << 10

// writeWhole writes a whole answer, compressed when that is asked for and worth it. A client that has gone away is not
// our failure.
func writeWhole(w http.ResponseWriter, r *http.Request, body []byte) {
	h := w.Header()
	if len(body) > compressAbove && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err == nil {
			_, _ = z.Write(body)
			_ = z.Close()
			return
		}
		h.Del("Content-Encoding")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
