package accept

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ header, want string }{
		{"", ""},
		{"application/json", "application/json"},
		{"*/*, application/*, application/yaml", "application/yaml application/* */*"},
		{"application/json;q=0.5, application/yaml;q=0.9", "application/yaml application/json"},
		{"application/json;q=much, application/yaml", "application/yaml application/json"},
		{"text, a/b/c, application/json", "application/json"},
		{"*", "*/*"},
		{"application/json;as=Table;g=meta.k8s.io;v=v1, application/json", "application/json!Table application/json"},
	} {
		var got []string
		for _, r := range Parse(tc.header) {
			s := r.Type + "/" + r.Subtype
			if r.Transforms() {
				s += "!" + r.As
			}
			got = append(got, s)
		}
		if all := strings.Join(got, " "); all != tc.want {
			t.Errorf("%q: %s, want %s", tc.header, all, tc.want)
		}
	}
}

func TestMedia(t *testing.T) {
	for header, want := range map[string]string{
		"application/json": TypeJSON, "*/*": TypeJSON, "application/*": TypeJSON, "application/yaml": TypeYAML,
		"application/vnd.kubernetes.protobuf": TypeProtobuf, "text/*": "none", "text/json": "none", "*/json": "none", "application/xml": "none",
	} {
		got := "none"
		if m, ok := Parse(header)[0].Media(); ok {
			got = m.ContentType()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", header, got, want)
		}
	}
}

func TestGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"gzip": true, "deflate, gzip": true, " gzip ,br": true, "": false, "gzip;q=0": false, "identity": false, "xgzip": false, "*": false,
	} {
		if got := Gzip(header); got != want {
			t.Errorf("%q: %t", header, got)
		}
	}
}

func TestGzipWeighed(t *testing.T) {
	for header, want := range map[string]bool{
		"gzip": true, "deflate;q=1, gzip;q=0.1": true, " GZIP ; q=1": true, "gzip;q=0": false, "gzip;q=0.0": false, "gzip;q=x": false,
		"gzip;q=-1": false, "gzip, gzip;q=0": false, "": false, "*": false, "identity": false, "xgzip": false,
	} {
		if got := GzipWeighed(header); got != want {
			t.Errorf("%q: %t", header, got)
		}
	}
}

func TestPretty(t *testing.T) {
	for _, tc := range []struct {
		query, agent string
		want         bool
	}{
		{"", "kubectl", false}, {"", "curl/8", true}, {"pretty=false", "curl/8", false}, {"pretty=1", "kubectl", true},
		{"pretty=", "Wget/1", true}, {"pretty=maybe", "curl/8", false},
	} {
		r := httptest.NewRequest("GET", "/?"+tc.query, nil)
		r.Header.Set("User-Agent", tc.agent)
		if got := Pretty(r); got != tc.want {
			t.Error(fmt.Sprintf("%+v", tc), got)
		}
	}
}
