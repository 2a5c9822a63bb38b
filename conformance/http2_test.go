package conformance

import (
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"os/exec"
	"regexp"
	"testing"

	"k8s.io/client-go/rest"
)

// TestHTTP2 runs all of h2spec, cases of RFC 9113 and RFC 7541 for servers, against pintle. h2spec wants a path that
// answers GET with more than a few bytes, but not in full before it has said more, and POST when all of the body has come:
// a short watch. Nobody finds that without a credential, and h2spec has none: what it says in the clear is passed on to
// pintle with one.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	host, err := url.Parse(shared.config.Host)
	if err != nil {
		t.Fatal(err)
	}
	config, err := rest.TLSConfigFor(shared.config)
	if err != nil {
		t.Fatal(err)
	}
	config.NextProtos = []string{"h2"}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	go func() {
		for {
			in, err := front.Accept()
			if err != nil {
				return
			}
			go pass(t, in, host.Host, config)
		}
	}()
	_, port, err := net.SplitHostPort(front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The timeout is how many seconds it waits for each of its answers.
	cmd := exec.CommandContext(t.Context(), "go", "tool", "h2spec", "--strict", "--timeout", "20",
		"--host", "127.0.0.1", "--port", port, "--path", "/api/v1/namespaces/"+ns+"/configmaps?watch=true&timeoutSeconds=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(`\b146 tests, 146 passed, 0 skipped, 0 failed`).Match(out) {
		t.Errorf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// pass connects in with addr over TLS, until either side closes.
func pass(t *testing.T, in net.Conn, addr string, config *tls.Config) {
	defer in.Close()
	out, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		defer out.Close()
		io.Copy(out, in) // h2spec judges how a connection ends
	}()
	io.Copy(in, out)
}
