package rule

import (
	"net/url"
	"reflect"
	"testing"
)

// urlTexts are URLs, plain or not, and others.
var urlTexts = []string{"", "*", "/", "//", "/a/b?c=d", "//host/path", "///a", "a:b", "a:/b", "a://", "a:///b", "mailto:me@example.com", "http:", "https://example.com", "https://u:p@example.com:8443/a%2fb/../c;d?e=f&g#h", "https://example.com/#",
	"https://example.com/a%20b?", "https://example.com/?#", "https://[::1%25eth0]:80/x", "https://[::1", "https://example.com:port/", "HTTPS://EXAMPLE.com/ü", "https://example.com/a b", "1http://x/", "http://a b/", "http://x/%zz", "git+ssh://x//y//", "http://x?y:z", "https://ex ample.com", "file:///etc/passwd", "http://x/a:b", "http://user@/y",
	"https://example.com:8443/a/b.c~d_e?f=g%20&h=?/", "http://x:", "http://x:80", "http://x:80:80/", "http://X.Y-z:080?q", "http://1.2.3.4/", "http://./..", "http://-/~", "http://a_b/", "http://a~/", "http://x/?", "http://x/??", "http://x/\x7f", "http://x?\x00", "http://x?ü", "http://x/a//b/", "http://x/*", "a://b://c", "://x", "http:///x://y"}

// TestPlainURLs: a URL that is read here is the one that url.Parse, which has the last word upstream, makes of the text, and
// one that url.ParseRequestURI takes.
func TestPlainURLs(t *testing.T) {
	plain := 0
	for _, text := range urlTexts {
		if checkURL(t, text) {
			plain++
		}
	}
	if plain < 10 {
		t.Errorf("%d URLs are plain", plain)
	}
}

func checkURL(t *testing.T, text string) (plain bool) {
	var got url.URL
	if !readPlainURL(text, &got) {
		return false
	}
	if want, err := url.Parse(text); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("%q is %#v, want %#v (%v)", text, got, want, err)
	}
	if _, err := url.ParseRequestURI(text); err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return true
}

func FuzzPlainURLs(f *testing.F) {
	for _, text := range urlTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkURL(t, text) })
}
