package webhook

import (
	"compress/gzip"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func endpoint(t *testing.T, h http.HandlerFunc) (*httptest.Server, Client) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s, Client{URL: s.URL + "/hook?a=b", CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
}

// TestCall: what is sent, and what answers are made of.
func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // part of the error; "" for none
	}{
		{"well", func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != `{"x":1}` || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" ||
				r.URL.Path != "/hook" || r.URL.Query().Get("timeout") != "1m0s" || r.URL.Query().Get("a") != "b" {
				t.Errorf("%s %s %v %s %v", r.Method, r.URL, r.Header, body, err)
			}
			io.WriteString(w, `{"y":2}`)
		}, ""},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			hang(r)
		}, "context deadline exceeded"},
		{"half an answer", func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, `{"y":`)
			w.(http.Flusher).Flush()
			hang(r)
		}, "unexpected error when reading response body. Please retry. Original error: context deadline exceeded"},
		{"too much", func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, io.LimitReader(blanks{}, MaxAnswer+1)) }, "the response is larger than 16777216 bytes"},
		{"too much, compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.Copy(z, io.LimitReader(blanks{}, MaxAnswer+1))
			z.Close()
		}, "the response is larger than 16777216 bytes"},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not today", http.StatusTeapot) }, "the server responded with the status code 418 but did not return more information"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusTemporaryRedirect)
		}, "the server responded with the status code 307"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, to := endpoint(t, tt.answer)
			var c Caller
			timeout := time.Minute
			if strings.Contains(tt.want, "deadline") {
				timeout = 100 * time.Millisecond
			}
			answer, err := c.Call(t.Context(), to, []byte(`{"x":1}`), timeout)
			for err != nil && !strings.Contains(err.Error(), tt.want) && timeout < time.Minute { // a busy machine came less far
				timeout *= 4
				answer, err = c.Call(t.Context(), to, []byte(`{"x":1}`), timeout)
			}
			switch {
			case tt.want == "" && (err != nil || string(answer) != `{"y":2}`):
				t.Errorf("%s %v", answer, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %.300v, want %s", err, tt.want)
			}
		})
	}
}

// hang waits until the caller has given up, and ends no answer: the caller may yet read what it is sent.
func hang(r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// blanks are an answer that does not end.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestTrust: an endpoint has to be certified by who the bundle says, and a bundle has to hold certificates.
func TestTrust(t *testing.T) {
	_, to := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	var c Caller
	call := func(to Client) error {
		_, err := c.Call(t.Context(), to, nil, time.Minute)
		return err
	}
	if err := call(to); err != nil {
		t.Error(err)
	}
	to.CABundle = nil
	if err := call(to); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("of the host's authorities none signed it: %v", err)
	}
	to.CABundle = []byte("no certificate")
	if err := call(to); err == nil || !strings.Contains(err.Error(), "unable to load root certificates") {
		t.Errorf("a bundle without certificates: %v", err)
	}
	to.Service = &Service{Namespace: "a", Name: "b", Port: 443}
	to.CABundle = nil
	if err := call(to); err == nil || !strings.Contains(err.Error(), `service "b" not found`) {
		t.Errorf("a service that cannot be looked up: %v", err)
	}
}
