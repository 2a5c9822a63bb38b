package cluster

import (
	"strings"
	"testing"
)

// TestConfig: what cannot work is refused before anything is started, by the name of the flag.
func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string // "" when it is taken
	}{
		{Config{Ephemeral: true}, ""},
		{Config{}, "no data directory: give --data DIR, or --ephemeral to keep everything in memory"},
		{Config{Ephemeral: true, Listen: "here"}, `--listen "here": want HOST:PORT`},
		{Config{Ephemeral: true, HollowNodes: -1}, "--hollow-nodes -1: must not be negative"},
		{Config{Ephemeral: true, NodeName: "worker-1.example.com"}, ""},
		{Config{Ephemeral: true, NodeName: "Worker_1"}, `--node-name "Worker_1": a lowercase RFC 1123 subdomain must consist of`},
		{Config{Ephemeral: true, Hosts: []string{"Example.com", "*.example.com", "10.0.0.1", "fd00::1"}}, ""},
		{Config{Ephemeral: true, Hosts: []string{"example.com", ""}}, `--host "": neither a name nor an address`},
		{Config{Ephemeral: true, Hosts: []string{"https://example.com"}}, `--host "https://example.com": neither`},
	} {
		err := tt.c.complete()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
}

// TestNodeIdentityName: no certificate is made for a node that cannot be.
func TestNodeIdentityName(t *testing.T) {
	if _, err := NodeIdentity(t.TempDir(), "https://127.0.0.1:6443", "Worker_1"); err == nil || !strings.HasPrefix(err.Error(), `node name "Worker_1": a lowercase RFC 1123 subdomain`) {
		t.Errorf("%v", err)
	}
}
