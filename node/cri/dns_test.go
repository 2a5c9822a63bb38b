package cri

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A host whose own programs ask systemd-resolved at its loopback says elsewhere whom that asks: pods ask these.
func TestHostDNS(t *testing.T) {
	const stub, real = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n", "# servers\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lan home\n"
	for _, tt := range []struct {
		name          string
		host, systemd string // "" for no file
		want          string
		own           bool
	}{
		{"a server", real, "", "192.0.2.1 192.0.2.2 lan home", true},
		{"resolved", stub, real, "192.0.2.1 192.0.2.2 lan home", false},
		{"resolved is not asked", real, stub, "192.0.2.1 192.0.2.2 lan home", true},
		{"a server on the loopback", stub, "", "127.0.0.53 lan edns0 trust-ad", true},
		{"none", "", "", "", true},
	} {
		dir := t.TempDir()
		files := []string{filepath.Join(dir, "own"), filepath.Join(dir, "systemd")}
		for i, text := range []string{tt.host, tt.systemd} {
			if text == "" {
				continue
			}
			if err := os.WriteFile(files[i], []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		d, own := hostDNS(files)
		if got := strings.Join(append(append(d.Servers, d.Searches...), d.Options...), " "); got != tt.want || own != tt.own {
			t.Errorf("%s: %q, own %t; want %q, %t", tt.name, got, own, tt.want, tt.own)
		}
	}
}
