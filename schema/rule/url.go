package rule

import (
	"net/url"
	"strings"

	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// plainURLs has a function of a text, which upstream parses up to twice, say what plain says of a plain URL, without the
// parser. Of other texts plain says nil, and what they are is upstream's to say.
func plainURLs(upstream functions.FunctionOp, plain func(text string) ref.Val) functions.FunctionOp {
	return func(v ...ref.Val) ref.Val {
		if text, ok := v[0].(types.String); ok {
			if said := plain(string(text)); said != nil {
				return said
			}
		}
		return upstream(v...)
	}
}

func celURL(text string) ref.Val {
	var u url.URL
	if !readPlainURL(text, &u) {
		return nil
	}
	parsed := u // here, for other texts need none that outlives them
	return apiservercel.URL{URL: &parsed}
}

func isURL(text string) ref.Val {
	var u url.URL // which nobody looks at
	if !readPlainURL(text, &u) {
		return nil
	}
	return types.True
}

// readPlainURL sets the parts of an absolute URL as url.Parse does, and reports whether it can: when there are a scheme of
// lower-case letters, a host and perhaps a port, path and query, none of which needs to be escaped, and nothing else.
func readPlainURL(text string, u *url.URL) bool {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz") != "" {
		return false
	}
	end := 0
	for end < len(rest) && (isPlain(rest[end]) && rest[end] != '~' && rest[end] != '_') {
		end++
	}
	if end == 0 {
		return false
	}
	if end < len(rest) && rest[end] == ':' {
		for end++; end < len(rest) && '0' <= rest[end] && rest[end] <= '9'; end++ {
		}
	}
	host, rest := rest[:end], rest[end:]
	path, query, asked := strings.Cut(rest, "?")
	if path != "" && path[0] != '/' || asked && query == "" {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c != '/' && !isPlain(c) {
			return false
		}
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	u.Scheme, u.Host, u.Path, u.RawQuery = scheme, host, path, query
	return true
}

// isPlain reports whether c is a character that is unreserved in URLs.
func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || c == '-' || c == '.' || c == '_' || c == '~'
}
