package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pintle.dev/node/containerd"
)

func TestNodeSocket(t *testing.T) {
	data := t.TempDir()
	host := filepath.Join(data, "host.sock")
	if _, err := nodeSocket(data, host); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("no containerd: %v, want an error that says how to name one", err)
	}
	listen := func(socket string) {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		got, err := nodeSocket(data, host)
		if err != nil || got != socket {
			t.Errorf("socket %s, %v; want %s", got, err, socket)
		}
	}
	listen(host)
	// The node's own come first: of a machine that is a node alone, and of a whole cluster.
	for _, dir := range []string{"containerd", "node/containerd"} {
		own := containerd.OwnSocket(filepath.Join(data, dir))
		if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
			t.Fatal(err)
		}
		listen(own)
	}
}
