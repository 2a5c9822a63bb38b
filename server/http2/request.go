package http2

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
)

// request makes a handler's request of a header block, by the rules of RFC 9113, section 8.3. Its errors are that of a
// malformed request, which the client learns as PROTOCOL_ERROR.
func (st *stream) request(f *http2.MetaHeadersFrame) (*http.Request, error) {
	malformed := http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	var method, scheme, path, host string
	for _, p := range f.PseudoFields() {
		switch p.Name {
		case ":method":
			method = p.Value
		case ":scheme":
			scheme = p.Value
		case ":path":
			path = p.Value
		case ":authority":
			host = p.Value
		default: // :protocol, which has not been offered
			return nil, malformed
		}
	}
	header, ok := requestHeader(f)
	if !ok {
		return nil, malformed
	}
	if host == "" {
		host = header.Get("Host")
	}
	delete(header, "Host")
	if strings.Contains(host, "@") {
		return nil, malformed // no user is to be named there
	}

	r := &http.Request{
		Method: method, Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, Host: host,
		RemoteAddr: st.conn.remote, TLS: st.conn.state, Body: http.NoBody,
	}
	switch {
	case method == http.MethodConnect:
		if scheme != "" || path != "" || host == "" {
			return nil, malformed
		}
		r.URL, r.RequestURI = &url.URL{Host: host}, host
	case method == "" || path == "" || scheme != "https" && scheme != "http":
		if !f.Truncated {
			return nil, malformed
		}
		r.URL = &url.URL{Path: "/"} // the rest of the header is unknown; see headerTooLarge
	case path[0] != '/' && (path != "*" || method != http.MethodOptions):
		return nil, malformed // a URL, for one, whose host would not be Host's
	default:
		var err error
		if r.URL, err = url.ParseRequestURI(path); err != nil {
			return nil, malformed
		}
		r.RequestURI = path
	}
	if lengths := header["Content-Length"]; lengths != nil {
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil || len(lengths) > 1 || f.StreamEnded() && n > 0 {
			return nil, malformed
		}
		st.declared = int64(n)
	}
	st.ctx, st.cancel = context.WithCancel(st.conn.ctx)
	r = r.WithContext(st.ctx)
	if f.StreamEnded() {
		return r, st.takeEnd()
	}
	r.ContentLength = st.declared
	r.Body = body{st, r}
	if strings.EqualFold(header.Get("Expect"), "100-continue") {
		delete(header, "Expect")
		st.expects = true
	}
	st.announce(r)
	return r, nil
}

// requestHeader is what a block says beside its pseudo fields, and whether a request may say so.
func requestHeader(f *http2.MetaHeadersFrame) (http.Header, bool) {
	fields := f.RegularFields()
	header := make(http.Header, len(fields))
	values := make([]string, len(fields)) // each key's first, in one allocation
	for i, field := range fields {
		if ofHTTP1(field.Name) || field.Name == "te" && field.Value != "trailers" {
			return nil, false
		}
		k := http.CanonicalHeaderKey(field.Name)
		if old := header[k]; old != nil {
			header[k] = append(old, field.Value)
			continue
		}
		values[i] = field.Value
		header[k] = values[i : i+1 : i+1]
	}
	if cookies := header["Cookie"]; len(cookies) > 1 {
		header["Cookie"] = []string{strings.Join(cookies, "; ")} // which clients split to compress them better
	}
	return header, true
}

// ofHTTP1 reports whether a field says something of an HTTP/1 connection, which neither side may say in HTTP/2.
func ofHTTP1(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// announce takes up the names of trailers that r's header announces.
func (st *stream) announce(r *http.Request) {
	for _, names := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			switch name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
			default:
				if r.Trailer == nil {
					r.Trailer, st.trailer = http.Header{}, http.Header{}
				}
				r.Trailer[name], st.trailer[name] = nil, []string{}
			}
		}
	}
	delete(r.Header, "Trailer")
}
