package describe

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/klauspost/compress/flate"

	"pintle.dev/server/accept"
)

// stream is a text that is made while it is read, as http.ServeContent wants it: its size is known, and it can be read
// again from its start.
type stream struct {
	size int64
	open func() io.Reader
	from io.Reader // nil at the start
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	if s.from == nil {
		s.from = s.open()
	}
	return s.from.Read(b)
}

// Seek implements io.Seeker, to the start and to the end only.
func (s *stream) Seek(offset int64, whence int) (int64, error) {
	switch {
	case offset == 0 && whence == io.SeekStart:
		s.from = nil
		return 0, nil
	case offset == 0 && whence == io.SeekEnd:
		s.from = bytes.NewReader(nil)
		return s.size, nil
	}
	return 0, errors.New("seeking in a stream: it is read as a whole")
}

// joined reads what pieces are compressed to, one after the other, and a tail.
func joined(pieces []piece, tail []byte) io.Reader {
	readers := make([]io.Reader, 0, len(pieces)+1)
	for _, p := range pieces {
		readers = append(readers, bytes.NewReader(p.deflated))
	}
	return io.MultiReader(append(readers, bytes.NewReader(tail))...)
}

// unpacked is the text that pieces make up.
func unpacked(pieces []piece) *stream {
	s := &stream{open: func() io.Reader { return flate.NewReader(joined(pieces, lastBlock)) }}
	for _, p := range pieces {
		s.size += int64(p.size)
	}
	return s
}

// zipped is the gzip form of that text.
func zipped(pieces []piece) *stream {
	tail := gzipTail(pieces)
	s := &stream{open: func() io.Reader { return io.MultiReader(bytes.NewReader(gzipHead), joined(pieces, tail)) }}
	s.size = int64(len(gzipHead) + len(tail))
	for _, p := range pieces {
		s.size += int64(len(p.deflated))
	}
	return s
}

// servePieces answers with a document made of pieces at a time, as upstream's net/http does with files: it heeds ranges,
// and conditions on that time and on the tag in the answer's header. Ranges are of the text, whatever encodings a client
// takes; they may be many, so that the text is unpacked once for all of them. A client that has gone away is no error.
func servePieces(w http.ResponseWriter, r *http.Request, made time.Time, pieces []piece) error {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	text := unpacked(pieces)
	switch {
	case r.Header.Get("Range") != "":
		whole, err := io.ReadAll(text)
		if err != nil {
			return err
		}
		http.ServeContent(w, r, "", made, bytes.NewReader(whole))
	case accept.GzipWeighed(r.Header.Get("Accept-Encoding")):
		h.Set("Content-Encoding", "gzip")
		http.ServeContent(w, r, "", made, zipped(pieces))
	default:
		http.ServeContent(w, r, "", made, text)
	}
	return nil
}
