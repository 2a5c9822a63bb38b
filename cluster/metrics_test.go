package cluster

import (
	"io"
	"strings"
	"testing"
)

// TestMetrics looks for the figures of what is wired together here: the server's own and the controllers'.
func TestMetrics(t *testing.T) {
	s := startTest(t, Config{})
	resp, err := s.adminClient().Get(s.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pintle_store_revision ", "pintle_store_commits_total ", `pintle_store_sync_duration_seconds_bucket{le="0.001"}`, `apiserver_storage_objects{resource="namespaces"} 4`, `workqueue_depth{name="deployment"}`, `workqueue_adds_total{name="replicaset"}`} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}
