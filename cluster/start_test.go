package cluster

import (
	"net/http"
	"testing"

	"pintle.dev/auth"
)

// startTest starts a system in memory that ends with the test.
func startTest(t *testing.T, c Config) *System {
	t.Helper()
	c.Ephemeral, c.NoNode = true, true
	s, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// adminClient speaks to the system over the network as its administrator.
func (s *System) adminClient() *http.Client {
	config, err := s.TLS(auth.UserAdmin, auth.GroupMasters)
	if err != nil {
		panic(err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}
