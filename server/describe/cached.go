package describe

import (
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"pintle.dev/server/accept"
)

// cachedDocument is a body that does not change, with the tag by which clients know that.
type cachedDocument struct {
	body []byte
	etag string // without quotes
	made time.Time
}

func newCachedDocument(body []byte) *cachedDocument {
	sum := sha512.Sum512(body)
	return &cachedDocument{body: body, etag: strings.ToUpper(hex.EncodeToString(sum[:])), made: time.Now()}
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

// writeWhole writes a whole answer, compressed when that is asked for and worth it. A client that has gone away is no
// error.
func writeWhole(w http.ResponseWriter, r *http.Request, body []byte) {
	h := w.Header()
	if len(body) > accept.GzipAbove && accept.Gzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		if z, err := gzip.NewWriterLevel(w, gzip.BestSpeed); err == nil { // the level is a valid one
			_, _ = z.Write(body)
			_ = z.Close()
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}
