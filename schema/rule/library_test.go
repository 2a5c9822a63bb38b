package rule

import (
	"net/url"
	"reflect"
	"testing"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	apiservercel "k8s.io/apiserver/pkg/cel"
)

// TestParsedOnce: a URL that is parsed once is the one that url.Parse, which has the last word upstream, makes of the text.
func TestParsedOnce(t *testing.T) {
	once := 0
	parse := parsedOnce(func(...ref.Val) ref.Val { return types.NullValue })
	for _, text := range []string{"", "*", "/", "//", "/a/b?c=d", "//host/path", "///a", "a:b", "a:/b", "a://", "a:///b", "mailto:me@example.com", "http:", "https://example.com", "https://u:p@example.com:8443/a%2fb/../c;d?e=f&g#h", "https://example.com/#",
		"https://example.com/a%20b?", "https://example.com/?#", "https://[::1%25eth0]:80/x", "https://[::1", "https://example.com:port/", "HTTPS://EXAMPLE.com/ü", "https://example.com/a b", "1http://x/", "http://a b/", "http://x/%zz", "git+ssh://x//y//", "http://x?y:z", "https://ex ample.com", "file:///etc/passwd", "http://x/a:b", "http://user@/y"} {
		got, ok := parse(types.String(text)).(apiservercel.URL)
		if !ok {
			continue
		}
		once++
		if want, err := url.Parse(text); err != nil || !reflect.DeepEqual(got.URL, want) {
			t.Errorf("%q is %#v, want %#v (%v)", text, got.URL, want, err)
		}
	}
	if once < 10 {
		t.Errorf("%d URLs are parsed once", once)
	}
}
